"""One-shot calls for programs that make one request: a client that lives for a single call.

Rule 1: a program that makes more of them opens a ``Client``: each of these opens a connection and closes it.
"""

from __future__ import annotations

import os
import ssl
from typing import Unpack, cast

from triohttp._values.limits import ClientLimits
from triohttp._values.url import URL

from .client import DEFAULT_LIMITS, Client
from .options import RequestOptions
from .response import ClientResponse

__all__ = ["OneShotOptions", "delete", "get", "head", "options", "patch", "post", "put", "request"]


class OneShotOptions(RequestOptions, total=False):
    """What a one-shot call takes beside its method and URL: the options of a request, and some of a client."""

    limits: ClientLimits
    """How much to take from the server."""
    tls: ssl.SSLContext | None
    """Whom to trust and who to be, used as it is."""
    ca: str | os.PathLike[str] | None
    """A file or directory of authorities in PEM that are trusted instead of the system's."""


_OF_THE_CLIENT = frozenset({"limits", "tls", "ca"})


async def request(method: str, url: str | URL, **options: Unpack[OneShotOptions]) -> ClientResponse:
    """Return the complete answer to one request, on a connection of its own; see ``Client.request``."""
    limits, tls, ca = options.get("limits", DEFAULT_LIMITS), options.get("tls"), options.get("ca")
    rest = cast("RequestOptions", {name: value for name, value in options.items() if name not in _OF_THE_CLIENT})
    async with Client(limits=limits, tls=tls, ca=ca) as client:
        return await client.request(method, url, **rest)


async def get(url: str | URL, **options: Unpack[OneShotOptions]) -> ClientResponse:
    """Return the complete answer to one GET; see ``request``."""
    return await request("GET", url, **options)


async def head(url: str | URL, **options: Unpack[OneShotOptions]) -> ClientResponse:
    """Return the answer to one HEAD; see ``request``."""
    return await request("HEAD", url, **options)


async def options(url: str | URL, **options: Unpack[OneShotOptions]) -> ClientResponse:
    """Return the complete answer to one OPTIONS; see ``request``."""
    return await request("OPTIONS", url, **options)


async def post(url: str | URL, **options: Unpack[OneShotOptions]) -> ClientResponse:
    """Return the complete answer to one POST; see ``request``."""
    return await request("POST", url, **options)


async def put(url: str | URL, **options: Unpack[OneShotOptions]) -> ClientResponse:
    """Return the complete answer to one PUT; see ``request``."""
    return await request("PUT", url, **options)


async def patch(url: str | URL, **options: Unpack[OneShotOptions]) -> ClientResponse:
    """Return the complete answer to one PATCH; see ``request``."""
    return await request("PATCH", url, **options)


async def delete(url: str | URL, **options: Unpack[OneShotOptions]) -> ClientResponse:
    """Return the complete answer to one DELETE; see ``request``."""
    return await request("DELETE", url, **options)
