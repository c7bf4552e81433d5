"""Where hosts are: addresses that a program names, several of them tried, and those that must not be reached."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing
from proxying import OK, Network, Resolver

from triohttp import Client, ClientTimeouts, UnixOrigin, public_addresses
from triohttp._client.resolve import open_first
from triohttp.errors import ConnectError, ConnectTimeout, RemoteProtocolError, TLSError, TransportError
from triohttp.testing import CertificateAuthority, RawConnection, RawRequest, SweepRun, cancel_sweep, open_scripted


@asynccontextmanager
async def open_tcp(
    authority: CertificateAuthority | None = None, name: str = "named.test", host: str = "127.0.0.1"
) -> AsyncIterator[tuple[int, list[RawRequest]]]:
    """Answer every request on a port of this machine; the value is the port, and what came."""
    requests: list[RawRequest] = []

    async def answer(stream: trio.abc.Stream) -> None:
        if authority is not None:
            stream = trio.SSLStream(stream, authority.server_context(name), server_side=True, https_compatible=True)
        try:
            async with RawConnection(stream) as connection:
                while True:
                    requests.append(await connection.read_request())
                    await connection.send_all(OK)
        except (trio.BrokenResourceError, TransportError, RemoteProtocolError):
            pass  # the client has left

    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(partial(trio.serve_tcp, answer, 0, host=host))
        yield listeners[0].socket.getsockname()[1], requests
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    "make",
    [
        lambda port: {"named.test": "127.0.0.1"},
        lambda port: {f"NAMED.test:{port}": ["127.0.0.1"], "named.test": "192.0.2.1"},
        lambda port: {f"named.test:{port}": ["127.0.0.1"], "named.test:1": "192.0.2.1"},
    ],
)
async def test_a_mapping(
    authority: CertificateAuthority, make: Callable[[int], Mapping[str, str | Sequence[str]]]
) -> None:
    """The name stays what it was for Host, TLS and the pool; a host with a port counts before one without."""
    async with open_tcp(authority) as (port, requests):
        async with Client(tls=authority.client_context(), resolve=make(port)) as client:
            for _ in range(2):
                assert (await client.get(f"https://named.test:{port}/")).content == b"ok"
            assert list(client.pool.statistics().origins) == [f"https://named.test:{port}"]
            assert client.pool.statistics().opened == 1
    assert requests[0].headers["host"] == f"named.test:{port}"


async def test_what_a_mapping_does_not_name_the_system_resolves() -> None:
    """Such as localhost."""
    async with open_tcp() as (port, _), Client(resolve={"named.test": "192.0.2.1"}) as client:
        assert (await client.get(f"http://localhost:{port}/")).content == b"ok"


async def test_a_function() -> None:
    """It is asked for each connection, with host and port; what it raises is the reason of a ConnectError."""
    asked: list[tuple[str, int]] = []

    async def resolve(host: str, port: int) -> Sequence[str]:
        await trio.lowlevel.checkpoint()
        asked.append((host, port))
        if host == "gone.test":
            raise socket.gaierror(socket.EAI_NONAME, "no such name here")
        if host == "empty.test":
            return []
        return "127.0.0.1" if host == "one.test" else ["127.0.0.1"]

    async with open_tcp() as (port, _), Client(resolve=resolve) as client:
        for host in ("named.test", "named.test", "one.test"):
            assert (await client.get(f"http://{host}:{port}/")).content == b"ok"
        with pytest.raises(ConnectError, match="no such name here"):
            await client.get("http://gone.test/")
        with pytest.raises(ConnectError, match="no address"):
            await client.get("http://empty.test/")
        assert client.pool.statistics().connections == 2
    assert asked == [("named.test", port), ("one.test", port), ("gone.test", 80), ("empty.test", 80)]


@pytest.mark.parametrize(
    ("resolve", "error"),
    [
        ({"named.test": "other.test"}, ValueError),
        ({"named.test": []}, ValueError),
        ({"http://named.test": "127.0.0.1"}, ValueError),
        ({"named.test:99999": "127.0.0.1"}, ValueError),
        ({"::1": "127.0.0.1"}, ValueError),
        (5, TypeError),
    ],
)
def test_what_resolves_nothing(resolve: Any, error: type[Exception]) -> None:
    """A table with something else than addresses in it is told when the client is made."""
    with pytest.raises(error):
        Client(resolve=resolve)


async def test_the_next_address_is_tried_when_one_fails() -> None:
    """One that refuses costs no waiting; when all do, the error says so for each."""
    async with open_tcp() as (port, _), Client(resolve={"named.test": ["127.0.0.2", "::1", "127.0.0.1"]}) as client:
        assert (await client.get(f"http://named.test:{port}/")).content == b"ok"
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound but not listening
        port = taken.getsockname()[1]
        async with Client(resolve={"named.test": ["127.0.0.1", "127.0.0.2"]}) as client:
            with pytest.raises(ConnectError, match=r"127\.0\.0\.1: .*refused.*; 127\.0\.0\.2: .*refused"):
                await client.get(f"http://named.test:{port}/")


class Holes(trio.abc.SocketFactory):
    """Sockets to some addresses never connect; all others are as they are."""

    def __init__(self, *holes: str) -> None:
        self.holes = holes
        self.tried: list[tuple[str, float]] = []
        self.made: list[Any] = []

    def socket(self, family: Any = None, type: Any = None, proto: Any = None) -> Any:
        from trio._socket import _SocketType  # what trio's own factory makes

        holes = self.holes
        tried = self.tried

        class Hole(_SocketType):
            async def connect(self, address: Any) -> None:
                tried.append((address[0], trio.current_time()))
                if address[0] in holes:
                    await trio.sleep_forever()
                await super().connect(address)

        made = Hole(socket.socket(family, type, proto))
        self.made.append(made)
        return made


async def test_addresses_that_say_nothing_are_overtaken(autojump_clock: trio.testing.MockClock) -> None:
    """The next one begins after 250 ms, the other family's in the second place; the losers' sockets are closed."""
    factory = Holes("127.0.0.2", "127.0.0.3", "::1")
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        previous = trio.socket.set_custom_socket_factory(factory)
        assert previous is None
        start = trio.current_time()
        stream = await open_first(["127.0.0.2", "127.0.0.3", "::1", "127.0.0.1"], port, None)
        async with stream:
            tried = [(host, round(at - start, 3)) for host, at in factory.tried]
            assert tried == [("127.0.0.2", 0.0), ("::1", 0.25), ("127.0.0.3", 0.5), ("127.0.0.1", 0.75)]
            assert [one.fileno() != -1 for one in factory.made] == [False, False, False, True]


async def test_two_that_connect_in_the_same_step(autojump_clock: trio.testing.MockClock) -> None:
    """One of them is taken, the other closed."""
    gate = trio.Event()

    class Together(Holes):
        def socket(self, family: Any = None, type: Any = None, proto: Any = None) -> Any:
            made = super().socket(family, type, proto)

            async def connect(address: Any) -> None:
                await gate.wait()
                made._sock.setblocking(True)
                made._sock.connect(address)
                made._sock.setblocking(False)

            made.connect = connect
            return made

    factory = Together()
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        trio.socket.set_custom_socket_factory(factory)
        async with trio.open_nursery() as nursery:

            async def open_gate() -> None:
                await trio.sleep(0.6)  # when nothing else is waited for in either attempt
                gate.set()

            nursery.start_soon(open_gate)
            stream = await open_first(["127.0.0.1", "127.0.0.1"], listener.getsockname()[1], None)
        async with stream:
            assert sorted(one.fileno() != -1 for one in factory.made) == [False, True]


async def test_the_dials_deadline_holds_for_all_addresses(autojump_clock: trio.testing.MockClock) -> None:
    """Two hundred addresses that say nothing take no longer than one; no socket is left."""
    addresses = [f"127.0.1.{number}" for number in range(200)]
    factory = Holes(*addresses)
    trio.socket.set_custom_socket_factory(factory)
    async with Client(resolve={"named.test": addresses}, timeouts=ClientTimeouts(connect_seconds=4)) as client:
        start = trio.current_time()
        with pytest.raises(ConnectTimeout, match="did not take the connection"):
            await client.get("http://named.test/")
        assert trio.current_time() - start == pytest.approx(4.0)
    assert {one.fileno() for one in factory.made} == {-1}


@pytest.mark.sweep
def test_cancelling_a_race_leaves_no_socket() -> None:
    """At every checkpoint, with addresses that refuse and with one that is there."""

    async def scenario(sweep: SweepRun) -> None:
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            listener.listen()
            port = listener.getsockname()[1]
            with sweep.block(every_task=True):
                stream = await open_first(["127.0.0.2", "127.0.0.1", "127.0.0.1"], port, None)
                await stream.aclose()

    assert cancel_sweep(scenario, virtual_time=False).cancelled > 3


async def test_the_address_that_connections_come_from() -> None:
    """``local_address`` counts with and without ``resolve``; one that is not this machine's is ConnectError."""
    peers: list[str] = []

    async def answer(stream: trio.SocketStream) -> None:
        peers.append(stream.socket.getpeername()[0])
        async with RawConnection(stream) as connection:
            await connection.read_request()
            await connection.send_all(OK)

    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(partial(trio.serve_tcp, answer, 0, host="127.0.0.1"))
        port = listeners[0].socket.getsockname()[1]
        for resolve in (None, {"named.test": ["127.0.0.1", "127.0.0.1"]}):
            async with Client(local_address="127.0.0.9", resolve=resolve) as client:
                await client.get(f"http://{'127.0.0.1' if resolve is None else 'named.test'}:{port}/")
        async with Client(local_address="192.0.2.1") as client:
            with pytest.raises(ConnectError):
                await client.get(f"http://127.0.0.1:{port}/")
        nursery.cancel_scope.cancel()
    assert peers == ["127.0.0.9", "127.0.0.9"]


# -- public addresses --------------------------------------------------------------------------------------------------

PRIVATE = [
    "0.0.0.0", "0.1.2.3", "10.0.0.1", "100.64.0.1", "127.0.0.1", "127.255.255.254", "169.254.169.254", "172.16.0.1",
    "172.31.255.255", "192.0.0.1", "192.0.2.1", "192.168.1.1", "198.18.0.1", "198.51.100.1", "203.0.113.1",
    "224.0.0.1", "239.255.255.250", "240.0.0.1", "255.255.255.255", "::", "::1", "::7f00:1", "::ffff:127.0.0.1",
    "::ffff:169.254.169.254", "::ffff:0:127.0.0.1", "64:ff9b::127.0.0.1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::a00:1",
    "100::1", "2001:db8::1", "2001::1", "2002:7f00:1::", "2002:a9fe:a9fe::1", "2002:c0a8:101::", "fc00::1",
    "fd12:3456::1", "fe80::1", "fe80::1%lo", "fec0::1", "ff02::1", "ff0e::1",
]  # fmt: skip


@pytest.mark.parametrize("address", PRIVATE)
async def test_what_is_not_public_is_refused(address: str) -> None:
    """However it is wrapped; one such address among good ones is enough."""
    trio.socket.set_custom_hostname_resolver(Resolver(named_test=["93.184.215.14", address]))
    with pytest.raises(ConnectError, match=r"'named\.test' is at .*no public address") as caught:
        await public_addresses("named.test", 443)
    assert address in str(caught.value)


@pytest.mark.parametrize(
    "address",
    ["93.184.215.14", "1.1.1.1", "2606:4700::1111", "::ffff:1.1.1.1", "64:ff9b::1.1.1.1", "2002:101:101::1"],
)
async def test_what_is_public(address: str) -> None:
    """It is returned as it was found."""
    trio.socket.set_custom_hostname_resolver(Resolver(named_test=[address, address]))
    assert await public_addresses("named.test", 443) == [address]


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]", "[::ffff:127.0.0.1]", "localhost", "[64:ff9b::7f00:1]"])
async def test_a_client_with_a_guard(host: str) -> None:
    """Addresses in URLs are looked at like names; nothing is connected to."""
    async with open_tcp() as (port, requests), Client(resolve=public_addresses) as client:
        with pytest.raises(ConnectError, match="no public address"):
            await client.get(f"http://{host}:{port}/")
        assert client.pool.statistics().connections == 0
    assert requests == []


async def test_a_guard_looks_at_redirects() -> None:
    """The second hop of a call is refused like a first one would be."""

    async def guard(host: str, port: int) -> Sequence[str]:
        return ["127.0.0.1"] if host == "public.test" else await public_addresses(host, port)

    async def answer(stream: trio.abc.Stream) -> None:
        async with RawConnection(stream) as connection:
            await connection.read_request()
            head = b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\nLocation: http://127.0.0.1:%d/\r\n\r\n"
            await connection.send_all(head % port)
            await connection.read_until_closed()

    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(partial(trio.serve_tcp, answer, 0, host="127.0.0.1"))
        port = listeners[0].socket.getsockname()[1]
        async with Client(resolve=guard) as client:
            with pytest.raises(ConnectError, match="no public address"):
                await client.get(f"http://public.test:{port}/")
        nursery.cancel_scope.cancel()


async def test_a_name_that_means_something_else_a_moment_later() -> None:
    """What was looked at is what is connected to: the name is resolved once a connection."""
    resolver = Resolver(named_test=["93.184.215.14"])
    trio.socket.set_custom_hostname_resolver(resolver)
    factory = Holes("93.184.215.14")
    trio.socket.set_custom_socket_factory(factory)
    async with Client(resolve=public_addresses) as client:
        with trio.move_on_after(0.01):
            await client.get("http://named.test/")
    assert [host for host, _ in factory.tried] == ["93.184.215.14"]
    assert resolver.asked == ["named.test"]


# -- other ways --------------------------------------------------------------------------------------------------------


async def test_a_way_of_ones_own(authority: CertificateAuthority) -> None:
    """``connect`` takes the place of TCP; TLS goes on top, for the name. What it raises tells why."""

    async def answer(connection: RawConnection) -> None:
        await connection.read_request()
        await connection.send_all(OK)

    network = Network()
    async with open_scripted(answer, tls=authority) as server:
        network.servers = {"scripted.test:443": server, "other.test:443": server}
        async with Client(connect=network.connect, tls=authority.client_context()) as client:
            assert (await client.get("https://scripted.test/")).content == b"ok"
            with pytest.raises(TLSError):
                await client.get("https://other.test/")
            with pytest.raises(ConnectError, match="refused"):
                await client.get("http://nobody.test:81/")
    assert network.asked == ["scripted.test:443", "other.test:443", "nobody.test:81"]


async def test_a_stream_that_cannot_be_closed_at_once() -> None:
    """It is refused before anything is sent over it, and closed."""
    closed: list[bool] = []

    class Odd(trio.abc.Stream):
        async def send_all(self, data: Any) -> None:
            raise AssertionError("nothing is to be sent")

        async def wait_send_all_might_not_block(self) -> None: ...

        async def receive_some(self, max_bytes: int | None = None) -> bytes:
            return b""

        async def aclose(self) -> None:
            closed.append(True)

    async def connect(host: str, port: int) -> trio.abc.Stream:
        return Odd()

    async with Client(connect=connect) as client:
        with pytest.raises(TypeError, match="synchronous close"):
            await client.get("http://named.test/")
        assert client.pool.statistics().connections == 0
    assert closed


async def test_a_unix_socket(tmp_path: Path) -> None:
    """A mount for a socket in the file system; when nobody listens, the error names it."""
    path = tmp_path / "server.sock"

    async def answer(stream: trio.abc.Stream) -> None:
        async with RawConnection(stream) as connection:
            try:
                while True:
                    assert (await connection.read_request()).headers["host"] == "docker.test"
                    await connection.send_all(OK)
            except TransportError:
                pass

    with trio.socket.socket(socket.AF_UNIX) as listening:
        await listening.bind(str(path))
        listening.listen()
        async with trio.open_nursery() as nursery:
            listener = trio.SocketListener(listening)
            nursery.start_soon(partial(trio.serve_listeners, answer, [listener]))
            async with Client(mounts={"http://docker.test": UnixOrigin(path)}) as client:
                for _ in range(2):
                    assert (await client.get("http://docker.test/version")).content == b"ok"
                assert client.pool.statistics().opened == 1
            nursery.cancel_scope.cancel()
    for missing in (tmp_path / "none.sock", tmp_path / ("x" * 200)):
        async with Client(mounts={"http://docker.test": UnixOrigin(missing)}) as client:
            with pytest.raises(ConnectError, match=missing.name[:10]):
                await client.get("http://docker.test/")
