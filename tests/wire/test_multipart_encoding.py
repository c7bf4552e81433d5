"""multipart/form-data as it is written: boundaries, the heads of parts, and what nobody can slip into them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multipart import content_disposition_unquote, parse_options_header

from triohttp._wire.multipart import check_boundary, encode_end, encode_part_head, make_boundary
from triohttp.errors import LocalProtocolError

NAMES = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)


def disposition(name: str, filename: str | None = None) -> bytes:
    """The value of Content-Disposition in the head of a part."""
    return encode_part_head("b", name, filename, []).removeprefix(b"--b\r\nContent-Disposition: ")[:-4]


@pytest.mark.parametrize(
    ("name", "filename", "expected"),
    [
        ("a", None, b'form-data; name="a"'),
        ("a", "", b'form-data; name="a"; filename=""'),
        ("a b;c", "d=e.txt", b'form-data; name="a b;c"; filename="d=e.txt"'),
        ('say "x"', 'f"', b'form-data; name="say %22x%22"; filename="f%22"'),
        ("a\r\nX: y", "f\nY: z\r", b'form-data; name="a%0D%0AX: y"; filename="f%0AY: z%0D"'),
        ("grün", "☃.txt", 'form-data; name="grün"; filename="☃.txt"'.encode()),
        ("a\\", "b\\c", b'form-data; name="a\\"; filename="b\\c"'),
        ("100%", "%22", b'form-data; name="100%"; filename="%22"'),
        ("a", "bad\udcff.txt", 'form-data; name="a"; filename="bad\N{REPLACEMENT CHARACTER}.txt"'.encode()),
    ],
)
def test_names_are_written_as_browsers_write_them(name: str, filename: str | None, expected: bytes) -> None:
    """Quotes, CR and LF are percent-encoded, everything else is UTF-8 as it is (HTML §4.10.21.8)."""
    assert disposition(name, filename) == expected


def test_more_fields_come_after() -> None:
    """A part's head ends with an empty line."""
    fields = [(b"Content-Type", b"text/plain"), (b"X-A", b"1")]
    assert encode_part_head("b", "n", None, fields) == (
        b'--b\r\nContent-Disposition: form-data; name="n"\r\nContent-Type: text/plain\r\nX-A: 1\r\n\r\n'
    )
    assert encode_end("b") == b"--b--\r\n"


@given(NAMES, st.none() | NAMES)
def test_no_name_adds_a_line(name: str, filename: str | None) -> None:
    """Whatever a name is, a part's head has one line, and nothing in it ends a quoted string early."""
    line = disposition(name, filename)
    assert b"\r" not in line and b"\n" not in line
    assert line.count(b'"') == (2 if filename is None else 4)


@given(NAMES, st.none() | NAMES)
def test_names_are_read_as_they_were_given(name: str, filename: str | None) -> None:
    """A parser that knows what browsers do gives back every name, but for backslashes and what was percent-encoded."""
    name = name.replace("\\", "").replace("%", "")
    filename = filename and filename.replace("\\", "").replace("%", "")
    found = parse_options_header(disposition(name, filename).decode(), unquote=content_disposition_unquote)
    assert found == ("form-data", {"name": name} if filename is None else {"name": name, "filename": filename})


def test_boundaries_differ() -> None:
    """Each form has a boundary of its own, long enough that nobody guesses it, and without quotes."""
    made = {make_boundary() for _ in range(100)}
    assert len(made) == 100
    assert {len(boundary) for boundary in made} == {32}
    assert all(boundary.isalnum() and check_boundary(boundary) for boundary in made)


@pytest.mark.parametrize("boundary", ["x", "a b", "'()+_,-./:=?", "x" * 70])
def test_a_boundary_of_the_callers_may_be_any(boundary: str) -> None:
    """All that RFC 2046 §5.1.1 allows."""
    assert check_boundary(boundary) == boundary


@pytest.mark.parametrize("boundary", ["", " ", "a ", "x" * 71, 'a"b', "a\r\nb", "ü", "a;b", "a\n"])
def test_what_is_no_boundary_is_refused(boundary: str) -> None:
    """Nothing that ends a line, or that parsers read differently."""
    with pytest.raises(LocalProtocolError) as caught:
        check_boundary(boundary)
    assert caught.value.slug == "boundary"
