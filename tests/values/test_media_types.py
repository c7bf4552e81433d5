"""Media types, the charsets that a peer may choose, and the types of files."""

from __future__ import annotations

import pytest

from triohttp._values.grammar import is_token
from triohttp._values.media_types import _EXTENSIONS, MediaType, find_codec, guess_type
from triohttp.errors import ContentError


@pytest.mark.parametrize(
    ("text", "essence", "parameters"),
    [
        ("text/html", "text/html", {}),
        (" Text/HTML ; Charset=UTF-8", "text/html", {"charset": "UTF-8"}),
        ('multipart/form-data; boundary="a;b"; x=1', "multipart/form-data", {"boundary": "a;b", "x": "1"}),
        ("text/plain; charset=a; charset=b", "text/plain", {"charset": "a"}),
        ("text/plain;; =x; y; z=1;", "text/plain", {"z": "1"}),
        ("application/vnd.api+json", "application/vnd.api+json", {}),
    ],
)
def test_what_a_content_type_says(text, essence, parameters):
    """Type and names in lower case, values unquoted, the first of two counts, what is no parameter is skipped."""
    media_type = MediaType.parse(text)
    assert media_type.essence == essence
    assert media_type.parameters == parameters
    assert MediaType.parse(str(media_type)) == media_type


@pytest.mark.parametrize(
    "text", ["", "text", "/", "text/", "/html", "text/ html", "te xt/html", "text/html/x", "é/x", "a/b c"]
)
def test_what_is_no_media_type(text):
    """Anything that does not begin with two tokens is refused with its reason."""
    with pytest.raises(ContentError) as caught:
        MediaType.parse(text)
    assert caught.value.reason == "media-type"


def test_making_one():
    """A program's media type is checked when it is made, and quoted where it has to be."""
    media_type = MediaType("Text", "Plain", {"Charset": "utf-8", "name": 'a "b"'})
    assert str(media_type) == 'text/plain; charset=utf-8; name="a \\"b\\""'
    for wrong in (("a b", "c", {}), ("a", "", {}), ("a", "b", {"c d": "e"}), ("a", "b\r\n", {})):
        with pytest.raises(ValueError, match="must be tokens"):
            MediaType(*wrong)
    with pytest.raises(ValueError, match="cannot hold"):
        str(MediaType("a", "b", {"c": "\r\n"}))
    with pytest.raises(TypeError):
        media_type.parameters["x"] = "y"


def test_charset_and_json():
    """The two questions that everybody asks."""
    assert MediaType.parse("text/html; charset=UTF-8").charset == "utf-8"
    assert MediaType.parse("text/html; charset=").charset is None
    assert MediaType.parse("text/html").charset is None
    assert MediaType.parse("application/json").is_json
    assert MediaType.parse("application/problem+json").is_json
    assert not MediaType.parse("text/json").is_json
    assert not MediaType.parse("application/jsonl").is_json


def test_media_types_are_values():
    """Equal ones are the same key."""
    assert {MediaType.parse("a/b; c=d"): 1}[MediaType("A", "B", {"c": "d"})] == 1


def test_long_fields_are_not_remembered():
    """What a peer makes long is read and forgotten."""
    text = "a/b; c=" + "d" * 10_000
    assert MediaType.parse(text) is not MediaType.parse(text)
    assert MediaType.parse("a/b; c=d") is MediaType.parse("a/b; c=d")


@pytest.mark.parametrize(
    ("charset", "codec"),
    [
        *(("utf-8", "utf-8"), ("UTF8", "utf-8"), ("latin-1", "iso8859-1"), ("windows-1252", "cp1252")),
        *(("us-ascii", "ascii"), ("Shift_JIS", "shift_jis"), ("GB18030", "gb18030"), ("koi8-r", "koi8-r")),
    ],
)
def test_charsets_of_the_web(charset, codec):
    """The names that pages use lead to the codecs that read them."""
    assert find_codec(charset) == codec
    assert "é".encode(codec, "replace").decode(codec)


@pytest.mark.parametrize(
    "charset",
    [
        "idna",
        "punycode",
        "utf-7",
        "unicode_escape",
        "raw_unicode_escape",
        "hex",
        "zlib",
        "rot13",
        "undefined",
        "",
        "x",
        "../x",
        "a\x00",
        "utf-8\n",
        "é",
    ],
)
def test_charsets_that_nobody_may_choose(charset):
    """Codecs that are slow, that are no text, or that do not exist are refused alike."""
    with pytest.raises(ContentError) as caught:
        find_codec(charset)
    assert caught.value.reason == "charset"


@pytest.mark.parametrize(
    ("filename", "media_type"),
    [
        *(
            ("index.html", "text/html"),
            ("A.JPG", "image/jpeg"),
            ("x.tar.gz", "application/gzip"),
            ("a/b.c/d.js", "text/javascript"),
        ),
        *(
            ("x.webp", "image/webp"),
            ("x.woff2", "font/woff2"),
            ("x.md", "text/markdown"),
            ("x.wasm", "application/wasm"),
        ),
        *(
            ("x", "application/octet-stream"),
            (".html", "application/octet-stream"),
            ("x.unknown", "application/octet-stream"),
        ),
        *(("", "application/octet-stream"), ("x.", "application/octet-stream")),
    ],
)
def test_types_of_files(filename, media_type):
    """The last extension decides, whatever its case; a name without one has the default."""
    assert guess_type(filename) == media_type


def test_the_default_can_be_another():
    """Whoever serves files may say what unknown ones are."""
    assert guess_type("README", "text/plain") == "text/plain"


def test_the_table_of_files():
    """Every entry is a media type for an extension in lower case, so that each can be found and sent."""
    for extension, media_type in _EXTENSIONS.items():
        assert is_token(extension)
        assert extension == extension.lower()
        assert MediaType.parse(media_type).essence == media_type


def test_the_types_that_browsers_insist_on():
    """Scripts, styles, modules of WebAssembly and vector images are not used under another type."""
    assert [
        guess_type(f"x.{extension}") for extension in ("js", "mjs", "css", "wasm", "svg", "webmanifest", "vtt")
    ] == [
        *("text/javascript", "text/javascript", "text/css", "application/wasm"),
        *("image/svg+xml", "application/manifest+json", "text/vtt"),
    ]
