"""Whom the client trusts: the contexts that it makes when it is not given one.

Rule 1: verification is on; a program that wants something else brings its own context, which is used as it is.
Rule 2: a context is made for the first https request, not before: it costs a program without one nothing.
Rule 3: reading the system's authorities takes 30 ms in which nothing else runs, so it is done once a process.
"""

from __future__ import annotations

import functools
import os
import ssl
import stat
import sys
from typing import Final

import truststore

__all__ = ["make_context", "system_context"]

ALPN: Final = ["http/1.1"]


def make_context(ca: str | os.PathLike[str] | None = None) -> ssl.SSLContext:
    """Return a verifying client context.

    Args:
        ca: a file or directory of authorities in PEM that are trusted instead of the system's.
    Raises:
        OSError: ``ca`` cannot be read.
        ssl.SSLError: ``ca`` holds no certificate.
    Source: RFC 9110 §4.3.4.
    """
    if ca is None:
        return system_context()
    path = os.fspath(ca)
    if stat.S_ISDIR(os.stat(path).st_mode):  # the error of a file that is not there has its name; that of ssl has not
        return _configured(ssl.create_default_context(capath=path))
    return _configured(ssl.create_default_context(cafile=path))


@functools.cache
def system_context() -> ssl.SSLContext:
    """Return the context that trusts the system's authorities; all clients without one of their own share it."""
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
