"""Cookies through a client: from answers into the jar, from the jar into requests, over redirects and challenges."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from triohttp import App, Client, CookieJar, DigestAuth, Request, Response
from triohttp.testing import open_in_process

A, B = "http://a.test", "http://b.test"


def make_app() -> App:
    app = App()

    @app.get("/show")
    async def show(request: Request) -> Response:
        return Response.text(request.headers.get("cookie", "-"))

    @app.get("/set/{name}/{value}")
    async def set_cookie(request: Request) -> Response:
        name, value = request.path_params["name"], request.path_params["value"]
        location = request.query.get("to", "")
        headers = [("Set-Cookie", f"{name}={value}; Path=/"), ("Set-Cookie", "other=1; Path=/; Max-Age=0")]
        if location:
            return Response(status=302, headers=[*headers, ("Location", location)])
        return Response.text(request.headers.get("cookie", "-"), headers=headers)

    @app.get("/challenge")
    async def challenge(request: Request) -> Response:
        if "authorization" in request.headers:
            return Response.text(request.headers.get("cookie", "-"))
        headers = [("WWW-Authenticate", 'Digest realm="r", nonce="n", algorithm=SHA-256'), ("Set-Cookie", "seen=1")]
        return Response(status=401, headers=headers)

    return app


@asynccontextmanager
async def open_client(**options: Any) -> AsyncIterator[Client]:
    async with open_in_process(make_app()) as site, Client(mounts={A: site, B: site}, **options) as client:
        yield client


async def shown(client: Client, url: str = f"{A}/show", **options: Any) -> str:
    return (await client.get(url, **options)).text


async def test_what_a_server_sets_comes_back_to_it() -> None:
    """On the next request, and to no other host; an answer shows what it set."""
    async with open_client() as client:
        answer = await client.get(f"{A}/set/a/1")
        assert answer.text == "-"
        assert {name: cookie.value for name, cookie in answer.cookies.items()} == {"a": "1", "other": "1"}
        assert await shown(client) == "a=1"
        assert await shown(client, f"{B}/show") == "-"
        async with client.stream("GET", f"{A}/show") as response:
            assert await response.text() == "a=1"


async def test_a_redirect_sets_cookies_too() -> None:
    """Those of each hop count for the next; a cross-origin one takes nothing along, and brings its own."""
    async with open_client() as client:
        assert await shown(client, f"{A}/set/a/1?to=/show") == "a=1"
        assert await shown(client, f"{A}/set/b/2?to={B}/set/c/3") == "-"
        assert await shown(client) == "a=1; b=2"
        assert await shown(client, f"{B}/show") == "c=3"


async def test_own_cookies_are_of_one_call() -> None:
    """They go beside those of the jar, stay at their origin, and are not kept; a field given by hand stands instead."""
    async with open_client() as client:
        await client.get(f"{A}/set/a/1")
        assert await shown(client, cookies={"own": "2"}) == "a=1; own=2"
        assert await shown(client, cookies={}) == "a=1"
        assert await shown(client, f"{A}/set/b/2?to={B}/show", cookies={"own": "2"}) == "-"
        assert await shown(client, f"{A}/set/b/2?to=/show", cookies={"own": "2"}) == "a=1; b=2; own=2"
        assert await shown(client, headers={"Cookie": "mine=1"}) == "mine=1"


async def test_a_client_without_a_jar() -> None:
    """Keeps nothing; answers still show what they set."""
    async with open_client(cookies=None) as client:
        assert "a" in (await client.get(f"{A}/set/a/1")).cookies
        assert await shown(client) == "-"
        assert await shown(client, cookies={"own": "2"}) == "own=2"


async def test_a_jar_of_the_programs_own() -> None:
    """It is filled beforehand, shared by clients, and outlives them; a derived client may have another."""
    jar = CookieJar()
    jar.set("mine", "0", A)
    async with open_client(cookies=jar) as client:
        assert await shown(client) == "mine=0"
        await client.get(f"{A}/set/a/1")
        assert await shown(client.derive(cookies=None)) == "-"
        assert await shown(client.derive(cookies=CookieJar())) == "-"
    async with open_client(cookies=jar) as client:
        assert await shown(client) == "mine=0; a=1"


async def test_a_challenge_sets_cookies() -> None:
    """The request that answers a 401 has the cookies which the 401 set."""
    async with open_client() as client:
        assert await shown(client, f"{A}/challenge", redirects=False) == ""
        assert await shown(client.derive(cookies=CookieJar()), f"{A}/challenge", auth=DigestAuth("u", "p")) == "seen=1"


@pytest.mark.parametrize("cookies", [5, {"a": "b"}, False])
async def test_a_jar_of_another_type_is_named(cookies: Any) -> None:
    """When the client is made."""
    with pytest.raises(TypeError, match="cookies must be of type CookieJar"):
        Client(cookies=cookies)
