"""What the corpus says of frames holds for a handler and for a client, on every network, however the bytes arrive.

Each end echoes what it receives. A case that leaves its WebSocket open is asked for a sign of life, and then closed;
one that ends it must end there, with the frame that the case calls for and nothing behind it.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import trio
from websocket_corpus import Case, Reader, build, files, load

from triohttp import App, PerMessageDeflate, Request, WebSocket
from triohttp.errors import WebSocketClosedError
from triohttp.testing import RawConnection

if TYPE_CHECKING:
    from conftest import Network

LONG_BYTES = 200
ALIVE = b"are you there?"
KEY = "dGhlIHNhbXBsZSBub25jZQ=="
TLS_FILES = {"framing"}
"""Under TLS a part will do: what differs there is how a connection ends."""


def ways(data: bytes, kind: str) -> Iterator[tuple[str, list[bytes]]]:
    """Yield ways for an input to arrive: whole, and in memory byte by byte where that is cheap."""
    yield "whole", [data]
    if kind == "memory" and 1 < len(data) <= LONG_BYTES:
        yield "byte by byte", [data[i : i + 1] for i in range(len(data))]


@contextmanager
def named(*names: object) -> Iterator[None]:
    """Say in an error of the block what it was about."""
    try:
        yield
    except BaseException as exc:
        exc.add_note(f"in {', '.join(map(str, names))}")
        raise


def compression_of(case: Case) -> PerMessageDeflate | None:
    """Return what an end says about compression so that it comes to what the case has."""
    if case.deflate is None:
        return None
    return PerMessageDeflate(context_takeover=True, window_bits=15, min_bytes=0)


def extension_of(case: Case) -> str:
    """Return a field that asks for what the case has, or grants it."""
    if case.deflate is None:
        return ""
    bits, takeover = case.deflate["window_bits"], case.deflate["takeover"]
    parameters = f"; server_max_window_bits={bits}; client_max_window_bits={bits}"
    if not takeover:
        parameters += "; server_no_context_takeover; client_no_context_takeover"
    return f"Sec-WebSocket-Extensions: permessage-deflate{parameters}\r\n"


def is_message(event: tuple[str, bytes]) -> bool:
    return event[0] in ("text", "binary")


class Echo:
    """What one end did with a case."""

    def __init__(self, case: Case) -> None:
        self.case = case
        self.messages: list[str | bytes] = []
        self.end: tuple[int | None, str | None, bool] | None = None
        self.reason: str | None = None
        self.done = trio.Event()

    async def run(self, websocket: WebSocket) -> None:
        """Send every message back, and note how it ends."""
        failed = False
        try:
            async for message in websocket:
                self.messages.append(message)
                await websocket.send(message)
        except WebSocketClosedError as exc:
            failed = True
            assert exc.code == websocket.close_code
        self.end = (websocket.close_code, websocket.closed_by, failed)
        self.reason = websocket.close_reason

    def check(self) -> None:
        """See that the program was told what the case says."""
        case = self.case
        fine = (1000, 1001, 1005)
        expected = {
            "open": (1000, "peer", False),
            "cut": (1006, None, True),
            "closed": (case.code, "peer", case.code not in fine),
            "failed": (case.code, "self", True),
        }[case.then]
        assert self.end == expected
        assert case.reason is None or self.reason == case.reason
        assert self.messages[: len(case.messages)] == case.messages
        assert len(self.messages) == len(case.messages)


class Peer:
    """The other end: sends the input of a case and reads what comes back.

    Args:
        raw: the connection, after the handshake.
        case: what to play.
        of: the role of the end under test.
        ends_first: end the stream after the close frames; otherwise that is awaited.
    """

    def __init__(self, raw: RawConnection, case: Case, *, of: str, ends_first: bool) -> None:
        self.raw = raw
        self.case = case
        self._masks = of == "server"
        self._ends_first = ends_first
        self._reader = Reader(masked=not self._masks, deflate=case.deflate)
        self._turn = trio.Lock()
        self._asked = False
        self._echoed = trio.Event()
        if not case.messages:
            self._echoed.set()
        self.events: list[tuple[str, bytes]] = []

    async def converse(self, pieces: Sequence[bytes]) -> None:
        """Play the case to its end; nothing may come behind the close frame."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._send, pieces)
            while not self._ended and (data := await self._receive()):
                self.events += self._reader.feed(data)
                if self._echoes == self.case.messages:
                    self._echoed.set()
                if self._echoed.is_set() and ("pong", ALIVE) in self.events and not self._ended:
                    await self._send([build({"close": 1000}, masked=self._masks)])
            if self._ended:
                if self._ends_first:
                    async with self._turn:
                        await self.raw.send_eof()
                assert await self.raw.read_until_closed() == self._reader.unread == b""
            nursery.cancel_scope.cancel()

    async def _send(self, pieces: Sequence[bytes]) -> None:
        async with self._turn:
            try:
                for piece in pieces:
                    await self.raw.send_all(piece)
                if self.case.then == "cut":
                    await self._echoed.wait()
                    await self.raw.send_eof()
                elif self.case.then == "open" and not self._asked:
                    self._asked = True
                    await self.raw.send_all(build({"ping": ALIVE.decode()}, masked=self._masks))
            except trio.BrokenResourceError:
                pass  # it failed in the middle

    async def _receive(self) -> bytes:
        try:
            return await self.raw.receive_some()
        except trio.BrokenResourceError:
            assert self.case.then == "cut"  # what was lost may be reset
            return b""

    @property
    def _ended(self) -> bool:
        return "close" in dict(self.events)

    @property
    def _echoes(self) -> list[str | bytes]:
        return [data.decode() if kind == "text" else data for kind, data in filter(is_message, self.events)]

    def check(self) -> None:
        """See that what came back is what the case calls for."""
        case = self.case
        assert self._echoes == case.messages
        pongs = [data for kind, data in self.events if kind == "pong"]
        expected = [*case.pings, *([ALIVE] if case.then == "open" else [])]
        waiting = iter(expected)
        assert all(pong in waiting for pong in pongs), "pongs are those of the pings, in order, and may be left out"
        for pong in set(pongs) - {ALIVE}:  # and no answer to what came after a ping goes before its pong
            before = self.events[: self.events.index(("pong", pong))]
            asked = case.events[: case.events.index(("ping", pong))]
            assert sum(map(is_message, before)) <= sum(map(is_message, asked))
        closes = [data[:2] for kind, data in self.events if kind == "close"]
        code = 1000 if case.then == "open" else case.code
        assert closes == ([] if code is None else [b""] if code == 1005 else [code.to_bytes(2, "big")])
        assert case.then != "open" or pongs[-1] == ALIVE
        assert not closes or self.events[-1][0] == "close"


async def ask(raw: RawConnection, case: Case) -> None:
    """Open a WebSocket at a server."""
    await raw.send_all(
        b"GET / HTTP/1.1\r\nHost: raw.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        + f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n{extension_of(case)}\r\n".encode()
    )
    response = await raw.read_response()
    assert response.status == 101
    assert ("sec-websocket-extensions" in response.headers) is (case.deflate is not None)


async def answer(raw: RawConnection, case: Case) -> None:
    """Let a client open a WebSocket."""
    request = await raw.read_request()
    key = request.headers["sec-websocket-key"] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
    accept = base64.b64encode(hashlib.sha1(key.encode(), usedforsecurity=False).digest()).decode()
    await raw.send_all(
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        + f"Sec-WebSocket-Accept: {accept}\r\n{extension_of(case)}\r\n".encode()
    )


@pytest.fixture(params=files(), ids=lambda path: path.stem)
def frame_corpus(request: pytest.FixtureRequest) -> list[Case]:
    """Each file of frames in turn; some of them under TLS."""
    path: Path = request.param
    kind = str(request.node.callspec.params["network"])
    return load(path) if not kind.startswith("tls") or path.stem in TLS_FILES else load(path)[:8]


@pytest.mark.corpus
@pytest.mark.wall_seconds(60)
async def test_a_handler_takes_frames_as_the_corpus_says(network: Network, frame_corpus: list[Case]) -> None:
    """Messages reach it in order, its answers go out before the end, and the end is what the case says."""
    app = App()
    echoes: list[Echo] = []

    @app.get("/")
    async def echo(request: Request) -> None:
        one = echoes[-1]
        async with request.websocket(limits=one.case.limits, compression=compression_of(one.case)) as websocket:
            await one.run(websocket)
        one.done.set()

    async with network.new_site(app) as site:
        for case in frame_corpus:
            if "server" not in case.roles:
                continue
            for way, pieces in ways(case.input("server"), network.kind):
                with named(repr(case.name), way):
                    echoes.append(Echo(case))
                    async with await site.open_raw() as raw:
                        await ask(raw, case)
                        peer = Peer(raw, case, of="server", ends_first=network.tls is not None)
                        await peer.converse(pieces)
                        peer.check()
                    await echoes[-1].done.wait()
                    echoes[-1].check()


@pytest.mark.corpus
@pytest.mark.wall_seconds(60)
async def test_a_client_takes_frames_as_the_corpus_says(network: Network, frame_corpus: list[Case]) -> None:
    """Messages reach it in order, its answers go out before the end, and the end is what the case says."""
    current: dict[str, Any] = {}

    async def script(raw: RawConnection) -> None:
        await answer(raw, current["case"])
        peer = current["peer"] = Peer(raw, current["case"], of="client", ends_first=True)
        await peer.converse(current["pieces"])
        await raw.aclose()

    async with network.open_script(script) as new_client, new_client() as client:
        for case in frame_corpus:
            if "client" not in case.roles:
                continue
            for way, pieces in ways(case.input("client"), network.kind):
                current |= {"case": case, "pieces": pieces}
                with named(repr(case.name), way):
                    echo = Echo(case)
                    options = {"limits": case.limits, "compression": compression_of(case)}
                    async with client.websocket("/", **options) as websocket:
                        await echo.run(websocket)
                    echo.check()
                    current["peer"].check()
