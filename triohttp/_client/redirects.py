"""Redirects: whether an answer leads on, and what the next request may carry.

Rule 1: a secret belongs to the origin that it was given for (scheme, host and port, exactly). Once a redirect has left
        that origin nothing secret goes out any more in this call, not even when a later one leads back.
Rule 2: what crosses is a list of header fields that are known to be harmless, not a list of those known to be secret.
Rule 3: requests are built anew, never changed: the one that was redirected stays what it was.
Rule 4: nothing goes on in silence: what must not be followed is an error, and the target was not asked.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from triohttp._values.headers import Headers
from triohttp._values.url import URL
from triohttp.errors import InvalidURLError, RedirectError, clip

from .body import StreamedContent

if TYPE_CHECKING:
    from .request import ClientRequest

__all__ = ["REDIRECTING", "RedirectPolicy", "leads_on", "make_policy", "next_request"]

REDIRECTING: Final = frozenset({301, 302, 303, 307, 308})
"""The statuses that are followed; 300 and 305 are answers like any other (RFC 9110 §15.4)."""

_MAY_CROSS: Final = frozenset(
    {
        "accept", "accept-charset", "accept-encoding", "accept-language", "cache-control", "content-encoding",
        "content-language", "content-type", "expect", "if-match", "if-modified-since", "if-none-match", "if-range",
        "if-unmodified-since", "last-event-id", "pragma", "range", "user-agent",
    }
)  # fmt: skip
_OF_CONTENT: Final = (
    "content-encoding",
    "content-language",
    "content-length",
    "content-location",
    "content-type",
    "digest",
    "expect",
    "last-modified",
    "trailer",
)


@dataclass(frozen=True, kw_only=True, slots=True)
class RedirectPolicy:
    """What a client does about redirects, beside following at most ``ClientLimits.max_redirects`` of them.

    Args:
        head: follow those of HEAD requests too.
        to_http: follow from https to http.
        content: send the content of a request to another origin, where 307 or 308 asks for it.
        headers: names of header fields that may be sent to another origin, beside those that are harmless to anybody.
        secret_headers: names of header fields that stay at their origin although they are among the harmless ones.
    Source: RFC 9110 §15.4.
    """

    head: bool = False
    to_http: bool = False
    content: bool = False
    headers: Collection[str] = ()
    secret_headers: Collection[str] = ()

    def __post_init__(self) -> None:
        for name in ("headers", "secret_headers"):
            names = getattr(self, name)
            if isinstance(names, str):
                raise TypeError(f"{name} must be a collection of field names, not one text: {clip(names)}")
            object.__setattr__(self, name, frozenset(one.lower() for one in names))

    def may_cross(self, name: str) -> bool:
        """Tell whether a header field may be sent to an origin that it was not given for; ``name`` in lower case."""
        return (name in _MAY_CROSS or name in self.headers) and name not in self.secret_headers


_DEFAULT: Final = RedirectPolicy()


def make_policy(init: RedirectPolicy | bool, default: RedirectPolicy | None = None) -> RedirectPolicy | None:
    """Return what an option means: None to follow none.

    Args:
        default: what the client does, for True, which is about HEAD requests alone.
    Raises:
        TypeError: it is neither a policy nor a bool.
    """
    if isinstance(init, RedirectPolicy):
        return init
    if not isinstance(init, bool):
        raise TypeError(f"redirects must be a RedirectPolicy or a bool, not {clip(init)}")
    return replace(default or _DEFAULT, head=True) if init else None


def leads_on(policy: RedirectPolicy | None, method: str, status: int, headers: Headers) -> bool:
    """Tell whether an answer is a redirect that is to be followed."""
    if status not in REDIRECTING or policy is None:
        return False
    return "location" in headers and (method != "HEAD" or policy.head)


def next_request(request: ClientRequest, status: int, headers: Headers, policy: RedirectPolicy) -> ClientRequest:
    """Return the request that a redirect asks for.

    Args:
        request: the one that was redirected, before credentials and cookies were put into it.
    Raises:
        RedirectError: it must not be followed, or cannot be.
    Source: RFC 9110 §10.2.2, §15.4; Fetch §4.4 for the methods.
    """
    location = _location(status, headers)
    url = _target(request.url, status, location)
    if request.url.scheme == "https" and url.scheme == "http" and not policy.to_http:
        raise RedirectError(
            f"{request} leads from https to {url!r}, which RedirectPolicy(to_http=True) would allow",
            reason="downgrade",
            code=status,
            location=location,
        )
    method = request.method
    if (status == 303 and method != "HEAD") or (status in (301, 302) and method == "POST"):
        method = "GET"
    crossing = request.crossed or url.origin != request.url.origin
    fields = request.headers
    if crossing:
        fields = Headers([(n, v) for n, v in fields.field_lines() if policy.may_cross(n.lower())])
    else:
        fields = fields.copy()
    following = replace(request, url=url, method=method, headers=fields)
    if method != request.method:
        for name in _OF_CONTENT:
            fields.pop(name, None)
        following.content, following.trailers, following.expect_continue = b"", None, False
    elif request.content:
        _check_content(request, url, status, location, policy)
    if crossing:
        following.crossed, following.auth, following.cookies, following.trailers = True, None, None, None
    return following


def _location(status: int, headers: Headers) -> str:
    values = list(dict.fromkeys(headers.get_all("location")))
    if len(values) > 1:
        message = f"the redirect names {len(values)} places: {clip(values)}"
        raise RedirectError(message, reason="location", code=status, location=values[0])
    try:
        return values[0].encode("latin-1").decode()  # servers write what they mean as UTF-8, most of them encoded
    except UnicodeDecodeError:
        return values[0]


def _target(base: URL, status: int, location: str) -> URL:
    try:
        url = base.join(location)
        if url.scheme not in ("http", "https"):
            raise InvalidURLError(f"a client speaks http and https, not {url.scheme!r}")
        if url.userinfo:  # whoever redirects does not say who this program is
            url = url.replace(userinfo="")
        return url if url.fragment or not base.fragment else url.replace(fragment=base.fragment)
    except InvalidURLError as exc:
        message = f"the redirect's Location is no URL to go to: {exc}"
        raise RedirectError(message, reason="location", code=status, location=location) from exc


def _check_content(request: ClientRequest, url: URL, status: int, location: str, policy: RedirectPolicy) -> None:
    if url.origin != request.url.origin and not policy.content:
        raise RedirectError(
            f"{request} is to be sent again, with its content, to another origin: {url!r}; "
            "RedirectPolicy(content=True) would allow that",
            reason="content",
            code=status,
            location=location,
        )
    content = request.content
    if isinstance(content, StreamedContent) and content.started and not content.replayable:
        raise RedirectError(
            f"{request} is to be sent again, but its content can be read only once; give bytes, a file, or an object "
            "that can be iterated again",
            reason="replay",
            code=status,
            location=location,
        )
