"""The cookie jar: its bounds, what people do with it, and what a request costs."""

from __future__ import annotations

import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from triohttp import Headers
from triohttp._client.cookie_jar import CookieJar
from triohttp._client.cookie_rules import StoredCookie
from triohttp._client.public_suffixes import find_public_suffixes, is_known_suffix
from triohttp._values.url import URL
from triohttp.errors import InvalidCookieError, InvalidURLError
from triohttp.integrations.publicsuffix import is_public_suffix

SITE = URL("https://example.org/")
PLAIN = URL("http://example.org/")


class Clock:
    """A clock that stands still until it is told otherwise."""

    def __init__(self) -> None:
        self.now = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now


def names(jar: CookieJar) -> list[str]:
    return [cookie.name for cookie in jar]


# -- bounds ------------------------------------------------------------------------------------------------------------


def test_set_cookie_fields_of_one_answer():
    """Of one answer fifty Set-Cookie fields count, the first ones."""
    jar = CookieJar()
    jar.store(SITE, [f"n{number}=v" for number in range(5000)])
    assert names(jar) == [f"n{number}" for number in range(50)]


def test_cookies_of_one_domain():
    """A domain has at most 180 cookies; beyond it those go that were used least recently."""
    jar = CookieJar(max_cookies_per_answer=1000)
    jar.store(SITE, [f"n{number}=v; Path=/{number}" for number in range(180)])
    assert jar.field_for(SITE.replace(path="/0")) == "n0=v"
    jar.store(SITE, ["new=v"])
    assert len(jar) == 180
    assert "n0" in jar and "new" in jar and "n1" not in jar


def test_cookies_over_time():
    """A jar holds 3000 cookies, however many come; those used least recently go, and nothing is left of them."""
    jar = CookieJar()
    jar.store(SITE, ["kept=v"])
    for number in range(4000):
        jar.store(URL(f"https://h{number}.test/"), ["a=b"])
        if number % 1000 == 0:
            assert jar.field_for(SITE) == "kept=v"
    assert len(jar) == 3000
    assert "kept" in jar
    assert repr(jar) == "<CookieJar 3000 cookies for 3000 domains>"


def test_an_answer_over_http_pushes_no_secure_cookie_out():
    """In a domain that has too many, cookies that are not secure go first: a stranger on the wire logs nobody out."""
    jar = CookieJar(max_cookies_per_domain=3)
    jar.store(SITE, ["sid=1; Secure"])
    jar.store(PLAIN, [f"n{number}=v" for number in range(10)])
    assert names(jar) == ["sid", "n8", "n9"]


def test_expired_cookies_go_before_others():
    """Before a cookie is pushed out, those that have ended are dropped."""
    clock = Clock()
    jar = CookieJar(max_cookies_per_domain=2, clock=clock)
    jar.store(SITE, ["old=v", "short=v; Max-Age=10"])
    clock.now += 10
    jar.store(SITE, ["new=v"])
    assert names(jar) == ["old", "new"]


def test_the_size_of_a_cookie():
    """A cookie of a megabyte is not kept."""
    jar = CookieJar()
    jar.store(SITE, ["a=" + "v" * 1_000_000, "b=c"])
    assert names(jar) == ["b"]


@pytest.mark.parametrize(
    ("bound", "expected"), [(11, "long=v; a=b"), (10, "long=v"), (6, "long=v"), (5, "a=b"), (2, None)]
)
def test_the_size_of_the_field(bound, expected):
    """What does not fit into the Cookie field is left out; what has the longest path is in it first."""
    jar = CookieJar(max_field_bytes=bound)
    jar.store(SITE, ["a=b; Path=/", "long=v; Path=/long"])
    assert jar.field_for(SITE.replace(path="/long")) == expected


def test_the_largest_field_is_one_that_servers_take():
    """By default the field has at most 8192 bytes, however many cookies match."""
    jar = CookieJar()
    jar.store(SITE, [f"n{number}={'v' * 1000}" for number in range(50)])
    field = jar.field_for(SITE)
    assert field.count("; ") == 7
    assert len(field) <= 8192


@pytest.mark.parametrize("name", ["max_cookies", "max_cookies_per_domain", "max_cookies_per_answer", "max_field_bytes"])
@pytest.mark.parametrize("value", [0, -1, True, 1.5, None])
def test_bounds_are_whole_numbers(name, value):
    """A bound is at least one."""
    with pytest.raises(ValueError, match=name):
        CookieJar(**{name: value})


# -- what a peer sends -------------------------------------------------------------------------------------------------


@given(st.lists(st.text(st.characters(max_codepoint=255)) | st.from_regex(
    r"\A[a-z_]{0,9}=?[ -~]{0,9}(; (Domain|Path|Max-Age|Expires|Secure|HttpOnly)(=[ -~]{0,20})?){0,4}\Z"
), max_size=5))  # fmt: skip
def test_storing_never_raises(lines):
    """Whatever a server says, the jar takes it or leaves it, and what it sends is a field that may go on the wire."""
    jar = CookieJar(public_suffix=is_known_suffix)
    jar.store(URL("https://www.example.org/a/b"), lines)
    field = jar.field_for(URL("https://www.example.org/a/b"))
    if field is not None:
        assert Headers({"Cookie": field})["cookie"] == field
    assert len(list(jar)) == len(jar)


def test_a_cookie_of_a_very_long_directory():
    """A path that is longer than any server's is none that a cookie is kept for."""
    jar = CookieJar()
    jar.store(SITE.replace(path="/" + "d" * 9000 + "/"), ["a=b"])
    assert len(jar) == 0


# -- for people --------------------------------------------------------------------------------------------------------


def test_a_cookie_by_hand():
    """``set`` does what an answer of the URL would: for its host, secure on https, for the whole site."""
    clock = Clock()
    jar = CookieJar(clock=clock)
    jar.set("sid", "s3cret", "https://example.org/deep/path", max_age=60, http_only=True, same_site="lax")
    assert list(jar) == [
        StoredCookie(
            name="sid",
            value="s3cret",
            domain="example.org",
            host_only=True,
            path="/",
            secure=True,
            http_only=True,
            same_site="lax",
            created=clock.now,
            expires=clock.now + 60,
        )
    ]
    assert jar.field_for(SITE) == "sid=s3cret"
    assert jar.field_for(PLAIN) is None


def test_a_cookie_by_hand_for_a_domain():
    """``domain`` sends it to the hosts below too; an internationalised one is encoded."""
    jar = CookieJar()
    jar.set("a", "b", "http://www.bücher.example/", domain="bücher.example", path="/x")
    assert jar.field_for(URL("http://other.bücher.example/x/y")) == "a=b"
    assert jar.field_for(URL("http://other.bücher.example/")) is None


def test_values_by_hand_may_be_what_servers_expect():
    """Quotes, commas, spaces and octets beyond ASCII go out as they were given."""
    jar = CookieJar()
    jar.set("c[x]", '{"a": 1, "é": 2}', SITE)
    assert jar.field_for(SITE) == 'c[x]={"a": 1, "é": 2}'


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"name": ""}, InvalidCookieError),
        ({"name": "a=b"}, InvalidCookieError),
        ({"name": "a;"}, InvalidCookieError),
        ({"name": " a"}, InvalidCookieError),
        ({"name": "a\n"}, InvalidCookieError),
        ({"name": "a" * 4096}, InvalidCookieError),
        ({"name": "č"}, InvalidCookieError),
        ({"name": b"a"}, TypeError),
        ({"value": "s3cret; Domain=evil"}, InvalidCookieError),
        ({"value": "s3cret\r\nX: y"}, InvalidCookieError),
        ({"value": "s3cret "}, InvalidCookieError),
        ({"value": "s3cret č"}, InvalidCookieError),
        ({"value": 1}, TypeError),
        ({"url": "example.org"}, InvalidURLError),
        ({"domain": "evil.com"}, InvalidCookieError),
        ({"domain": "org"}, InvalidCookieError),
        ({"domain": ""}, InvalidURLError),
        ({"domain": "a b"}, InvalidURLError),
        ({"path": "x"}, InvalidCookieError),
        ({"path": ""}, InvalidCookieError),
        ({"path": "/\n"}, InvalidCookieError),
        ({"path": None}, TypeError),
        ({"max_age": 1.5}, TypeError),
        ({"max_age": True}, TypeError),
        ({"expires": float("nan")}, InvalidCookieError),
        ({"same_site": "Lax"}, InvalidCookieError),
        ({"url": PLAIN, "secure": True}, InvalidCookieError),
        ({"name": "__Host-a", "path": "/x"}, InvalidCookieError),
        ({"name": "__Secure-a", "secure": False}, InvalidCookieError),
        ({"name": "sid", "url": PLAIN}, InvalidCookieError),
    ],
)
def test_what_cannot_be_set(arguments, error):
    """A cookie that a server could not set either is refused where it is made, and its value is not shown."""
    jar = CookieJar()
    jar.store(SITE, ["sid=1; Secure"])
    with pytest.raises(error) as caught:
        jar.set(**{"name": "a", "value": "s3cret", "url": SITE, **arguments})
    assert "s3cret" not in str(caught.value)
    assert names(jar) == ["sid"]


@pytest.mark.parametrize("end", [{"max_age": 0}, {"max_age": -5}, {"expires": 0}, {"expires": float("-inf")}])
def test_setting_what_is_over_deletes(end):
    """A cookie with an end in the past takes away the one that it replaces."""
    jar = CookieJar()
    jar.set("a", "b", SITE)
    jar.set("a", "", SITE, **end)
    assert len(jar) == 0


def test_an_end_far_away_is_cut():
    """Nothing is kept for more than 400 days."""
    clock = Clock()
    jar = CookieJar(clock=clock)
    jar.set("a", "b", SITE, expires=float("inf"))
    assert next(iter(jar)).expires == clock.now + 400 * 86400


def test_looking_at_what_there_is():
    """A jar has a length, is iterated from the oldest to the newest, and knows names and cookies."""
    jar = CookieJar()
    jar.store(SITE, ["a=1", "b=2; Path=/x", "a=3; Path=/x"])
    first, second, third = jar
    assert (first.value, second.value, third.value) == ("1", "2", "3")
    assert first in jar and "b" in jar and "c" not in jar and 1 not in jar
    assert len(jar) == 3
    assert jar.get("a", SITE) == "1"
    assert jar.get("a", "https://example.org/x") == "3"
    assert jar.get("b", SITE) is None
    assert jar.get("a", "https://example.com/") is None


def test_iterating_while_it_changes():
    """An iteration is over what there was when it began."""
    jar = CookieJar()
    jar.store(SITE, ["a=1", "b=2"])
    for cookie in jar:
        assert jar.delete(cookie.name) == 1
    assert len(jar) == 0


def test_expired_cookies_are_not_there():
    """What has ended is neither counted, found nor sent."""
    clock = Clock()
    jar = CookieJar(clock=clock)
    jar.store(SITE, ["a=1; Max-Age=10", "b=2"])
    clock.now += 10
    assert len(jar) == 1
    assert "a" not in jar
    assert jar.get("a", SITE) is None
    assert jar.field_for(SITE) == "b=2"


def test_a_cookie_that_is_set_again_keeps_its_age():
    """A new value is a new end and new attributes; when the cookie was first set stays."""
    clock = Clock()
    jar = CookieJar(clock=clock)
    jar.store(SITE, ["a=1; HttpOnly"])
    clock.now += 10
    jar.store(SITE, ["a=2; Max-Age=60"])
    (cookie,) = jar
    assert (cookie.value, cookie.created, cookie.expires) == ("2", clock.now - 10, clock.now + 60)
    assert not cookie.http_only


def test_the_moment_may_be_given():
    """``now`` stands for the clock, for a program that has one moment for many questions."""
    jar = CookieJar()
    jar.store(SITE, ["a=1; Max-Age=10"], now=1000.0)
    assert jar.field_for(SITE, now=1009.0) == "a=1"
    assert jar.field_for(SITE, now=1010.0) is None


def test_deleting():
    """Cookies are deleted by name, and by domain and path where only some are meant."""
    jar = CookieJar()
    fields = ["a=1", "a=2; Path=/x", "a=3; Domain=example.org", "b=4"]
    jar.store(URL("https://www.example.org/"), fields)
    assert jar.delete("a", domain=".EXAMPLE.org") == 1
    assert jar.delete("a", path="/x") == 1
    assert jar.delete("a", domain="example.com") == 0
    assert jar.delete("a") == 1
    assert names(jar) == ["b"]


def test_clearing():
    """All cookies go, or those of a domain and of what lies below it."""
    jar = CookieJar()
    for host in ("example.org", "www.example.org", "notexample.org", "org.test"):
        jar.store(URL(f"https://{host}/"), ["a=1; Max-Age=5"])
    jar.clear("example.org")
    assert [cookie.domain for cookie in jar] == ["notexample.org", "org.test"]
    jar.clear()
    assert len(jar) == 0
    assert jar.field_for(URL("https://org.test/")) is None


def test_no_repr_shows_a_value():
    """Neither a jar nor a cookie in it shows what is a secret."""
    jar = CookieJar()
    jar.set("sid", "s3cret", SITE)
    assert "s3cret" not in f"{jar!r} {list(jar)!r} {jar}"


# -- public suffixes ---------------------------------------------------------------------------------------------------


def test_the_list_is_used_where_it_is_installed():
    """With the extra installed a jar finds the public list by itself: suffixes that no short list has are known."""
    assert find_public_suffixes() is is_public_suffix
    jar = CookieJar()
    jar.store(URL("https://me.kobe.jp/"), ["a=1; Domain=kobe.jp"])
    assert len(jar) == 0


def test_a_jar_without_the_list(monkeypatch):
    """Without the package a jar goes on with the best known suffixes."""
    monkeypatch.setitem(sys.modules, "triohttp.integrations.publicsuffix", None)  # what Python makes of a missing one
    find_public_suffixes.cache_clear()
    try:
        assert find_public_suffixes() is is_known_suffix
        jar = CookieJar()
        jar.store(URL("https://shop.co.uk/"), ["a=1; Domain=co.uk", "b=2; Domain=shop.co.uk"])
        assert names(jar) == ["b"]
    finally:
        find_public_suffixes.cache_clear()


def test_the_list_is_not_asked_for_nothing():
    """Only a cookie with a Domain that could hold asks the list: programs without one never load it."""
    asked = []
    jar = CookieJar(public_suffix=lambda domain: bool(asked.append(domain)))
    jar.store(URL("https://www.example.org/"), ["a=1", "b=2; Domain=evil.com", "c=3; Domain=org", "d=4; Domain="])
    assert jar.field_for(URL("https://www.example.org/")) == "a=1; d=4"
    assert asked == []
    jar.store(URL("https://www.example.org/"), ["e=5; Domain=example.org"])
    assert asked == ["example.org"]


def test_a_judgement_of_ones_own():
    """A program may say itself what is a public suffix, for names of its own network."""
    jar = CookieJar(public_suffix=lambda domain: domain == "apps.internal")
    jar.store(URL("https://one.apps.internal/"), ["a=1; Domain=apps.internal", "b=2"])
    assert names(jar) == ["b"]


# -- cost --------------------------------------------------------------------------------------------------------------


def calls_made(function) -> int:
    """Return how many Python functions ran."""
    count = 0

    def profile(_frame, event, _argument):
        nonlocal count
        count += event == "call"

    sys.setprofile(profile)
    try:
        function()
    finally:
        sys.setprofile(None)
    return count


def test_an_empty_jar_costs_nothing():
    """A jar without cookies answers without asking for the time or looking at the URL."""

    def clock() -> float:
        raise AssertionError("nobody needs the time")

    jar = CookieJar(clock=clock)
    assert calls_made(lambda: jar.field_for(SITE)) <= 2  # the lambda and the method


def test_cookies_of_other_hosts_cost_nothing():
    """What a jar holds for others is not looked at, however much it is."""
    few, many = CookieJar(), CookieJar()
    few.store(URL("https://h.test/"), ["a=b"])
    for number in range(2000):
        many.store(URL(f"https://h{number}.test/"), ["a=b"])
    expected = calls_made(lambda: few.field_for(SITE))
    assert calls_made(lambda: many.field_for(SITE)) == expected
