"""The syntax that fields share: tokens, quoted strings, lists, parameters."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from triohttp._values.grammar import check_method, is_token, quote_string, split_list, split_parameters


@pytest.mark.parametrize("method", ["GET", "get", "M-SEARCH", "!#$%&'*+-.^_`|~", "A" * 32])
def test_a_method_passes_unchanged(method):
    """Any token of up to 32 characters is a method, in the case it was given."""
    assert check_method(method) == method


@pytest.mark.parametrize("method", ["", "GE T", "GET / HTTP/1.1\r\nX: y", "G{T", "GÉT", "A" * 33, "GET\n"])
def test_what_is_no_method_is_refused(method):
    """A method cannot carry a space, a line end or anything else that would change the request line."""
    with pytest.raises(ValueError, match="method"):
        check_method(method)


def test_a_method_is_text():
    """Bytes are not taken for a method."""
    with pytest.raises(TypeError, match="method must be a str"):
        check_method(b"GET")


def test_token():
    """A token is not empty and holds no separators."""
    assert is_token("a!b")
    assert not is_token("")
    assert not is_token("a b")
    assert not is_token("a\n")


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("a, b ,c", ["a", "b", "c"]),
        (", ,a,,", ["a"]),
        ('a="x,y", b', ['a="x,y"', "b"]),
        (r'a="x\",y", b', [r'a="x\",y"', "b"]),
        ('a="x, b', ['a="x, b']),
        ('a="x\\', ['a="x\\']),
        ('"', ['"']),
        ('"",""', ['""', '""']),
        ("", []),
    ],
)
def test_split_list(text, pieces):
    """Separators split outside quotes only; empty elements are left out; an open quote takes the rest."""
    assert list(split_list(text)) == pieces


@pytest.mark.parametrize(
    ("text", "parameters"),
    [
        ("charset=utf-8; Q=0.5", [("charset", "utf-8"), ("q", "0.5")]),
        ('boundary="a;b\\"c"; x=1', [("boundary", 'a;b"c'), ("x", "1")]),
        ("a; =b; c d=e; f=", [("f", "")]),
        ('a="open', [("a", "open")]),
        ('a="open\\', [("a", "open")]),
        ('a="x"trailing', [("a", "x")]),
    ],
)
def test_split_parameters(text, parameters):
    """Parameters come with names in lower case and values without quotes; what is none is skipped."""
    assert list(split_parameters(text)) == parameters


@given(st.text(st.characters(min_codepoint=0x20, max_codepoint=0xFF, exclude_characters="\x7f"), max_size=30))
def test_what_is_quoted_reads_back(text):
    """Any text that can be quoted at all is read back as it was."""
    if text:
        assert list(split_parameters(f"a={quote_string(text)}; b=1")) == [("a", text), ("b", "1")]


@pytest.mark.parametrize("text", ["a\r\nb", "\x00", "\x7f", "漢"])
def test_what_cannot_be_quoted_is_refused(text):
    """A quoted string holds no control characters and nothing beyond latin-1."""
    with pytest.raises(ValueError, match="cannot hold"):
        quote_string(text)


class CountingText(str):
    """A text that counts the characters which searches in it look at."""

    __slots__ = ("looked_at",)

    def __init__(self, text):
        self.looked_at = 0

    def find(self, part, start=0, end=None):
        end = len(self) if end is None else end
        place = super().find(part, start, end)
        self.looked_at += (place + 1 if place >= 0 else end) - start
        return place


@pytest.mark.parametrize(
    "shape",
    ['"a"', '"a",', "\\a", 'a;q="', '"\\', '\\"', '","', '"\\",', ',"', '""'],
)
def test_splitting_looks_at_each_character_a_few_times_at_most(shape):
    """Twice as much of any shape costs twice as much: nothing is searched again from the start."""
    for front in ("", '"', '"\\'):
        text = CountingText(front + shape * 4000)
        list(split_list(text))
        assert text.looked_at <= 4 * len(text)
