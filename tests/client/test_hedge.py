"""One request against itself: which answer wins, and that the others are over then."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
import trio.testing
from cancelling import check_cancelling_anywhere

from triohttp import Client, ClientAnswer, ClientLimits, ClientRequest, ClientTimeouts, Send
from triohttp.errors import (
    BodyTooLargeError,
    ClientClosedError,
    DisconnectedError,
    LocalProtocolError,
    TotalTimeout,
)
from triohttp.testing import RawConnection, open_scripted

Step = tuple[float, int] | str
"""Seconds until an answer and its status, or ``reset``, or ``never``."""


class Tries:
    """What a server has seen of the attempts of one request."""

    def __init__(self, client: Client, url: str) -> None:
        self.client = client
        self.url = url
        self.began: list[float] = []
        self.requests: list[Any] = []
        self.left = 0


@asynccontextmanager
async def open_tries(*steps: Step, **options: Any) -> AsyncIterator[Tries]:
    """Open a server whose nth request gets what the nth step says."""
    rest = list(steps)

    async def script(raw: RawConnection) -> None:
        while True:
            tries.requests.append(await raw.read_request())
            tries.began.append(trio.current_time() - start)
            step = rest.pop(0) if rest else (0, 200)
            if step == "reset":
                raw.reset()
                return
            if isinstance(step, str):
                try:
                    await raw.receive_some()  # until the client hangs up
                finally:
                    tries.left += 1
                return
            seconds, status = step
            await trio.sleep(seconds)
            content = b"%d" % len(tries.began)
            await raw.send_all(b"HTTP/1.1 %d X\r\nContent-Length: %d\r\n\r\n%s" % (status, len(content), content))

    async with open_scripted(script) as server:
        async with Client(server.url, mounts={server.url: server}, **options) as client:
            tries = Tries(client, server.url)
            start = trio.current_time()
            yield tries
            statistics = client.pool.statistics()
            assert (statistics.in_use, statistics.connecting, statistics.waiting) == (0, 0, 0)
    assert not rest


async def test_a_fast_answer_needs_no_second_attempt(autojump_clock: trio.testing.MockClock) -> None:
    """The request is sent once when it is answered in time."""
    async with open_tries((0.9, 200)) as tries:
        response = await tries.client.hedge("GET", "/", after_seconds=1)
        assert (response.status, response.content, response.elapsed) == (200, b"1", 0.9)
        assert tries.began == [0]


async def test_the_faster_attempt_wins(autojump_clock: trio.testing.MockClock) -> None:
    """The second when it is, and then the first is cancelled, its connection closed."""
    async with open_tries("never", (1, 200)) as tries:
        response = await tries.client.hedge("GET", "/", after_seconds=2)
        assert (response.content, response.elapsed) == (b"2", 3)
        assert tries.began == [0, 2]
        await trio.testing.wait_all_tasks_blocked()
        assert tries.left == 1


async def test_the_first_attempt_may_still_win(autojump_clock: trio.testing.MockClock) -> None:
    """A second that has begun changes nothing about that."""
    async with open_tries((3, 200), "never") as tries:
        response = await tries.client.hedge("GET", "/", after_seconds=2)
        assert response.elapsed == 3
        assert tries.began == [0, 2]


async def test_attempts_come_one_after_the_other(autojump_clock: trio.testing.MockClock) -> None:
    """``after_seconds`` apart, and never more than ``attempts``."""
    async with open_tries((10, 200), "never", "never", "never") as tries:
        response = await tries.client.hedge("GET", "/", after_seconds=2, attempts=4)
        assert (response.status, response.elapsed) == (200, 10)
        assert tries.began == [0, 2, 4, 6]


@pytest.mark.parametrize("failure", ["reset", (0.5, 500), (0.5, 503), (0.5, 429)], ids=str)
async def test_a_failure_is_followed_at_once(failure: Step, autojump_clock: trio.testing.MockClock) -> None:
    """There is nothing to wait for any more."""
    async with open_tries(failure, (1, 200)) as tries:
        response = await tries.client.hedge("GET", "/", after_seconds=60)
        assert response.status == 200
        assert tries.began == [0, 0 if failure == "reset" else 0.5]


@pytest.mark.parametrize("status", [204, 301, 404, 412])
async def test_an_answer_that_would_be_the_same_wins(status: int, autojump_clock: trio.testing.MockClock) -> None:
    """Only 429 and 5xx may be better from somebody else."""
    async with open_tries((0, status)) as tries:
        assert (await tries.client.hedge("HEAD", "/", after_seconds=1)).status == status
        assert tries.began == [0]


@pytest.mark.parametrize(
    ("steps", "outcome"),
    [
        (["reset", "reset"], DisconnectedError),
        ([(0, 503), (0, 500)], 503),
        ([(5, 503), (0, 500)], 500),
        (["reset", (0, 500)], 500),
        ([(5, 500), "reset"], 500),
    ],
    ids=str,
)
async def test_when_no_attempt_is_good(
    steps: list[Step], outcome: int | type[Exception], autojump_clock: trio.testing.MockClock
) -> None:
    """The answer that came first, else the error that did."""
    async with open_tries(*steps) as tries:
        if isinstance(outcome, int):
            assert (await tries.client.hedge("GET", "/", after_seconds=1)).status == outcome
        else:
            with pytest.raises(outcome) as caught:
                await tries.client.hedge("GET", "/", after_seconds=1)
            assert not isinstance(caught.value.__context__, ExceptionGroup)
        assert len(tries.began) == 2


async def test_an_error_that_would_be_the_same_ends_it(autojump_clock: trio.testing.MockClock) -> None:
    """A bound that is passed would be passed again."""
    async with open_tries((0, 200), limits=ClientLimits(max_body_bytes=0)) as tries:
        with pytest.raises(BodyTooLargeError):
            await tries.client.hedge("GET", "/", after_seconds=1)
        assert tries.began == [0]


async def test_what_middleware_raises_ends_it(autojump_clock: trio.testing.MockClock) -> None:
    """As it was raised, with the other attempt cancelled."""
    calls: list[int] = []

    async def middleware(request: ClientRequest, send: Send) -> ClientAnswer:
        calls.append(len(calls))
        if len(calls) == 2:
            raise KeyError("mine")
        return await send(request)

    async with open_tries("never", middleware=[middleware]) as tries:
        with pytest.raises(KeyError, match="mine"):
            await tries.client.hedge("GET", "/", after_seconds=1)
        await trio.testing.wait_all_tasks_blocked()
        assert tries.left == 1


async def test_total_seconds_bounds_all_attempts(autojump_clock: trio.testing.MockClock) -> None:
    """The time of the call runs from its beginning, whichever attempt it is spent on."""
    timeouts = ClientTimeouts(total_seconds=5)
    async with open_tries("never", "never") as tries:
        with pytest.raises(TotalTimeout):
            await tries.client.hedge("GET", "/", after_seconds=2, timeouts=timeouts)
        assert trio.current_time() == 5
    async with open_tries((2, 503), "never") as tries:
        begun = trio.current_time()
        assert (await tries.client.hedge("GET", "/", after_seconds=9, timeouts=timeouts)).status == 503
        assert trio.current_time() - begun == 5


async def test_whole_content_goes_out_with_each_attempt(autojump_clock: trio.testing.MockClock) -> None:
    """And header fields do, an Idempotency-Key being one that makes it right."""
    async with open_tries("never", (0, 200)) as tries:
        headers = {"Idempotency-Key": "k"}
        await tries.client.hedge("POST", "/", after_seconds=1, json={"a": 1}, headers=headers)
        assert [one.content for one in tries.requests] == [b'{"a":1}'] * 2
        assert [one.headers["idempotency-key"] for one in tries.requests] == ["k"] * 2


async def test_what_may_not_be_sent_twice_is_refused(autojump_clock: trio.testing.MockClock) -> None:
    """Before anything is sent, unless the program says that it may."""
    async with open_tries("never") as tries:
        with pytest.raises(LocalProtocolError, match="POST may not be sent twice"):
            await tries.client.hedge("POST", "/", after_seconds=1)
        with pytest.raises(LocalProtocolError, match="GET may not be sent twice"):
            await tries.client.hedge("GET", "/", after_seconds=1, idempotent=False)
        with pytest.raises(TypeError, match="several times at once"):
            await tries.client.hedge("PUT", "/", after_seconds=1, content=iter([b"x"]))
        assert tries.began == []
        assert (await tries.client.hedge("POST", "/", after_seconds=1, idempotent=True)).status == 200


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"after_seconds": -1}, "after_seconds must be at least 0, not -1"),
        ({"after_seconds": float("nan")}, "after_seconds must be at least 0"),
        ({"after_seconds": 1, "attempts": 0}, "attempts must be an integer of at least 1, not 0"),
    ],
)
async def test_a_race_that_makes_no_sense(options: dict[str, Any], message: str) -> None:
    """It is refused."""
    async with open_tries() as tries:
        with pytest.raises(ValueError, match=re.escape(message)):
            await tries.client.hedge("GET", "/", **options)


async def test_cancelling_a_race(autojump_clock: trio.testing.MockClock) -> None:
    """Ends both attempts; what comes out is no group."""
    async with open_tries("never", "never") as tries:
        with trio.move_on_after(5) as scope:
            try:
                await tries.client.hedge("GET", "/", after_seconds=2)
            except trio.Cancelled:
                raise
            except BaseException as exc:
                raise AssertionError from exc
        assert scope.cancelled_caught
        await trio.testing.wait_all_tasks_blocked()
        assert tries.left == 2


async def test_the_client_is_closed_during_a_race(autojump_clock: trio.testing.MockClock) -> None:
    """Both attempts end with it."""
    async with open_tries("never", "never") as tries, trio.open_nursery() as nursery:

        async def close() -> None:
            await trio.sleep(3)
            await tries.client.aclose()

        nursery.start_soon(close)
        with pytest.raises(ClientClosedError):
            await tries.client.hedge("GET", "/", after_seconds=2)


async def race(client: Client, url: str) -> None:
    response = await client.hedge("GET", url, after_seconds=1, attempts=3)
    assert response.content == b"ok"


@pytest.mark.sweep
@pytest.mark.wall_seconds(120)
@pytest.mark.parametrize("every_task", [False, True])
def test_cancelling_a_race_anywhere_leaks_nothing(every_task: bool) -> None:
    """Every slot is there afterwards, and the client goes on working."""
    check_cancelling_anywhere(race, every_task=every_task)
