"""NO_PROXY: the hosts that are reached without a proxy.

There is no standard; this is what curl, Go and Python's own agree on, and where they do not, what reaches fewer hosts
by a surprise:

    example.org       the host and everything below it
    .example.org      the same, as a leading dot is decoration to most programs
    *.example.org     what is below it, not the host itself
    10.0.0.0/8        addresses in a network; a host name is never resolved to find out
    [::1]:8080        with a port, that port alone
    *                 everything

Rule 1: an entry that means nothing is skipped with a warning in the log: a variable of somebody else's must not keep a
        program from starting.
Rule 2: localhost and loopback addresses are like any other: whoever wants them direct lists them.
"""

from __future__ import annotations

import ipaddress
import logging
import re
from typing import TypeAlias

from triohttp._values.authority import encode_host
from triohttp.errors import InvalidURLError, clip

__all__ = ["NoProxy"]

LOGGER = logging.getLogger("triohttp.client")

Network: TypeAlias = "ipaddress.IPv4Network | ipaddress.IPv6Network"
Address: TypeAlias = "ipaddress.IPv4Address | ipaddress.IPv6Address"

_ENTRY = re.compile(r"(\[[^\]]*\](?:/\d+)?|[^:\[\]]+)(?::(\d{1,5}))?")


class NoProxy:
    """Tells which hosts are reached without a proxy.

    Args:
        text: the entries, separated by commas or white space.
    """

    __slots__ = ("_addresses", "_all", "_below", "_hosts")

    def __init__(self, text: str = "") -> None:
        self._all = False
        self._hosts: set[tuple[str, int | None]] = set()
        self._below: set[tuple[str, int | None]] = set()
        self._addresses: list[tuple[Network, int | None]] = []
        for entry in re.split(r"[,\s]+", text):
            if entry and not self._add(entry):
                LOGGER.warning("an entry of no_proxy means nothing and is skipped: %s", clip(entry))

    def _add(self, entry: str) -> bool:
        if entry == "*":
            self._all = True
            return True
        network = _network(entry)
        if network is not None:
            self._addresses.append((network, None))
            return True
        match = _ENTRY.fullmatch(entry)
        if match is None:
            return False
        text, port = match[1], None if match[2] is None else int(match[2])
        if port is not None and port > 65535:
            return False
        network = _network(text)
        if network is not None:
            self._addresses.append((network, port))
            return True
        only_below = text.startswith("*.")
        try:
            name = encode_host(text[2:] if only_below else text.removeprefix("."))
        except InvalidURLError:
            return False
        self._below.add((name, port))
        if not only_below:
            self._hosts.add((name, port))
        return True

    def covers(self, host: str, port: int) -> bool:
        """Tell whether ``host`` (in lower case, without brackets) at ``port`` is reached without a proxy."""
        if self._all:
            return True
        if self._addresses and (address := _address(host)) is not None:
            return any(
                address in network and (only is None or only == port)
                for network, only in self._addresses
                if network.version == address.version
            )
        if not self._below:
            return False
        if (host, None) in self._hosts or (host, port) in self._hosts:
            return True
        while "." in host:
            host = host.partition(".")[2]
            if (host, None) in self._below or (host, port) in self._below:
                return True
        return False


def _network(text: str) -> Network | None:
    if text.startswith("["):
        inside, bracket, rest = text[1:].partition("]")
        if not bracket or rest[:1] not in ("", "/"):
            return None
        text = inside + rest
    address, slash, length = text.partition("/")
    address = address.partition("%")[0]  # a zone names an interface of this machine, not a host
    try:
        network = ipaddress.ip_network(f"{address}{slash}{length}", strict=False)
    except ValueError:
        return None
    if isinstance(network, ipaddress.IPv6Network) and network.prefixlen >= 96:
        mapped = network.network_address.ipv4_mapped
        if mapped is not None:  # as hosts are seen: whoever lists an address means it in either spelling
            return ipaddress.ip_network(f"{mapped}/{network.prefixlen - 96}")
    return network


def _address(host: str) -> Address | None:
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return address if mapped is None else mapped
