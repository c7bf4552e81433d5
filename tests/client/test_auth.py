"""Credentials of a client: what goes out, what is refused, and what nothing shows."""

from __future__ import annotations

import base64
import logging
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import trio

from triohttp import Auth, BasicAuth, Client, ClientRequest
from triohttp._client.auth import BearerAuth, make_auth
from triohttp._client.digest import DigestAuth
from triohttp._client.netrc import NetrcAuth
from triohttp._client.request import DEFAULT_HEADERS, Defaults, build_request

PLAIN = Defaults(None, DEFAULT_HEADERS, None)
SECRET = "pAsSw0rd-never-shown"


def build(url: str = "https://api.test/a?b=c") -> ClientRequest:
    return build_request(PLAIN, "GET", url, {})


async def authorized(auth: Auth, url: str = "https://api.test/") -> str:
    """What a request says after it was authorized."""
    request = build(url)
    await auth.authorize(request, Client())
    return request.headers["Authorization"]


@pytest.mark.parametrize(
    ("username", "password", "field"),
    [
        ("Aladdin", "open sesame", "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="),  # RFC 7617 §2
        ("test", "123\u00a3", "Basic dGVzdDoxMjPCow=="),  # RFC 7617 §2.1
        ("", "", "Basic Og=="),
        ("ü", "a:b", "Basic w7w6YTpi"),
    ],
)
async def test_basic(username: str, password: str, field: str) -> None:
    """The examples of RFC 7617, and what is neither ASCII nor there."""
    assert await authorized(BasicAuth(username, password)) == field
    assert await authorized(make_auth((username, password))) == field


@pytest.mark.parametrize(
    ("username", "password"),
    [("a:b", SECRET), ("a\n", SECRET), ("a", SECRET + "\r\nX: y"), ("a\x7f", SECRET), ("a", SECRET + "\ud800")],
)
def test_what_basic_cannot_carry(username: str, password: str) -> None:
    """A colon in the user name, control characters and broken text are refused; the password is not shown."""
    with pytest.raises(ValueError) as caught:
        BasicAuth(username, password)
    assert SECRET not in str(caught.value)
    assert not isinstance(caught.value, UnicodeError)


async def test_bearer() -> None:
    """The example of RFC 6750."""
    assert await authorized(BearerAuth("mF_9.B5f-4.1JqM")) == "Bearer mF_9.B5f-4.1JqM"


@pytest.mark.parametrize("token", ["", "=", f"{SECRET} ", f"{SECRET}=x", f"{SECRET}\n", f"{SECRET}ü", f'{SECRET}"'])
def test_what_is_no_bearer_token(token: str) -> None:
    """It is refused when it is given, and not shown."""
    with pytest.raises(ValueError) as caught:
        BearerAuth(token)
    assert SECRET not in str(caught.value)


async def test_functions() -> None:
    """A function, asynchronous or not, is called with the request."""

    def plain(request: ClientRequest) -> None:
        request.headers["Authorization"] = f"Own {request.url.target}"

    async def patient(request: ClientRequest) -> None:
        await trio.lowlevel.checkpoint()
        plain(request)

    assert await authorized(make_auth(plain)) == "Own /"
    assert await authorized(make_auth(patient)) == "Own /"


@pytest.mark.parametrize("init", [SECRET, ("u", SECRET, "x"), ("u",), ("u", SECRET.encode()), None, DigestAuth, 5])
def test_what_is_no_auth(init: Any) -> None:
    """The error says what it wanted; what was given may be a password, so it is not shown."""
    with pytest.raises(TypeError) as caught:
        make_auth(init)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    "make",
    [
        lambda: BasicAuth("user", SECRET),
        lambda: BearerAuth(SECRET),
        lambda: DigestAuth("user", SECRET),
        lambda: NetrcAuth(SECRET),
        lambda: make_auth(lambda request: None),
    ],
)
def test_secrets_stay_inside(make: Callable[[], Auth]) -> None:
    """No text shows them, in clear or encoded, and no pickle holds them."""
    auth = make()
    shown = f"{auth!r} {auth}"
    assert SECRET not in shown
    assert base64.b64encode(f"user:{SECRET}".encode()).decode() not in shown
    with pytest.raises(TypeError, match="secrets"):
        pickle.dumps(auth)


async def test_a_request_does_not_show_its_credentials() -> None:
    """Neither by itself nor by its header fields."""
    request = build()
    await BearerAuth(SECRET).authorize(request, Client())
    assert SECRET not in f"{request!r} {request} {request.headers!r}"


@pytest.mark.parametrize("auth", [BasicAuth("user", SECRET), BearerAuth(SECRET)], ids=repr)
async def test_secrets_in_the_clear_are_told_once(auth: Auth, caplog: pytest.LogCaptureFixture) -> None:
    """What goes out without TLS is logged, once, without the secret; this machine and https are silent."""
    with caplog.at_level(logging.WARNING, "triohttp.client"):
        await authorized(auth, "https://api.example/")
        await authorized(auth, "http://localhost/")
        await authorized(auth, "http://127.0.0.1:8080/")
        await authorized(auth, "http://[::1]/")
        assert not caplog.records
        await authorized(auth, "http://api.example/")
        await authorized(auth, "http://api.example/")
    assert len(caplog.records) == 1
    assert "api.example without TLS" in caplog.text
    assert SECRET not in caplog.text
