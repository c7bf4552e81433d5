"""Answers from an archive (HAR 1.2), in the place of the servers that gave them.

Rule 1: nothing goes out: what is not in the archive is an error that says what is.
Rule 2: an answer is chosen in one step, without awaiting: two tasks never get the same one by accident.
Rule 3: the content of a request is read to its end, as a server would.
"""

from __future__ import annotations

import os
from hashlib import sha256
from pathlib import Path
from types import TracebackType
from typing import Self

import trio

from triohttp import ClientAnswer, ClientRequest, ClientResponse, Query, Send
from triohttp.errors import ContentError, TransportError, check_count

from .archive import ArchivedExchange, load_archive

__all__ = ["HarReplay", "NotRecordedError", "replay_har"]

MAX_FILE_BYTES = 256 * 1024 * 1024
LISTED = 10
"""How many exchanges an error lists."""


class NotRecordedError(LookupError):
    """A request is not in the archive, or its answers have all been given."""


def replay_har(
    path: str | os.PathLike[str], *, strict: bool = True, max_file_bytes: int = MAX_FILE_BYTES
) -> HarReplay:
    """Return an async context manager whose value answers from a file: ``Client(hop_middleware=[replay])``.

    A request is told by its method and its URL, and by its content where the archive has several contents for these.
    Equal requests get their answers in the order of the archive.

    Args:
        path: the archive, of ``record_har``, of a browser or of any other tool.
        strict: give each answer once, and raise at the block's end, too, if something was asked that was not recorded;
            false gives the last of equal answers again and again.
        max_file_bytes: bound on the file.
    Source: HAR 1.2.
    """
    check_count("max_file_bytes", max_file_bytes, 1)
    return HarReplay(Path(path), strict, max_file_bytes)


class HarReplay:
    """Answers from an archive; ``replay_har`` makes it.

    Attributes:
        missing: what was asked and was not recorded.
    """

    def __init__(self, path: Path, strict: bool, max_file_bytes: int) -> None:
        self._path = path
        self._strict = strict
        self._max_file_bytes = max_file_bytes
        self._exchanges: list[ArchivedExchange] | None = None
        self._by_url: dict[tuple[str, str], list[ArchivedExchange]] = {}
        self.missing: list[str] = []

    def __repr__(self) -> str:
        return f"<HarReplay {self._path.name!r} {len(self._exchanges or ())} entries>"

    @property
    def unused(self) -> list[str]:
        """The requests of the archive whose answers have not been given, in its order."""
        return [str(one) for one in self._exchanges or () if not one.used]

    async def __aenter__(self) -> Self:
        """Read the file.

        Cancellation: atomic.
        Raises:
            ContentError: ``har``: it is no archive, with the place of what is wrong.
            OSError: it cannot be read.
        """
        exchanges = await trio.to_thread.run_sync(load_archive, self._path, self._max_file_bytes)
        self._by_url.clear()
        for exchange in exchanges:
            self._by_url.setdefault((exchange.method, exchange.url), []).append(exchange)
        self._exchanges = exchanges
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Raise ``NotRecordedError`` if something was missing that nobody heard of, when it is strict."""
        await trio.lowlevel.cancel_shielded_checkpoint()
        if exc is None and self._strict and self.missing:
            raise NotRecordedError("\n".join(self.missing))

    async def __call__(self, request: ClientRequest, send: Send) -> ClientAnswer:
        """Answer a request: this is the middleware.

        Cancellation: fatal.
        Raises:
            ContentError: ``har``: the answer was recorded without its content, or without all of it.
            NotRecordedError: there is no answer for it, or none is left.
            RuntimeError: the block was never entered.
            TransportError: it was recorded that there was no answer.
        """
        await trio.lowlevel.checkpoint()
        if self._exchanges is None:
            raise RuntimeError("an archive is replayed inside of a block: async with replay_har(...) as replay")
        digest = await _digest_content(request)
        exchange = self._find(request, digest)
        exchange.used = True
        if exchange.error:
            message = f"it was recorded that {request} failed: {exchange.error}"
            raise TransportError(message, phase="replay", sent=True)
        content = b"" if request.method == "HEAD" else exchange.answer
        if content is None:
            raise ContentError(
                f"{self._path.name}: {exchange.where} has not all of its content; record it with a larger "
                "max_content_bytes",
                reason="har",
            )
        return ClientResponse(
            request,
            exchange.status,
            exchange.headers.copy(),
            content,
            trailers=None if exchange.trailers is None else exchange.trailers.copy(),
            http_version=exchange.http_version,
            codings=exchange.codings,
        )

    def _find(self, request: ClientRequest, digest: bytes) -> ArchivedExchange:
        params = Query.parse(request.url.query or "").pairs()
        same_url = self._by_url.get((request.method, str(request.url.replace(query="", fragment=""))), [])
        candidates = [one for one in same_url if one.is_for(params)]
        matching = candidates
        if len({one.content for one in candidates}) > 1:
            matching = [one for one in candidates if one.content is None or sha256(one.content).digest() == digest]
        for one in matching:
            if not one.used:
                return one
        if matching and not self._strict:
            return matching[-1]
        message = f"{self._path.name} has no answer for {request}: "
        if matching:
            message += f"all {len(matching)} have been given"
        elif candidates:
            message += "it was recorded with other content only"
        else:
            message += self._list_unused()
        self.missing.append(message)
        raise NotRecordedError(message)

    def _list_unused(self) -> str:
        unused = self.unused
        if not unused:
            return "none of its answers is left"
        more = f"\n  and {len(unused) - LISTED} more" if len(unused) > LISTED else ""
        return "left are\n" + "\n".join(f"  {one}" for one in unused[:LISTED]) + more


async def _digest_content(request: ClientRequest) -> bytes:
    """Return the SHA-256 of a request's content, read as the wire would read it."""
    content = request.content
    if isinstance(content, bytes):
        return sha256(content).digest()
    content.rewind()
    digest = sha256()
    try:
        await content.measure()
        while (piece := await content.next_piece()) is not None:
            digest.update(piece)
            if not content.blocks:  # nothing has yielded, and it may go on for long
                await trio.lowlevel.checkpoint()
    finally:
        await content.aclose()
    return digest.digest()
