"""Where a host is: names resolved in another way than the system's, several addresses tried, private ones refused.

Rule 1: what is decided here is where a connection goes, nothing else: Host, SNI and the pool's key keep the name.
Rule 2: addresses are tried as RFC 8305 says: the next one begins when the one before fails, or after 250 ms.
Rule 3: a guard looks at the addresses that are then dialled, not at a name that may mean others a moment later.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final, TypeAlias

import trio

from triohttp._values.authority import encode_authority
from triohttp.errors import ConnectError, clip

from .groups import only_one

__all__ = [
    "Resolve",
    "ResolveInit",
    "find_address",
    "find_addresses",
    "make_resolve",
    "open_first",
    "public_addresses",
]

Resolve: TypeAlias = "Callable[[str, int], Awaitable[Sequence[str]]]"
ResolveInit: TypeAlias = "Mapping[str, str | Sequence[str]] | Resolve"
"""Addresses by ``host`` or ``host:port``, or an async function of host and port that returns addresses.

A host that the mapping does not name is resolved by the system. The function is called for each new connection, for the
host that the connection is opened to: a proxy, where there is one, and for a ``socks5`` proxy the server behind it too.
"""
Address: TypeAlias = "ipaddress.IPv4Address | ipaddress.IPv6Address"

STAGGER_SECONDS: Final = 0.25
_NAT64: Final = ipaddress.ip_network("64:ff9b::/96")
_GLOBAL_UNICAST: Final = ipaddress.ip_network("2000::/3")
"""All of IPv6 that is out on the internet (RFC 4291 §2.4): what else there is has a special meaning, or none so far."""


def make_resolve(init: ResolveInit | None) -> Resolve | None:
    """Return a function for what a client's ``resolve`` says.

    Raises:
        TypeError, ValueError: it is neither, or an address is none.
    """
    if init is None:
        return None
    if not isinstance(init, Mapping):
        if not callable(init):
            raise TypeError(f"resolve must be a mapping or an async function, not {clip(init)}")
        return init
    table: dict[tuple[str, int | None], list[str]] = {}
    for key, value in init.items():
        name = encode_authority(key)
        addresses = [value] if isinstance(value, str) else list(value)
        if not addresses:
            raise ValueError(f"resolve has no address for {clip(key)}")
        for address in addresses:
            ipaddress.ip_address(address)
        table[name.host, name.port] = addresses

    async def look_up(host: str, port: int) -> Sequence[str]:
        found = table.get((host, port), table.get((host, None)))
        return [host] if found is None else found

    return look_up


async def find_addresses(resolve: Resolve, host: str, port: int) -> Sequence[str]:
    """Return what ``resolve`` knows about a host; at least one address, or the host itself.

    Raises:
        OSError: there is none.
    """
    found = await resolve(host, port)
    if isinstance(found, str):
        return [found]
    if not found:
        raise OSError("the name has no address")
    return found


async def find_address(resolve: Resolve | None, host: str, port: int) -> str:
    """Return one address of a host, for a proxy that is not to resolve names.

    Cancellation: atomic.
    Raises:
        OSError: it has none.
    """
    if resolve is not None:
        [host, *_] = await find_addresses(resolve, host, port)
    found = await trio.socket.getaddrinfo(host, port, type=trio.socket.SOCK_STREAM)
    return str(found[0][4][0])


async def open_tcp(host: str, port: int, local_address: str | None) -> trio.SocketStream:
    """Return a connection to a host, as ``trio.open_tcp_stream`` does, whose nursery stays its own business.

    Cancellation: atomic.
    Raises:
        OSError: no address took the connection.
    """
    try:
        return await trio.open_tcp_stream(host, port, local_address=local_address)
    except BaseExceptionGroup as group:
        raise only_one(group) from None


async def open_first(addresses: Sequence[str], port: int, local_address: str | None) -> trio.SocketStream:
    """Return a connection to the first of the addresses that takes one.

    Cancellation: atomic.
    Raises:
        OSError: none did; the message has what each said.
    Source: RFC 8305 §4, §5.
    """
    if len(addresses) == 1:
        return await open_tcp(addresses[0], port, local_address)
    race = _Race(_interleaved(addresses), port, local_address)
    try:
        async with trio.open_nursery() as nursery:
            await race.run(nursery)
    except BaseException as exc:
        if race.winner is not None:
            race.winner.socket.close()
        if isinstance(exc, BaseExceptionGroup):
            raise only_one(exc) from None
        raise
    if race.winner is None:
        raise OSError("; ".join(race.failures))
    return race.winner


def _interleaved(addresses: Sequence[str]) -> list[str]:
    """Return the addresses with the first one of the other family in the second place: one family may be dead."""
    found = list(addresses)
    for place, address in enumerate(found):
        if (":" in address) != (":" in found[0]):
            found.insert(1, found.pop(place))
            break
    return found


class _Race:
    """Attempts to connect to several addresses; the first that succeeds ends the others."""

    def __init__(self, addresses: Sequence[str], port: int, local_address: str | None) -> None:
        self._addresses = addresses
        self._port = port
        self._local_address = local_address
        self.winner: trio.SocketStream | None = None
        self.failures: list[str] = []

    async def run(self, nursery: trio.Nursery) -> None:
        for address in self._addresses:
            failed = trio.Event()
            nursery.start_soon(self._attempt, address, failed, nursery.cancel_scope)
            with trio.move_on_after(STAGGER_SECONDS):
                await failed.wait()

    async def _attempt(self, address: str, failed: trio.Event, scope: trio.CancelScope) -> None:
        try:
            stream = await trio.open_tcp_stream(address, self._port, local_address=self._local_address)
        except (OSError, ValueError) as exc:
            cause = exc.__cause__  # trio's own attempts: for an address there was one
            self.failures.append(f"{address}: {cause.exceptions[0] if isinstance(cause, ExceptionGroup) else exc}")
            failed.set()
            return
        if self.winner is not None:
            stream.socket.close()  # two were connected in the same step
            return
        self.winner = stream
        scope.cancel(reason="one address has taken the connection")


async def public_addresses(host: str, port: int) -> Sequence[str]:
    """Return the addresses of a host, all of them out on the internet: for ``Client(resolve=public_addresses)``.

    It keeps a program that fetches what others name from reaching what only it can reach. Each hop of a redirect is
    looked at too, and what was looked at is what is dialled. It sees what this program resolves: behind a proxy that
    resolves names (any but ``socks5``) it sees the proxy alone.

    Cancellation: atomic.
    Raises:
        ConnectError: an address is private, loopback, link-local, multicast or reserved, be it wrapped into IPv6.
        OSError: the name cannot be resolved.
    """
    found = await trio.socket.getaddrinfo(host, port, type=trio.socket.SOCK_STREAM)
    addresses = list(dict.fromkeys(str(address[0]) for *_, address in found))
    for text in addresses:
        if not _is_public(_unwrapped(ipaddress.ip_address(text.partition("%")[0]))):
            raise ConnectError(
                f"{clip(host)} is at {text}, which is no public address", phase="connect", safe_to_retry=False
            )
    return addresses


def _is_public(address: Address) -> bool:
    if isinstance(address, ipaddress.IPv6Address) and address not in _GLOBAL_UNICAST:
        return False
    return address.is_global and not address.is_multicast


def _unwrapped(address: Address) -> Address:
    """Return the IPv4 address that an IPv6 address stands for, if it does."""
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour
        if inner is None and address in _NAT64:
            inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if inner is not None:
            return inner
    return address
