"""What a look ahead brought in is received as if it came in only then."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from triohttp._connection.transport import StreamTransport
from triohttp.testing import memory_stream_pair


async def test_what_was_read_ahead_comes_in_the_pieces_asked_for() -> None:
    """A receive returns at most what was asked for; the rest is there for the next ones, in order."""
    near, far = memory_stream_pair()
    transport = StreamTransport(near)
    await far.send_all(b"abcdefg")
    assert await transport.look() == b"abcdefg"
    assert await transport.receive(3) == b"abc"
    assert transport.receive_nowait(3) == b"def"
    assert await transport.receive(3) == b"g"
    transport.close()


async def test_receiving_what_was_read_ahead_is_a_checkpoint() -> None:
    """It lets others run, and a cancellation there loses nothing."""
    near, far = memory_stream_pair()
    transport = StreamTransport(near)
    await far.send_all(b"abc")
    await transport.look()
    with trio.CancelScope() as scope:
        scope.cancel()
        await transport.receive(3)
    assert scope.cancelled_caught
    with trio.testing.assert_checkpoints():
        assert await transport.receive(3) == b"abc"
    transport.close()


@pytest.mark.parametrize("times", [1, 3])
async def test_the_end_of_a_stream_stays_its_end(times: int) -> None:
    """An end that a look has seen is seen by every receive after it."""
    near, far = memory_stream_pair()
    transport = StreamTransport(near)
    far.close()
    assert await transport.look() == b""
    assert [await transport.receive(10) for _ in range(times)] == [b""] * times
    transport.close()
