"""Responses and HTTP exceptions as values; no server is needed for what they say."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

import triohttp
from triohttp import HTTPException, MethodNotAllowed, NotFound, Response
from triohttp._app import exceptions
from triohttp._app.response import take_for_sending
from triohttp._values.status import reason_phrase
from triohttp.errors import BodyStateError, InvalidCookieError, InvalidHeaderError

STATUSES = {
    300: "MultipleChoices",
    301: "MovedPermanently",
    302: "Found",
    303: "SeeOther",
    304: "NotModified",
    305: "UseProxy",
    307: "TemporaryRedirect",
    308: "PermanentRedirect",
    400: "BadRequest",
    401: "Unauthorized",
    402: "PaymentRequired",
    403: "Forbidden",
    404: "NotFound",
    405: "MethodNotAllowed",
    406: "NotAcceptable",
    407: "ProxyAuthenticationRequired",
    408: "RequestTimeout",
    409: "Conflict",
    410: "Gone",
    411: "LengthRequired",
    412: "PreconditionFailed",
    413: "ContentTooLarge",
    414: "URITooLong",
    415: "UnsupportedMediaType",
    416: "RangeNotSatisfiable",
    417: "ExpectationFailed",
    421: "MisdirectedRequest",
    422: "UnprocessableContent",
    423: "Locked",
    424: "FailedDependency",
    425: "TooEarly",
    426: "UpgradeRequired",
    428: "PreconditionRequired",
    429: "TooManyRequests",
    431: "RequestHeaderFieldsTooLarge",
    451: "UnavailableForLegalReasons",
    500: "InternalServerError",
    501: "NotImplementedOnServer",
    502: "BadGateway",
    503: "ServiceUnavailable",
    504: "GatewayTimeout",
    505: "HTTPVersionNotSupported",
    506: "VariantAlsoNegotiates",
    507: "InsufficientStorage",
    508: "LoopDetected",
    511: "NetworkAuthenticationRequired",
}


def fields(response: Response) -> list[tuple[str, str]]:
    return [(name.lower(), value) for name, value in response.headers.field_lines()]


@pytest.mark.parametrize(
    ("response", "status", "content", "media_type"),
    [
        (Response(), 200, b"", None),
        (Response(b"x"), 200, b"x", "application/octet-stream"),
        (Response(b"x", media_type="image/png", status=201), 201, b"x", "image/png"),
        (Response(b"x", headers={"content-type": "a/b"}), 200, b"x", "a/b"),
        (Response.text("grüße"), 200, "grüße".encode(), "text/plain; charset=utf-8"),
        (Response.text("x", status=404), 404, b"x", "text/plain; charset=utf-8"),
        (Response.html("<p>"), 200, b"<p>", "text/html; charset=utf-8"),
        (Response.html("<p>", headers={"Content-Type": "text/xml"}), 200, b"<p>", "text/xml"),
        (Response.json({"a": [1, None, "ü"]}), 200, '{"a":[1,null,"ü"]}'.encode(), "application/json"),
        (Response.json(None), 200, b"null", "application/json"),
        (Response.stream([b"x"]), 200, b"", "application/octet-stream"),
    ],
)
def test_what_each_kind_of_response_says(
    response: Response, status: int, content: bytes, media_type: str | None
) -> None:
    """Status, content and type of every way to make one."""
    assert response.status == status
    assert response.content == content
    assert response.headers.get("content-type") == media_type


def test_headers_of_every_shape_keep_their_order_and_repeats() -> None:
    """A mapping, pairs, and other Headers."""
    response = Response(headers=[("Link", "<a>"), ("X-B", "1"), ("Link", "<b>")])
    assert fields(response) == [("link", "<a>"), ("x-b", "1"), ("link", "<b>")]
    copy = Response(headers=response.headers)
    copy.headers.add("Link", "<c>")
    assert response.headers.get_all("link") == ["<a>", "<b>"]


@pytest.mark.parametrize("status", [99, 100, 101, 199, 600, 1000, "200", True, 299.0, None])
def test_a_status_that_is_none_is_refused(status: object) -> None:
    """When it is made and when it is set; interim ones are not answers."""
    with pytest.raises(ValueError, match="status"):
        Response(status=status)  # type: ignore[arg-type]
    response = Response()
    with pytest.raises(ValueError, match="status"):
        response.status = status  # type: ignore[assignment]
    assert response.status == 200


@pytest.mark.parametrize("content", ["text", None, bytearray(b"x"), 5])
def test_content_is_bytes(content: object) -> None:
    """The error says what to use for text."""
    with pytest.raises(TypeError, match="bytes"):
        Response(content)  # type: ignore[arg-type]


@pytest.mark.parametrize("make", [Response.text, Response.html])
def test_text_is_a_str(make: Callable[[object], Response]) -> None:
    """The error names the argument and what came."""
    with pytest.raises(TypeError, match=r"(text|html) must be a str, not bytes"):
        make(b"x")


@pytest.mark.parametrize("chunks", [b"bytes", "text", 5, None])
def test_a_stream_is_an_iterable_of_bytes(chunks: object) -> None:
    """Bytes iterate as numbers and text as characters: neither is meant."""
    with pytest.raises(TypeError):
        Response.stream(chunks)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "value",
    ["a\r\nSet-Cookie: x=1", "a\nb", "a\rb", "a\x00b", "\x01", "漢"],
    ids=["crlf", "lf", "cr", "nul", "ctl", "wide"],
)
def test_a_field_that_must_not_go_out_is_refused_when_it_is_set(value: str) -> None:
    """Not when it is sent, when it would be too late for an error that names the line."""
    with pytest.raises(InvalidHeaderError):
        Response(headers={"X-A": value})
    with pytest.raises(InvalidHeaderError):
        Response().headers["X-A"] = value


# -- redirects ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("location", "sent"),
    [
        ("/login", "/login"),
        ("../x?y=1#z", "../x?y=1#z"),
        ("https://example.org/a%20b", "https://example.org/a%20b"),
        ("/grüße dich", "/gr%C3%BC%C3%9Fe%20dich"),
        ("/\\evil.example", "/%5Cevil.example"),
        ("http://[::1]:8080/", "http://[::1]:8080/"),
    ],
)
def test_a_redirect_says_where_to(location: str, sent: str) -> None:
    """Relative as it was given, and encoded where a URL needs it."""
    assert Response.redirect(location).headers["location"] == sent
    assert Response.redirect(location).status == 303
    assert triohttp.Found(location).location == sent


@pytest.mark.parametrize("location", ["", "/a\r\nX: y", "/a\nb", "/\x00", "\t//evil.example"])
def test_a_location_that_would_split_the_head_is_refused(location: str) -> None:
    """By the response and by each exception class."""
    with pytest.raises(ValueError, match="location"):
        Response.redirect(location)
    with pytest.raises(ValueError, match="location"):
        triohttp.SeeOther(location)


def test_a_redirect_is_a_redirect() -> None:
    """Its status is 3xx, and its location is text."""
    with pytest.raises(ValueError, match="300 to 399"):
        Response.redirect("/", status=200)
    with pytest.raises(TypeError):
        Response.redirect(None)  # type: ignore[arg-type]


# -- sent --------------------------------------------------------------------------------------------------------------


def test_a_head_that_is_out_cannot_be_changed() -> None:
    """Every way to change fields, status, cookies or content raises; reading goes on, by references from before too."""
    response = Response(b"x", headers={"X-A": "1"})
    headers = response.headers
    take_for_sending(response)
    assert response.sent
    for change in (
        lambda: response.headers.add("a", "b"),
        lambda: response.headers.update({"a": "b"}),
        lambda: response.headers.setdefault("a", "b"),
        lambda: response.headers.pop("x-a"),
        response.headers.clear,
        lambda: response.headers.__setitem__("x-a", "2"),
        lambda: response.headers.__delitem__("x-a"),
        lambda: headers.add("a", "b"),
        lambda: response.set_cookie("a", "b"),
        lambda: setattr(response, "status", 404),
        lambda: setattr(response, "content", b"y"),
    ):
        with pytest.raises(BodyStateError):
            change()
    assert response.headers["x-a"] == "1"
    assert response.status == 200


def test_a_response_answers_one_request() -> None:
    """A module's constant would be changed by middleware for everybody; it is refused the second time."""
    response = Response.text("constant")
    take_for_sending(response)
    with pytest.raises(BodyStateError, match="one request"):
        take_for_sending(response)


# -- cookies -----------------------------------------------------------------------------------------------------------


def test_cookies_are_set_with_every_attribute_and_replaced_by_name_path_and_domain() -> None:
    """One line a cookie; setting it again, or deleting it, replaces the line."""
    response = Response()
    response.set_cookie("a", "1")
    response.set_cookie("a", "2", path="/x", max_age=60, same_site="strict")
    response.set_cookie("b", "3", domain="example.org", secure=False, http_only=False, same_site=None)
    assert response.headers.get_all("set-cookie") == [
        "a=1; Path=/; Secure; HttpOnly; SameSite=Lax",
        "a=2; Max-Age=60; Path=/x; Secure; HttpOnly; SameSite=Strict",
        "b=3; Domain=example.org; Path=/",
    ]
    response.delete_cookie("a")
    lines = response.headers.get_all("set-cookie")
    assert len(lines) == 3
    assert lines[-1].startswith("a=; Expires=Thu, 01 Jan 1970 00:00:00 GMT; Max-Age=0; Path=/")
    response.set_cookie("a", "back")
    assert [line.partition(";")[0] for line in response.headers.get_all("set-cookie")] == ["a=2", "b=3", "a=back"]


def test_a_cookie_is_deleted_as_it_was_set() -> None:
    """Browsers let no response over http delete a cookie by a Secure line, and keep partitioned ones apart."""
    response = Response()
    response.delete_cookie("plain", secure=False)
    response.delete_cookie("framed", same_site="none", partitioned=True)
    plain, framed = response.headers.get_all("set-cookie")
    assert "Secure" not in plain
    assert framed.endswith("; Secure; HttpOnly; SameSite=None; Partitioned")


@pytest.mark.parametrize(("name", "value"), [("a=b", "x"), ("a", "b; Domain=evil"), ("a", "b\r\n"), ("__Host-a", "x")])
def test_a_cookie_that_would_say_something_else_is_refused(name: str, value: str) -> None:
    """Separators, line ends, and prefixes without what they promise."""
    with pytest.raises(InvalidCookieError):
        Response().set_cookie(name, value, path="/x")


# -- exceptions --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("status", "name"), STATUSES.items())
def test_there_is_a_class_for_every_status(status: int, name: str) -> None:
    """Exported, named as the status is, with that status and its words as content."""
    cls = getattr(triohttp, name)
    assert issubclass(cls, HTTPException)
    arguments = {"allowed": ["GET"]} if status == 405 else {}
    error = cls("/there", **arguments) if issubclass(cls, triohttp.Redirection) else cls(**arguments)
    response = error.to_response()
    assert response.status == cls.status == status
    assert cls.__doc__ is not None
    if status == 304 or issubclass(cls, triohttp.Redirection):
        assert response.content == b""
        assert "content-type" not in response.headers
    else:
        assert response.content == f"{reason_phrase(status)}\n".encode()
        assert response.headers["content-type"] == "text/plain; charset=utf-8"
        assert response.headers["x-content-type-options"] == "nosniff"


def test_no_class_is_missing_from_the_table() -> None:
    """Whoever adds a status adds it here."""
    classes = [cls for cls in vars(exceptions).values() if isinstance(cls, type) and issubclass(cls, HTTPException)]
    bases = {HTTPException, triohttp.Redirection, exceptions._RetryLater}
    assert {cls.status: cls.__name__ for cls in classes if cls not in bases} == STATUSES


def test_an_exception_says_what_it_was_given() -> None:
    """Text, content of another kind, header fields."""
    error = NotFound("no such user\n", headers={"X-A": "1"})
    assert str(error) == "no such user\n"
    response = error.to_response()
    assert response.content == b"no such user\n"
    assert response.headers["x-a"] == "1"
    problem = triohttp.Conflict(
        content=json.dumps({"title": "taken"}).encode(), headers={"content-type": "application/problem+json"}
    ).to_response()
    assert problem.headers["content-type"] == "application/problem+json"
    assert problem.content == b'{"title": "taken"}'


def test_an_exception_makes_a_new_response_each_time() -> None:
    """What middleware does to one answer is not in the next."""
    error = NotFound()
    first = error.to_response()
    first.headers["X-A"] = "1"
    first.status = 500
    assert "x-a" not in error.to_response().headers
    assert error.to_response().status == 404


def test_what_is_worth_nothing_without_a_field_has_it() -> None:
    """Allow, WWW-Authenticate, Content-Range, Retry-After, Upgrade."""
    refusal = MethodNotAllowed(allowed=["PUT", "GET", "PUT"])
    assert refusal.allowed == ("GET", "PUT")
    assert refusal.headers["allow"] == "GET, PUT"
    assert triohttp.Unauthorized(challenge='Basic realm="x"').headers["www-authenticate"] == 'Basic realm="x"'
    assert triohttp.RangeNotSatisfiable(length=10).headers["content-range"] == "bytes */10"
    assert triohttp.ServiceUnavailable(retry_after=5).headers["retry-after"] == "5"
    assert triohttp.TooManyRequests(retry_after=5).headers["retry-after"] == "5"
    assert triohttp.UpgradeRequired(protocol="websocket").headers["upgrade"] == "websocket"


def test_arguments_that_make_no_sense_are_refused() -> None:
    """With the argument's name, when the exception is made and not when it is answered."""
    with pytest.raises(ValueError, match="exclude"):
        NotFound("text", content=b"content")
    with pytest.raises(TypeError, match="text"):
        NotFound(b"bytes")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="content"):
        NotFound(content="text")  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        MethodNotAllowed()  # type: ignore[call-arg]
