"""Our URLs beside those of browsers: the same, refused, or different for a reason that somebody wrote down."""

from __future__ import annotations

import pathlib
import re
import tomllib

import ada_url
import pytest
from hypothesis import given
from hypothesis import strategies as st

from triohttp._values.url import URL
from triohttp.errors import InvalidURLError

CORPUS = tomllib.loads(pathlib.Path(__file__).with_name("url_corpus.toml").read_text(encoding="utf-8"))
DIFFERENCES = [
    (case["text"], case["ours"], case["browser"]) for group in CORPUS["difference"] for case in group["cases"]
]

# Pieces that parsers stumble over, so that most texts are nearly URLs.
PIECES = st.sampled_from(
    [
        *("http:", "https:", "ws:", "//", "/", "\\", "?", "#", "@", ":", ":80", ":443", "[::1]", "[", "]", "%", "%2e"),
        *("%41", "%zz", ".", "..", "a", "A", "b.c", "1", "127.0.0.1", "0x7f", "é", "。", "＠", "／", " ", "\t", "\n"),
        *("&", "=", ";", "+", "'", '"', "<", "{", "|", "^", "`", "~", "_", "-", "xn--", "\x00", "\x7f", "☃"),
    ]
)
TAILS = st.lists(PIECES, max_size=8).map("".join)
TEXTS = st.one_of(TAILS, TAILS.map("http://".__add__), TAILS.map("http://a".__add__), TAILS.map("https://a.b/".__add__))


def canonical(text: str, base: str | None = None) -> str:
    """Return our canonical form, nothing for a refusal."""
    try:
        return str(URL(text) if base is None else URL(base).join(text))
    except InvalidURLError:
        return ""


def browser_form(text: str, base: str | None = None) -> str:
    """Return the canonical form of browsers, nothing for a refusal."""
    try:
        return ada_url.URL(text, base=base).href
    except ValueError:
        return ""


def as_we_write_it(href: str) -> str:
    """Apply to a browser's form the differences that change the spelling of a URL and not what it names."""
    front, query, fragment = re.fullmatch(r"([^?#]*)(\?[^#]*)?(#.*)?", href).groups("")
    front = re.sub(r"^(\w+://[^/]*[^/.])\.(?=(?::[0-9]+)?/)", r"\1", front)
    behind = (query if query != "?" else "") + (fragment if fragment != "#" else "")
    return re.sub(r"%(?![0-9A-Fa-f]{2})", "%25", front + behind.replace("\\", "%5C"))


@pytest.mark.parametrize("text", CORPUS["agreed"])
def test_the_same_as_browsers(text):
    """Whatever browsers make of this text, we make of it too."""
    assert canonical(text) == browser_form(text)


@pytest.mark.parametrize(("text", "ours", "browser"), DIFFERENCES)
def test_different_for_a_reason(text, ours, browser):
    """Each difference is exactly the one that was reviewed, on both sides."""
    assert (canonical(text), browser_form(text)) == (ours, browser)


@given(TEXTS)
def test_what_we_accept_browsers_read_alike(text):
    """No text has another scheme, host, port, path or query for us than for a browser."""
    ours = canonical(text)
    if ours:
        assert ours == as_we_write_it(browser_form(text))


@given(TEXTS)
def test_the_canonical_form_is_stable(text):
    """A URL's text is read as the same URL, and is the same text again."""
    ours = canonical(text)
    if ours:
        assert canonical(ours) == ours
        assert URL(ours) == URL(text)


@given(TEXTS, st.sampled_from(["http://u:p@a.b:81/c/d?e#f", "https://a.b/", "http://[::1]/x/"]))
def test_references_are_joined_as_browsers_join_them(reference, base):
    """A reference that we accept leads where a browser would go."""
    ours = canonical(reference, base)
    if ours:
        assert ours == as_we_write_it(browser_form(reference, base))
