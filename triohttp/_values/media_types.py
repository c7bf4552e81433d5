"""Media types: what content is, in a Content-Type field, and what a file's name says about it (RFC 9110 §8.3).

Rule 1: a field is read once, in linear time; its type is compared without case, malformed parameters are skipped.
Rule 2: the type of a file comes from the table here alone, so that every machine and every Python answers the same.
Rule 3: only codecs that decode text, in linear time, can be chosen by a peer's ``charset``.
"""

from __future__ import annotations

import codecs
import functools
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from triohttp.errors import ContentError, clip

from .grammar import is_token, quote_string, split_parameters

__all__ = ["MediaType", "find_codec", "guess_type"]


@dataclass(frozen=True, slots=True)
class MediaType:
    """A media type with its parameters; ``str()`` is what a field says.

    Raises:
        ValueError: the type, the subtype or a parameter's name is not a token, or a value cannot be quoted.
    Source: RFC 9110 §8.3.1.
    """

    type: str
    """In lower case, such as ``text``."""
    subtype: str
    """In lower case, such as ``html``."""
    parameters: Mapping[str, str] = field(default_factory=dict, hash=False)
    """Values by name in lower case, without quotes."""

    def __post_init__(self) -> None:
        for token in (self.type, self.subtype, *self.parameters):
            if not is_token(token):
                raise ValueError(f"the parts of a media type must be tokens, not {clip(token)}")
        object.__setattr__(self, "type", self.type.lower())
        object.__setattr__(self, "subtype", self.subtype.lower())
        parameters = {name.lower(): value for name, value in self.parameters.items()}
        object.__setattr__(self, "parameters", MappingProxyType(parameters))

    @classmethod
    def parse(cls, text: str) -> MediaType:
        """Return the media type that a field says; of a parameter given twice the first counts.

        Raises:
            ContentError: ``media-type``: it does not begin with ``type/subtype``.
        """
        # Peers send the same few; long ones are not worth keeping.
        return _parse_cached(text) if len(text) <= _CACHED_LENGTH else _parse(text)

    @property
    def essence(self) -> str:
        """``type/subtype``."""
        return f"{self.type}/{self.subtype}"

    @property
    def charset(self) -> str | None:
        """The ``charset`` parameter in lower case, None when there is none."""
        charset = self.parameters.get("charset")
        return charset.lower() if charset else None

    @property
    def is_json(self) -> bool:
        """``application/json`` or any ``+json`` (RFC 6839)."""
        return self.subtype.endswith("+json") or (self.type == "application" and self.subtype == "json")

    def __str__(self) -> str:
        return self.essence + "".join(f"; {name}={quote_string(value)}" for name, value in self.parameters.items())


_CACHED_LENGTH: Final = 128


def _parse(text: str) -> MediaType:
    essence, _, rest = text.partition(";")
    type_, slash, subtype = essence.strip(" \t").partition("/")
    if not slash or not is_token(type_) or not is_token(subtype):
        raise ContentError(f"not a media type: {clip(text)}", reason="media-type")
    parameters: dict[str, str] = {}
    if rest:
        for name, value in split_parameters(rest):
            parameters.setdefault(name, value)
    return MediaType(type_, subtype, parameters)


_parse_cached = functools.lru_cache(maxsize=256)(_parse)

_CODECS: Final = frozenset(
    {
        "ascii",
        "utf-8",
        *(f"utf-{width}{order}" for width in (16, 32) for order in ("", "-le", "-be")),
        *(f"iso8859-{part}" for part in range(1, 17)),
        *(f"cp125{page}" for page in range(9)),
        *("koi8-r", "koi8-u", "cp866", "mac-roman", "mac-cyrillic", "cp874", "tis-620"),
        *("gb2312", "gbk", "gb18030", "big5", "big5hkscs"),
        *("shift_jis", "cp932", "euc_jp", "iso2022_jp", "euc_kr", "cp949"),
    }
)


def find_codec(charset: str) -> str:
    """Return the name of the Python codec for a ``charset``.

    Raises:
        ContentError: ``charset``: nobody knows it, or it is not one of those that the web uses (RFC 2978). Python
            knows more, among them ones that take quadratic time (``idna``, ``punycode``) or are no text at all.
    """
    try:
        name = codecs.lookup(charset).name if is_token(charset) else ""
    except LookupError:
        name = ""
    if name not in _CODECS:
        raise ContentError(f"unknown charset {clip(charset)}", reason="charset")
    return name


_EXTENSIONS: Final[dict[str, str]] = {
    extension: media_type
    for media_type, extensions in {
        # text
        "text/html": "html htm",
        "text/css": "css",
        "text/javascript": "js mjs cjs",
        "text/plain": "txt text log conf cfg ini toml py pyi rst c h sh diff patch",
        "text/csv": "csv",
        "text/tab-separated-values": "tsv",
        "text/markdown": "md markdown",
        "text/calendar": "ics",
        "text/vcard": "vcf",
        "text/vtt": "vtt",
        "text/xml": "xsl xslt",
        # data
        "application/json": "json map",
        "application/ld+json": "jsonld",
        "application/geo+json": "geojson",
        "application/manifest+json": "webmanifest",
        "application/jsonl": "jsonl ndjson",
        "application/xml": "xml xsd dtd",
        "application/xhtml+xml": "xhtml xht",
        "application/rss+xml": "rss",
        "application/atom+xml": "atom",
        "application/yaml": "yaml yml",
        "application/sql": "sql",
        "application/wasm": "wasm",
        "application/vnd.sqlite3": "sqlite sqlite3 db",
        "application/vnd.apache.parquet": "parquet",
        "application/octet-stream": "bin dat exe dll so iso img",
        # documents
        "application/pdf": "pdf",
        "application/postscript": "ps eps ai",
        "application/rtf": "rtf",
        "application/epub+zip": "epub",
        "application/msword": "doc",
        "application/vnd.ms-excel": "xls",
        "application/vnd.ms-powerpoint": "ppt",
        "application/vnd.openxmlformats-officedocument.wordprocessingml.document": "docx",
        "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet": "xlsx",
        "application/vnd.openxmlformats-officedocument.presentationml.presentation": "pptx",
        "application/vnd.oasis.opendocument.text": "odt",
        "application/vnd.oasis.opendocument.spreadsheet": "ods",
        "application/vnd.oasis.opendocument.presentation": "odp",
        # archives
        "application/zip": "zip whl",
        "application/gzip": "gz tgz",
        "application/x-bzip2": "bz2",
        "application/x-xz": "xz",
        "application/zstd": "zst",
        "application/x-7z-compressed": "7z",
        "application/vnd.rar": "rar",
        "application/x-tar": "tar",
        "application/java-archive": "jar",
        "application/vnd.debian.binary-package": "deb",
        "application/x-rpm": "rpm",
        "application/vnd.android.package-archive": "apk",
        # images
        "image/png": "png",
        "image/jpeg": "jpg jpeg jpe",
        "image/gif": "gif",
        "image/webp": "webp",
        "image/avif": "avif",
        "image/jxl": "jxl",
        "image/heic": "heic",
        "image/svg+xml": "svg",
        "image/vnd.microsoft.icon": "ico",
        "image/bmp": "bmp",
        "image/tiff": "tif tiff",
        "image/apng": "apng",
        # sound and film
        "audio/mpeg": "mp3",
        "audio/mp4": "m4a",
        "audio/aac": "aac",
        "audio/ogg": "ogg oga opus",
        "audio/wav": "wav",
        "audio/flac": "flac",
        "audio/midi": "mid midi",
        "audio/webm": "weba",
        "video/mp4": "mp4 m4v",
        "video/webm": "webm",
        "video/ogg": "ogv",
        "video/mpeg": "mpeg mpg",
        "video/quicktime": "mov",
        "video/x-msvideo": "avi",
        "video/x-matroska": "mkv",
        "video/mp2t": "ts",
        "application/vnd.apple.mpegurl": "m3u8",
        "application/dash+xml": "mpd",
        # fonts
        "font/woff": "woff",
        "font/woff2": "woff2",
        "font/ttf": "ttf",
        "font/otf": "otf",
        "font/collection": "ttc",
        "application/vnd.ms-fontobject": "eot",
    }.items()
    for extension in extensions.split()
}


def guess_type(filename: str, default: str = "application/octet-stream") -> str:
    """Return the media type that the last extension of a file's name stands for, or ``default``."""
    stem, dot, extension = filename.rpartition(".")
    return _EXTENSIONS.get(extension.lower(), default) if dot and stem else default
