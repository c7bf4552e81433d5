"""The opening handshake of a WebSocket, for both ends (RFC 6455 §4).

Ours because wsproto's own checks little of it, and raises what it should refuse.

Rule 1: whatever a peer sends, a check answers with a verdict; nothing of the input is echoed in it.
Rule 2: a list is split in linear time, and has a bound.
Rule 3: an origin is compared with the authority that the request names. Without TLS here it may have ended in front, so
        both schemes will do; with it, only https.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
import re
from collections.abc import Collection, Sequence
from typing import Final, NamedTuple

from triohttp._values.grammar import is_token, split_list
from triohttp._values.headers import Headers
from triohttp._values.message import RequestHead, ResponseHead
from triohttp._values.url import DEFAULT_PORTS
from triohttp.errors import HandshakeError, InvalidHeaderError, clip

from .websocket_deflate import Agreement, PerMessageDeflate, accept_offer, confirm_answer, make_offer

__all__ = [
    "Accepted",
    "Refusal",
    "accept_upgrade",
    "answer_fields",
    "check_answer",
    "check_origins",
    "check_own_fields",
    "check_subprotocols",
    "request_fields",
]

VERSION: Final = "13"
_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_KEY = re.compile(r"[A-Za-z0-9+/]{22}==")
_ORIGIN = re.compile(r"(https?|[a-z][a-z0-9+.-]*)://([^/?#@\s]+)")
_OWN_FIELDS = ("connection", "upgrade", "host", "origin")


class Refusal(NamedTuple):
    """Why a request opens no WebSocket."""

    status: int
    """400, 403, 405 or 426."""
    text: str


class Accepted(NamedTuple):
    """What a request that opens a WebSocket asks for, and what it gets."""

    key: str
    subprotocol: str | None
    extensions: str
    """What the answer says in Sec-WebSocket-Extensions, empty for nothing."""
    agreement: Agreement | None
    """None for no compression."""


def accept_upgrade(
    head: RequestHead,
    *,
    has_content: bool,
    subprotocols: Sequence[str],
    compression: PerMessageDeflate | None,
    origins: Collection[str],
    require_origin: bool,
    max_subprotocols: int,
) -> Accepted | Refusal:
    """Return what a server answers to a request for a WebSocket.

    Args:
        has_content: whether the request has content, which it must not.
        subprotocols: those that the server speaks; the first of the client's that is among them is chosen.
        compression: how it would compress; None not to.
        origins: what ``check_origins`` returned: origins of pages that may connect, beside those of this host.
        require_origin: refuse clients that are no browsers.
        max_subprotocols: how many a client may offer.
    Source: RFC 6455 §4.2, §10.2.
    """
    headers = head.headers
    if head.method != "GET":
        return Refusal(405, "a WebSocket is opened with GET")
    if head.version == "1.0":
        return Refusal(400, "a WebSocket needs HTTP/1.1")
    for name, token in (("connection", "upgrade"), ("upgrade", "websocket")):
        if not _has_token(headers, name, token):
            return Refusal(400, f"a WebSocket is opened here: {name.title()} must name {token}")
    if has_content:
        return Refusal(400, "a request for a WebSocket has no content")
    if headers.get_all("sec-websocket-version") != [VERSION]:
        return Refusal(426, f"Sec-WebSocket-Version must be {VERSION}, once")
    keys = headers.get_all("sec-websocket-key")
    if len(keys) != 1 or _KEY.fullmatch(keys[0]) is None:
        return Refusal(400, "Sec-WebSocket-Key must be 16 bytes in base64, once")
    if not _origin_allowed(head, origins, require_origin):
        return Refusal(403, "pages of this origin may not connect")
    offered = list(split_list(headers.get("sec-websocket-protocol", "")))
    if len(offered) > max_subprotocols:
        return Refusal(400, f"Sec-WebSocket-Protocol may name {max_subprotocols} subprotocols")
    if len(set(offered)) != len(offered) or not all(map(is_token, offered)):
        return Refusal(400, "Sec-WebSocket-Protocol must name different tokens")
    if "sec-websocket-protocol" in headers and not offered:
        return Refusal(400, "Sec-WebSocket-Protocol must name a token")
    subprotocol = next((one for one in offered if one in subprotocols), None)
    agreed = None
    if compression is not None and "sec-websocket-extensions" in headers:
        agreed = accept_offer(headers["sec-websocket-extensions"], compression)
    extensions, agreement = agreed if agreed is not None else ("", None)
    return Accepted(keys[0], subprotocol, extensions, agreement)


def answer_fields(accepted: Accepted) -> list[tuple[str, str]]:
    """Return the fields of a server's 101, beside Upgrade and Connection."""
    fields = [("Sec-WebSocket-Accept", _accept(accepted.key))]
    if accepted.subprotocol is not None:
        fields.append(("Sec-WebSocket-Protocol", accepted.subprotocol))
    if accepted.extensions:
        fields.append(("Sec-WebSocket-Extensions", accepted.extensions))
    return fields


def request_fields(
    subprotocols: Sequence[str], compression: PerMessageDeflate | None
) -> tuple[str, list[tuple[str, str]]]:
    """Return a fresh key and the fields of a client's request, beside Upgrade and Connection."""
    key = base64.b64encode(os.urandom(16)).decode("ascii")
    fields = [("Sec-WebSocket-Version", VERSION), ("Sec-WebSocket-Key", key)]
    if subprotocols:
        fields.append(("Sec-WebSocket-Protocol", ", ".join(subprotocols)))
    if compression is not None:
        fields.append(("Sec-WebSocket-Extensions", make_offer(compression)))
    return key, fields


def check_answer(
    head: ResponseHead, key: str, subprotocols: Sequence[str], compression: PerMessageDeflate | None
) -> tuple[str | None, Agreement | None]:
    """Return the subprotocol that a server's 101 chose and what it agreed to.

    Raises:
        HandshakeError: the answer is none to this request.
    Source: RFC 6455 §4.1.
    """
    headers = head.headers
    for name, token in (("upgrade", "websocket"), ("connection", "upgrade")):
        if not _has_token(headers, name, token):
            raise HandshakeError(f"the server's {name} field does not name {token}", code=head.status)
    if headers.get_all("sec-websocket-accept") != [_accept(key)]:
        raise HandshakeError("the server's Sec-WebSocket-Accept does not answer this request", code=head.status)
    chosen = headers.get_all("sec-websocket-protocol")
    if len(chosen) > 1 or not set(chosen) <= set(subprotocols):
        raise HandshakeError(f"the server chose a subprotocol that was not offered: {clip(chosen)}", code=head.status)
    agreement = None
    if (field := headers.get("sec-websocket-extensions", "").strip()) != "":
        if compression is None:
            raise HandshakeError("the server chose extensions, and none was offered", code=head.status)
        try:
            agreement = confirm_answer(field, compression)
        except ValueError as exc:
            raise HandshakeError(str(exc), code=head.status) from exc
    return (chosen[0] if chosen else None), agreement


def check_subprotocols(subprotocols: Sequence[str]) -> tuple[str, ...]:
    """Return the subprotocols that a program names.

    Raises:
        TypeError: it is one str.
        ValueError: one is no token, or named twice.
    """
    if isinstance(subprotocols, str):
        raise TypeError(f"subprotocols must be a sequence of str, not {clip(subprotocols)}")
    names = tuple(subprotocols)
    for name in names:
        if not is_token(name):
            raise ValueError(f"a subprotocol must be a token, not {clip(name)}")
    if len(set(names)) != len(names):
        raise ValueError(f"subprotocols must differ: {clip(names)}")
    return names


def check_own_fields(headers: Headers, *, client: bool) -> Headers:
    """Return the fields that a program adds to its half of the handshake.

    Raises:
        InvalidHeaderError: one of them is the handshake's own.
    """
    for name in headers:
        own = name.lower()
        if own.startswith("sec-websocket-") or (own in _OWN_FIELDS and not (client and own in ("host", "origin"))):
            raise InvalidHeaderError(f"{name} belongs to the handshake of the WebSocket; leave it out", name=name)
    return headers


def _accept(key: str) -> str:
    digest = hashlib.sha1(key.encode("ascii") + _GUID, usedforsecurity=False).digest()
    return binascii.b2a_base64(digest, newline=False).decode("ascii")


def _has_token(headers: Headers, name: str, token: str) -> bool:
    field = headers.get(name)
    return field is not None and any(one.lower() == token for one in split_list(field))


def _origin_allowed(head: RequestHead, origins: Collection[str], require_origin: bool) -> bool:
    given = head.headers.get_all("origin")
    if not given:
        return not require_origin
    if origins == "*":
        return True
    if len(given) > 1:
        return False
    origin = given[0].lower()
    parts = _ORIGIN.fullmatch(origin)
    if parts is None:  # ``null``: a sandbox, a file, a page that was redirected across sites
        return origin in origins
    if _normal(parts[1], parts[2]) in origins:
        return True
    if head.scheme == "https" and parts[1] != "https":  # TLS ended here: a page without it may be anybody's
        return False
    port = DEFAULT_PORTS.get(parts[1])
    return port is not None and _explicit(parts[2], port) == _explicit(head.authority.lower(), port)


def check_origins(origins: Collection[str]) -> Collection[str]:
    """Return the origins that a program lets in, as ``accept_upgrade`` compares them.

    Raises:
        TypeError: it is a str other than ``*``.
        ValueError: one is no origin: a scheme and a host, with a port where it is not the scheme's, and nothing behind.
    """
    if origins == "*":
        return origins
    if isinstance(origins, str):
        raise TypeError(f"origins must be '*' or a collection of str, not {clip(origins)}")
    checked = set()
    for origin in origins:
        parts = _ORIGIN.fullmatch(origin.lower())
        if parts is None and origin != "null":
            raise ValueError(f"an origin is a scheme and a host, such as 'https://example.org', not {clip(origin)}")
        checked.add("null" if parts is None else _normal(parts[1], parts[2]))
    return checked


def _normal(scheme: str, authority: str) -> str:
    """Return an origin with its port."""
    port = DEFAULT_PORTS.get(scheme)
    return f"{scheme}://{authority if port is None else _explicit(authority, port)}"


def _explicit(authority: str, port: int) -> str:
    """Return an authority with its port, which may be the scheme's own."""
    return authority if re.search(r":[0-9]+\Z", authority) else f"{authority}:{port}"
