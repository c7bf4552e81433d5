"""URLs: their parts, other URLs made of them, what is refused, and what never shows."""

from __future__ import annotations

import copy
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from triohttp._values.url import URL
from triohttp.errors import InvalidURLError

TEXT = st.text(st.characters(min_codepoint=0x20, exclude_categories=["Cs"], exclude_characters="\x7f"), max_size=12)


def test_the_parts_of_a_url():
    """Every part is there by its name, in its canonical form."""
    url = URL("HTTPS://u%40v:p@Host.Example.:8443/p/a?q=1#f")
    assert (url.scheme, url.userinfo, url.host, url.port, url.explicit_port) == (
        *("https", "u%40v:p", "host.example"),
        *(8443, 8443),
    )
    assert (url.username, url.password) == ("u@v", "p")
    assert (url.path, url.query, url.fragment, url.target) == ("/p/a", "q=1", "f", "/p/a?q=1")
    assert url.authority == "host.example:8443"
    assert url.origin == ("https", "host.example", 8443)
    assert str(url) == "https://u%40v:p@host.example:8443/p/a?q=1#f"


def test_the_least_url():
    """What is not there is empty, a path is always there, the port is the scheme's."""
    url = URL("http://a")
    assert (url.userinfo, url.username, url.password, url.query, url.fragment) == ("", "", "", "", "")
    assert (url.path, url.target, url.port, url.explicit_port, url.authority) == ("/", "/", 80, None, "a")
    assert str(url) == "http://a/"


@pytest.mark.parametrize(("scheme", "port"), [("http", 80), ("https", 443), ("ws", 80), ("wss", 443)])
def test_a_default_port_is_no_part_of_the_spelling(scheme, port):
    """With or without its default port it is the same URL, and another with another port."""
    assert URL(f"{scheme}://a:{port}/") == URL(f"{scheme}://a/")
    assert URL(f"{scheme}://a/").port == port
    assert URL(f"{scheme}://a:81/") != URL(f"{scheme}://a/")
    assert URL(f"{scheme}://a:0/").port == 0


def test_an_ipv6_host_has_no_brackets():
    """``host`` is what one connects to, ``authority`` what one writes."""
    url = URL("http://[::0001]:8080/")
    assert (url.host, url.authority) == ("::1", "[::1]:8080")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("/x", "begin with a scheme"),
        ("x", "begin with a scheme"),
        ("//a/", "begin with a scheme"),
        ("http:/a", "begin with a scheme"),
        ("http:///a", "must have a host"),
        ("http://u@/", "must have a host"),
        ("ftp://a/", "must be http, https, ws or wss"),
        ("http://a@b@c/", "two @"),
        ("http://a\\b/", "backslash"),
        ("http://a/\r\nX: y", r"must not hold '\\r'"),
        ("http://a/\x00", "must not hold"),
        ("http://a\x00.evil/", "must not hold"),
        (" http://a/", "spaces around"),
        ("http://a/ ", "spaces around"),
        ("http://a:80:80/", "host with an optional port"),
        ("http://a:0x50/", "host with an optional port"),
        ("http://a:65536/", "65535"),
        ("http://a%2eb/", "not a host name"),
        ("http://" + "a" * 64 + "/", "not a host name"),
        ("http://127.1/", "four decimal numbers"),
        ("http://[::1%25eth0]/", "not an IPv6 address"),
        ("http://a/\ud800", "surrogate"),
    ],
)
def test_why_a_url_is_refused(text, why):
    """The error says what is wrong, and is a ValueError."""
    with pytest.raises(InvalidURLError, match=why) as caught:
        URL(text)
    assert isinstance(caught.value, ValueError)


def test_a_url_is_made_of_text():
    """Bytes and None are a TypeError that names them."""
    for wrong in (b"http://a/", None):
        with pytest.raises(TypeError, match="must be a str"):
            URL(wrong)
        with pytest.raises(TypeError, match="must be a str"):
            URL("http://a/").join(wrong)


@pytest.mark.parametrize(
    ("reference", "joined"),
    [
        ("g", "http://a/b/c/g"),
        ("./g", "http://a/b/c/g"),
        ("g/", "http://a/b/c/g/"),
        ("/g", "http://a/g"),
        ("//g", "http://g/"),
        ("?y", "http://a/b/c/d;p?y"),
        ("g?y", "http://a/b/c/g?y"),
        ("#s", "http://a/b/c/d;p?q#s"),
        ("g#s", "http://a/b/c/g#s"),
        ("g?y#s", "http://a/b/c/g?y#s"),
        (";x", "http://a/b/c/;x"),
        ("", "http://a/b/c/d;p?q"),
        (".", "http://a/b/c/"),
        ("..", "http://a/b/"),
        ("../g", "http://a/b/g"),
        ("../..", "http://a/"),
        ("../../../g", "http://a/g"),
        ("/./g", "http://a/g"),
        ("g.", "http://a/b/c/g."),
        ("..g", "http://a/b/c/..g"),
        ("g;x=1/../y", "http://a/b/c/y"),
        ("g?y/./x", "http://a/b/c/g?y/./x"),
        ("https://x/y", "https://x/y"),
        ("a b?ü", "http://a/b/c/a%20b?%C3%BC"),
    ],
)
def test_references(reference, joined):
    """The examples of RFC 3986 §5.4 come out as it says."""
    assert str(URL("http://a/b/c/d;p?q").join(reference)) == joined


@pytest.mark.parametrize(
    "reference",
    [
        "///evil/",
        "/\\evil",
        "\\\\evil",
        "http:g",
        "javascript:alert(1)",
        "mailto:a@b",
        "//",
        "//a@b@c",
        "\t//evil",
        "/x\r\nX: y",
    ],
)
def test_references_that_lead_elsewhere_for_others(reference):
    """What browsers repair to another host, or what is no URL of ours, is refused."""
    with pytest.raises(InvalidURLError):
        URL("http://a/b").join(reference)


def test_userinfo_goes_with_a_relative_reference_only():
    """Credentials stay with their host and never reach another."""
    base = URL("http://u:p@a/")
    assert base.join("/x").userinfo == "u:p"
    assert base.join("//b/x").userinfo == ""
    assert base.join("http://a/x").userinfo == ""


def test_replace():
    """Parts are exchanged as parts, and the others stay."""
    url = URL("http://u@a:81/b?c#d")
    assert str(url.replace(scheme="https", port=None)) == "https://u@a/b?c#d"
    assert str(url.replace(host="::1", userinfo="", fragment="", query="")) == "http://[::1]:81/b"
    assert str(url.replace(host="bücher.de", port=80)) == "http://u@xn--bcher-kva.de/b?c#d"
    assert str(url.replace(path="/x?y#z")) == "http://u@a:81/x%3Fy%23z?c#d"
    assert str(url.replace(query="x#y z")) == "http://u@a:81/b?x%23y%20z#d"
    assert str(url.replace(userinfo="x@y/z:p:q")) == "http://x%40y%2Fz:p%3Aq@a:81/b?c#d"
    assert url.replace() == url


@pytest.mark.parametrize(
    "parts",
    [
        {"host": "a/b"},
        {"host": "a@b"},
        {"host": "a:80"},
        {"host": ""},
        {"host": "a\n"},
        {"path": "x"},
        {"path": ""},
        {"path": "/a\\b"},
        {"path": "/a\r\nX: y"},
        {"query": "a\x00"},
        {"userinfo": "a\n"},
        {"fragment": "\x7f"},
        {"port": 65536},
        {"port": -1},
        {"port": "80"},
        {"scheme": "ftp"},
        {"scheme": "http://evil/"},
    ],
)
def test_no_part_can_become_another(parts):
    """A part that would end early and begin the next one is refused."""
    with pytest.raises(InvalidURLError):
        URL("http://a/").replace(**parts)


def test_replace_names_what_it_does_not_know():
    """A wrong part or a part of the wrong type is a TypeError with its name."""
    with pytest.raises(TypeError, match="hostname"):
        URL("http://a/").replace(hostname="b")
    with pytest.raises(TypeError, match="the path of a URL"):
        URL("http://a/").replace(path=b"/")


def test_with_query():
    """Fields go behind those that are there, in order; none changes nothing."""
    url = URL("http://a/?x=1")
    assert str(url.with_query({"y": "a b&c", "z": [1, None, True]})) == "http://a/?x=1&y=a%20b%26c&z=1&z=true"
    assert str(URL("http://a/").with_query([("é", "#")])) == "http://a/?%C3%A9=%23"
    assert url.with_query({}) == url
    assert url.with_query({"y": None}) == url


def test_the_url_of_a_request():
    """Path and query stay exactly as they were on the wire; the rest is canonical."""
    url = URL.from_request("https", "A.b:443", "/a/../%zz|?x=\\&y=[]")
    assert (url.scheme, url.host, url.explicit_port, url.path, url.query) == (
        *("https", "a.b", None),
        *("/a/../%zz|", "x=\\&y=[]"),
    )
    assert str(URL.from_request("http", "[::1]:8080", "*")) == "http://[::1]:8080/"
    assert str(URL.from_request("http", "a", "a:443")) == "http://a/"
    assert copy.copy(url) == url
    for scheme, authority in (("ftp", "a"), ("http", "a/b"), ("http", "u@a"), ("http", ""), ("http", "é")):
        with pytest.raises(InvalidURLError):
            URL.from_request(scheme, authority, "/")


def test_a_url_is_a_value():
    """It does not change, is equal to its like, and can be a key, pickled and copied."""
    url = URL("http://u:p@a:81/b?c#d")
    assert {url: 1}[URL("HTTP://u:p@A:81/b?c#d")] == 1
    assert url != str(url)
    for other in (pickle.loads(pickle.dumps(url)), copy.copy(url), copy.deepcopy(url)):
        assert other == url
        assert other.origin == url.origin
    with pytest.raises(AttributeError, match=r"replace\(host="):
        url.host = "b"
    with pytest.raises(AttributeError):
        del url.host
    assert url.host == "a"


@pytest.mark.parametrize(
    "text",
    [
        "http://u:s3cret@a/",
        "http://u:s3cret@a@b/",
        "http://u:s3cret@a:x/",
        "u:s3cret@a",
        "ftp://u:s3cret@a/",
        "http://u:s3cret@/",
    ],
)
def test_userinfo_never_shows(text):
    """Neither a repr nor an error says what stands in front of the @."""
    try:
        shown = repr(URL(text))
    except InvalidURLError as exc:
        shown = str(exc)
    assert "s3cret" not in shown
    assert "***@" in shown


def test_the_repr_without_userinfo():
    """A URL without a secret shows whole."""
    assert repr(URL("http://a/b?c#d")) == "URL('http://a/b?c#d')"


@given(TEXT, TEXT, TEXT, TEXT)
def test_parts_stay_apart(userinfo, path, query, fragment):
    """Whatever text a part is given, the URL's text reads back as the same parts."""
    if "\\" in path:
        path = ""
    url = URL("http://a/").replace(userinfo=userinfo, path="/" + path, query=query, fragment=fragment)
    again = URL(str(url))
    assert again == url
    assert (again.host, again.path, again.query, again.fragment) == ("a", url.path, url.query, url.fragment)
    assert str(url).isascii()
    assert " " not in str(url)
