"""Where requests go: by which mount or proxy, and with which idea of whom to trust.

Rule 1: a destination is found once an origin and then looked up; a request pays for a dictionary.
Rule 2: contexts are made for the first https request: a program without one never pays for them.
Rule 3: a client certificate is a secret like any other: it is shown to the origins that it was given for, and to none
        that a redirect leads to.
"""

from __future__ import annotations

import logging
import os
import ssl
from collections.abc import Mapping
from typing import TypeAlias

from triohttp._values.url import URL

from .body import UNSET, Unset
from .options import check_type
from .origin import Mounts
from .pool import Destination
from .proxies import Proxies, Proxy
from .tls import Certificate, make_context

__all__ = ["Routes"]

LOGGER = logging.getLogger("triohttp.client")
MAX_KNOWN = 1000
"""Destinations that are kept; beyond that they are found again."""


class Routes:
    """The way to each origin.

    Args:
        mounts: the origins that are not on the network.
        proxies: what requests go through, None for nothing.
        tls: whom to trust and who to be, used as it is.
        ca: authorities that are trusted instead of the system's.
        verify: whether servers are verified.
        certificates: who to be, by origin; under None, for every origin.
    """

    def __init__(
        self,
        mounts: Mounts,
        *,
        proxies: Proxies | None = None,
        tls: ssl.SSLContext | None = None,
        ca: str | os.PathLike[str] | None = None,
        verify: bool = True,
        certificates: Mapping[tuple[str, str, int] | None, Certificate] | None = None,
    ) -> None:
        self._mounts = mounts
        self._proxies = proxies
        self._tls = tls
        self._ca = ca
        self._verify = verify
        self._certificates = certificates or {}
        self._contexts: dict[tuple[Certificate | None, bool], ssl.SSLContext] = {}
        self._known: dict[_Key, Destination] = {}
        check_type("verify", verify, bool)
        if ca is not None:
            os.stat(ca)  # a path that is not there is told before the first request
        if not verify:
            LOGGER.warning("a client was told not to verify servers: anybody on the way can read and change everything")

    def destination(
        self, url: URL, *, proxy: Proxy | Unset | None = UNSET, tunnel: bool = False, identified: bool = True
    ) -> Destination:
        """Return where a request for ``url`` goes.

        Args:
            proxy: instead of the one that the rules name; None for none.
            tunnel: an HTTP proxy is to open a tunnel: for what is not HTTP in the end.
            identified: the client may show who it is.
        Raises:
            ConnectError: only mounts may be reached, and there is none.
            OSError, ssl.SSLError: the authorities or the certificate cannot be read.
        """
        mount = self._mounts.find(url) if self._mounts else ""  # it may be a part of an origin
        key = (url.origin, mount, proxy, tunnel, identified)
        known = self._known.get(key)
        if known is not None:
            return known
        if mount:
            proxy = None
        elif isinstance(proxy, Unset):
            proxy = self._proxies.find(url) if self._proxies is not None else None
        scheme, host, port = url.origin
        tls = self._context(url.origin, identified) if scheme == "https" else None
        by_connect = proxy is not None and not proxy.is_socks and (tunnel or tls is not None)
        destination = Destination(scheme, host, port, tls, mount, proxy, by_connect)
        if len(self._known) >= MAX_KNOWN:
            self._known.clear()
        self._known[key] = destination
        return destination

    def proxy_context(self, proxy: Proxy) -> ssl.SSLContext:
        """Return whom to trust for the TLS of a proxy itself."""
        # Verified even by a client that does not verify servers: that they are in a bad way says nothing about a proxy.
        return proxy.tls if proxy.tls is not None else self._made(None, verify=True)

    def _context(self, origin: tuple[str, str, int], identified: bool) -> ssl.SSLContext:
        if self._tls is not None:
            return self._tls
        certificate = self._certificates.get(origin) or self._certificates.get(None) if identified else None
        return self._made(certificate, verify=self._verify)

    def _made(self, certificate: Certificate | None, *, verify: bool) -> ssl.SSLContext:
        context = self._contexts.get((certificate, verify))
        if context is None:
            context = make_context(self._ca, verify=verify, certificate=certificate)
            self._contexts[certificate, verify] = context
        return context


_Key: TypeAlias = "tuple[tuple[str, str, int], str, Proxy | Unset | None, bool, bool]"
