"""Whom the client trusts: the contexts that it makes when it is not given one.

Rule 1: verification is on; a program that wants something else brings its own context, which is used as it is.
Rule 2: a context is made for the first https request, not before: it costs a program without one nothing.
"""

from __future__ import annotations

import os
import ssl

import truststore

__all__ = ["make_context"]

ALPN = ["http/1.1"]


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
        context: ssl.SSLContext = truststore.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    elif os.path.isdir(ca):
        context = ssl.create_default_context(capath=os.fspath(ca))
    else:
        context = ssl.create_default_context(cafile=os.fspath(ca))
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(ALPN)
    return context
