"""What the corpus says of a response holds for the client, on every network, however its bytes arrive.

The server end is a script. Each way of arriving has a client of its own, which asks once more afterwards: on the same
connection or on a new one, as the case says, and it must get its own answer, not the rest of the one before.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import pytest
import trio

from triohttp import Client
from triohttp.errors import BodyTruncatedError, DisconnectedError, RemoteProtocolError, StatusError, TrioHTTPError
from triohttp.testing import RawConnection

if TYPE_CHECKING:
    from conftest import Network

LONG_BYTES = 400
NEXT = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nnext"


class Script:
    """Answers the first request of a client with the pieces of an input, and any later one with ``NEXT``."""

    def __init__(self) -> None:
        self.connections: list[RawConnection] = []
        self.sent = trio.Event()
        self.pieces: Sequence[bytes] = ()
        self.end = False

    def prepare(self, pieces: Sequence[bytes], end: bool) -> None:
        """Make ready for the next client."""
        self.connections.clear()
        self.sent = trio.Event()
        self.pieces = pieces
        self.end = end

    async def __call__(self, raw: RawConnection) -> None:
        """Serve a connection until the client leaves it."""
        self.connections.append(raw)
        with suppress(trio.BrokenResourceError, DisconnectedError, RemoteProtocolError):
            while True:
                await raw.read_request()
                if self.sent.is_set():
                    await raw.send_all(NEXT)
                else:
                    await self._send_input(raw, self.sent)

    async def _send_input(self, raw: RawConnection, sent: trio.Event) -> None:
        try:
            for piece in self.pieces:
                await raw.send_all(piece)
            if self.end:
                await raw.send_eof()
        finally:
            sent.set()


def cuts(data: bytes, kind: str) -> Iterator[tuple[str, list[bytes]]]:
    """Yield ways for an input to arrive, each with its name: whole, in two, and byte by byte where that is cheap."""
    yield "whole", [data]
    if len(data) > LONG_BYTES:
        yield "in pieces", [data[:1], data[1:40], data[40:-3], data[-3:]]
        return
    if not kind.startswith("tls"):
        yield "byte by byte", [data[i : i + 1] for i in range(len(data))]
    if kind != "tcp" and len(data) > 1:
        yield "in two", [data[: len(data) // 2], data[len(data) // 2 :]]


@contextmanager
def named(*names: object) -> Iterator[None]:
    """Say in an error of the block what it was about."""
    try:
        yield
    except Exception as exc:
        exc.add_note(f"in {', '.join(map(str, names))}")
        raise


async def stream(client: Client, case: dict[str, Any], got: dict[str, Any]) -> None:
    """Receive an answer piece by piece, and note what came of it."""
    async with client.stream(case["request"], "/") as response:
        got |= {"status": response.status, "interim": [head.status for head in response.interim]}
        async for piece in response.body:
            got["body"] += piece
        if response.trailers is not None:
            got["trailers"] = [list(line) for line in response.trailers.field_lines()]


async def fetch(client: Client, case: dict[str, Any], got: dict[str, Any]) -> None:
    """Receive an answer whole, and note it."""
    response = await client.request(case["request"], "/")
    got |= {"status": response.status, "interim": [head.status for head in response.interim]}
    got["body"] = response.content
    if response.trailers is not None:
        got["trailers"] = [list(line) for line in response.trailers.field_lines()]


async def upgrade(client: Client, case: dict[str, Any], got: dict[str, Any]) -> None:
    """Ask for another protocol, and note the answer; what follows 101 belongs to the raw stream."""
    try:
        async with client.upgrade("foo", "/") as upgraded:
            got["interim"] = [*(head.status for head in upgraded.interim), upgraded.status]
            assert await upgraded.stream.receive_some() == b"X"
    except StatusError as exc:
        got |= {"status": exc.code, "body": exc.content}


def outcome_of_the_end(case: dict[str, Any]) -> dict[str, Any]:
    """Return what becomes of a case that waits for more once its stream ends instead."""
    case = case | {"end": True, "then": "ended"}
    if case["status"] is not None:
        return case | {"then": "close"}
    if case["input"].endswith(b"\r\n\r\n"):
        return case
    return case | {"error": {"slug": "head-truncated", "at": "head"}, "then": "close"}


def check_error(error: TrioHTTPError, case: dict[str, Any]) -> None:
    """See that an error is of the class that its cause calls for, and names it."""
    expected = case["error"]
    if expected is None:
        assert case["then"] == "ended"
        assert type(error) is DisconnectedError
    elif expected["slug"] == "body-truncated":
        assert isinstance(error, BodyTruncatedError)
        assert error.received == len(case["body"])
    else:
        assert isinstance(error, RemoteProtocolError)
        assert (error.slug, error.at, error.suggested_status) == (expected["slug"], expected["at"], None)


async def try_case(client: Client, script: Script, case: dict[str, Any], *, whole: bool) -> None:
    """Have a client get an answer of the corpus, and then another."""
    got = {key: type(case[key])() for key in ("interim", "body", "trailers")} | {"status": None}
    receive = upgrade if case.get("upgrade") else fetch if whole else stream
    failed = case["error"] is not None or case["then"] == "ended"
    if failed:
        with pytest.raises(TrioHTTPError) as caught:
            await receive(client, case, got)
        check_error(caught.value, case)
    else:
        await receive(client, case, got)
    if not (failed and (whole or case["status"] is None)):  # else the error is all that there is
        assert got == {key: case[key] for key in got}
    await script.sent.wait()
    assert (await client.get("/next")).content == b"next"
    assert len(script.connections) == (1 if case["then"] == "keep" else 2)


@pytest.mark.corpus
async def test_responses_end_as_the_corpus_says(network: Network, response_corpus: list[dict[str, Any]]) -> None:
    """An answer, or the error that it deserves; and the connection is used again or not, as the case says."""
    script = Script()
    async with network.open_script(script) as new_client:
        for case in response_corpus:
            if case["request"] == "CONNECT":
                continue  # which is no request of a client's: it refuses to send one
            if case["then"] == "wait":
                case = outcome_of_the_end(case)
            for way, pieces in cuts(case["input"], network.kind):
                for whole in (True, False) if way == "whole" else (False,):
                    script.prepare(pieces, case.get("end", False))
                    with named(repr(case["name"]), way, "fetched" if whole else "streamed"):
                        async with new_client() as client:
                            await try_case(client, script, case, whole=whole)
