"""Certificates for tests: an authority of one's own, that nobody else trusts.

Rule 1: trustme makes the certificates; it comes with the ``test`` extra and is imported when it is needed.
Rule 2: one authority makes one certificate a name, and keeps it: keys are what takes time.
"""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import trustme

__all__ = ["CertificateAuthority"]


class CertificateAuthority:
    """A certificate authority for the length of a test run.

    Raises:
        ImportError: trustme is not installed.
    """

    def __init__(self) -> None:
        try:
            import trustme
        except ImportError as exc:
            raise ImportError("certificates for tests need trustme: pip install 'triohttp[test]'") from exc
        self._authority: trustme.CA = trustme.CA()
        self._contexts: dict[str, ssl.SSLContext] = {}

    @property
    def pem(self) -> bytes:
        """The authority's own certificate, to be trusted by other programs."""
        return self._authority.cert_pem.bytes()

    def server_context(self, host: str) -> ssl.SSLContext:
        """Return a server's context with a certificate for ``host``, a name or an address, the same at each call."""
        context = self._contexts.get(host)
        if context is None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._authority.issue_cert(host).configure_cert(context)
            context.set_alpn_protocols(["http/1.1"])
            self._contexts[host] = context
        return context

    def client_context(self) -> ssl.SSLContext:
        """Return a new client's context that trusts this authority and no other."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self._authority.configure_trust(context)
        context.set_alpn_protocols(["http/1.1"])
        return context
