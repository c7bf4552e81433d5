"""Requests: what a call and its client say together, and what is refused before anything is sent."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from triohttp import URL, Headers
from triohttp._client.body import StreamedContent
from triohttp._client.request import DEFAULT_HEADERS, ClientRequest, Defaults, RequestOptions, build_request
from triohttp.errors import ContentError, InvalidCookieError, InvalidHeaderError, InvalidURLError, LocalProtocolError

PLAIN = Defaults(None, DEFAULT_HEADERS, None)


def build(
    url: str | URL = "http://h.test/",
    options: RequestOptions | None = None,
    *,
    method: str = "POST",
    defaults: Defaults = PLAIN,
) -> ClientRequest:
    return build_request(defaults, method, url, {} if options is None else options)


def based_on(base_url: str) -> Defaults:
    return Defaults(URL(base_url), DEFAULT_HEADERS, None)


@pytest.mark.parametrize(
    ("base_url", "reference", "expected"),
    [
        ("https://api.test/v1/", "items", "https://api.test/v1/items"),
        ("https://api.test/v1/", "/items", "https://api.test/items"),
        ("https://api.test/v1", "items", "https://api.test/items"),
        ("https://api.test/v1/", "", "https://api.test/v1/"),
        ("https://api.test/v1/", "?page=2", "https://api.test/v1/?page=2"),
        ("https://api.test/v1/", "https://api.test/other", "https://api.test/other"),
    ],
)
def test_a_reference_is_resolved_against_the_base_url(base_url: str, reference: str, expected: str) -> None:
    """Relative references are resolved as RFC 3986 §5 says."""
    assert str(build(reference, defaults=based_on(base_url)).url) == expected


@pytest.mark.parametrize(
    "reference", ["http://evil.test/", "//evil.test/", "http://api.test/", "https://api.test:8443/"]
)
def test_a_reference_does_not_leave_the_base_urls_origin(reference: str) -> None:
    """A reference, which may come from a user, leads nowhere else: another host, scheme or port is an error."""
    with pytest.raises(InvalidURLError, match="away from the base URL"):
        build(reference, defaults=based_on("https://api.test/v1/"))


def test_a_relative_url_without_a_base_url_is_told_what_it_needs() -> None:
    """A path alone is what people write first; the message is not about schemes and slashes."""
    with pytest.raises(InvalidURLError, match="'/items' is a relative URL, which needs a client with a base_url"):
        build("/items")


@pytest.mark.parametrize(
    "url", ["ftp://h/", "ws://h/", "h.test/", "/path", "http://u:p@a@h.test/", "http:///x", "http://h\\x"]
)
def test_a_url_that_no_request_can_have_is_refused(url: str) -> None:
    """Only absolute http and https URLs are asked for."""
    with pytest.raises(InvalidURLError):
        build(url)


def test_params_are_merged_in_order() -> None:
    """The URL's own fields come first, then the client's, then the call's; lists repeat a name."""
    defaults = Defaults(None, DEFAULT_HEADERS, {"key": "k"})
    options: RequestOptions = {"params": {"page": 2, "tag": ["a", "b"]}}
    request = build("http://h.test/?own=1", options, defaults=defaults)
    assert request.url.query == "own=1&key=k&page=2&tag=a&tag=b"


def test_a_calls_headers_replace_the_clients_by_name() -> None:
    """Names match without case; what is not named stays."""
    defaults = Defaults(None, Headers({"Accept": "*/*", "X-One": "1"}), None)
    request = build(options={"headers": {"ACCEPT": "text/plain", "X-Two": "2"}}, defaults=defaults)
    assert request.headers.raw == [(b"ACCEPT", b"text/plain"), (b"X-One", b"1"), (b"X-Two", b"2")]
    assert defaults.headers["accept"] == "*/*"


@pytest.mark.parametrize(
    ("value", "expected"),
    [({}, b"{}"), ([], b"[]"), (0, b"0"), (False, b"false"), ("", b'""'), (None, b"null"), ({"a": [1]}, b'{"a":[1]}')],
)
def test_json_is_sent_whatever_it_is(value: object, expected: bytes) -> None:
    """Falsy values are values; the Content-Type says what it is unless the caller does."""
    request = build(options={"json": value})
    assert request.content == expected
    assert request.headers["content-type"] == "application/json"
    named = build(options={"json": value, "headers": {"Content-Type": "application/problem+json"}})
    assert named.headers.get_all("content-type") == ["application/problem+json"]


def test_a_form_is_urlencoded() -> None:
    """Mappings, lists in them, and pairs make a form."""
    request = build(options={"form": {"a": "x y&z", "b": ["1", "2"]}})
    assert request.content == b"a=x%20y%26z&b=1&b=2"
    assert request.headers["content-type"] == "application/x-www-form-urlencoded"
    assert build(options={"form": [("a", "1"), ("a", "2")]}).content == b"a=1&a=2"


def test_text_is_sent_as_utf8() -> None:
    """A str is text and says so; bytes say nothing about themselves."""
    request = build(options={"content": "grün"})
    assert request.content == "grün".encode()
    assert request.headers["content-type"] == "text/plain; charset=utf-8"
    assert "content-type" not in build(options={"content": b"raw"}).headers


@pytest.mark.parametrize(
    "options", [{"content": b"", "json": 1}, {"form": {}, "json": None}, {"content": b"", "form": {}}]
)
def test_a_request_has_one_content(options: RequestOptions) -> None:
    """Two contents at once are the program's mistake."""
    with pytest.raises(TypeError, match="one content"):
        build(options=options)


@pytest.mark.parametrize("content", [3, {"a": "b"}, object()])
def test_content_is_bytes_text_or_an_iterable(content: object) -> None:
    """Anything else is refused by name; a mapping is a form or JSON, and says which."""
    with pytest.raises(TypeError, match="content must be"):
        build(options={"content": content})  # type: ignore[arg-type]  # what is tested


async def test_an_iterable_is_streamed() -> None:
    """Iterables of both kinds are content of unknown length, unless Content-Length says it."""

    async def pieces() -> AsyncIterator[bytes]:
        yield b"x"

    for source in ([b"x"], pieces()):
        content = build(options={"content": source}).content
        assert isinstance(content, StreamedContent)
        assert content.length is None
        await content.aclose()
    known = build(options={"content": [b"x"], "headers": {"Content-Length": "1"}})
    assert isinstance(known.content, StreamedContent)
    assert known.content.length == 1
    assert "content-length" not in known.headers


@pytest.mark.parametrize(
    ("headers", "slug"),
    [
        ({"Transfer-Encoding": "chunked"}, "transfer-encoding"),
        ({"Upgrade": "h2c"}, "upgrade"),
        ({"TE": "trailers"}, "te"),
        ({"Proxy-Authorization": "Basic eDp5"}, "proxy-authorization"),
        ({"Content-Length": "3"}, "content-length"),
        ({"Content-Length": "-1"}, "content-length"),
        ([("Content-Length", "2"), ("Content-Length", "2")], "content-length"),
        ({"Expect": "200-ok"}, "expect"),
        ({"Host": "a/b"}, "host"),
        ({"Host": "u@a"}, "host"),
    ],
)
def test_framing_is_not_the_callers(headers: dict[str, str], slug: str) -> None:
    """Fields that decide where messages end are the wire's; a Content-Length must be right."""
    with pytest.raises(LocalProtocolError) as caught:
        build(options={"content": b"ok", "headers": headers})
    assert caught.value.slug == slug


@pytest.mark.parametrize("headers", [{"X": "a\r\nY: b"}, {"X\r\n": "a"}, {"X": "\0"}, {"": "a"}])
def test_nothing_is_injected_by_a_field(headers: dict[str, str]) -> None:
    """Names and values that would end a line are refused before anything is sent."""
    with pytest.raises(InvalidHeaderError):
        build(options={"headers": headers})


@pytest.mark.parametrize("url", ["http://h.test/x HTTP/1.1\r\nX: y", "http://h.test/\n", "http://h\r\n.test/"])
def test_nothing_is_injected_by_a_url(url: str) -> None:
    """Control characters in a URL are an error, not something to encode away."""
    with pytest.raises(InvalidURLError):
        build(url)


@pytest.mark.parametrize("method", ["GET / HTTP/1.1\r\nX: y", "", "G T", "\u0130"])
def test_a_method_is_a_token(method: str) -> None:
    """Anything else is refused by value."""
    with pytest.raises(ValueError, match="method"):
        build(method=method)


def test_methods_keep_their_case_unless_they_are_the_usual_ones() -> None:
    """Methods are case-sensitive (RFC 9110 §9.1); the usual ones in lower case are what everybody means."""
    assert build(method="get").method == "GET"
    assert build(method="Custom").method == "Custom"
    with pytest.raises(LocalProtocolError):
        build(method="CONNECT")


def test_an_unknown_option_is_an_error() -> None:
    """A misspelt option is named, with those that there are."""
    with pytest.raises(TypeError, match=r"unknown option 'jsno'.*json"):
        build(options={"jsno": 1})  # type: ignore[arg-type]  # what is tested


def test_what_is_no_json_is_refused() -> None:
    """A value that JSON cannot say is the program's mistake."""
    with pytest.raises((ContentError, TypeError, ValueError)):
        build(options={"json": float("nan")})


def test_trailers_need_chunked_content() -> None:
    """Whole content, or content with a length, has no place for trailers (RFC 9112 §7.1.2)."""
    with pytest.raises(LocalProtocolError) as caught:
        build(options={"content": b"x", "trailers": {"X-Sum": "1"}})
    assert caught.value.slug == "trailers"


def test_reprs_show_no_secret() -> None:
    """Neither a request nor its headers show what authorizes it."""
    request = build("http://h.test/", {"headers": {"Authorization": "Bearer hidden", "Cookie": "id=hidden"}})
    assert "hidden" not in repr(request)
    assert "hidden" not in repr(request.headers)


@pytest.mark.parametrize(
    "cookies", [{"a b": "c"}, {"": "c"}, {"a": "b;c"}, {"a": "b\r\nX: y"}, {"a": " b"}, {"a": "ü"}]
)
def test_a_cookie_that_would_be_another_is_refused(cookies: dict[str, str]) -> None:
    """A name is a token; a value ends at no semicolon of its own and hides no line end."""
    with pytest.raises(InvalidCookieError):
        build("http://h.test/", {"cookies": cookies})


@pytest.mark.parametrize("value", ["", "b", "b c", 'b"c"', "b=c,d"])
def test_a_cookie_goes_out_as_it_is(value: str) -> None:
    """What servers set is sent back to them, be it unusual."""
    assert build("http://h.test/", {"cookies": {"a": value}}).cookies == {"a": value}
