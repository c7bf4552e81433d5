"""HTTP exceptions: answers that a handler raises, one class for each status that it may want.

Raising one and returning one are the same. An instance may be raised for any number of requests, at the same time too:
what goes out is a response made of it each time.

Rule 1: a class is named as RFC 9110 §15 and the status registry name the status.
Rule 2: where a status is worth nothing without a header field (Allow, Location), the class asks for it.
Rule 3: without a text of its own the answer says the status and nothing else: nothing of the request is echoed.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from triohttp._values.headers import Headers, HeadersInit
from triohttp._values.status import content_allowed, reason_phrase

from .response import Response, encode_location

__all__ = [
    "BadGateway",
    "BadRequest",
    "Conflict",
    "ContentTooLarge",
    "ExpectationFailed",
    "FailedDependency",
    "Forbidden",
    "Found",
    "GatewayTimeout",
    "Gone",
    "HTTPException",
    "HTTPVersionNotSupported",
    "InsufficientStorage",
    "InternalServerError",
    "LengthRequired",
    "Locked",
    "LoopDetected",
    "MethodNotAllowed",
    "MisdirectedRequest",
    "MovedPermanently",
    "MultipleChoices",
    "NetworkAuthenticationRequired",
    "NotAcceptable",
    "NotFound",
    "NotImplementedOnServer",
    "NotModified",
    "PaymentRequired",
    "PermanentRedirect",
    "PreconditionFailed",
    "PreconditionRequired",
    "ProxyAuthenticationRequired",
    "RangeNotSatisfiable",
    "Redirection",
    "RequestHeaderFieldsTooLarge",
    "RequestTimeout",
    "SeeOther",
    "ServiceUnavailable",
    "TemporaryRedirect",
    "TooEarly",
    "TooManyRequests",
    "URITooLong",
    "Unauthorized",
    "UnavailableForLegalReasons",
    "UnprocessableContent",
    "UnsupportedMediaType",
    "UpgradeRequired",
    "UseProxy",
    "VariantAlsoNegotiates",
    "status_text",
]


def status_text(status: int) -> str:
    """Return the constant text that stands for a status where nobody gave another one."""
    return reason_phrase(status) + "\n" if content_allowed(status) else ""


class HTTPException(Exception):
    """An answer as an exception; raise the class of the status that you mean.

    Args:
        text: what the answer's content says, as ``text/plain`` in UTF-8; None for the status in words.
        content: content of another kind, in place of ``text``; its type is ``headers``' Content-Type.
        headers: header fields besides those that the class sets.
    Attributes:
        status: the status code.
        headers: the header fields of every answer that is made of this exception.
    """

    status: ClassVar[int] = 500

    def __init__(
        self, text: str | None = None, *, content: bytes | None = None, headers: HeadersInit | None = None
    ) -> None:
        if text is not None and content is not None:
            raise ValueError("text and content exclude each other")
        if not isinstance(text, str | None):
            raise TypeError(f"text must be a str, not {type(text).__qualname__}")
        if not isinstance(content, bytes | None):
            raise TypeError(f"content must be bytes, not {type(content).__qualname__}")
        super().__init__(text if text is not None else reason_phrase(self.status))
        self.text = text
        self.content = content
        self.headers = Headers(headers if headers is not None else ())

    def to_response(self) -> Response:
        """Return a new response that says what this exception says."""
        headers = self.headers.copy()
        content = self.content
        if content is None:
            content = (self.text if self.text is not None else status_text(self.status)).encode()
            if content and "content-type" not in headers:
                headers.add("Content-Type", "text/plain; charset=utf-8")
        headers.setdefault("X-Content-Type-Options", "nosniff")
        return Response(content, status=self.status, headers=headers)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.args[0]!r})"


# -- 3xx: elsewhere ----------------------------------------------------------------------------------------------------


class Redirection(HTTPException):
    """An answer that sends the client to ``location``; raise one of the classes with a status.

    Args:
        location: a URL or a relative reference; what a URL cannot hold as it is, is percent-encoded.
        text: as for ``HTTPException``; None for no content.
        headers: header fields besides Location.
    Raises:
        ValueError: the location is empty or holds control characters.
    """

    status: ClassVar[int] = 302

    def __init__(self, location: str, text: str = "", *, headers: HeadersInit | None = None) -> None:
        encoded = encode_location(location)
        super().__init__(text, headers=headers)
        self.headers["Location"] = encoded

    @property
    def location(self) -> str:
        """The reference as it goes out."""
        return self.headers["Location"]


class MultipleChoices(Redirection):
    """300: there are several representations; the preferred one is at ``location``."""

    status = 300


class MovedPermanently(Redirection):
    """301: use the new URL from now on; clients may turn POST into GET."""

    status = 301


class Found(Redirection):
    """302: look there this time; clients may turn POST into GET."""

    status = 302


class SeeOther(Redirection):
    """303: the result is there, to be fetched by GET."""

    status = 303


class NotModified(HTTPException):
    """304: the representation that the client has is still good; there is no content."""

    status = 304


class UseProxy(Redirection):
    """305, deprecated: clients ignore it."""

    status = 305


class TemporaryRedirect(Redirection):
    """307: repeat the same request there this time."""

    status = 307


class PermanentRedirect(Redirection):
    """308: repeat the same request there, from now on."""

    status = 308


# -- 4xx: the client's mistake -----------------------------------------------------------------------------------------


class BadRequest(HTTPException):
    """400: the request makes no sense."""

    status = 400


class Unauthorized(HTTPException):
    """401: the request needs credentials, or better ones.

    Args:
        challenge: the WWW-Authenticate value that says which, such as ``Basic realm="files"`` (RFC 9110 §11.6.1).
        text: as for ``HTTPException``.
        headers: as for ``HTTPException``.
    """

    status = 401

    def __init__(
        self, text: str | None = None, *, challenge: str | None = None, headers: HeadersInit | None = None
    ) -> None:
        super().__init__(text, headers=headers)
        if challenge is not None:
            self.headers.add("WWW-Authenticate", challenge)


class PaymentRequired(HTTPException):
    """402: reserved by the standard, used for quotas and payment."""

    status = 402


class Forbidden(HTTPException):
    """403: not for this client, whatever it sends along."""

    status = 403


class NotFound(HTTPException):
    """404: nothing is here."""

    status = 404


class MethodNotAllowed(HTTPException):
    """405: what is here takes other methods.

    Args:
        allowed: the methods that it takes; they go out, sorted, in Allow (RFC 9110 §15.5.6).
        text: as for ``HTTPException``.
        headers: as for ``HTTPException``.
    """

    status = 405

    def __init__(self, text: str | None = None, *, allowed: Iterable[str], headers: HeadersInit | None = None) -> None:
        super().__init__(text, headers=headers)
        self.allowed = tuple(sorted({allowed} if isinstance(allowed, str) else set(allowed)))
        self.headers["Allow"] = ", ".join(self.allowed)


class NotAcceptable(HTTPException):
    """406: none of the representations is one that the client accepts."""

    status = 406


class ProxyAuthenticationRequired(HTTPException):
    """407: the proxy needs credentials; say which in Proxy-Authenticate."""

    status = 407


class RequestTimeout(HTTPException):
    """408: the request did not come in time."""

    status = 408


class Conflict(HTTPException):
    """409: the request does not fit the state of what it is for."""

    status = 409


class Gone(HTTPException):
    """410: it was here, and will not come back."""

    status = 410


class LengthRequired(HTTPException):
    """411: the content must come with a Content-Length."""

    status = 411


class PreconditionFailed(HTTPException):
    """412: a condition in the header fields is not met."""

    status = 412


class ContentTooLarge(HTTPException):
    """413: the content is larger than is taken here."""

    status = 413


class URITooLong(HTTPException):
    """414: the target is longer than is taken here."""

    status = 414


class UnsupportedMediaType(HTTPException):
    """415: content of this type, or in this coding, is not taken here."""

    status = 415


class RangeNotSatisfiable(HTTPException):
    """416: none of the ranges lies in the representation.

    Args:
        length: the representation's length in bytes, for Content-Range (RFC 9110 §14.4).
        text: as for ``HTTPException``.
        headers: as for ``HTTPException``.
    """

    status = 416

    def __init__(
        self, text: str | None = None, *, length: int | None = None, headers: HeadersInit | None = None
    ) -> None:
        super().__init__(text, headers=headers)
        if length is not None:
            self.headers["Content-Range"] = f"bytes */{length}"


class ExpectationFailed(HTTPException):
    """417: what Expect asks for is not done here."""

    status = 417


class MisdirectedRequest(HTTPException):
    """421: this server does not answer for that authority."""

    status = 421


class UnprocessableContent(HTTPException):
    """422: the content is well-formed and still cannot be acted on."""

    status = 422


class Locked(HTTPException):
    """423: what the request is for is locked."""

    status = 423


class FailedDependency(HTTPException):
    """424: another request that this one depends on failed."""

    status = 424


class TooEarly(HTTPException):
    """425: the request came in TLS early data and might be a replay."""

    status = 425


class UpgradeRequired(HTTPException):
    """426: use another protocol.

    Args:
        protocol: the protocol, for Upgrade (RFC 9110 §15.5.22).
        text: as for ``HTTPException``.
        headers: as for ``HTTPException``.
    """

    status = 426

    def __init__(
        self, text: str | None = None, *, protocol: str | None = None, headers: HeadersInit | None = None
    ) -> None:
        super().__init__(text, headers=headers)
        if protocol is not None:
            self.headers["Upgrade"] = protocol


class PreconditionRequired(HTTPException):
    """428: the request must be conditional."""

    status = 428


class _RetryLater(HTTPException):
    """An answer after which the client may come again.

    Args:
        retry_after: seconds after which it may, for Retry-After (RFC 9110 §10.2.3).
        text: as for ``HTTPException``.
        headers: as for ``HTTPException``.
    """

    def __init__(
        self, text: str | None = None, *, retry_after: int | None = None, headers: HeadersInit | None = None
    ) -> None:
        super().__init__(text, headers=headers)
        if retry_after is not None:
            self.headers["Retry-After"] = str(int(retry_after))


class TooManyRequests(_RetryLater):
    """429: the client asks too often; ``retry_after`` says in seconds when it may again."""

    status = 429


class RequestHeaderFieldsTooLarge(HTTPException):
    """431: the header fields are larger than is taken here."""

    status = 431


class UnavailableForLegalReasons(HTTPException):
    """451: the law says no."""

    status = 451


# -- 5xx: the server's mistake -----------------------------------------------------------------------------------------


class InternalServerError(HTTPException):
    """500: something broke here."""

    status = 500


class NotImplementedOnServer(HTTPException):
    """501: this server cannot do that (named so because ``NotImplemented`` is Python's)."""

    status = 501


class BadGateway(HTTPException):
    """502: the server behind this one answered nonsense."""

    status = 502


class ServiceUnavailable(_RetryLater):
    """503: not now; ``retry_after`` says in seconds when to try again."""

    status = 503


class GatewayTimeout(HTTPException):
    """504: the server behind this one did not answer in time."""

    status = 504


class HTTPVersionNotSupported(HTTPException):
    """505: this version of HTTP is not spoken here."""

    status = 505


class VariantAlsoNegotiates(HTTPException):
    """506: content negotiation is configured in a circle."""

    status = 506


class InsufficientStorage(HTTPException):
    """507: there is no room for what the request wants to store."""

    status = 507


class LoopDetected(HTTPException):
    """508: the request runs in a circle."""

    status = 508


class NetworkAuthenticationRequired(HTTPException):
    """511: the network wants credentials before it lets anybody through."""

    status = 511
