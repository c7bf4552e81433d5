"""A scripted server does what its script says to whoever connects, and hides no mistake of the script."""

from __future__ import annotations

import pytest
import trio

from triohttp.testing import CertificateAuthority, RawConnection, open_scripted


async def test_each_connection_runs_the_script() -> None:
    """Every client talks to a script of its own, which closes when it returns."""

    async def script(raw: RawConnection) -> None:
        request = await raw.read_request()
        await raw.send_all(b"HTTP/1.0 200 OK\r\n\r\n" + request.target.encode())

    async with open_scripted(script) as server:
        assert server.url == "http://scripted.test"
        clients = [RawConnection(await server.connect()) for _ in range(2)]
        for number, client in enumerate(clients):
            await client.send_all(b"GET /%d HTTP/1.1\r\nHost: h\r\n\r\n" % number)
        assert [(await client.read_response()).content for client in clients] == [b"/0", b"/1"]
        assert [(await client.read_until_closed()) for client in clients] == [b"", b""]
    assert [raw.received[:6] for raw in server.connections] == [b"GET /0", b"GET /1"]


async def test_a_client_that_leaves_is_no_mistake() -> None:
    """Scripts end quietly when their client is gone, whether they read or write."""

    async def script(raw: RawConnection) -> None:
        await raw.read_request()
        while True:
            await raw.send_all(b"x" * 100)

    async with open_scripted(script, max_buffer_bytes=100) as server:
        (await server.connect()).close()
        leaving = await server.connect()
        await leaving.send_all(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
        await leaving.receive_some()
        leaving.abort()
        assert not (await server.connect()).closed


async def test_a_mistake_in_a_script_comes_out_of_the_block() -> None:
    """The block ends at once with the very error, and not with a group."""

    async def script(raw: RawConnection) -> None:
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine") as caught:
        async with open_scripted(script) as server:
            await server.connect()
            await trio.sleep_forever()
    assert caught.value.__context__ is None


async def test_scripts_end_with_the_block() -> None:
    """Whoever is still connected when the block ends sees the connection end."""

    async def script(raw: RawConnection) -> None:
        await trio.sleep_forever()

    async with open_scripted(script) as server:
        client = await server.connect()
        await trio.testing.wait_all_tasks_blocked()
    assert await client.receive_some() == b""


async def test_scripts_speak_tls(authority: CertificateAuthority) -> None:
    """With an authority, the script's bytes travel inside of TLS."""

    async def script(raw: RawConnection) -> None:
        await raw.read_request()
        await raw.send_all(b"HTTP/1.1 204 No Content\r\n\r\n")

    async with open_scripted(script, tls=authority) as server:
        assert server.url == "https://scripted.test"
        plain = await server.connect()
        stream = trio.SSLStream(plain, authority.client_context(), server_hostname="scripted.test")
        async with RawConnection(stream) as client:
            await client.send_all(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
            assert (await client.read_response()).status == 204
