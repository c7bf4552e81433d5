"""One answer, several tasks: the second to receive is told, and the first goes on."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from triohttp import Client
from triohttp.errors import ClientClosedError
from triohttp.testing import RawConnection, open_scripted

HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n"


async def test_a_second_receiver_is_told(autojump_clock: trio.testing.MockClock) -> None:
    """Receiving in two tasks at once is BusyResourceError, and the bound of the first is as it was."""

    async def script(connection: RawConnection) -> None:
        await connection.read_request()
        await connection.send_all(HEAD)
        await trio.sleep(5)
        await connection.send_all(b"late")
        await connection.read_until_closed()

    async with (
        open_scripted(script) as server,
        Client(mounts={server.url: server}) as client,
        client.stream("GET", server.url) as response,
        trio.open_nursery() as nursery,
    ):
        received: list[bytes] = []

        async def receive() -> None:
            received.append(await response.body.receive_some())

        nursery.start_soon(receive)
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(trio.BusyResourceError):
            await response.body.receive_some()
        await trio.sleep(6)
        assert received == [b"late"]


async def test_whoever_receives_hears_of_a_failed_upload_in_spite_of_a_second_receiver() -> None:
    """The mistake of one task does not keep another from being woken."""
    fail = trio.Event()

    class Failing:
        def __aiter__(self) -> Failing:
            return self

        async def __anext__(self) -> bytes:
            await fail.wait()
            raise ValueError("no more")

    async def script(connection: RawConnection) -> None:
        await connection.read_until(b"\r\n\r\n")
        await connection.send_all(HEAD)
        await connection.read_until_closed()

    async with open_scripted(script) as server, Client(mounts={server.url: server}) as client:
        with pytest.raises(ValueError, match="no more"):
            async with (
                client.stream("POST", server.url, content=Failing()) as response,
                trio.open_nursery() as nursery,
            ):
                raised: list[Exception] = []

                async def receive() -> None:
                    try:
                        await response.body.receive_some()
                    except ValueError as exc:
                        raised.append(exc)

                nursery.start_soon(receive)
                await trio.testing.wait_all_tasks_blocked()
                with pytest.raises(trio.BusyResourceError):
                    await response.body.receive_some()
                fail.set()
        assert len(raised) == 1


@pytest.mark.parametrize("error", [trio.ClosedResourceError, ClientClosedError])
async def test_closing_wakes_whoever_receives(error: type[Exception]) -> None:
    """As for every stream of trio's: ClosedResourceError; when it is the client that closes, ClientClosedError."""

    async def script(connection: RawConnection) -> None:
        await connection.read_request()
        await connection.send_all(HEAD)
        await connection.read_until_closed()

    async with (
        open_scripted(script) as server,
        Client(mounts={server.url: server}) as client,
        client.stream("GET", server.url) as response,
        trio.open_nursery() as nursery,
    ):
        raised: list[type[Exception]] = []

        async def receive() -> None:
            try:
                await response.body.receive_some()
            except (trio.ClosedResourceError, ClientClosedError) as exc:
                raised.append(type(exc))

        nursery.start_soon(receive)
        await trio.testing.wait_all_tasks_blocked()
        if error is ClientClosedError:
            client.pool.close()
        else:
            await response.body.aclose()
    assert raised == [error]
