"""What a call says as its content, in one of four ways, made into bytes or into content that is streamed.

Rule 1: what was made into bytes goes out in one piece with the head, while it is short.
Rule 2: everything is checked here that can be without waiting: nothing is opened, and no file is asked.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, Iterable, Mapping

from triohttp._values import json
from triohttp._values.media_types import MediaType
from triohttp._values.query import QueryInit, encode_query
from triohttp.errors import ContentError, clip

from .body import ContentInit, StreamedContent, Unset, wrong_length
from .file_content import file_source
from .multipart_content import MULTIPART, FilesInit, encode_multipart

__all__ = ["encode_content"]


def encode_content(
    *,
    content: ContentInit | None,
    json_value: object,
    form: QueryInit | None,
    files: FilesInit | None,
    length: int | None,
    content_type: str | None,
) -> tuple[bytes | StreamedContent, str | None]:
    """Return the content of a request, and the Content-Type to send with it, None to leave it as it is.

    Args:
        content: bytes, text, a path, a file or an iterable.
        json_value: anything that JSON can say, ``UNSET`` for nothing.
        form: fields of a form.
        files: files of a form; the fields of ``form`` come before them.
        length: what the caller announced as Content-Length.
        content_type: what the caller says about the content.
    Raises:
        ContentError: the value is no JSON.
        LocalProtocolError: the content has another length, or a form with files another Content-Type.
        TypeError: more than one was given, or something of another type.
        ValueError: a file is closed.
    """
    given = [name for name, value in (("content", content), ("form", form), ("files", files)) if value is not None]
    if not isinstance(json_value, Unset):
        given.append("json")
    if len(given) > 1 and given != ["form", "files"]:
        raise TypeError(f"a request has one content, not {' and '.join(given)}")
    data: bytes | StreamedContent
    media_type: str | None = None
    if content is None:
        if files is not None or (form is not None and content_type is not None and _is_multipart(content_type)):
            data, media_type = encode_multipart(
                () if files is None else files, form, content_type=content_type, length=length
            )
            if isinstance(data, StreamedContent):
                return data, media_type
            content_type = None  # this one is the same, with a boundary
        elif form is not None:
            data, media_type = encode_query(form).encode("ascii"), "application/x-www-form-urlencoded"
        elif given:
            data, media_type = json.dumps(json_value), "application/json"
        else:
            data = b""
    elif isinstance(content, str):
        data, media_type = content.encode("utf-8"), "text/plain; charset=utf-8"
    elif isinstance(content, (bytes, bytearray, memoryview)):
        data = bytes(content)
    elif (source := file_source(content)) is not None:
        return StreamedContent(source, length), None
    else:
        iterable: object = content  # whatever the annotation says
        if isinstance(iterable, Mapping) or not isinstance(iterable, (AsyncIterable, Iterable)):
            raise TypeError(
                f"content must be bytes, str, a path, a binary file or an iterable of bytes, not {clip(content)}"
            )
        return StreamedContent(iterable, length), None
    if length is not None and length != len(data):
        raise wrong_length(length, str(len(data)))
    return data, media_type if content_type is None else None


def _is_multipart(content_type: str) -> bool:
    try:
        return MediaType.parse(content_type).essence == MULTIPART
    except ContentError:
        return False
