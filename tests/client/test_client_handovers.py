"""A connection that a waiter is handed has the deadlines of any connection, and closing the client ends it too."""

from __future__ import annotations

import math
from functools import partial

import pytest
import trio
import trio.testing

from triohttp import Client, ClientLimits, ClientTimeouts
from triohttp.errors import ClientClosedError, WriteTimeout
from triohttp.testing import RawConnection, open_scripted

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


async def test_a_request_after_a_wait_has_the_time_of_any_request(autojump_clock: trio.testing.MockClock) -> None:
    """Sending on a connection that was waited for is bounded by ``write_idle_seconds``, and not by the pool's bound."""
    answer = trio.Event()

    async def script(connection: RawConnection) -> None:
        await connection.read_request()
        await answer.wait()
        await connection.send_all(OK)
        await trio.sleep_forever()

    timeouts = ClientTimeouts(pool_seconds=10.0, write_idle_seconds=5.0)
    async with (
        open_scripted(script, max_buffer_bytes=100) as server,
        Client(mounts={server.url: server}, limits=ClientLimits(connections=1), timeouts=timeouts) as client,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(partial(client.get, server.url, timeouts=timeouts.replace(head_seconds=math.inf)))
        await trio.testing.wait_all_tasks_blocked()

        async def answer_late() -> None:
            await trio.sleep(9.0)
            answer.set()

        nursery.start_soon(answer_late)
        started = trio.current_time()
        with pytest.raises(WriteTimeout) as caught:
            await client.post(server.url, content=b"x" * 1000)
        assert trio.current_time() - started == 14.0
        assert (caught.value.phase, caught.value.sent, caught.value.safe_to_retry) == ("send", True, False)


async def test_a_waiter_that_was_just_served_hears_that_its_client_is_closed() -> None:
    """Between the hand-over and the waiter's next step the client may be closed: ClientClosedError, on sockets too."""
    answer = trio.Event()

    async def serve(stream: trio.SocketStream) -> None:
        async with RawConnection(stream) as connection:
            await connection.read_request()
            await answer.wait()
            await connection.send_all(OK)
            await connection.read_until_closed()

    async with trio.open_nursery() as servers:
        listeners = await servers.start(partial(trio.serve_tcp, serve, 0, host="127.0.0.1"))
        url = f"http://127.0.0.1:{listeners[0].socket.getsockname()[1]}/"
        errors: list[ClientClosedError] = []

        async def ask() -> None:
            try:
                await client.get(url)
            except ClientClosedError as exc:
                errors.append(exc)

        async with trio.open_nursery() as callers:
            async with Client(limits=ClientLimits(connections=1)) as client:
                callers.start_soon(ask)
                await trio.testing.wait_all_tasks_blocked()
                callers.start_soon(ask)
                await trio.testing.wait_all_tasks_blocked()
                answer.set()
                while client.pool.statistics().waiting:
                    await trio.lowlevel.checkpoint()
        assert len(errors) == 1
        servers.cancel_scope.cancel()


async def test_nothing_is_sent_on_a_connection_that_opens_as_its_client_closes() -> None:
    """A dial that is over in the step in which the client is closed comes to nothing; nothing was sent."""

    class LastMoment:
        """An origin that closes the client with its last step."""

        async def connect(self) -> trio.abc.Stream:
            stream = await server.connect()
            client.pool.close()
            return stream

    async with open_scripted(RawConnection.read_until_closed) as server:
        async with Client(mounts={server.url: LastMoment()}) as client:
            with pytest.raises(ClientClosedError) as caught:
                await client.post(server.url, content=b"x")
            assert (caught.value.sent, caught.value.safe_to_retry) == (False, True)
        await trio.testing.wait_all_tasks_blocked()
        assert server.connections[0].received == b""
