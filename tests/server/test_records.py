"""What the server says through logging: escaped, cut, limited, and only when somebody listens."""

from __future__ import annotations

import logging

import pytest
import trio

from triohttp import Headers
from triohttp._server.records import RejectLog, escape, show
from triohttp.errors import RemoteProtocolError
from triohttp.lowlevel import AccessRecord, ConnectionInfo, Exchange, ResponseHead
from triohttp.testing import open_in_process


async def hello(exchange: Exchange) -> None:
    await exchange.respond(ResponseHead(200, Headers()), b"hello")


def test_everything_outside_printable_ascii_is_escaped() -> None:
    """A record is one line whatever a peer sends."""
    assert escape(b'a\r\nb\x1b[2J"\xff\\', 80) == 'a\\x0d\\x0ab\\x1b[2J"\\xff\\x5c'
    assert len(escape(b"x" * 10_000, 80)) == 80


def test_addresses_are_shown_as_people_write_them() -> None:
    """IPv6 in brackets, paths as they are, nothing as a dash."""
    assert show(("127.0.0.1", 80)) == "127.0.0.1:80"
    assert show(("::1", 80)) == "[::1]:80"
    assert show("/run/app.sock") == "/run/app.sock"
    assert show(None) == "-"


def test_rejects_are_limited_for_each_slug_and_the_rest_is_counted(caplog: pytest.LogCaptureFixture) -> None:
    """Ten a second for one slug, others unharmed, and the next second says how many were left out."""
    now = 0.0
    log = RejectLog(lambda: now)
    info = ConnectionInfo(1, ("127.0.0.1", 5))
    with caplog.at_level(logging.INFO, "triohttp.reject"):
        for _ in range(25):
            log.write(RemoteProtocolError("x", slug="bare-lf"), 400, info, 1)
        log.write(RemoteProtocolError("x", slug="obs-fold"), 400, info, 1)
        assert len(caplog.records) == 11
        now = 1.5
        log.write(RemoteProtocolError("x", slug="bare-lf"), 400, info, 1)
    assert caplog.records[-1].getMessage().endswith("suppressed=15")


async def test_a_reject_is_one_record_and_one_access_record(caplog: pytest.LogCaptureFixture) -> None:
    """A refused request leaves its slug, its place and its first bytes, escaped."""
    with caplog.at_level(logging.INFO, "triohttp"):
        async with open_in_process(hello) as server, await server.open_raw() as raw:
            await raw.send_all(b"GET / HTTP/1.1\r\nHost: a\r\nX: a\rb\r\n\r\n")
            assert (await raw.read_response()).status == 400
    rejects = [record.getMessage() for record in caplog.records if record.name == "triohttp.reject"]
    access = [record for record in caplog.records if record.name == "triohttp.access"]
    assert len(rejects) == len(access) == 1
    assert "slug=bare-cr status=400" in rejects[0] and "at=head" in rejects[0]
    assert "\r" not in rejects[0] and "\n" not in rejects[0]


async def test_every_answer_is_one_access_record(caplog: pytest.LogCaptureFixture) -> None:
    """One typed record an answer, as the first argument of its log record."""
    with caplog.at_level(logging.INFO, "triohttp.access"):
        async with open_in_process(hello) as server, await server.open_raw() as raw:
            for target in (b"/one", b"/two%0d?q=1"):
                await raw.send_all(b"GET " + target + b" HTTP/1.1\r\nHost: a\r\n\r\n")
                await raw.read_response()
    records = [record.args[0] for record in caplog.records if isinstance(record.args, tuple)]
    assert all(isinstance(record, AccessRecord) for record in records)
    found = [(r.method, r.target, r.status, r.request, r.outcome) for r in records if isinstance(r, AccessRecord)]
    assert found == [("GET", "/one", 200, 1, "complete"), ("GET", "/two%0d?q=1", 200, 2, "complete")]


async def test_an_answer_that_was_cut_says_so(caplog: pytest.LogCaptureFixture) -> None:
    """The outcome of an answer that did not end is in its record."""

    async def half(exchange: Exchange) -> None:
        exchange.begin(ResponseHead(200, Headers()))
        await exchange.send(b"half")
        exchange.cut()

    with caplog.at_level(logging.INFO, "triohttp.access"):
        async with open_in_process(half) as server, await server.open_raw() as raw:
            await raw.send_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            with pytest.raises(trio.BrokenResourceError):
                await raw.read_until_closed()
    assert caplog.records[0].getMessage().endswith("cut")
