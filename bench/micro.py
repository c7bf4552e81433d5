"""What single parts cost in memory, without sockets and without trio; ``run.py micro`` runs it where the peers are.

Rule 1: a reading is processor time a call over about 0.1 s of calls; peers' parts alternate with ours.
Rule 2: nothing is the same twice where a part may remember what it has parsed (the addresses).
"""

from __future__ import annotations

import itertools
import json
import sys
import time
import timeit
from collections.abc import Callable

import h11
import httpx
import yarl
from harness.echoes import message_and_echo
from harness.hostile_head import HOSTILE
from harness.load import FIELDS, TARGET
from websockets.protocol import OPEN, SERVER, Protocol
from wsproto.connection import Connection, ConnectionType
from wsproto.events import BytesMessage

from triohttp import URL, Headers, Limits
from triohttp._values.limits import WebSocketLimits
from triohttp._values.message import RequestHead
from triohttp._wire.events import EndOfContent, Role
from triohttp._wire.h1 import H1Wire
from triohttp._wire.websocket import WebSocketWire
from triohttp.errors import RemoteProtocolError

CONTENT = b"Hello, world!"
ANSWER = [(b"content-type", b"text/plain; charset=utf-8"), (b"date", b"Fri, 20 Nov 2026 12:00:00 GMT")]
ADDRESS = "http://127.0.0.1:8080/hello/world?page=2"
SECONDS_A_READING = 0.1


def request(fields: int) -> bytes:
    """Return the request that wrk sends, with so many header fields."""
    return "\r\n".join([f"GET {TARGET} HTTP/1.1", "Host: 127.0.0.1:8080", *FIELDS[fields], "", ""]).encode()


def own_exchange(data: bytes) -> Callable[[], bytes]:
    """Return one request in and one answer out through our wire, strict checks and guard included."""
    wire = H1Wire(Role.SERVER, Limits())

    def exchange() -> bytes:
        wire.receive(data)
        head, end = wire.next_event(), wire.next_event()
        assert isinstance(head, RequestHead)
        assert isinstance(end, EndOfContent)
        answer = wire.send_response(200, ANSWER, len(CONTENT)) + wire.send_content(CONTENT) + wire.send_end()
        wire.start_next_cycle()
        return answer

    return exchange


def h11_exchange(data: bytes) -> Callable[[], bytes]:
    """Return the same through h11 alone."""
    wire = h11.Connection(h11.SERVER)
    fields = [*ANSWER, (b"content-length", b"13")]

    def exchange() -> bytes:
        wire.receive_data(data)
        head, end = wire.next_event(), wire.next_event()
        assert isinstance(head, h11.Request)
        assert isinstance(end, h11.EndOfMessage)
        answer = [
            wire.send(h11.Response(status_code=200, headers=fields, reason=b"OK")),
            wire.send(h11.Data(data=CONTENT)),
            wire.send(h11.EndOfMessage()),
        ]
        wire.start_next_cycle()
        return b"".join(part for part in answer if part)

    return exchange


def hostile_head(data: bytes, limits: Limits) -> Callable[[], int | None]:
    """Return the refusal of one head by a fresh wire."""

    def refuse() -> int | None:
        wire = H1Wire(Role.SERVER, limits)
        wire.receive(data)
        try:
            wire.next_event()
        except RemoteProtocolError as error:
            return error.suggested_status
        raise AssertionError("the head was taken")

    return refuse


def own_echo(size: int) -> Callable[[], bytes]:
    """Return one message in and the same one out through our WebSocket wire, bounds included."""
    wire = WebSocketWire(Role.SERVER, WebSocketLimits())
    frame, answer = message_and_echo(size)

    def echo() -> bytes:
        wire.receive(frame)
        event = wire.next_event()
        assert isinstance(event, BytesMessage)
        out = wire.send_message(event.data)
        assert wire.next_event() is None
        return out

    assert echo() == answer
    return echo


def wsproto_echo(size: int) -> Callable[[], bytes]:
    """Return the same through wsproto alone."""
    wire = Connection(ConnectionType.SERVER)
    frame, answer = message_and_echo(size)

    def echo() -> bytes:
        wire.receive_data(frame)
        out = b""
        for event in wire.events():
            assert isinstance(event, BytesMessage)
            out = wire.send(BytesMessage(event.data))
        return out

    assert echo() == answer
    return echo


def websockets_echo(size: int) -> Callable[[], bytes]:
    """Return the same through the protocol of the websockets package, which unmasks in C."""
    wire = Protocol(SERVER, state=OPEN)
    frame, answer = message_and_echo(size)

    def echo() -> bytes:
        wire.receive_data(frame)
        for event in wire.events_received():
            wire.send_binary(event.data)  # type: ignore[union-attr]  # there are only frames after the handshake
        return b"".join(wire.data_to_send())

    assert echo() == answer
    return echo


def three_lookups(lines: list[tuple[bytes, bytes]]) -> Callable[[], str | None]:
    """Return what a typical middleware does to a head that came in: take it over, look up three names."""

    def look() -> str | None:
        headers = Headers.from_wire(lines.copy())
        headers.get("accept-encoding")
        headers.get("Cookie")
        return headers.get("x-request-id")

    return look


def cases() -> dict[str, Callable[[], object]]:
    """Return every case by its name."""
    wide = Limits(max_head_bytes=1 << 20, max_line_bytes=1 << 20)
    lines = h11_lines(request(11))
    result: dict[str, Callable[[], object]] = {}
    for fields in FIELDS:
        result[f"request in, answer out, {fields} fields: triohttp's wire"] = own_exchange(request(fields))
        result[f"request in, answer out, {fields} fields: h11 alone"] = h11_exchange(request(fields))
    result["64 KiB of spaces and NUL refused: default limits"] = hostile_head(HOSTILE, Limits())
    result["64 KiB of spaces and NUL refused: limits of 1 MiB"] = hostile_head(HOSTILE, wide)
    for size, shown in ((64, "64 B"), (16_384, "16 KiB")):
        result[f"WebSocket message of {shown} in and out: triohttp's wire"] = own_echo(size)
        result[f"WebSocket message of {shown} in and out: wsproto alone"] = wsproto_echo(size)
        result[f"WebSocket message of {shown} in and out: websockets"] = websockets_echo(size)
    result["Headers of 11 lines from the wire, three lookups"] = three_lookups(lines)
    result["Headers of a mapping of one"] = lambda: Headers({"content-type": "text/plain"})
    number = itertools.count()
    result["URL parsed: triohttp"] = lambda: URL(f"{ADDRESS}{next(number)}")
    result["URL parsed: httpx"] = lambda: httpx.URL(f"{ADDRESS}{next(number)}")
    result["URL parsed: yarl (C)"] = lambda: yarl.URL(f"{ADDRESS}{next(number)}")
    base = URL(ADDRESS)
    result["URL joined: triohttp"] = lambda: base.join(f"../other?x={next(number)}")
    return result


def h11_lines(data: bytes) -> list[tuple[bytes, bytes]]:
    """Return the field lines of a request as h11 reads them."""
    wire = h11.Connection(h11.SERVER)
    wire.receive_data(data)
    head = wire.next_event()
    assert isinstance(head, h11.Request)
    return list(head.headers.raw_items())


def main() -> None:
    repeats = int(sys.argv[1])
    timers = {name: timeit.Timer(case, timer=time.process_time) for name, case in cases().items()}
    counts = {name: max(1, round(SECONDS_A_READING / (timer.timeit(20) / 20))) for name, timer in timers.items()}
    readings: dict[str, list[float]] = {name: [] for name in timers}
    for _ in range(repeats):
        for name, timer in timers.items():
            readings[name].append(timer.timeit(counts[name]) / counts[name] * 1e6)
    print(json.dumps(readings))


if __name__ == "__main__":
    main()
