"""Proxies that do what their protocol says and write down what they were told, over streams in memory.

Rule 1: nothing of the client under test is used here: requests are read by h11, SOCKS is read byte by byte.
Rule 2: where a proxy leads to is what ``Network`` says; a name that it does not know is an error of the system's kind.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import trio
import trio.testing

from triohttp.testing import MemoryStream, RawConnection, RawRequest, ScriptedServer, end_sending, reset_stream

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
ESTABLISHED = b"HTTP/1.1 200 Connection established\r\n\r\n"


class Network:
    """Scripted servers by ``host:port``; ``connect`` is what a client's ``connect=`` takes."""

    def __init__(self) -> None:
        self.servers: dict[str, ScriptedServer] = {}
        self.asked: list[str] = []
        """Where connections were opened to, in the order in which they were."""
        self.ends: dict[str, list[MemoryStream]] = {}
        """The ends of those who opened them."""

    async def connect(self, host: str, port: int) -> MemoryStream:
        """Open a connection."""
        self.asked.append(f"{host}:{port}")
        server = self.servers.get(f"{host}:{port}")
        if server is None:
            await trio.lowlevel.checkpoint()
            raise ConnectionRefusedError(111, "Connection refused")
        end = await server.connect()
        self.ends.setdefault(f"{host}:{port}", []).append(end)
        return end


async def _copy(source: trio.abc.Stream, target: trio.abc.Stream) -> None:
    try:
        while data := await source.receive_some():
            await target.send_all(data)
        await end_sending(target)
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        reset_stream(target)


async def relay(one: trio.abc.Stream, other: trio.abc.Stream) -> None:
    """Carry bytes both ways until both ways have ended."""
    async with other, trio.open_nursery() as nursery:
        nursery.start_soon(_copy, one, other)
        nursery.start_soon(_copy, other, one)


@dataclass
class HttpProxy:
    """An HTTP proxy: it opens tunnels, and answers by itself what it is asked to forward.

    Args:
        network: where tunnels lead.
        established: what it says to CONNECT.
        dribble: it says that byte by byte.
    """

    network: Network
    established: bytes = ESTABLISHED
    dribble: bool = False
    requests: list[RawRequest] = field(default_factory=list)
    """What it was asked, in the order in which it was."""

    async def __call__(self, connection: RawConnection) -> None:
        while True:
            request = await connection.read_request()
            self.requests.append(request)
            if request.method != "CONNECT":
                await connection.send_all(OK)
                continue
            host, _, port = request.target.rpartition(":")
            try:
                onward = await self.network.connect(host.strip("[]"), int(port))
            except OSError:
                await connection.send_all(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n")
                await connection.read_until_closed()
                return
            await send(connection, self.established, dribble=self.dribble)
            await relay(connection.stream, onward)
            return


async def send(connection: RawConnection, data: bytes, *, dribble: bool) -> None:
    """Send all at once, or byte by byte, so that whoever reads gets no two of them together."""
    if not dribble:
        await connection.send_all(data)
        return
    for at in range(len(data)):
        await connection.send_all(data[at : at + 1])
        await trio.testing.wait_all_tasks_blocked()


@dataclass
class SocksProxy:
    """A SOCKS5 proxy (RFC 1928, RFC 1929).

    Args:
        network: where it leads.
        logins: passwords by user name; without any it asks for none.
        bound: the address that it says it uses: kind, address and port.
        dribble: it says everything byte by byte.
    """

    network: Network
    logins: Mapping[bytes, bytes] = field(default_factory=dict)
    bound: bytes = b"\x01\x00\x00\x00\x00\x00\x00"
    dribble: bool = False
    methods: list[bytes] = field(default_factory=list)
    """The ways to log in that it was offered, a string of bytes a connection."""
    targets: list[tuple[int, str, int]] = field(default_factory=list)
    """Where it was asked to connect to: kind of address, address, port."""

    async def __call__(self, connection: RawConnection) -> None:
        version, count = await connection.read_exactly(2)
        offered = await connection.read_exactly(count)
        assert version == 5
        self.methods.append(offered)
        method = 2 if self.logins else 0
        if method not in offered:
            await send(connection, b"\x05\xff", dribble=self.dribble)
            await connection.read_until_closed()
            return
        await send(connection, bytes([5, method]), dribble=self.dribble)
        if method == 2:
            assert await connection.read_exactly(1) == b"\x01"
            username = await connection.read_exactly((await connection.read_exactly(1))[0])
            password = await connection.read_exactly((await connection.read_exactly(1))[0])
            good = self.logins.get(username) == password
            await send(connection, b"\x01\x00" if good else b"\x01\x01", dribble=self.dribble)
            if not good:
                await connection.read_until_closed()
                return
        version, command, reserved, kind = await connection.read_exactly(4)
        assert (version, command, reserved) == (5, 1, 0)
        if kind == 3:
            host = (await connection.read_exactly((await connection.read_exactly(1))[0])).decode("ascii")
        else:
            family, size = (socket.AF_INET, 4) if kind == 1 else (socket.AF_INET6, 16)
            host = socket.inet_ntop(family, await connection.read_exactly(size))
        port = int.from_bytes(await connection.read_exactly(2), "big")
        self.targets.append((kind, host, port))
        try:
            onward = await self.network.connect(host, port)
        except OSError:
            await connection.send_all(b"\x05\x05\x00")  # and no more, as some do
            return
        await send(connection, b"\x05\x00\x00" + self.bound, dribble=self.dribble)
        await relay(connection.stream, onward)


class Resolver(trio.abc.HostnameResolver):
    """The system's resolver, for a test: addresses by name; an address is its own."""

    def __init__(self, **names: Sequence[str]) -> None:
        self.names = {name.replace("_", "."): list(addresses) for name, addresses in names.items()}
        self.asked: list[str] = []

    async def getaddrinfo(  # type: ignore[override]
        self, host: bytes, port: int, *args: object
    ) -> list[tuple[socket.AddressFamily, socket.SocketKind, int, str, tuple[str, int]]]:
        """Return what was said to be known."""
        await trio.lowlevel.checkpoint()
        name = host.decode("ascii")
        self.asked.append(name)
        if name not in self.names:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [
            (socket.AF_INET6 if ":" in one else socket.AF_INET, socket.SOCK_STREAM, 6, "", (one, port))
            for one in self.names[name]
        ]

    async def getnameinfo(self, *args: object) -> tuple[str, str]:
        """Return nothing: nobody asks."""
        raise AssertionError("not asked for")
