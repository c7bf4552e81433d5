"""A polite close is bounded, and a stream is closed at its end whatever happens on the way."""

from __future__ import annotations

import trio
import trio.testing

from triohttp._values.limits import Limits
from triohttp._values.message import ConnectionInfo
from triohttp.lowlevel import Connection, Role


class Stubborn(trio.abc.Stream):
    """A stream whose farewell takes for ever."""

    def __init__(self) -> None:
        self.aborted = False

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        raise AssertionError

    async def wait_send_all_might_not_block(self) -> None:
        raise AssertionError

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        raise AssertionError

    async def aclose(self) -> None:
        await trio.sleep_forever()

    def abort(self) -> None:
        self.aborted = True


def connection_over(stream: trio.abc.Stream) -> Connection:
    return Connection.over_stream(stream, Role.SERVER, Limits(), ConnectionInfo(1, None, None))


async def test_a_farewell_that_does_not_end_is_given_up(autojump_clock: trio.testing.MockClock) -> None:
    """After a second the stream is closed without it."""
    stream = Stubborn()
    await connection_over(stream).aclose()
    assert stream.aborted
    assert trio.current_time() == 1


async def test_a_cancelled_farewell_closes(autojump_clock: trio.testing.MockClock) -> None:
    """A cancellation of the close is no way to keep the stream open."""
    stream = Stubborn()
    with trio.move_on_after(0.5) as scope:
        await connection_over(stream).aclose()
    assert scope.cancelled_caught
    assert stream.aborted
