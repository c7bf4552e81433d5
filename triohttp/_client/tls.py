"""Whom the client trusts and who it is: the contexts that it makes when it is not given one.

Rule 1: verification is on unless the client was told otherwise, in so many words.
Rule 2: a context is made for the first https request, not before: it costs a program without one nothing.
Rule 3: reading the system's authorities takes 30 ms in which nothing else runs, so it is done once a process.
"""

from __future__ import annotations

import functools
import hashlib
import os
import re
import ssl
import stat
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import truststore

from triohttp._values.authority import encode_authority
from triohttp.errors import TLSError, clip

__all__ = ["Certificate", "check_pin", "make_context", "parse_pins", "system_context"]

ALPN: Final = ["http/1.1"]
_FINGERPRINT = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Certificate:
    """A client's certificate, for servers that ask who it is.

    Args:
        cert_file: the certificate in PEM, with the chain to its authority, and with its key where ``key_file`` is None.
        key_file: the key in PEM.
        password: of the key, where it is encrypted.
    Raises:
        OSError: a file is not there.
    """

    cert_file: str | os.PathLike[str]
    key_file: str | os.PathLike[str] | None = None
    password: str | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        for path in (self.cert_file, self.key_file):
            if path is not None:
                os.stat(path)  # its error has the name; that of ssl has not


def make_context(
    ca: str | os.PathLike[str] | None = None, *, verify: bool = True, certificate: Certificate | None = None
) -> ssl.SSLContext:
    """Return a client context.

    Args:
        ca: a file or directory of authorities in PEM that are trusted instead of the system's.
        verify: whether the server's certificate and name are looked at.
        certificate: who the client is.
    Raises:
        OSError: a file cannot be read.
        ssl.SSLError: ``ca`` holds no certificate, or the certificate and its key do not fit.
    Source: RFC 9110 §4.3.4.
    """
    if not verify:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif ca is None:
        context = system_context() if certificate is None else _new_system_context()
    else:
        path = os.fspath(ca)
        if stat.S_ISDIR(os.stat(path).st_mode):  # the error of a file that is not there has its name
            context = ssl.create_default_context(capath=path)
        else:
            context = ssl.create_default_context(cafile=path)
    if certificate is not None:
        # A function, which is asked only where the key is encrypted: without one OpenSSL would ask on the terminal.
        context.load_cert_chain(certificate.cert_file, certificate.key_file, lambda: certificate.password or "")
    return _configured(context)


@functools.cache
def system_context() -> ssl.SSLContext:
    """Return the context that trusts the system's authorities; all clients without one of their own share it."""
    return _new_system_context()


def _new_system_context() -> ssl.SSLContext:
    context: ssl.SSLContext = truststore.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if sys.platform not in ("win32", "darwin"):
        # Where OpenSSL itself verifies, truststore finds the authorities and reads them, again for every connection.
        # The context that it read them into is what the first connection has; that one needs nothing more.
        context = context.wrap_bio(ssl.MemoryBIO(), ssl.MemoryBIO(), server_hostname="localhost").context
    return _configured(context)


def _configured(context: ssl.SSLContext) -> ssl.SSLContext:
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(ALPN)
    return context


def parse_pins(pins: Mapping[str, str | Sequence[str]]) -> dict[str, frozenset[str]]:
    """Return the SHA-256 fingerprints of the certificates that a host may have, by host.

    Args:
        pins: fingerprints in hexadecimal, with or without colons, as ``openssl x509 -fingerprint -sha256`` writes them.
    Raises:
        InvalidURLError, ValueError: a host or a fingerprint is none.
    """
    parsed: dict[str, frozenset[str]] = {}
    for host, values in pins.items():
        found = set()
        for value in [values] if isinstance(values, str) else values:
            digits = value.replace(":", "").lower()
            if not _FINGERPRINT.fullmatch(digits):
                raise ValueError(f"a pin is a SHA-256 fingerprint, 64 hexadecimal digits, not {clip(value)}")
            found.add(digits)
        if not found:
            raise ValueError(f"no pin is given for {host}: nothing could be trusted")
        name = encode_authority(host)
        if name.port is not None:
            raise ValueError(f"a pin is for a host, whatever the port, not for {clip(host)}")
        parsed[name.host] = frozenset(found)
    return parsed


def check_pin(certificate: bytes | None, host: str, pins: frozenset[str]) -> None:
    """Raise TLSError unless a server's certificate, in DER, is one of those that it may have."""
    seen = hashlib.sha256(certificate or b"").hexdigest()
    if seen not in pins:
        raise TLSError(
            f"the certificate of {host} is not the one that is pinned: its SHA-256 is {seen}",
            phase="tls",
            safe_to_retry=False,
        )
