"""Hosts and ports: what may stand in a URL's authority and in a Host field (RFC 3986 §3.2, RFC 9110 §7.2).

One function decides for clients and servers what a host is, so that what was checked is what is connected to.

Rule 1: a host is a DNS name of letters, digits, "-" and "_", an IPv4 address of four decimal numbers, or an IPv6
        address; percent-encoding, sub-delimiters, zone ids and the other spellings of IPv4 addresses, which programs
        read differently, are refused.
Rule 2: the canonical form is lower case, without one trailing dot, IPv6 addresses as RFC 5952 writes them.
Rule 3: internationalised names are encoded, where a program gives one (URL), and never decoded: decoding a stranger's
        name is slow and its result misleads people.
"""

from __future__ import annotations

import functools
import ipaddress
import re
from typing import NamedTuple

from triohttp.errors import InvalidURLError, clip

__all__ = ["Authority", "bracketed", "check_host", "check_port", "encode_authority", "encode_host", "parse_authority"]

_MAX_HOST_LENGTH = 253
_MAX_AUTHORITY_LENGTH = _MAX_HOST_LENGTH + len(".:65535")

_AUTHORITY = re.compile(r"(\[[^\[\]]*\]|[^:\[\]]+)(?::([0-9]{0,5}))?")
_NAME = re.compile(r"[a-z0-9_-]{1,63}(?:\.[a-z0-9_-]{1,63})*")
_LOOKS_NUMERIC = re.compile(r"[0-9]+|0x[0-9a-f]*")  # a last label like this makes browsers read an IPv4 address
_OCTET = r"(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
_IPV4 = re.compile(rf"{_OCTET}(?:\.{_OCTET}){{3}}")
_IPV6_CHARACTERS = re.compile(r"[0-9A-Fa-f:.]{2,45}")


class Authority(NamedTuple):
    """A host with the port that was written behind it."""

    host: str
    """Canonical, an IPv6 address without its brackets."""
    port: int | None
    """None when none was written; a default port is not left out, as the scheme is not known here."""
    text: str
    """Both as one writes them, ``host`` or ``host:port``."""


@functools.lru_cache(maxsize=1024)  # a server asks for each request, mostly about the same few names
def parse_authority(value: bytes) -> Authority:
    """Return the host and port of a Host field or an authority-form target.

    Raises:
        InvalidURLError: it is empty, is no host (rule 1), or its port is above 65535.
    Source: RFC 9110 §7.2, RFC 9112 §3.2.3.
    """
    match = None
    if len(value) <= _MAX_AUTHORITY_LENGTH and value.isascii():
        match = _AUTHORITY.fullmatch(value.decode("ascii"))
    if match is None:
        raise InvalidURLError(f"not a host with an optional port: {clip(value)}")
    host, digits = match.groups()
    host = check_host(host)
    if not digits:
        return Authority(host, None, bracketed(host))
    port = check_port(int(digits))
    return Authority(host, port, f"{bracketed(host)}:{port}")


def encode_authority(text: str) -> Authority:
    """Return what a program means by ``host`` or ``host:port``; the host may be an internationalised name.

    Raises:
        InvalidURLError: it is empty, is no host (rule 1), or its port is above 65535.
    Source: RFC 3986 §3.2.
    """
    match = _AUTHORITY.fullmatch(text)
    if match is None:
        raise InvalidURLError(f"not a host with an optional port: {clip(text)}")
    host, digits = encode_host(match[1]), match[2]
    if not digits:
        return Authority(host, None, bracketed(host))
    port = check_port(int(digits))
    return Authority(host, port, f"{bracketed(host)}:{port}")


def check_host(host: str) -> str:
    """Return the canonical form of an ASCII host, an IPv6 address without its brackets.

    Args:
        host: a name, an IPv4 address, or an IPv6 address in brackets.
    Raises:
        InvalidURLError: it is none of the three (rule 1).
    Source: RFC 3986 §3.2.2, RFC 5952, RFC 1035 §2.3.4.
    """
    if host[:1] == "[" and host[-1:] == "]":
        return _canonical_ipv6(host[1:-1])
    name = host.lower() if host.isascii() else ""
    if name[-1:] == ".":
        name = name[:-1]
    if len(name) > _MAX_HOST_LENGTH or _NAME.fullmatch(name) is None:
        raise InvalidURLError(f"not a host name, an IPv4 address or an IPv6 address in brackets: {clip(host)}")
    if _LOOKS_NUMERIC.fullmatch(name, name.rfind(".") + 1) and _IPV4.fullmatch(name) is None:
        raise InvalidURLError(f"an IPv4 address must be four decimal numbers below 256, not {clip(host)}")
    return name


def encode_host(host: str) -> str:
    """Return the canonical form of a host that may be an internationalised name, in A-labels.

    Raises:
        InvalidURLError: it is not a host, or IDNA 2008 has no encoding for it.
    Source: RFC 5891, UTS #46 (non-transitional).
    """
    if host.isascii():
        return check_host(host)
    if len(host) > _MAX_HOST_LENGTH + 1:  # before the encoder sees it: its time grows with the square of the length
        raise InvalidURLError(f"a host name must have at most {_MAX_HOST_LENGTH} characters, not {len(host)}")
    import idna  # here, as its tables take longer to load than all the rest of this room and few programs need them

    try:
        return check_host(idna.encode(host, uts46=True, std3_rules=True).decode("ascii"))
    except UnicodeError as exc:
        raise InvalidURLError(f"not an internationalised host name: {clip(host)} ({exc})") from exc


def check_port(port: object) -> int:
    """Return ``port``, a whole number from 0 to 65535.

    Raises:
        InvalidURLError: it is not.
    """
    if not isinstance(port, int) or isinstance(port, bool) or not 0 <= port <= 65535:
        raise InvalidURLError(f"a port must be a whole number from 0 to 65535, not {clip(port)}")
    return port


def bracketed(host: str) -> str:
    """Return ``host`` as it stands in a URL: an IPv6 address in brackets, anything else as it is."""
    return f"[{host}]" if ":" in host else host


def _canonical_ipv6(text: str) -> str:
    """Return an IPv6 address in the form of RFC 5952, an embedded IPv4 address in hexadecimal as browsers have it."""
    try:
        if _IPV6_CHARACTERS.fullmatch(text) is None:
            raise ValueError
        number = int(ipaddress.IPv6Address(text))
    except ValueError:
        raise InvalidURLError(f"not an IPv6 address: {clip(text)}") from None
    # ``ipaddress`` could write it too, but does so differently from one Python to the next for embedded IPv4 addresses.
    short = ":".join(f"{number >> shift & 0xFFFF:x}" for shift in range(112, -1, -16))
    for zeros in range(8, 1, -1):
        run = ":".join("0" * zeros)
        place = f":{short}:".find(f":{run}:")
        if place >= 0:
            return f"{short[:place].removesuffix(':')}::{short[place + len(run) :].removeprefix(':')}"
    return short
