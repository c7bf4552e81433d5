"""A peer's end that is heard while a send is on its way: did bytes go out after it, so that its system will answer?"""

from __future__ import annotations

from collections.abc import Callable

import pytest
import trio

from triohttp import Limits, Timeouts
from triohttp._connection.transport import Pace
from triohttp.lowlevel import Connection, ConnectionInfo, H1Wire, Role


class Line:
    """A transport whose sends do something on the way, and that says whether it is a socket used directly."""

    reading = writing = closed = False

    def __init__(self, watchable: bool) -> None:
        self.watchable = watchable
        self.on_send: Callable[[Pace | None], None] = lambda pace: None

    async def send_all(self, data: bytes, pace: Pace | None) -> None:
        self.on_send(pace)
        await trio.lowlevel.checkpoint()


def handled_connection(line: Line) -> Connection:
    """A server's connection on which a handler runs."""
    wire = H1Wire(Role.SERVER, Limits())
    connection = Connection(line, wire, ConnectionInfo(), timeouts=Timeouts())  # type: ignore[arg-type]  # what is used
    connection.begin_handling()
    return connection


def is_cancelled_later(connection: Connection) -> bool:
    connection.late(trio.current_time() + Timeouts().half_close_seconds)
    return connection.cancel_reason == "client disconnected"


@pytest.mark.parametrize("watchable", [True, False])
async def test_an_end_heard_after_the_bytes_cancels(watchable: bool, autojump_clock: trio.abc.Clock) -> None:
    """A send that did not wait and then yielded is no write after the end that was heard in the yield."""
    line = Line(watchable)
    connection = handled_connection(line)
    line.on_send = lambda pace: connection.peer_ended(reset=False)
    await connection.transmit(b"first")
    assert is_cancelled_later(connection)


@pytest.mark.parametrize("watchable", [True, False])
async def test_a_write_after_the_end_leaves_the_handler_alone(watchable: bool, autojump_clock: trio.abc.Clock) -> None:
    """A peer that only closed its sending half is written to; one that is dead answers that write with a reset."""
    line = Line(watchable)
    connection = handled_connection(line)
    connection.peer_ended(reset=False)
    await connection.transmit(b"first")
    assert not is_cancelled_later(connection)


async def test_a_socket_that_had_to_wait_has_written_after_the_end(autojump_clock: trio.abc.Clock) -> None:
    """The last bytes of a send that waits go out when the wait is over, so after all that was heard meanwhile."""
    line = Line(watchable=True)
    connection = handled_connection(line)

    def wait_and_hear(pace: Pace | None) -> None:
        connection.write_waits(0)
        connection.peer_ended(reset=False)

    line.on_send = wait_and_hear
    await connection.transmit(b"first")
    assert not is_cancelled_later(connection)
