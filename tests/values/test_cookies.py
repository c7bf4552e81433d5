"""Cookies: read leniently and within bounds, written so that browsers take them; beside werkzeug."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from werkzeug.http import dump_cookie
from werkzeug.sansio.http import parse_cookie

from triohttp._values.cookies import Cookies, format_set_cookie, parse_cookies, parse_set_cookie
from triohttp.errors import ContentError, InvalidCookieError

OCTETS = "".join(chr(c) for c in range(0x21, 0x7F) if chr(c) not in '",;\\')
NAMES = st.text("ab_-!$", min_size=1, max_size=5)
VALUES = st.text(OCTETS, max_size=12)


@pytest.mark.parametrize(
    ("field", "pairs"),
    [
        ("", []),
        ("a=1", [("a", "1")]),
        ("a=1; b=2;c=3 ;  d=4", [("a", "1"), ("b", "2"), ("c", "3"), ("d", "4")]),
        (
            'a=1; a=2; $Version=1; =x; a; b="q;r"; é=1',
            [("a", "1"), ("a", "2"), ("$Version", "1"), ("b", '"q'), ("é", "1")],
        ),
        ("a=b=c", [("a", "b=c")]),
        ("a=", [("a", "")]),
        ('a="b c"', [("a", "b c")]),
        ('a="', [("a", '"')]),
        ('a=""', [("a", "")]),
        ("c[x]=3; d=4", [("c[x]", "3"), ("d", "4")]),
        (";;;", []),
        ("a=\xff", [("a", "\xff")]),
        ("__Host-a=1", [("__Host-a", "1")]),
        ('a="\\073"', [("a", "\\073")]),
    ],
)
def test_what_a_cookie_field_says(field, pairs):
    """Pairs in order; only those without a name or a value sign are lost, and never the rest."""
    assert parse_cookies([field]).pairs() == pairs


def test_cookies_are_a_mapping():
    """The first value of a name answers; several fields are one list."""
    cookies = parse_cookies(["a=1; b=2", "a=3"])
    assert cookies["a"] == "1"
    assert cookies.get("x") is None
    assert cookies.get_all("a") == ["1", "3"]
    assert cookies.get_all("x") == []
    assert list(cookies) == ["a", "b"]
    assert len(cookies) == 2
    assert cookies == {"a": "1", "b": "2"}
    with pytest.raises(KeyError):
        cookies["x"]
    assert len(Cookies()) == 0


def test_no_value_in_a_repr():
    """Names may show, values are credentials."""
    assert "s3cret" not in repr(parse_cookies(["sid=s3cret"]))
    assert "sid" in repr(parse_cookies(["sid=s3cret"]))
    assert "s3cret" not in repr(parse_set_cookie("sid=s3cret; Path=/"))


@pytest.mark.parametrize("fields", [["a=b;" * 4000], ["a=b"] * 301, ["a" * 8193], ["a=" + "b" * 5000] * 2, [";" * 300]])
def test_too_many_cookies(fields):
    """Pairs and bytes are bounded before anything is split."""
    with pytest.raises(ContentError, match="at most") as caught:
        parse_cookies(fields)
    assert caught.value.reason == "cookies"
    assert caught.value.status == 400


def test_as_many_cookies_as_allowed():
    """The bounds themselves are allowed, and can be others."""
    assert len(parse_cookies(["a=b"] * 300).pairs()) == 300
    assert parse_cookies(["a=" + "b" * 8190])["a"] == "b" * 8190
    assert parse_cookies(["a=b;c=d"], max_pairs=2, max_bytes=7)["c"] == "d"
    with pytest.raises(ContentError):
        parse_cookies(["a=b;c=d"], max_pairs=1)
    with pytest.raises(ContentError):
        parse_cookies(["a=b;c=d"], max_bytes=6)


def by_name(pairs) -> dict[str, list[str]]:
    """Return the values of each name, as a reader that keeps names apart has them."""
    found: dict[str, list[str]] = {}
    for name, value in pairs:
        found.setdefault(name, []).append(value)
    return found


@given(st.lists(st.tuples(NAMES, VALUES), max_size=6))
def test_cookies_of_browsers_are_read_as_werkzeug_reads_them(pairs):
    """What browsers send for cookies that were set properly has one meaning."""
    field = "; ".join(f"{name}={value}" for name, value in pairs)
    ours = parse_cookies([field]).pairs()
    assert ours == pairs
    assert by_name(ours) == dict(parse_cookie(field).lists())


@given(st.lists(st.text("ab=$ ", max_size=6).filter(lambda piece: "=" in piece or not piece.strip()), max_size=6))
def test_odd_cookies_are_read_as_werkzeug_reads_them(pieces):
    """Spaces, dollars and signs in any place lead to the same pairs; werkzeug drops spaces inside."""
    field = ";".join(pieces)
    ours = parse_cookies([field]).pairs()
    assert by_name(pair for pair in ours if " " not in "".join(pair)) == dict(parse_cookie(field).lists())


@pytest.mark.parametrize(
    ("field", "ours", "theirs", "why"),
    [
        ('a="x; b=1; c=y"', {"a": '"x', "b": "1", "c": 'y"'}, {"a": "x; b=1; c=y"}, "a quote must not swallow cookies"),
        ("a=b c", {"a": "b c"}, {}, "browsers keep and send inner spaces"),
        ('a=b"c', {"a": 'b"c'}, {}, "browsers keep and send quotes"),
        ("a b=c", {"a b": "c"}, {}, "browsers keep and send spaces in names"),
        ('a="\\073"', {"a": "\\073"}, {"a": ";"}, "we write no escapes; who does may undo them"),
        ("a", {}, {"a": ""}, "a cookie without a sign has a value and no name (RFC 6265bis)"),
    ],
)
def test_reviewed_differences_to_werkzeug(field, ours, theirs, why):
    """Where the two readers differ, somebody wrote down why, and both still read it so."""
    assert why
    assert parse_cookies([field]) == ours
    assert dict(parse_cookie(field)) == theirs


def test_the_default_attributes():
    """Unless one says otherwise a cookie is for https, for the whole host, hidden from scripts and from other sites."""
    assert format_set_cookie("a", "b") == "a=b; Path=/; Secure; HttpOnly; SameSite=Lax"


def test_all_attributes():
    """Every attribute has its place and its spelling."""
    text = format_set_cookie(
        "a", "b", max_age=60, expires=0.0, path="/x y", domain=".Example.COM", same_site="none", partitioned=True
    )
    assert text == (
        "a=b; Expires=Thu, 01 Jan 1970 00:00:00 GMT; Max-Age=60; Domain=example.com; Path=/x y; "
        "Secure; HttpOnly; SameSite=None; Partitioned"
    )
    bare = format_set_cookie("a", "", path=None, secure=False, http_only=False, same_site=None)
    assert bare == "a="


@pytest.mark.parametrize(
    "arguments",
    [
        {"value": "b; Domain=evil"},
        {"value": "b\r\nX: y"},
        {"value": "b c"},
        {"value": 'b"'},
        {"value": "b,c"},
        {"value": "b\\c"},
        {"value": "é"},
        {"value": "\x00"},
        {"value": "b\n"},
        {"value": "b" * 4096},
        {"name": "a=b"},
        {"name": ""},
        {"name": "a b"},
        {"name": "a;"},
        {"name": "é"},
        {"name": "a\n"},
        {"path": "/;x"},
        {"path": "x"},
        {"path": ""},
        {"path": "/\r\n"},
        {"path": "/é"},
        {"path": "/" + "a" * 1024},
        {"domain": "a;b"},
        {"domain": ""},
        {"domain": "."},
        {"domain": "a b"},
        {"domain": "..a"},
        {"domain": "é.de"},
        {"max_age": 1.5},
        {"max_age": True},
        {"max_age": "60"},
        {"expires": float("inf")},
        {"same_site": "None"},
        {"same_site": "lax; Domain=evil"},
        {"same_site": "none", "secure": False},
        {"partitioned": True, "secure": False},
        {"name": "__Host-sid", "secure": False},
        {"name": "__Host-sid", "domain": "a.b"},
        {"name": "__Host-sid", "path": "/x"},
        {"name": "__Host-sid", "path": None},
        {"name": "__host-sid", "secure": False},
        {"name": "__HOST-sid", "path": "/x"},
        {"name": "__Secure-sid", "secure": False},
        {"name": "__secure-sid", "secure": False},
        {"name": "__Http-sid", "http_only": False},
        {"name": "__Host-Http-sid", "http_only": False},
    ],
)
def test_what_browsers_would_drop_or_misread(arguments):
    """A cookie that cannot be written as it is meant, or would not be kept, is refused where it is made."""
    with pytest.raises(InvalidCookieError) as caught:
        format_set_cookie(**{"name": "a", "value": "b", **arguments})
    assert isinstance(caught.value, ValueError)


def test_no_value_in_an_error():
    """A value that cannot be written is not shown: it may be a session."""
    with pytest.raises(InvalidCookieError) as caught:
        format_set_cookie("a", "s3cret; x")
    assert "s3cret" not in str(caught.value)


def test_prefixes_that_keep_their_promise():
    """Names with a prefix are written when the attributes are those that it promises."""
    assert format_set_cookie("__Host-a", "b").startswith("__Host-a=b; ")
    assert format_set_cookie("__Secure-a", "b", domain="a.b", path="/x", http_only=False).startswith("__Secure-a=b; ")
    assert format_set_cookie("__Host-Http-a", "b").startswith("__Host-Http-a=b; ")


@given(
    NAMES,
    VALUES,
    st.none() | st.integers(-1, 10**9),
    st.none() | st.integers(0, 10**9),
    st.none() | st.just("/") | st.just("/a/b"),
    st.none() | st.just("a.example"),
    st.booleans(),
    st.booleans(),
    st.sampled_from([None, "strict", "lax", "none"]),
)
def test_cookies_are_written_as_werkzeug_writes_them(
    name, value, max_age, expires, path, domain, secure, http_only, same_site
):
    """The same attributes come out, however they are ordered, and what is written reads back."""
    if same_site == "none" and not secure:
        return
    options = {"max_age": max_age, "expires": expires, "path": path, "domain": domain, "secure": secure}
    text = format_set_cookie(name, value, **options, http_only=http_only, same_site=same_site)
    other = dump_cookie(
        name,
        value,
        **options,
        httponly=http_only,
        samesite=same_site and same_site.capitalize(),
        max_size=0,
        sync_expires=False,
    )
    # werkzeug puts quotes around some values that need none; both are read as the same value.
    ours, theirs = (sorted(field.split("; ")) for field in (text, other.replace('"', "")))
    assert ours == theirs
    parsed = parse_set_cookie(text)
    assert (parsed.name, parsed.value, parsed.max_age, parsed.expires) == (name, value, max_age, expires)
    assert (parsed.path, parsed.domain, parsed.secure, parsed.http_only) == (path, domain, secure, http_only)
    assert (parsed.same_site, parsed.partitioned) == (same_site, False)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a=b", {}),
        (
            "a=b; PATH=/x ;secure;HttpOnly = x; SameSite = STRICT ; Partitioned",
            {"path": "/x", "secure": True, "http_only": True, "same_site": "strict", "partitioned": True},
        ),
        ("a=b; Path=x; Domain=.Example.com; Max-Age=-5", {"domain": "example.com", "max_age": -1}),
        ("a=b; Max-Age=99999999999999999999", {"max_age": 31_622_400_000}),
        ("a=b; Max-Age=1x; Max-Age=+1; SameSite=x; Foo=bar; ;", {}),
        ("a=b; Max-Age=1; max-age=2; Path=/a; path=/b", {"max_age": 2, "path": "/b"}),
        ("a=b; Expires=Sun, 06 Nov 1994 08:49:37 GMT", {"expires": 784111777.0}),
        ("a=b; Expires=never; Path=/" + "x" * 1024, {}),
        ("a=b; Domain=", {}),
    ],
)
def test_what_a_set_cookie_field_says(text, expected):
    """Attributes are found as browsers find them; unknown and malformed ones are not there."""
    parsed = parse_set_cookie(text)
    defaults = {"max_age": None, "expires": None, "path": None, "domain": None, "secure": False, "http_only": False}
    attributes = {**defaults, "same_site": None, "partitioned": False, **expected}
    assert {name: getattr(parsed, name) for name in attributes} == attributes
    assert (parsed.name, parsed.value) == ("a", "b")


@pytest.mark.parametrize(
    ("text", "name", "value"),
    [
        ("=b", "", "b"),
        ("b", "", "b"),
        (" a = b c ;x", "a", "b c"),
        ('a="b"', "a", '"b"'),
        ("a=", "a", ""),
        ("a\t=\tb", "a", "b"),
    ],
)
def test_names_and_values_of_a_set_cookie_field(text, name, value):
    """Quotes are part of a value for a browser, and a cookie may have no name."""
    parsed = parse_set_cookie(text)
    assert (parsed.name, parsed.value) == (name, value)


@pytest.mark.parametrize("text", ["", "=", ";a=b", "a=\x00", "a=b; Path=\x01", "a=b\x7f", "a=" + "b" * 4096])
def test_what_browsers_ignore(text):
    """Control characters, too much and nothing at all are no cookie."""
    assert parse_set_cookie(text) is None
