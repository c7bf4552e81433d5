"""One recorded exchange: what was asked, what came back, when, and how an archive says it (HAR 1.2).

Rule 1: content is copied while it passes, up to a bound; nothing is kept from a program, or read for the archive.
Rule 2: what is not known is -1 or left out, as the format has it; nothing is made up.
Rule 3: names that the format does not have begin with an underscore.
"""

from __future__ import annotations

import base64
import codecs
from dataclasses import replace
from datetime import UTC, datetime
from typing import Final, TypeAlias

import trio

from triohttp import ClientAnswer, ClientRequest, Headers, MediaType, Query
from triohttp.errors import ContentError
from triohttp.lowlevel import ConnectionInfo

from .masking import Masks

__all__ = ["FORM", "JSONObject", "RecordedExchange", "media_type_of"]

JSONObject: TypeAlias = dict[str, object]

FORM: Final = "application/x-www-form-urlencoded"
_TEXT: Final = frozenset({FORM, "application/xml", "application/javascript", "application/graphql"})
_CODECS: Final = {
    None: "utf-8", "utf-8": "utf-8", "utf8": "utf-8", "us-ascii": "utf-8", "iso-8859-1": "latin-1",
    "windows-1252": "cp1252",
}  # fmt: skip
"""The charsets whose content is written as text; any other is written as bytes, and so never wrong."""
ERROR_CHARACTERS = 500


def media_type_of(headers: Headers) -> MediaType | None:
    """Return what Content-Type says, None when it says nothing or nonsense."""
    try:
        return MediaType.parse(headers.get("content-type", ""))
    except ContentError:
        return None


class RecordedExchange:
    """A request on its way, and what became of it; ``entry`` says it all in the end.

    Args:
        request: what goes out.
        masks: what is secret.
        max_content_bytes: how much of the content is kept, in either direction.
    Attributes:
        dialed, connected, sent, headed: when that was, in trio's time; None when nobody told.
        connection: the new connection that was opened for it.
    """

    __slots__ = (
        "_codings",
        "_content",
        "_ended",
        "_error",
        "_headers",
        "_masks",
        "_max_content_bytes",
        "_pending",
        "_posted",
        "_posted_bytes",
        "_posted_type",
        "_request",
        "_response",
        "_size",
        "_started",
        "_started_at",
        "_uploaded",
        "_whole",
        "connected",
        "connection",
        "dialed",
        "headed",
        "sent",
    )

    def __init__(self, request: ClientRequest, masks: Masks, max_content_bytes: int) -> None:
        self._masks = masks
        self._max_content_bytes = max_content_bytes
        self._started_at = datetime.now(UTC)
        self._started = self._ended = trio.current_time()
        self._pending: ClientRequest | None = request
        self._posted, self._posted_bytes = b"", 0
        self._posted_type: MediaType | None = None
        self._request: JSONObject = {}
        self._response: JSONObject | None = None
        self._headers = Headers()  # of the answer, which itself is not held: it may be large
        self._codings: tuple[str, ...] = ()
        self._content = bytearray()
        self._size = 0
        self._uploaded: int | None = None
        self._whole = False
        self._error = ""
        self.dialed: float | None = None
        self.connected: float | None = None
        self.sent: float | None = None
        self.headed: float | None = None
        self.connection: ConnectionInfo | None = None

    # -- what happens --------------------------------------------------------------------------------------------------

    def watch(self) -> ClientRequest:
        """Return the request to be sent: one whose upload is counted where only the end tells how much it was."""
        request = self._pending
        assert request is not None
        if isinstance(request.content, bytes):
            return request
        before = request.on_upload

        def count(done_bytes: int, total_bytes: int | None) -> None:
            self._uploaded = done_bytes
            if before is not None:
                before(done_bytes, total_bytes)

        watched = self._pending = replace(request, on_upload=count)
        return watched

    def answered(self, answer: ClientAnswer) -> None:
        """Hear of the answer's head; the request is looked at now, since middleware below may have changed it."""
        self._ended = trio.current_time()
        self._pending = None
        self._headers, self._codings = answer.headers.copy(), answer.codings
        self._request = self._describe_request(answer.request)
        self._response = self._describe_response(answer)

    def received(self, data: bytes) -> None:
        """Keep a piece of content, up to the bound."""
        self._ended = trio.current_time()
        self._size += len(data)
        room = self._max_content_bytes - len(self._content)
        if room > 0:
            self._content += data[:room]

    def completed(self) -> None:
        """Hear that this was all of the content."""
        self._ended = trio.current_time()
        self._whole = True

    def failed(self, error: BaseException) -> None:
        """Hear that there is no answer, or that the rest of it does not come."""
        self._ended = trio.current_time()
        self._settle_request()
        name = type(error).__name__
        text = self._masks.url(str(error)[:ERROR_CHARACTERS]) if isinstance(error, Exception) else ""
        self._error = f"{name}: {text}" if text else name

    def _settle_request(self) -> None:
        """Look at the request, unless that was done before."""
        request, self._pending = self._pending, None
        if request is not None:
            self._request = self._describe_request(request)

    # -- what the archive says -----------------------------------------------------------------------------------------

    def entry(self) -> JSONObject:
        """Return the entry of an archive; once, and best in a thread: content is decoded and masked only now."""
        self._settle_request()
        posted = self._request.get("postData")
        if isinstance(posted, dict) and self._posted_bytes:
            posted.update(self._describe_upload())
        if self._uploaded is not None:
            self._request["bodySize"] = self._uploaded
        timings = self._timings()
        entry: JSONObject = {
            "startedDateTime": self._started_at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "time": round(sum(value for value in timings.values() if value >= 0), 3),
            "request": self._request,
            "response": self._finished_response(),
            "cache": {},
            "timings": timings,
        }
        if self.connection is not None:
            entry["connection"] = str(self.connection.number)
            if isinstance(self.connection.peer, tuple):
                entry["serverIPAddress"] = self.connection.peer[0]
        return entry

    def _timings(self) -> dict[str, float]:
        started, ended, headed = self._started, self._ended, self.headed
        dialed, connected = self.dialed, self.connected
        answered = ended if headed is None else headed
        begun = started if connected is None else connected
        # An upload may still go on when the answer begins.
        sent = begun if self.sent is None else max(begun, min(self.sent, answered))
        seconds = {
            "blocked": -1.0 if dialed is None else dialed - started,
            "dns": -1.0,  # a part of connect: names are resolved while connections are tried
            "connect": -1.0 if dialed is None or connected is None else connected - dialed,
            "ssl": -1.0,  # a part of connect, too
            "send": sent - begun,
            "wait": answered - sent,
            "receive": ended - answered,
        }
        return {name: value if value < 0 else round(value * 1000, 3) for name, value in seconds.items()}

    def _fields(self, headers: Headers) -> list[dict[str, str]]:
        mask = self._masks.field
        return [{"name": name, "value": mask(name, value)} for name, value in headers.field_lines()]

    def _describe_request(self, request: ClientRequest) -> JSONObject:
        masks, headers, content = self._masks, request.headers, request.content
        url = request.url.replace(fragment="") if request.url.fragment else request.url
        text = masks.url(str(url))
        pairs = (pair.strip().partition("=") for value in headers.get_all("cookie") for pair in value.split(";"))
        described: JSONObject = {
            "method": request.method,
            "url": text,
            "httpVersion": "HTTP/1.1",
            "cookies": [{"name": name, "value": masks.cookie(value)} for name, _, value in pairs],
            "headers": self._fields(headers),
            "queryString": _pairs(text.partition("?")[2]),
            "headersSize": -1,
            "bodySize": len(content) if isinstance(content, bytes) else -1,
        }
        if isinstance(content, bytes) and content:
            self._posted, self._posted_bytes = content[: self._max_content_bytes], len(content)
            self._posted_type = media_type_of(headers)
            described["postData"] = {"mimeType": headers.get("content-type", ""), "params": []}
        elif not isinstance(content, bytes):
            comment = "streamed content is not recorded"
            described["postData"] = {"mimeType": headers.get("content-type", ""), "params": [], "comment": comment}
        return described

    def _describe_upload(self) -> JSONObject:
        posted: JSONObject = {}
        kept, media_type = self._posted, self._posted_type
        posted.update(self._describe_content(kept, media_type, whole=len(kept) == self._posted_bytes))
        if "encoding" in posted:  # which the format has for answers alone
            posted["_encoding"] = posted.pop("encoding")
        elif media_type is not None and media_type.essence == FORM:
            posted["params"] = _pairs(str(posted["text"]))
        return posted

    def _describe_response(self, answer: ClientAnswer) -> JSONObject:
        headers = answer.headers
        cookies: list[JSONObject] = []
        for cookie in answer.cookies.values():
            described: JSONObject = {"name": cookie.name, "value": self._masks.cookie(cookie.value)}
            if cookie.path is not None:
                described["path"] = cookie.path
            if cookie.domain is not None:
                described["domain"] = cookie.domain
            described |= {"httpOnly": cookie.http_only, "secure": cookie.secure}
            cookies.append(described)
        return {
            "status": answer.status,
            "statusText": answer.reason,
            "httpVersion": f"HTTP/{answer.http_version}",
            "cookies": cookies,
            "headers": self._fields(headers),
            "content": {},
            "redirectURL": self._masks.url(headers.get("location", "")),
            "headersSize": -1,
            "bodySize": -1,
        }

    def _finished_response(self) -> JSONObject:
        response, headers = self._response, self._headers
        if response is None:
            return {
                "status": 0, "statusText": "", "httpVersion": "", "cookies": [], "headers": [],
                "content": {"size": 0, "mimeType": "x-unknown"}, "redirectURL": "", "headersSize": -1, "bodySize": -1,
                "_error": self._error or "nothing had come when the recording ended",
            }  # fmt: skip
        kept = bytes(self._content)
        content: JSONObject = {"size": self._size, "mimeType": headers.get("content-type", "x-unknown")}
        if kept or not self._size:
            content.update(self._describe_content(kept, media_type_of(headers), whole=len(kept) == self._size))
        else:
            content |= {"_truncated": True, "comment": "no content was recorded"}
        if self._codings:
            content["_codings"] = list(self._codings)
        if not self._whole:
            content["_incomplete"] = True  # the program did not want more
        elif self._codings or "content-encoding" not in headers:
            response["bodySize"] = self._size
        response["content"] = content
        if self._error:
            response["_error"] = self._error
        return response

    def trailers(self, trailers: Headers | None) -> None:
        """Keep the trailer section of the answer."""
        if trailers is not None and self._response is not None:
            self._response["_trailers"] = self._fields(trailers)

    def _describe_content(self, data: bytes, media_type: MediaType | None, *, whole: bool) -> JSONObject:
        described: JSONObject = {}
        text = _text(data, media_type, whole)
        if text is None:
            described |= {"text": base64.b64encode(data).decode("ascii"), "encoding": "base64"}
        else:
            masked = text
            if media_type is not None and media_type.essence == FORM:
                masked = self._masks.url(text)
            elif media_type is not None and media_type.is_json:
                masked = self._masks.json(text)
            described["text"] = masked
            if masked != text:
                described["_masked"] = True
        if not whole:
            described |= {"_truncated": True, "comment": f"the first {len(data)} bytes"}
        return described


def _pairs(query: str) -> list[dict[str, str]]:
    try:
        pairs = Query.parse(query).pairs()
    except ContentError:  # too many fields; they are in the URL, or in the text
        return []
    return [{"name": name, "value": value} for name, value in pairs]


def _text(data: bytes, media_type: MediaType | None, whole: bool) -> str | None:
    """Return content as text; None unless it is text that can be turned back into the very same bytes."""
    codec: str | None = "utf-8"
    if media_type is not None:
        textual = media_type.type == "text" or media_type.is_json or media_type.essence in _TEXT
        if not (textual or media_type.subtype.endswith("+xml")):
            return "" if not data else None
        codec = _CODECS.get(media_type.charset)
    if codec is None:
        return None
    try:
        text = codecs.getincrementaldecoder(codec)().decode(data, whole)  # what was cut off may end in a character
    except UnicodeDecodeError:
        return None
    if media_type is None and not all(character.isprintable() or character in "\t\r\n" for character in text):
        return None
    return text
