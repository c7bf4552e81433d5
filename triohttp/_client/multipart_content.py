"""Forms with files: what ``files=`` takes, made into multipart/form-data (RFC 7578).

Rule 1: parts are streamed one after the other; each is open only while it is its turn.
Rule 2: the length is announced when every part knows its own, and the form can be sent again when every part can.
Rule 3: a form without anything to stream is bytes, as any small content.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterable, Iterable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack
from typing import Final, TypeAlias, cast

from triohttp._values.headers import Headers, HeadersInit
from triohttp._values.media_types import MediaType, guess_type
from triohttp._values.query import Query, QueryInit
from triohttp._wire.multipart import check_boundary, encode_end, encode_part_head, make_boundary
from triohttp.errors import ContentError, LocalProtocolError, clip

from .body import UNSET, WHOLE_BYTES, ContentInit, StreamedContent, Unset
from .file_content import file_source

__all__ = ["FileInit", "FilePart", "FilesInit", "encode_multipart"]

MULTIPART: Final = "multipart/form-data"


class FilePart:
    """A file of a form, with what is to be said about it.

    Args:
        content: bytes, text (sent as UTF-8), a path, a binary file, be it one of trio's, or an iterable of bytes.
        filename: its name; by default that of the file itself, else that of the form's field; None for none, which
            makes the part a field like those of ``form=``.
        media_type: its Content-Type; by default what the filename's extension says, else ``application/octet-stream``.
        headers: more header fields of the part.
    Raises:
        InvalidHeaderError: the media type or a header field must not go on the wire.
        TypeError: the content is none, or a filename is no str.
        ValueError: ``headers`` has a field that the other arguments are for.
    Source: RFC 7578 §4.
    """

    __slots__ = ("content", "filename", "headers", "media_type")

    def __init__(
        self,
        content: ContentInit,
        *,
        filename: str | Unset | None = UNSET,
        media_type: str | None = None,
        headers: HeadersInit | None = None,
    ) -> None:
        if not isinstance(filename, (str, Unset)) and filename is not None:
            raise TypeError(f"a filename must be a str or None, not {clip(filename)}")
        if media_type is not None and not isinstance(media_type, str):
            raise TypeError(f"a media type must be a str, not {clip(media_type)}")
        fields = Headers(headers if headers is not None else ())
        for name, instead in (("content-disposition", "filename"), ("content-type", "media_type")):
            if name in fields:
                raise ValueError(f"{name} of a part is made from its {instead}")
        if media_type is not None:
            fields["Content-Type"] = media_type
        self.content = content
        self.filename = filename
        self.media_type = media_type
        self.headers = fields

    def __repr__(self) -> str:
        name = "" if isinstance(self.filename, Unset) else f" {clip(self.filename)}"
        return f"<FilePart{name} of a {type(self.content).__name__}>"


FileInit: TypeAlias = (
    "FilePart | ContentInit | tuple[str | None, ContentInit] | tuple[str | None, ContentInit, str | None]"
)
"""A file: a ``FilePart``, its content, or a tuple of its filename, its content and perhaps its media type."""
FilesInit: TypeAlias = "Mapping[str, FileInit] | Sequence[tuple[str, FileInit]] | Iterator[tuple[str, FileInit]]"
"""Files by the names of their fields; pairs where a name comes several times."""


class MultipartSource:
    """Parts, and what is between them.

    Args:
        segments: whole and streamed ones, in order.
    """

    __slots__ = ("_next", "_segments", "blocks", "replayable")

    def __init__(self, segments: Sequence[bytes | StreamedContent]) -> None:
        self._segments = segments
        self._next = 0
        self.blocks = any(part.blocks for part in self._parts())
        self.replayable = all(part.replayable for part in self._parts())

    def __repr__(self) -> str:
        once = next((part for part in self._parts() if not part.replayable), None)
        return "a form with files" if once is None else f"a form with {once!r} in it"

    def _parts(self) -> Iterator[StreamedContent]:
        return (segment for segment in self._segments if isinstance(segment, StreamedContent))

    async def measure(self) -> int | None:
        """Return the length of everything; every part is asked, since one that does not exist is an error now."""
        total: int | None = 0
        for segment in self._segments:
            length: int | None
            if isinstance(segment, StreamedContent):
                await segment.measure()
                length = segment.length
            else:
                length = len(segment)
            total = None if total is None or length is None else total + length
        return total

    async def next_piece(self, length: int | None) -> object:
        """Return the next piece of the part whose turn it is."""
        while self._next < len(self._segments):
            segment = self._segments[self._next]
            if not isinstance(segment, StreamedContent):
                self._next += 1
                return segment
            if (piece := await segment.next_piece()) is not None:
                return piece
            await segment.aclose()  # now, and not with the rest: a form may have more files than a process may open
            self._next += 1
        return None

    async def aclose(self) -> None:
        """End the pass of every part, whatever one of them raises in it, and make them ready for another."""
        self._next = 0
        async with AsyncExitStack() as stack:
            for part in self._parts():
                stack.push_async_callback(part.aclose)
        if self.replayable:
            for part in self._parts():
                part.rewind()


def encode_multipart(
    files: FilesInit, form: QueryInit | None, *, content_type: str | None, length: int | None
) -> tuple[bytes | StreamedContent, str]:
    """Return a form with files as content, and its Content-Type.

    Args:
        files: the files by name.
        form: fields that come before them.
        content_type: what the caller says about the content; a boundary in it is kept.
        length: what the caller announced as Content-Length.
    Raises:
        LocalProtocolError: the Content-Type is another one, or its boundary is none.
        TypeError: a file is none.
    """
    boundary, content_type = _boundary(content_type)
    segments: list[bytes | StreamedContent] = []
    buffer = bytearray()
    for name, part in [*_fields(form), *_files(files)]:
        content, own_name = _content(part.content)
        filename = part.filename
        if isinstance(filename, Unset):
            filename = own_name or name
        fields = part.headers
        if part.media_type is None and filename is not None:
            fields = Headers([("Content-Type", guess_type(filename)), *fields.field_lines()])
        buffer += encode_part_head(boundary, name, filename, fields.raw)
        if isinstance(content, bytes) and len(content) <= WHOLE_BYTES:
            buffer += content
        else:
            segments += (bytes(buffer), content)
            buffer.clear()
        buffer += b"\r\n"
    buffer += encode_end(boundary)
    if not segments and len(buffer) <= WHOLE_BYTES:
        return bytes(buffer), content_type
    segments.append(bytes(buffer))
    return StreamedContent(MultipartSource(segments), length), content_type


def _boundary(content_type: str | None) -> tuple[str, str]:
    """Return the boundary of a form, and the Content-Type that says so."""
    try:
        media_type = MediaType.parse(MULTIPART if content_type is None else content_type)
    except ContentError:
        media_type = None
    if media_type is None or media_type.essence != MULTIPART:
        raise LocalProtocolError(f"a form with files is {MULTIPART}, not {clip(content_type)}", slug="content-type")
    if content_type is not None and (given := media_type.parameters.get("boundary")) is not None:
        return check_boundary(given), content_type
    boundary = make_boundary()
    return boundary, str(MediaType("multipart", "form-data", {**media_type.parameters, "boundary": boundary}))


def _fields(form: QueryInit | None) -> list[tuple[str, FilePart]]:
    if form is None:
        return []
    return [(name, FilePart(value, filename=None)) for name, value in Query(form).pairs()]


def _files(files: FilesInit) -> list[tuple[str, FilePart]]:
    pairs: object = files.items() if isinstance(files, Mapping) else files  # whatever the annotation says
    if isinstance(pairs, (str, bytes)) or not isinstance(pairs, Iterable):
        raise TypeError(f"files must be a mapping or pairs of a field's name and a file, not {clip(files)}")
    found = []
    for pair in pairs:
        if not isinstance(pair, tuple) or len(pair) != 2 or not isinstance(pair[0], str):
            raise TypeError(f"files must be a mapping or pairs of a field's name and a file, not of {clip(pair)}")
        found.append((pair[0], _part(pair[1])))
    return found


def _part(file: FileInit) -> FilePart:
    if isinstance(file, FilePart):
        return file
    if not isinstance(file, tuple):
        return FilePart(file)
    if not 2 <= len(file) <= 3:
        raise TypeError(f"a file is (filename, content) or (filename, content, media_type), not {clip(file)}")
    filename, content, media_type = cast("tuple[str | None, ContentInit, str | None]", (*file, None)[:3])
    return FilePart(content, filename=filename, media_type=media_type)


def _content(content: ContentInit) -> tuple[bytes | StreamedContent, str | None]:
    """Return the content of a part, and the name that it has by itself."""
    if isinstance(content, str):
        return content.encode("utf-8"), None
    if isinstance(content, (bytes, bytearray, memoryview)):
        return bytes(content), None
    if (source := file_source(content)) is not None:
        return StreamedContent(source), _own_name(content)
    given: object = content  # whatever the annotation says
    if isinstance(given, Mapping) or not isinstance(given, (Iterable, AsyncIterable)):
        raise TypeError(f"a file must be bytes, str, a path, a binary file or an iterable of bytes, not {clip(given)}")
    if isinstance(given, (list, tuple)) and not all(isinstance(one, (bytes, bytearray, memoryview)) for one in given):
        raise TypeError("several files under one name are given as pairs, each with the name")
    return StreamedContent(cast("Iterable[bytes] | AsyncIterable[bytes]", given)), None


def _own_name(file: object) -> str | None:
    path = file if isinstance(file, os.PathLike) else getattr(file, "name", None)
    if not isinstance(path, (str, bytes, os.PathLike)):
        return None  # an open file may have the number of its descriptor for a name
    name = os.path.basename(os.fsdecode(path))
    return None if name.startswith("<") and name.endswith(">") else name  # such as "<stdin>"
