"""Status codes: their ranges, their phrases, and whether content can follow (RFC 9110 §15).

Rule 1: a reason phrase comes from the table here and never from a caller or a peer: it is written to the wire unseen.
Rule 2: an unknown code means what its hundred means (RFC 9110 §15).
"""

from __future__ import annotations

from typing import Final

from triohttp.errors import clip

__all__ = [
    "check_status",
    "content_allowed",
    "is_client_error",
    "is_informational",
    "is_redirection",
    "is_server_error",
    "is_success",
    "reason_phrase",
]

_PHRASES: Final = {
    100: "Continue",
    101: "Switching Protocols",
    102: "Processing",
    103: "Early Hints",
    200: "OK",
    201: "Created",
    202: "Accepted",
    203: "Non-Authoritative Information",
    204: "No Content",
    205: "Reset Content",
    206: "Partial Content",
    207: "Multi-Status",
    208: "Already Reported",
    226: "IM Used",
    300: "Multiple Choices",
    301: "Moved Permanently",
    302: "Found",
    303: "See Other",
    304: "Not Modified",
    305: "Use Proxy",
    307: "Temporary Redirect",
    308: "Permanent Redirect",
    400: "Bad Request",
    401: "Unauthorized",
    402: "Payment Required",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    406: "Not Acceptable",
    407: "Proxy Authentication Required",
    408: "Request Timeout",
    409: "Conflict",
    410: "Gone",
    411: "Length Required",
    412: "Precondition Failed",
    413: "Content Too Large",
    414: "URI Too Long",
    415: "Unsupported Media Type",
    416: "Range Not Satisfiable",
    417: "Expectation Failed",
    418: "I'm a Teapot",
    421: "Misdirected Request",
    422: "Unprocessable Content",
    423: "Locked",
    424: "Failed Dependency",
    425: "Too Early",
    426: "Upgrade Required",
    428: "Precondition Required",
    429: "Too Many Requests",
    431: "Request Header Fields Too Large",
    451: "Unavailable For Legal Reasons",
    500: "Internal Server Error",
    501: "Not Implemented",
    502: "Bad Gateway",
    503: "Service Unavailable",
    504: "Gateway Timeout",
    505: "HTTP Version Not Supported",
    506: "Variant Also Negotiates",
    507: "Insufficient Storage",
    508: "Loop Detected",
    510: "Not Extended",
    511: "Network Authentication Required",
}
_CLASSES: Final = {1: "Informational", 2: "Successful", 3: "Redirection", 4: "Client Error", 5: "Server Error"}


def reason_phrase(code: int) -> str:
    """Return the registered phrase of a status code, or the name of its class when it has none."""
    return _PHRASES.get(code) or _CLASSES.get(code // 100, "Unknown Status")


def check_status(code: object) -> int:
    """Return ``code`` as a plain int from 100 to 599.

    Raises:
        ValueError: it is anything else; neither text nor True counts as a number.
    Source: RFC 9110 §15.
    """
    if isinstance(code, int) and not isinstance(code, bool) and 100 <= code <= 599:
        return int(code)  # http.HTTPStatus becomes plain: it formats differently
    raise ValueError(f"a status code must be a whole number from 100 to 599, not {clip(code)}")


def content_allowed(status: int) -> bool:
    """Tell whether an answer with this status can have content: not 1xx, 204 and 304 (RFC 9110 §6.4.1).

    205 has none either, but says so by ``Content-Length: 0``, so its framing is that of the others.
    """
    return status >= 200 and status != 204 and status != 304


def is_informational(status: int) -> bool:
    """Tell whether it is 1xx: interim."""
    return 100 <= status < 200


def is_success(status: int) -> bool:
    """Tell whether it is 2xx."""
    return 200 <= status < 300


def is_redirection(status: int) -> bool:
    """Tell whether it is 3xx; 300 and 304 are among them and name no other place."""
    return 300 <= status < 400


def is_client_error(status: int) -> bool:
    """Tell whether it is 4xx."""
    return 400 <= status < 500


def is_server_error(status: int) -> bool:
    """Tell whether it is 5xx."""
    return 500 <= status < 600
