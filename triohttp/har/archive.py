"""An archive (HAR 1.2) as it is read: checked, and turned into answers.

Rule 1: a file comes from anywhere: what is wrong with it is an error that says where, when it is read.
Rule 2: what cannot be an answer is left out: other schemes, upgrades, requests that were cancelled.
Rule 3: content becomes the bytes that a client would have given: codings undone, text in the charset that is named.
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from triohttp import URL, Headers, Query
from triohttp.errors import ContentError, InvalidHeaderError, InvalidURLError, clip

from .exchange import media_type_of
from .masking import MASK

__all__ = ["ArchivedExchange", "load_archive"]

T = TypeVar("T")

KINDS = {dict: "an object", list: "an array", str: "a string", int: "an integer"}
CANCELLED = "Cancelled"


@dataclass(slots=True, eq=False)
class ArchivedExchange:
    """A request and the answer to it.

    Attributes:
        where: its place in the file.
        url: without its query.
        params: the fields of its query; a masked value stands for any.
        content: the request's content; None when it is not known.
        answer: the answer's content; None when it is not known, or not all of it.
        codings: content codings that are still on it.
        error: why there is no answer; empty when there is one.
        used: the answer was given.
    """

    where: str
    method: str
    url: str
    params: list[tuple[str, str]]
    content: bytes | None
    status: int
    headers: Headers
    trailers: Headers | None
    http_version: str
    answer: bytes | None
    codings: tuple[str, ...]
    error: str
    used: bool = False

    def __str__(self) -> str:
        url = URL(self.url).with_query(self.params) if self.params else URL(self.url)
        return f"{self.method} {url!r}"

    def is_for(self, params: list[tuple[str, str]]) -> bool:
        """Tell whether these are its query fields."""
        return len(params) == len(self.params) and all(
            name == ours and value in (other, MASK)
            for (name, value), (ours, other) in zip(self.params, params, strict=True)
        )


def load_archive(path: Path, max_file_bytes: int) -> list[ArchivedExchange]:
    """Return the exchanges of a file, in order; it blocks.

    Raises:
        ContentError: ``har``: it is no archive, with the place of what is wrong; or it is larger than that.
        OSError: it cannot be read.
    """
    with open(path, "rb") as file:
        data = file.read(max_file_bytes + 1)
    if len(data) > max_file_bytes:
        raise ContentError(f"{path.name}: the file passes max_file_bytes={max_file_bytes}", reason="har")
    try:
        root: object = json.loads(data.decode("utf-8-sig"))  # a byte order mark is allowed
    except (ValueError, RecursionError) as exc:
        raise ContentError(f"{path.name}: not JSON in UTF-8: {clip(str(exc))}", reason="har") from exc
    reader = _Reader(path.name)
    log = reader.member(root, "", "log", dict)
    version = reader.member(log, "log", "version", str, "1.2")
    if version.partition(".")[0] not in ("", "1"):
        raise reader.error("log.version", f"must be 1.2 or its like, not {clip(version)}")
    found = []
    for place, entry in enumerate(reader.member(log, "log", "entries", list)):
        exchange = reader.exchange(entry, f"log.entries[{place}]")
        if exchange is not None:
            found.append(exchange)
    return found


class _Reader:
    """Reads one file, and knows its name."""

    def __init__(self, name: str) -> None:
        self._name = name

    def error(self, where: str, message: str) -> ContentError:
        return ContentError(f"{self._name}: {where} {message}", reason="har")

    def member(self, parent: object, where: str, name: str, kind: type[T], default: T | None = None) -> T:
        """Return a member of an object; without a default it has to be there."""
        if not isinstance(parent, dict):
            raise self.error(where or "the file", f"must be an object, not {clip(parent)}")
        place = f"{where}.{name}" if where else name
        value = parent.get(name, default)
        if value is None:
            if default is not None:
                return default  # null is what some write for nothing
            raise self.error(place, "is missing")
        if not isinstance(value, kind) or isinstance(value, bool):
            raise self.error(place, f"must be {KINDS[kind]}, not {clip(value)}")
        return value

    def exchange(self, entry: object, where: str) -> ArchivedExchange | None:
        request, response = self.member(entry, where, "request", dict), self.member(entry, where, "response", dict)
        asked, answered = f"{where}.request", f"{where}.response"
        method, text = self.member(request, asked, "method", str), self.member(request, asked, "url", str)
        status = self.member(response, answered, "status", int)
        headers = self.fields(response, answered, "headers")
        error = self.member(response, answered, "_error", str, "")
        if not text.lower().startswith(("http://", "https://")) or error.startswith(CANCELLED):
            return None
        if status == 0:
            error = error or "no answer was recorded"
        elif not 100 <= status <= 599:
            raise self.error(f"{answered}.status", f"must be a status code, not {status}")
        elif status < 200:
            return None
        try:
            url = URL(text)
            params = Query.parse(url.query or "").pairs()
        except (InvalidURLError, ContentError) as exc:
            raise self.error(f"{asked}.url", f"is no URL to ask for: {exc}") from exc
        content, codings = self.answer(response, answered, headers)
        trailers = self.fields(response, answered, "_trailers") if "_trailers" in response else None
        version = self.member(response, answered, "httpVersion", str, "")
        return ArchivedExchange(
            where,
            method.upper() if method.isascii() else method,
            str(url.replace(userinfo="", query="", fragment="")),
            params,
            self.upload(request, asked),
            status,
            headers,
            trailers,
            "1.0" if version.upper() == "HTTP/1.0" else "1.1",
            content,
            codings,
            error,
        )

    def fields(self, parent: object, where: str, name: str) -> Headers:
        """Return header fields; those of HTTP/2 that are none are left out, lines that were joined are lines again."""
        headers = Headers()
        for place, field in enumerate(self.member(parent, where, name, list)):
            at = f"{where}.{name}[{place}]"
            key, value = self.member(field, at, "name", str), self.member(field, at, "value", str)
            if key.startswith(":"):
                continue
            try:
                for line in value.split("\n"):
                    try:
                        headers.add(key, line.encode("latin-1"))
                    except UnicodeEncodeError:
                        headers.add(key, line.encode("utf-8"))
            except (InvalidHeaderError, UnicodeEncodeError) as exc:
                raise self.error(at, f"is no header field: {exc}") from exc
        return headers

    def answer(self, response: object, where: str, headers: Headers) -> tuple[bytes | None, tuple[str, ...]]:
        """Return the content of an answer, None when it is not all there, and the codings on it."""
        content = self.member(response, where, "content", dict, {})
        where = f"{where}.content"
        codings = self.member(content, where, "_codings", list, [])
        data: bytes | None = self.content(content, where, "encoding", headers)
        # Nobody counts the bytes of an answer that was not read: then the size is 0 or -1.
        if "_truncated" in content or ("text" not in content and self.member(content, where, "size", int, 0) > 0):
            data = None
        return data, tuple(str(one) for one in codings)

    def upload(self, request: dict[str, object], where: str) -> bytes | None:
        """Return the content of a request, None when nobody knows it exactly."""
        if request.get("postData") is None:
            return b""
        content = self.member(request, where, "postData", dict)
        where = f"{where}.postData"
        if "text" not in content or "_truncated" in content or "_masked" in content:
            return None
        return self.content(content, where, "_encoding", Headers({"Content-Type": self._ascii(content, where)}))

    def _ascii(self, content: dict[str, object], where: str) -> str:
        media_type = self.member(content, where, "mimeType", str, "")
        return media_type if media_type.isascii() and media_type.isprintable() else ""

    def content(self, parent: dict[str, object], where: str, encoding_name: str, headers: Headers) -> bytes:
        """Return content as bytes; a charset that cannot say the text is replaced, in ``headers`` too."""
        text = self.member(parent, where, "text", str, "")
        encoding = self.member(parent, where, encoding_name, str, "")
        if encoding == "base64":
            try:
                return base64.b64decode(text, validate=True)
            except ValueError as exc:
                raise self.error(f"{where}.text", f"is no base64: {exc}") from exc
        if encoding:
            raise self.error(f"{where}.{encoding_name}", f"must be base64, not {clip(encoding)}")
        media_type = media_type_of(headers)
        try:
            if media_type is not None and media_type.charset is not None:
                try:
                    return text.encode(media_type.charset)
                except (LookupError, UnicodeEncodeError):
                    headers["Content-Type"] = f"{media_type.essence}; charset=utf-8"
            return text.encode("utf-8")
        except UnicodeEncodeError as exc:
            raise self.error(f"{where}.text", "must not hold half a surrogate pair") from exc
