"""The seam between whoever moves requests and whoever answers them.

``_connection`` implements ``Exchange``; ``_server`` calls a ``Service``; ``_app`` is written against both and imports
neither room. Another wire, or a test, may implement ``Exchange`` too.

Rule 1: an exchange is used by one task at a time for receiving and one at a time for sending.
Rule 2: an answer is begun once; a service that returns without having answered gets a 500 in its name.
"""

from __future__ import annotations

import enum
from collections.abc import Awaitable
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Literal, Protocol, TypeAlias

from .headers import Headers
from .limits import Limits, Timeouts
from .message import ConnectionInfo, RequestHead, ResponseHead

if TYPE_CHECKING:
    import trio

    from triohttp.errors import TrioHTTPError

__all__ = ["AnswerState", "Content", "Deadlines", "Exchange", "OnDisconnect", "Service"]

OnDisconnect: TypeAlias = Literal["cancel", "finish"]


class AnswerState(enum.Enum):
    """How far an exchange's answer has come."""

    AWAITED = "awaited"
    """Nothing has been decided."""
    STAGED = "staged"
    """A head is ready and goes out with the first content or a flush; it may still be replaced."""
    BEGUN = "begun"
    """The final head is on the wire."""
    COMPLETE = "complete"
    """The whole answer is on the wire."""
    TAKEN = "taken"
    """The connection has been taken over as a raw stream."""
    CUT = "cut"
    """The answer will never be complete; the peer sees it end too early."""


class Content(Protocol):
    """The content of a message as it comes in: a ``trio.abc.ReceiveStream`` with the message's own facts."""

    length: int | None
    """Bytes announced; None when only the end will tell."""
    max_bytes: int | None
    """Bound on what may be received; passing it raises BodyTooLargeError."""
    received: int
    """Bytes handed out so far."""
    at_end: bool
    """True once the end was seen (at once for a message without content)."""
    trailers: Headers | None
    """The trailer section, once ``at_end``; None when there was none."""

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Return some content, at most ``max_bytes``; ``b""`` at its end."""
        ...

    def refuse(self, error: TrioHTTPError) -> None:
        """Receive nothing more: ``error`` says why, and is what every later receive raises."""
        ...

    async def aclose(self) -> None:
        """Receive nothing more."""
        ...


class Deadlines(Protocol):
    """Absolute times (``trio.current_time()``) that may be moved while an exchange runs."""

    handler: float
    """When the handler is cancelled."""
    body: float
    """When the wait for content that is going on, or the next one, ends in a ReadTimeout."""
    write: float
    """When the wait for the peer to take bytes that is going on, or the next one, ends the connection."""


class Exchange(Protocol):
    """One request and its answer."""

    head: RequestHead
    request_number: int
    """1 for the first request of a connection."""
    limits: Limits
    """What holds for this exchange; a route replaces it before the content is read."""

    @property
    def info(self) -> ConnectionInfo:
        """The facts of the connection."""
        ...

    @property
    def timeouts(self) -> Timeouts:
        """As ``limits``; assigning it re-arms ``deadlines``."""
        ...

    @timeouts.setter
    def timeouts(self, timeouts: Timeouts) -> None: ...
    @property
    def on_disconnect(self) -> OnDisconnect:
        """What the peer's leaving does to the handler."""
        ...

    @on_disconnect.setter
    def on_disconnect(self, policy: OnDisconnect) -> None: ...

    @property
    def content(self) -> Content:
        """The content of the request."""
        ...

    @property
    def content_length(self) -> int | None:
        """Bytes of content announced, 0 without content, None when only its end will tell; cheaper than ``content``."""
        ...

    @property
    def deadlines(self) -> Deadlines:
        """What may be moved while the exchange runs."""
        ...

    @property
    def state(self) -> AnswerState:
        """How far the answer has come."""
        ...

    @property
    def draining(self) -> bool:
        """True once the server has begun to shut down."""
        ...

    async def wait_draining(self) -> None:
        """Wait until the server begins to shut down."""
        ...

    async def inform(self, head: ResponseHead) -> None:
        """Send an interim (1xx) response other than 100 and 101."""
        ...

    async def respond(self, head: ResponseHead, content: bytes = b"", trailers: Headers | None = None) -> None:
        """Send a whole answer in one piece."""
        ...

    def begin(self, head: ResponseHead) -> None:
        """Stage the head of an answer whose content follows by ``send``; no awaiting, nothing goes out yet."""
        ...

    async def send(self, data: bytes) -> None:
        """Send some content; the staged head goes out with the first."""
        ...

    async def flush(self) -> None:
        """Send the staged head now."""
        ...

    async def finish(self, trailers: Headers | None = None) -> None:
        """End the answer's content."""
        ...

    async def take_over(self, head: ResponseHead) -> trio.abc.Stream:
        """Answer 101 (or 2xx to CONNECT) and return the connection as a raw stream."""
        ...

    def cut(self) -> None:
        """Make sure that the answer ends visibly incomplete: nothing more goes out, the connection will close."""
        ...

    def close_after(self) -> None:
        """Let the connection close after this answer (``Connection: close`` when the head is not out yet)."""
        ...


class Service(Protocol):
    """What a server serves: an App, a servlet container, or any object with these two."""

    def lifespan(self, nursery: trio.Nursery) -> AbstractAsyncContextManager[None]:
        """Enclose the serving. ``nursery`` outlives the connections; what is started in it is supervised."""
        ...

    def __call__(self, exchange: Exchange) -> Awaitable[None]:
        """Answer one exchange.

        Raising RemoteProtocolError before the answer rejects the request: its status, one reject record, and close.
        """
        ...
