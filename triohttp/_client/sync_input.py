"""What a synchronous program gives its client, made into what may run beside a loop.

Iterables of content and functions that give credentials are the program's own code: they may wait for a disk or for a
queue, they may even use the client. So each step of them runs in a worker thread.

Rule 1: an iterable is in one thread at a time, and closed in the end, once it is out of the step that it is in.
Rule 2: a step that never ends holds nobody up: it is left behind with its thread, and what it gives is dropped.
Rule 3: what cannot wait stays as it is: bytes, lists, files (which are read in threads anyway), asynchronous iterables.
Rule 4: other callbacks, which trio calls and does not await, are not touched: they run in the loop and must not wait.
"""

from __future__ import annotations

import copy
import inspect
import os
import threading
from collections.abc import AsyncIterable, Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, Self, TypedDict, TypeVar, cast

import trio

from .auth import Auth, AuthInit
from .body import ContentInit
from .multipart_content import FileInit, FilePart, FilesInit
from .options import DerivedOptions, RequestOptions

if TYPE_CHECKING:
    from triohttp._values.headers import HeadersInit
    from triohttp._values.limits import WebSocketLimits, WebSocketTimeouts
    from triohttp._values.query import QueryInit
    from triohttp._wire.websocket_deflate import PerMessageDeflate

    from .request import ClientRequest

__all__ = ["SyncEventsOptions", "SyncWebSocketOptions", "adapt_defaults", "adapt_request"]

CLOSE_SECONDS = 1.0
"""How long an iterable that is closed is waited for; a generator may have work to do there."""

D = TypeVar("D", bound=DerivedOptions)
R = TypeVar("R", bound=RequestOptions)
_END: Final = object()


class SyncEventsOptions(RequestOptions, total=False):
    """What ``SyncClient.events`` takes beside its URL, as ``Client.events``, which says more about each."""

    method: str
    """As for ``request``; GET by default."""
    last_event_id: str | None
    """Where to go on from."""
    reconnect: bool | None
    """Whether to connect again; None means for GET."""
    reconnect_seconds: float
    """How long to wait first, 1 by default."""
    max_event_bytes: int
    """Bound on one event; 1 MiB by default."""
    idle_seconds: float
    """Without a byte, until the connection counts as broken; without a bound by default."""


class SyncWebSocketOptions(TypedDict, total=False):
    """What ``SyncClient.websocket`` takes beside its URL, as ``Client.websocket``, which says more about each."""

    subprotocols: Sequence[str]
    """Those that this end speaks, the preferred one first."""
    headers: HeadersInit | None
    """Header fields of the request, beside those of the handshake."""
    params: QueryInit | None
    """Query fields."""
    compression: PerMessageDeflate | None
    """How messages are compressed; None not to offer it."""
    limits: WebSocketLimits
    """How much is taken from the server."""
    timeouts: WebSocketTimeouts
    """How long the server may take, once the WebSocket is open."""


def adapt_request(options: R) -> R:
    """Change the options of one call; return them."""
    if "content" in options:
        options["content"] = _adapt_content(options["content"])
    if "files" in options:
        options["files"] = _adapt_files(options["files"])
    if "auth" in options:
        auth = options["auth"]
        options["auth"] = None if auth is None else _adapt_auth(auth)
    return options


def adapt_defaults(options: D) -> D:
    """Change the options of a client, or of one that derives from it; return them."""
    auth = options.get("auth")
    if isinstance(auth, Mapping):
        by_origin: Mapping[str, AuthInit] = auth
        options["auth"] = {origin: _adapt_auth(one) for origin, one in by_origin.items()}
    elif auth is not None:
        options["auth"] = _adapt_auth(cast("AuthInit", auth))
    return options


def _adapt_auth(auth: AuthInit) -> AuthInit:
    if isinstance(auth, (Auth, type)) or not callable(auth) or inspect.iscoroutinefunction(auth):
        return auth
    function = auth

    async def authorize(request: ClientRequest) -> None:
        result = await trio.to_thread.run_sync(_call, function, request, abandon_on_cancel=True, limiter=_limiter())
        if result is not None:
            await result

    return authorize


def _call(
    function: Callable[[ClientRequest], Awaitable[None] | None], request: ClientRequest
) -> Awaitable[None] | None:
    result = function(request)
    return result if inspect.isawaitable(result) else None


def _adapt_content(content: ContentInit) -> ContentInit:
    source: Any = content  # whatever the annotation says
    if isinstance(source, (str, bytes, bytearray, memoryview, list, tuple, os.PathLike, Mapping, AsyncIterable)):
        return content
    if not isinstance(source, Iterable) or hasattr(source, "read"):
        return content
    if hasattr(source, "__next__") or hasattr(source, "close"):
        return IteratorInThreads(source)
    return IterableInThreads(source)


def _adapt_files(files: FilesInit) -> FilesInit:
    pairs: object = files.items() if isinstance(files, Mapping) else files  # whatever the annotation says
    if isinstance(pairs, (str, bytes)) or not isinstance(pairs, Iterable):
        return files  # which is an error, and told by whoever builds the request
    found: list[Any] = []
    for pair in pairs:
        if isinstance(pair, tuple) and len(pair) == 2:
            pair = (pair[0], _adapt_file(pair[1]))
        found.append(pair)
    return found


def _adapt_file(file: FileInit) -> FileInit:
    if isinstance(file, FilePart):
        adapted = copy.copy(file)
        adapted.content = _adapt_content(file.content)
        return adapted
    if isinstance(file, tuple):
        parts: tuple[Any, ...] = file
        return cast("FileInit", (*parts[:1], *map(_adapt_content, parts[1:2]), *parts[2:]))
    return _adapt_content(file)


def _limiter() -> trio.CapacityLimiter:
    """Return a limit of one's own: those of trio's 40 threads that all wait for one another would wait for ever.

    The threads are bounded all the same: for each there is one of the program that waits for its call.
    """
    return trio.CapacityLimiter(1)


class IterableInThreads:
    """An iterable whose iterators begin at the beginning, each stepped in threads."""

    __slots__ = ("_source",)

    def __init__(self, source: Iterable[bytes]) -> None:
        self._source = source

    def __aiter__(self) -> IteratorInThreads:
        return IteratorInThreads(self._source)


class IteratorInThreads:
    """An iterator over an iterable, stepped in threads."""

    __slots__ = ("_closed", "_iterator", "_limiter", "_mutex", "_source", "_stepping")

    def __init__(self, source: Iterable[bytes]) -> None:
        self._source = source
        self._iterator: Iterator[bytes] | None = None
        self._limiter = _limiter()
        self._mutex = threading.Lock()
        self._stepping = False
        self._closed = False

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        """Return the next piece.

        Cancellation: fatal: what the step gives is lost.
        """
        piece = await trio.to_thread.run_sync(self._step, abandon_on_cancel=True, limiter=self._limiter)
        if piece is _END:
            raise StopAsyncIteration
        return cast("bytes", piece)

    async def aclose(self) -> None:
        """Close the iterator and what it iterates over, as far as they can be closed.

        Cancellation: shielded for at most a second.
        """
        with self._mutex:
            if self._closed:
                return
            self._closed = True
            if self._stepping or not any(hasattr(one, "close") for one in self._ours()):
                return  # in the first case the thread that is in it closes it, as soon as it comes out
        with trio.move_on_after(CLOSE_SECONDS, shield=True):
            await trio.to_thread.run_sync(self._close, abandon_on_cancel=True, limiter=self._limiter)

    def _ours(self) -> tuple[object, ...]:
        iterator = self._iterator
        return (self._source,) if iterator is None or iterator is self._source else (iterator, self._source)

    def _step(self) -> object:
        with self._mutex:
            if self._closed:
                return _END
            self._stepping = True
        try:
            if self._iterator is None:
                self._iterator = iter(self._source)
            return next(self._iterator, _END)
        finally:
            with self._mutex:
                self._stepping = False
                left_behind = self._is_closed()
            if left_behind:
                self._close()

    def _is_closed(self) -> bool:
        return self._closed  # asked in a method, since it changes while a step goes on

    def _close(self) -> None:
        for one in self._ours():
            if (close := getattr(one, "close", None)) is not None:
                close()
