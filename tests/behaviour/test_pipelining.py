"""Requests sent without waiting for the answers: one at a time, in order, and no faster than they are answered."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
import trio

from triohttp import App, Request, Response

if TYPE_CHECKING:
    from conftest import Network

MEMORY = ["memory", "tls-memory"]
KIB = 1024


class Desk:
    """An app that answers slowly, and notes what it was asked and how many handlers were at work at once."""

    def __init__(self, seconds: float = 0.0) -> None:
        self.asked: list[str] = []
        self.working = 0
        self.most = 0
        self.app = App()

        @self.app.get("/{number}")
        async def answer(request: Request) -> Response:
            self.working += 1
            self.most = max(self.most, self.working)
            self.asked.append(request.path_params["number"])
            await trio.sleep(seconds)
            self.working -= 1
            return Response.text(request.path_params["number"])


def get(number: int, *, padding: int = 0) -> bytes:
    return b"GET /%d HTTP/1.1\r\nHost: h\r\nX: %b\r\n\r\n" % (number, b"x" * padding)


async def test_answers_come_in_order_one_at_a_time(network: Network) -> None:
    """However many requests a segment holds, one handler works at a time."""
    desk = Desk()
    await network.serve(desk.app)
    raw = await network.open_raw()
    await raw.send_all(b"".join(map(get, range(20))))
    for number in range(20):
        assert (await raw.read_response()).content == b"%d" % number
    assert desk.most == 1


@pytest.mark.parametrize("network", MEMORY, indirect=True)
async def test_requests_wait_outside_while_one_is_answered(network: Network) -> None:
    """A client that sends requests without end is held up by its own buffer, and loses none of them."""
    desk = Desk(seconds=1)
    await network.serve(desk.app)
    raw = await network.open_raw()
    count, sent = 500, 0

    async def send() -> None:
        nonlocal sent
        for number in range(count):
            request = get(number, padding=1000)
            if number == count - 1:
                request = request.replace(b"Host", b"Connection: close\r\nHost")
            await raw.send_all(request)
            sent += len(request)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(send)
        await trio.sleep(0.9)
        assert len(desk.asked) == 1
        assert sent <= 64 * KIB + 16 * KIB + 64 * KIB  # the buffer between the two, one read, and one read ahead
        answers = re.findall(rb"\r\n\r\n([0-9]+)", await raw.read_until_closed())
    assert answers == [b"%d" % number for number in range(count)]
    assert desk.most == 1


@pytest.mark.parametrize("network", MEMORY, indirect=True)
async def test_a_bad_request_waits_for_the_answer_before_it(network: Network) -> None:
    """What is wrong with the second request does not take the answer of the first away."""
    desk = Desk(seconds=10)
    await network.serve(desk.app)
    raw = await network.open_raw()
    start = trio.current_time()
    await raw.send_all(get(1) + b"G@T / HTTP/1.1\r\nHost: h\r\n\r\n" + get(3))
    assert (await raw.read_response()).content == b"1"
    assert trio.current_time() - start == pytest.approx(10)
    assert (await raw.read_response()).status == 400
    assert await raw.read_until_closed() == b""
    assert desk.asked == ["1"]


async def test_nothing_after_the_last_request_is_served(network: Network) -> None:
    """A client that says close is answered, and what it sends after that is not looked at."""
    desk = Desk()
    await network.serve(desk.app)
    raw = await network.open_raw()
    await raw.send_all(get(1).replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n") + get(2) + b"\x00")
    response = await raw.read_response()
    assert (response.content, response.headers["connection"]) == (b"1", "close")
    assert await raw.read_until_closed() == b""
    assert desk.asked == ["1"]
