"""What programs may say: options of a call, of a client, and of the clients that derive from one.

Rule 1: an option is named, described and typed here, once; whoever passes options on takes them from here.
Rule 2: an unknown option is an error that names those there are, never ignored.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, TypeAlias, TypedDict

from triohttp._values.headers import HeadersInit
from triohttp._values.limits import ClientLimits, ClientTimeouts
from triohttp._values.query import QueryInit
from triohttp.errors import clip

from .body import ContentInit
from .multipart_content import FilesInit

if TYPE_CHECKING:
    from .auth import AuthInit
    from .chain import ClientMiddleware
    from .cookie_jar import CookieJar
    from .dial import Connect
    from .observers import ClientObserver
    from .origin import Origin
    from .proxies import ProxiesInit, Proxy
    from .redirects import RedirectPolicy
    from .resolve import ResolveInit
    from .tls import Certificate

__all__ = [
    "ClientOptions",
    "DerivedOptions",
    "Progress",
    "RequestOptions",
    "TrailersInit",
    "check_options",
    "check_type",
]

TrailersInit: TypeAlias = "HeadersInit | Callable[[], HeadersInit]"
"""Trailer fields, or what is called for them once all content has gone out."""
Progress: TypeAlias = Callable[[int, "int | None"], object]
"""Called with the bytes that have been moved so far, and with all there are, None where nobody knows."""


class RequestOptions(TypedDict, total=False):
    """What every call of a client takes beside its method and URL."""

    params: QueryInit
    """Query fields, put after those of the URL and of the client."""
    headers: HeadersInit
    """Header fields; each name replaces what the client would send under it."""
    content: ContentInit
    """Bytes, text, a path, a binary file, or an iterable of bytes; what can be read only once is closed in the end."""
    json: object
    """A value to send as JSON; None, False, 0 and empty ones are values too."""
    form: QueryInit
    """Fields to send as an urlencoded form; with ``files``, or a Content-Type that says so, as multipart/form-data."""
    files: FilesInit
    """Files to send as multipart/form-data, by the names of their fields; see ``FilePart``."""
    trailers: TrailersInit
    """Trailer fields for content that is streamed without a Content-Length."""
    timeouts: ClientTimeouts
    """Bounds that hold for this call instead of the client's."""
    expect_continue: bool
    """Ask the server before the content is sent (``Expect: 100-continue``)."""
    cookies: Mapping[str, str]
    """Cookies of this call alone, beside those of the client's jar; they stay at the URL's origin."""
    auth: AuthInit | None
    """Credentials for the URL's origin instead of the client's; None for none."""
    redirects: RedirectPolicy | bool
    """What to do about redirects, instead of what the client does: False returns them, True follows for HEAD too."""
    decode: bool
    """Whether content codings are undone; False leaves the content as it was sent."""
    proxy: str | Proxy | None
    """The proxy that this request and those that it is redirected to go through, instead of the client's; None for
    none."""
    on_upload: Progress
    """Called as content goes out, from ``(0, total)`` to ``(n, n)``, every 16 KiB at least.

    When it is sent again, after a redirect for one, the count begins at 0 again. Bytes that are short enough to go out
    with the head make one call, ``(n, n)``, and no content makes none.
    """
    on_download: Progress
    """Called as content comes in, with bytes as they were sent, before codings are undone."""


class DerivedOptions(TypedDict, total=False):
    """What clients that derive from one may have of their own."""

    headers: HeadersInit | None
    """Header fields of every request; each name replaces what the client would send under it."""
    params: QueryInit | None
    """Query fields of every request, put after those of its URL."""
    timeouts: ClientTimeouts | None
    """How long to wait for a server."""
    cookies: CookieJar | None
    """Where cookies are kept; None for nowhere."""
    auth: AuthInit | Mapping[str, AuthInit] | None
    """Credentials: for the base URL's origin, or by origin (``https://host`` or ``https://host:port``)."""
    redirects: RedirectPolicy | bool
    """What to do about redirects; False returns them, True follows those of HEAD too."""
    decode: bool
    """Whether content codings are asked for and undone."""
    middleware: Sequence[ClientMiddleware]
    """What goes around each call, redirects and all; the first is the outermost."""
    hop_middleware: Sequence[ClientMiddleware]
    """What goes around each single request on its way to a server; the first is the outermost."""


class ClientOptions(DerivedOptions, total=False):
    """What a client takes beside its base URL."""

    limits: ClientLimits
    """How much to open and to take from a server."""
    tls: ssl.SSLContext | None
    """Whom to trust and who to be, used as it is; by default servers are verified with the system's authorities."""
    ca: str | os.PathLike[str] | None
    """A file or directory of authorities in PEM that are trusted instead of the system's."""
    verify: bool
    """Whether servers are verified; False is for experiments, since anybody on the way can then read everything."""
    certificate: Certificate | Mapping[str, Certificate] | None
    """Who the client is: for the base URL's origin, for every origin where there is none, or by origin."""
    pins: Mapping[str, str | Sequence[str]] | None
    """SHA-256 fingerprints of the certificates that a host may have, by host, beside what verifies them."""
    proxies: ProxiesInit | None
    """What requests go through; the environment counts only as ``Proxies.from_environment(os.environ)``."""
    resolve: ResolveInit | None
    """Addresses by host, or an async function that returns them, instead of the system's resolver."""
    local_address: str | None
    """The address that connections come from."""
    connect: Connect | None
    """``async def connect(host, port)`` that returns a stream, instead of TCP; TLS and proxies go on top of it."""
    mounts: Mapping[str, Origin] | None
    """Origins that are reached by a stream of their own instead of through the network."""
    mounts_only: bool
    """Refuse every URL that no mount matches."""
    observers: Sequence[ClientObserver]
    """Who is told what happens on the way of each request."""


def check_options(options: Mapping[str, object], known: frozenset[str], whose: str) -> None:
    """Raise TypeError for an option that is none."""
    if not known.issuperset(options):
        unknown = sorted(set(options) - known)
        raise TypeError(f"unknown option {unknown[0]!r}; {whose} has {', '.join(sorted(known))}")


def check_type(name: str, value: object, kind: type) -> None:
    """Raise TypeError unless ``value`` is a ``kind``."""
    if not isinstance(value, kind):
        raise TypeError(f"{name} must be of type {kind.__name__}, not {clip(value)}")
