"""Redirects of a client: which are followed, with what, and where to."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio

from triohttp import App, Client, ClientLimits, ClientResponse, ClientTimeouts, RedirectPolicy, Request, Response
from triohttp.errors import RedirectError, TooManyRedirectsError, TotalTimeout
from triohttp.testing import open_in_process

A, B = "http://a.test", "http://b.test"
ANY = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]


def make_app() -> App:
    app = App()

    async def echo(request: Request) -> Response:
        fields = [[name, value] for name, value in request.headers.field_lines()]
        seen = {
            "method": request.method,
            "host": request.url.authority,
            "target": request.url.target,
            "headers": fields,
            "content": (await request.read()).decode(),
            "trailers": list(request.trailers or {}),
        }
        return Response.json(seen, headers={"X-Seen": request.method})

    async def lead(request: Request) -> Response:
        await request.read()
        location = request.query.get("to", "")
        headers = [("Location", one) for one in request.query.get_all("to")] if location else []
        return Response(b"moved" * 10, status=int(request.path_params["status"]), headers=headers)

    app.add_route("/echo", echo, methods=ANY)
    app.add_route("/dir/echo", echo, methods=ANY)
    app.add_route("/{status:int}", lead, methods=ANY)
    app.add_route("/dir/{status:int}", lead, methods=ANY)

    @app.get("/loop/{n:int}")
    async def loop(request: Request) -> Response:
        n = int(request.path_params["n"])
        return Response.redirect(f"/loop/{n - 1}" if n else "/echo")

    @app.get("/slow/{n:int}")
    async def slow(request: Request) -> Response:
        await trio.sleep(3)
        return Response.redirect(f"/slow/{int(request.path_params['n']) + 1}")

    return app


@asynccontextmanager
async def open_client(**options: Any) -> AsyncIterator[Client]:
    """A client that reaches one app under two origins."""
    async with open_in_process(make_app()) as site:
        async with Client(mounts={A: site, B: site}, mounts_only=True, **options) as client:
            yield client


def seen(response: ClientResponse) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(response.content)
    return found


def names(response: ClientResponse) -> set[str]:
    return {name.lower() for name, _ in seen(response)["headers"]}


@pytest.mark.parametrize("status", [300, 301, 302, 303, 305, 307, 308])
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "DELETE"])
async def test_method_and_content_of_the_next_request(method: str, status: int) -> None:
    """303 makes a GET of all but HEAD, 301 and 302 of POST; 307 and 308 keep both; 300 and 305 are answers."""
    content = b"abc" if method in ("POST", "PUT") else None
    async with open_client() as client:
        response = await client.request(method, f"{A}/{status}?to=/echo", content=content, redirects=True)
        if status in (300, 305):
            assert (response.status, response.history) == (status, ())
            return
        followed = "GET" if (status == 303 and method != "HEAD") or (status < 303 and method == "POST") else method
        assert (response.status, response.headers["x-seen"]) == (200, followed)
        assert [one.status for one in response.history] == [status]
        if method != "HEAD":
            assert seen(response)["content"] == ("abc" if content and followed == method else "")
        if content and followed != method:
            assert not {"content-type", "content-length"} & names(response)
        assert client.pool.statistics().opened == 1


@pytest.mark.parametrize("redirects", [None, False])
@pytest.mark.parametrize("method", ANY)
async def test_what_is_returned_instead(method: str, redirects: bool | None) -> None:
    """With ``redirects=False`` a redirect is the answer, and for HEAD unless it is asked for."""
    options: dict[str, Any] = {} if redirects is None else {"redirects": redirects}
    async with open_client() as client:
        response = await client.request(method, f"{A}/302?to=/echo", **options)
        returned = redirects is False or method == "HEAD"
        assert response.status == (302 if returned else 200)
        assert len(response.history) == (0 if returned else 1)


@pytest.mark.parametrize(
    ("location", "url"),
    [
        ("http://b.test/echo", "http://b.test/echo"),
        ("//b.test/echo", "http://b.test/echo"),
        ("/echo", "http://a.test/echo"),
        ("echo", "http://a.test/dir/echo"),
        ("../echo", "http://a.test/echo"),
        ("/echo?q=ü ü", "http://a.test/echo?q=%C3%BC%20%C3%BC"),
        ("/echo#there", "http://a.test/echo#there"),
        ("http://user:secret@b.test/echo", "http://b.test/echo"),
        ("HTTP://B.TEST:80/echo", "http://b.test/echo"),
    ],
)
async def test_where_a_location_leads(location: str, url: str) -> None:
    """Relative and odd ones are resolved as browsers do; whoever redirects does not say who this program is."""
    async with open_client() as client:
        response = await client.get(f"{A}/dir/302", params={"to": location})
        assert str(response.url) == url
        assert "authorization" not in names(response)


async def test_a_fragment_is_inherited() -> None:
    """The fragment of what was asked for counts, unless the Location has its own; the wire sees neither."""
    async with open_client() as client:
        assert (await client.get(f"{A}/302?to=/echo#mine")).url.fragment == "mine"
        assert (await client.get(f"{A}/302?to=/echo%23its#mine")).url.fragment == "its"


@pytest.mark.parametrize(
    "location",
    [
        "file:///etc/passwd",
        "javascript:alert(1)",
        "gopher://a.test/",
        "ws://a.test/",
        "http:/x",
        "http://good.test\\@b.test/",
        "http://[::1%25lo]/",
        "http://h.test:99999/",
        "http://",
    ],
)
async def test_a_location_that_leads_nowhere(location: str) -> None:
    """It is an error that names it; nothing else was asked."""
    async with open_client() as client:
        with pytest.raises(RedirectError) as caught:
            await client.get(f"{A}/302", params={"to": location})
        error = caught.value
        assert (error.reason, error.code, error.location) == ("location", 302, location)
        assert client.pool.statistics().in_use == 0


async def test_two_places_are_none() -> None:
    """Two Locations that differ are an error; the same one twice is one."""
    async with open_client() as client:
        with pytest.raises(RedirectError, match="names 2 places") as caught:
            await client.get(f"{A}/302", params=[("to", "/echo"), ("to", "/dir/echo")])
        assert caught.value.reason == "location"
        assert (await client.get(f"{A}/302", params=[("to", "/echo"), ("to", "/echo")])).status == 200


async def test_a_redirect_without_a_location_is_an_answer() -> None:
    """There is nowhere to go."""
    async with open_client() as client:
        response = await client.get(f"{A}/302")
        assert (response.status, response.content) == (302, b"moved" * 10)


async def test_history_is_kept_in_order() -> None:
    """The oldest comes first; all on one connection."""
    async with open_client() as client:
        response = await client.get(f"{A}/loop/5")
        assert [one.url.path for one in response.history] == [f"/loop/{n}" for n in (5, 4, 3, 2, 1, 0)]
        assert all(one.content == b"" for one in response.history)
        assert client.pool.statistics().opened == 1


async def test_redirects_are_bounded() -> None:
    """``max_redirects`` are followed; one more is an error with what came before."""
    async with open_client(limits=ClientLimits(max_redirects=3)) as client:
        assert (await client.get(f"{A}/loop/2")).status == 200
        with pytest.raises(TooManyRedirectsError) as caught:
            await client.get(f"{A}/loop/3")
        error = caught.value
        assert (error.limit, error.bound, len(error.history)) == ("max_redirects", 3, 3)
        assert client.pool.statistics().in_use == 0


@pytest.mark.parametrize("status", [307, 308])
async def test_content_stays_at_its_origin(status: int) -> None:
    """It goes to another origin only where the policy says so."""
    async with open_client() as client:
        target = f"{A}/{status}?to={B}/echo"
        with pytest.raises(RedirectError) as caught:
            await client.post(target, content=b"private")
        assert caught.value.reason == "content"
        response = await client.post(target, content=b"private", redirects=RedirectPolicy(content=True))
        assert (seen(response)["content"], seen(response)["host"]) == ("private", "b.test")


async def test_content_that_can_be_read_once_is_not_sent_half() -> None:
    """A generator was used up by the first request: the second is never sent without it."""
    async with open_client() as client:
        with pytest.raises(RedirectError) as caught:
            await client.post(f"{A}/307?to=/echo", content=(b"x" for _ in range(3)))
        assert caught.value.reason == "replay"
        response = await client.post(f"{A}/303?to=/echo", content=(b"x" for _ in range(3)))
        assert (seen(response)["method"], seen(response)["content"]) == ("GET", "")


async def test_other_fields_stay_at_their_origin() -> None:
    """What is not known to be harmless does not cross, unless the policy names it; what it calls secret never does."""
    headers = {"X-Request-Id": "1", "X-Trace": "2", "User-Agent": "me", "Accept-Language": "de"}
    policy = RedirectPolicy(headers=["x-trace"], secret_headers=["Accept-Language"])
    async with open_client(headers=headers) as client:
        plain = await client.get(f"{A}/302?to={B}/echo")
        assert not {"x-request-id", "x-trace"} & names(plain)
        assert {"user-agent", "accept-language", "accept"} <= names(plain)
        told = await client.get(f"{A}/302?to={B}/echo", redirects=policy)
        assert "x-trace" in names(told)
        assert not {"x-request-id", "accept-language"} & names(told)
        same = await client.get(f"{A}/302?to=/echo", redirects=policy)
        assert {"x-request-id", "x-trace", "accept-language"} <= names(same)


async def test_what_was_dropped_does_not_come_back() -> None:
    """From A to B to A: nothing secret is sent again, although it was given for A (CVE-2024-45336)."""
    async with open_client() as client:
        back = f"{B}/302?to={A}/echo".replace("?", "%3F")
        response = await client.get(
            f"{A}/302?to={back}", headers={"X-Api-Key": "k"}, auth=("u", "p"), cookies={"own": "1"}
        )
        assert seen(response)["host"] == "a.test"
        assert not {"x-api-key", "authorization", "cookie"} & names(response)


async def test_a_stream_follows_too() -> None:
    """The block gets the last answer; the connection of those before is used again."""
    async with open_client() as client:
        async with client.stream("GET", f"{A}/loop/2") as response:
            assert [one.status for one in response.history] == [303, 303, 303] or len(response.history) == 3
            assert json.loads(await response.read())["target"] == "/echo"
        assert client.pool.statistics().opened == 1


async def test_the_total_counts_all_hops(autojump_clock: trio.abc.Clock) -> None:
    """A server that leads on and on has ``total_seconds`` for all of it."""
    async with open_client(timeouts=ClientTimeouts(total_seconds=10)) as client:
        began = trio.current_time()
        with pytest.raises(TotalTimeout):
            await client.get(f"{A}/slow/0")
        assert trio.current_time() - began == pytest.approx(10, abs=0.05)
        assert client.pool.statistics().connections == 0


@pytest.mark.parametrize("redirects", [5, None, "yes"])
async def test_a_policy_of_another_type_is_named(redirects: Any) -> None:
    """Before anything is sent."""
    async with open_client() as client:
        with pytest.raises(TypeError, match="redirects must be a RedirectPolicy or a bool"):
            await client.get(f"{A}/echo", redirects=redirects)


async def test_trailers_do_not_cross() -> None:
    """Content may be allowed to; what is said behind it, a signature for one, stays at home."""
    policy = RedirectPolicy(content=True)
    async with open_client() as client:
        for target, trailers in ((A, ["X-Signature"]), (B, [])):
            response = await client.post(
                f"{A}/307?to={target}/echo", content=[b"x"], trailers={"X-Signature": "s"}, redirects=policy
            )
            assert (seen(response)["content"], seen(response)["trailers"]) == ("x", trailers)
