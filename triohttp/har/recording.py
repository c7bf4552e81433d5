"""Recording what a client does to an archive (HAR 1.2) that browsers and other tools can show.

The recorder is hop middleware: it sees each request as it goes out, redirects and second attempts one by one. It may
be an observer of the same client too, and then it knows how the time was spent.

Rule 1: a program under a recorder gets every byte when it would get it without one, and every error.
Rule 2: the file is written at the block's end, however that comes, whole or not at all, and for its owner's eyes alone.
Rule 3: what is recorded is bounded, by entries and by content; what did not fit is counted in the file.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Collection
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import TracebackType
from typing import Self

import trio

from triohttp import ClientAnswer, ClientObserver, ClientRequest, ClientResponse, ClientResponseStream, Headers, Send
from triohttp.errors import TrioHTTPError, check_count
from triohttp.lowlevel import ConnectionInfo

from .exchange import JSONObject, RecordedExchange
from .masking import Masks

__all__ = ["HarRecorder", "record_har"]

MAX_CONTENT_BYTES = 1024 * 1024
MAX_ENTRIES = 1000


def record_har(
    path: str | os.PathLike[str],
    *,
    secrets: bool = False,
    secret_headers: Collection[str] = (),
    secret_params: Collection[str] = (),
    max_content_bytes: int = MAX_CONTENT_BYTES,
    max_entries: int = MAX_ENTRIES,
) -> HarRecorder:
    """Return an async context manager that records what a client does while its block runs, and writes it at the end.

    ``async with record_har("a.har") as recorder, Client(hop_middleware=[recorder], observers=[recorder]) as client``.
    Without ``observers`` the file does not tell connecting, sending, waiting and receiving apart.

    Args:
        path: the file, which is replaced; only its owner can read it.
        secrets: keep them; by default the values of cookies, of ``Authorization`` and its like, and of fields such as
            ``access_token`` in URLs, forms and JSON are masked.
        secret_headers: names of more header fields to mask.
        secret_params: names of more query fields, form fields and members of JSON to mask.
        max_content_bytes: bound on the content that is kept of each request, and of each answer.
        max_entries: bound on the requests that are recorded; the rest are counted.
    Source: HAR 1.2.
    """
    masks = Masks(secret_headers, secret_params, enabled=not secrets)
    return HarRecorder(Path(path), masks, max_content_bytes, max_entries)


class HarRecorder(ClientObserver):
    """Records what passes: hop middleware and observer of one client, or of several; ``record_har`` makes it.

    Attributes:
        left_out: how many requests came after ``max_entries``.
    """

    def __init__(self, path: Path, masks: Masks, max_content_bytes: int, max_entries: int) -> None:
        check_count("max_content_bytes", max_content_bytes, 0)
        check_count("max_entries", max_entries, 1)
        self._path = path
        self._masks = masks
        self._max_content_bytes = max_content_bytes
        self._max_entries = max_entries
        self._exchanges: list[RecordedExchange] = []
        self._sending: dict[int, RecordedExchange] = {}  # by the identity of the request, which is held meanwhile
        self._entered = self._open = False
        self.left_out = 0

    def __repr__(self) -> str:
        return f"<HarRecorder {self._path.name!r} {len(self._exchanges)} entries>"

    # -- its block -----------------------------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        """Begin to record.

        Cancellation: atomic.
        Raises:
            OSError: there is no such directory.
            RuntimeError: it was entered before.
        """
        if self._entered:
            raise RuntimeError("a recorder is entered once")
        await trio.to_thread.run_sync(self._path.parent.stat)  # better known now than after an hour of recording
        self._entered = self._open = True
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Write the file, whatever ended the block.

        Cancellation: shielded, for as long as the file system takes.
        Raises:
            OSError: the file could not be written; a note of the block's own exception if there is one.
        """
        self._open = False
        try:
            # Without a deadline: a thread in a write can only be abandoned, and then it would outlive the block.
            with trio.CancelScope(shield=True):
                await trio.to_thread.run_sync(_write, self._path, self._exchanges, self.left_out)
        except OSError as error:
            if exc is None:
                raise
            exc.add_note(f"the recording was not written: {error}")

    # -- as middleware -------------------------------------------------------------------------------------------------

    async def __call__(self, request: ClientRequest, send: Send) -> ClientAnswer:
        """Send a request and record what happens: this is the middleware.

        Raises:
            BaseException: what sending raises.
            RuntimeError: the recorder's block was left, or never entered.
        """
        if not self._open:
            raise RuntimeError("a recorder records inside of its block: async with record_har(...) as recorder")
        if len(self._exchanges) == self._max_entries:
            self.left_out += 1
            return await send(request)
        exchange = RecordedExchange(request, self._masks, self._max_content_bytes)
        self._exchanges.append(exchange)
        request = exchange.watch()
        self._sending[id(request)] = exchange
        try:
            answer = await send(request)
        except BaseException as exc:
            exchange.failed(exc)
            raise
        finally:
            del self._sending[id(request)]
        exchange.answered(answer)
        if isinstance(answer, ClientResponseStream):
            content = RecordedContent(answer, exchange)
            answer.body = content  # type: ignore[assignment]  # documented as any ReceiveStream
        elif isinstance(answer, ClientResponse):
            exchange.received(answer.content)
            exchange.trailers(answer.trailers)
            exchange.completed()
        return answer

    # -- as an observer ------------------------------------------------------------------------------------------------

    def dial_started(self, request: ClientRequest, destination: str) -> None:
        """Note the time."""
        if (exchange := self._sending.get(id(request))) is not None:
            exchange.dialed, exchange.connected = trio.current_time(), None

    def connected(self, request: ClientRequest, connection: ConnectionInfo) -> None:
        """Note the time, and where to."""
        if (exchange := self._sending.get(id(request))) is not None:
            exchange.connected, exchange.connection = trio.current_time(), connection

    def request_sent(self, request: ClientRequest) -> None:
        """Note the time."""
        if (exchange := self._sending.get(id(request))) is not None:
            exchange.sent = trio.current_time()

    def head_received(self, request: ClientRequest, status: int, headers: Headers) -> None:
        """Note the time."""
        if (exchange := self._sending.get(id(request))) is not None:
            exchange.headed = trio.current_time()


class RecordedContent(trio.abc.ReceiveStream):
    """The content of an open answer, copied while it passes."""

    __slots__ = ("_answer", "_body", "_exchange")

    def __init__(self, answer: ClientResponseStream, exchange: RecordedExchange) -> None:
        self._answer: ClientResponseStream | None = answer
        self._body: trio.abc.ReceiveStream = answer.body
        self._exchange = exchange

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Return some content, as the stream below gives it.

        Cancellation, Raises: as below.
        """
        try:
            data = bytes(await self._body.receive_some(max_bytes))
        except TrioHTTPError as exc:
            self._exchange.failed(exc)
            raise
        if data:
            self._exchange.received(data)
            return data
        self._exchange.completed()
        answer, self._answer = self._answer, None  # which has this stream: no cycle is left behind
        if answer is not None:
            self._exchange.trailers(answer.trailers)
        return b""

    async def aclose(self) -> None:
        """Close the stream below."""
        self._answer = None
        await self._body.aclose()


# -- the file ----------------------------------------------------------------------------------------------------------


def _write(path: Path, exchanges: list[RecordedExchange], left_out: int) -> None:
    """Write an archive, whole or not at all; in a thread."""
    log: JSONObject = {
        "version": "1.2",
        "creator": {"name": "triohttp", "version": _version()},
        "entries": [exchange.entry() for exchange in exchanges],
    }
    if left_out:
        log["comment"] = f"{left_out} more requests were not recorded"
    # A temporary file is for its owner alone from the beginning; the content of answers may be anything.
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with open(handle, "w", encoding="utf-8") as file:
            json.dump({"log": log}, file, ensure_ascii=False, indent=1)
        os.replace(name, path)
    except BaseException:
        os.unlink(name)
        raise


def _version() -> str:
    try:
        return version("triohttp")
    except PackageNotFoundError:  # it runs from its source tree; no recording is lost over that
        return "unknown"
