"""Which proxy a request goes through: patterns, the environment, and what a proxy is made of."""

from __future__ import annotations

import logging
import ssl
from collections.abc import Callable
from typing import Any

import pytest

from triohttp import URL, Client, Proxies, Proxy
from triohttp._client.proxies import make_proxies
from triohttp.errors import InvalidURLError

A, B, C, D, E = (f"http://{name}.test:3128" for name in "abcde")


def found(proxies: Proxies | None, url: str) -> str | None:
    """Return the proxy for a URL as a URL."""
    assert proxies is not None
    proxy = proxies.find(URL(url))
    return None if proxy is None else str(proxy)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://example.org/", A),
        ("http://example.org:81/", A),
        ("https://example.org/", B),
        ("https://example.org:8443/", D),
        ("https://sub.example.org/", C),
        ("https://a.sub.example.org/", C),
        ("https://sub.example.org:8443/", C),
        ("http://sub.example.org/", A),
        ("https://sub.example.org.test/", B),
        ("https://deep.sub.example.org/", None),
        ("https://x.deep.sub.example.org/", C),
        ("http://[2001:db8::1]/", E),
        ("https://[2001:db8::1]/", E),
        ("https://[2001:db8::1]:8443/", B),
    ],
)
def test_the_most_precise_pattern_counts(url: str, expected: str | None) -> None:
    """A host counts more than what is below one, a port more than none, a scheme more than all."""
    rules = {
        "all": A,
        "https": B,
        "https://*.example.org": C,
        "https://example.org:8443": Proxy(D),
        "https://deep.sub.example.org": None,
        "all://[2001:DB8::1]:443": E,
        "http://[2001:db8::1]/": E,
    }
    assert found(Proxies(rules), url) == expected
    assert found(Proxies(dict(reversed(rules.items()))), url) == expected


@pytest.mark.parametrize("pattern", ["http://*", "http", "http://example.org:80", "http://EXAMPLE.org:080"])
def test_spellings_of_a_pattern(pattern: str) -> None:
    """A default port is a port like any other; a star is everything; names have no case."""
    proxies = make_proxies({pattern: A})
    assert found(proxies, "http://example.org/") == A
    assert found(proxies, "https://example.org/") is None


def test_a_port_in_a_pattern_is_meant() -> None:
    """Be it the default one."""
    assert found(make_proxies({"http://example.org:80": A}), "http://example.org:81/") is None
    assert found(make_proxies({"http://example.org": A}), "http://example.org:81/") == A


@pytest.mark.parametrize(
    "pattern",
    ["", "ftp", "wss", "example.org", "http://", "http://example.org/path", "http://u@example.org", "http://a.*.org",
     "http://*example.org", "http://example.org:99999", "https://exa mple.org", "*"],
)  # fmt: skip
def test_what_is_no_pattern(pattern: str) -> None:
    """It is told when the client is made."""
    with pytest.raises(ValueError):
        Client(proxies={pattern: A})


@pytest.mark.parametrize("init", [5, {"all": 5}, [A], b"http://a.test"])
def test_what_is_no_proxy(init: Any) -> None:
    """Neither a URL nor a Proxy nor None."""
    with pytest.raises(TypeError):
        Client(proxies=init)


def test_everything_through_one() -> None:
    """A URL and a Proxy stand for every scheme; what ``no_proxy`` names is left out."""
    for init in (A, Proxy(A), Proxies(A)):
        assert found(make_proxies(init), "http://example.org/") == found(make_proxies(init), "https://x.test/") == A
    assert make_proxies(None) is None
    proxies = Proxies(A, no_proxy="example.org,10.0.0.0/8")
    assert found(proxies, "http://www.example.org/") is None
    assert found(proxies, "https://10.1.1.1/") is None
    assert found(proxies, "https://example.com/") == A


# -- the environment ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("environ", "http", "https"),
    [
        ({}, None, None),
        ({"http_proxy": A}, A, None),
        ({"HTTP_PROXY": A}, A, None),
        ({"HTTP_PROXY": A, "http_proxy": B}, B, None),
        ({"HTTP_PROXY": A, "http_proxy": ""}, None, None),
        ({"HTTPS_PROXY": A}, None, A),
        ({"ALL_PROXY": A}, A, A),
        ({"all_proxy": A, "https_proxy": B}, A, B),
        ({"HTTP_PROXY": A, "REQUEST_METHOD": "GET"}, None, None),
        ({"HTTP_PROXY": A, "http_proxy": B, "REQUEST_METHOD": "GET"}, B, None),
        ({"HTTPS_PROXY": A, "REQUEST_METHOD": "GET"}, None, A),
        ({"http_proxy": "a.test:3128"}, A, None),
        ({"https_proxy": "socks5h://s.test"}, None, "socks5h://s.test:1080"),
        ({"all_proxy": A, "no_proxy": "example.org"}, None, None),
        ({"all_proxy": A, "NO_PROXY": "*"}, None, None),
        ({"all_proxy": A, "NO_PROXY": "other.test"}, A, A),
    ],
)
def test_the_environment(environ: dict[str, str], http: str | None, https: str | None) -> None:
    """Both cases count, the lower first; in a CGI program HTTP_PROXY is what a stranger says, and does not."""
    proxies = Proxies.from_environment(environ)
    assert found(proxies, "http://example.org/") == http
    assert found(proxies, "https://example.org/") == https


def test_an_environment_whose_names_have_no_case() -> None:
    """On Windows, where ``http_proxy`` finds HTTP_PROXY, a CGI program is as safe."""

    class Windows(dict[str, str]):
        def __getitem__(self, name: str) -> str:
            return super().__getitem__(name.upper())

        def get(self, name: str, default: Any = None) -> Any:
            return super().get(name.upper(), default)

    environ = Windows({"HTTP_PROXY": A, "HTTPS_PROXY": B, "REQUEST_METHOD": "GET"})
    assert found(Proxies.from_environment(environ), "http://example.org/") is None
    assert found(Proxies.from_environment(environ), "https://example.org/") == B


@pytest.mark.parametrize(
    "value",
    ["ftp://user:secret@a.test", "http://user:secret@a b", "http://", "user:secret@a.test:99999", "http://a.test/path",
     "http://user:sec/ret@a.test", "socks4://user:secret@a.test", "http://user:secret@[::1", "://", "\x00", "http://us:er@",
     "user:secret@//", "http://user:secret@a.test/path?x#y", "socks5h://" + "x" * 300 + "@a.test"],
)  # fmt: skip
def test_an_environment_that_makes_no_sense(value: str, caplog: pytest.LogCaptureFixture) -> None:
    """A bad value is skipped, with a warning that shows no password; it is never an error."""
    with caplog.at_level(logging.WARNING, "triohttp.client"):
        proxies = Proxies.from_environment({"http_proxy": value, "https_proxy": A, "no_proxy": "%%%"})
    assert found(proxies, "http://example.org/") is None
    assert found(proxies, "https://example.org/") == A
    assert [record.levelname for record in caplog.records] == ["WARNING", "WARNING"]
    assert "http_proxy" in caplog.text
    assert "secret" not in caplog.text
    assert "ret@" not in caplog.text


def test_nobody_asks_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that is not told to ignores it."""
    monkeypatch.setenv("ALL_PROXY", "nonsense://")
    monkeypatch.setenv("NO_PROXY", "%")
    monkeypatch.setenv("http_proxy", A)
    assert Client()._shared.routes.destination(URL("http://example.org/")).proxy is None


# -- a proxy -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "text"),
    [
        ("http://a.test", "http://a.test:80"),
        ("HTTP://A.test./", "http://a.test:80"),
        ("https://a.test", "https://a.test:443"),
        ("socks5://a.test", "socks5://a.test:1080"),
        ("socks5h://a.test", "socks5h://a.test:1080"),
        ("socks5://a.test:80", "socks5://a.test:80"),
        ("socks5h://a.test:443", "socks5h://a.test:443"),
        ("http://u:p@[::1]:3128/", "http://[::1]:3128"),
    ],
)
def test_where_a_proxy_is(url: str, text: str) -> None:
    """A port that is written counts, whatever the scheme's own would be."""
    assert str(Proxy(url)) == text


def test_secrets_of_a_proxy_are_not_shown() -> None:
    """Neither by str nor by repr, of the proxy, of those that hold it, or of what stands for the way."""
    proxy = Proxy("https://user:secret@a.test")
    destination = Client(proxies=proxy)._shared.routes.destination(URL("http://example.org/"))
    shown = f"{proxy} {proxy!r} {Proxies({'all': proxy})!r} {destination} {destination!r}"
    assert "secret" not in shown
    assert "c2VjcmV0" not in shown
    assert "with credentials" in repr(proxy)


def test_proxies_are_compared_by_value() -> None:
    """Two spellings are one; other credentials, other fields, another context are others."""
    context = ssl.create_default_context()
    same = [Proxy("http://u:p@a.test"), Proxy("http://A.test:80/", credentials=("u", "p"))]
    other = [Proxy("http://a.test"), Proxy("http://u:q@a.test"), Proxy("http://u:p@a.test", headers={"X": "y"})]
    tls = [Proxy("https://a.test"), Proxy("https://a.test", tls=context)]
    assert same[0] == same[1]
    assert hash(same[0]) == hash(same[1])
    assert len({*same, *other, *tls}) == 1 + len(other) + len(tls)
    assert same[0] != A


@pytest.mark.parametrize(
    ("make", "error"),
    [
        (lambda: Proxy("a.test:3128"), InvalidURLError),
        (lambda: Proxy("user:secret@a.test:3128"), InvalidURLError),
        (lambda: Proxy("ftp://user:secret@a.test"), InvalidURLError),
        (lambda: Proxy("http://user:secret@a.test/path"), InvalidURLError),
        (lambda: Proxy("http://user:secret@a.test?"), InvalidURLError),
        (lambda: Proxy("http://a.test\r\nX: y"), InvalidURLError),
        (lambda: Proxy("http://a.test", credentials=("us:er", "secret")), ValueError),
        (lambda: Proxy("http://a.test", credentials="ab"), TypeError),
        (lambda: Proxy("http://a.test", credentials=("secret",)), TypeError),
        (lambda: Proxy("http://a.test", credentials=("u", b"secret")), TypeError),
        (lambda: Proxy("http://a.test", headers={"Host": "x"}), ValueError),
        (lambda: Proxy("http://a.test", headers={"Transfer-Encoding": "chunked"}), ValueError),
        (lambda: Proxy("http://a.test", headers={"X": "y\r\nZ: secret"}), ValueError),
        (lambda: Proxy("http://a.test", tls=ssl.create_default_context()), ValueError),
        (lambda: Proxy("https://a.test", tls=True), TypeError),
        (lambda: Proxy(5), TypeError),
    ],
)
def test_what_makes_no_proxy(make: Callable[[], Proxy], error: type[Exception]) -> None:
    """It is told at once, and no secret with it."""
    with pytest.raises(error) as caught:
        make()
    assert "secret" not in str(caught.value) or "Z:" in str(caught.value)
