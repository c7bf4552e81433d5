"""OAuth 2: tokens that are had, renewed once for all, and kept to themselves."""

from __future__ import annotations

import base64
import json
import pickle
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import asdict
from typing import Any
from urllib.parse import parse_qsl

import pytest
import trio
import trio.testing

from triohttp import URL, App, Client, Query, Request, Response
from triohttp.errors import AuthError, ClientClosedError, DisconnectedError
from triohttp.integrations.oauth import (
    AuthorizationRequest,
    ClientCredentials,
    ClientRegistration,
    OAuth2,
    OAuth2Token,
    RefreshToken,
    exchange_code,
    make_authorization_request,
)
from triohttp.testing import InProcessServer, open_in_process

API, ISSUER = "http://api.test", "http://id.test"
SECRET = "never-shown"


class Issuer:
    """An authorization server and the API that its tokens are for."""

    def __init__(self) -> None:
        self.asked: list[dict[str, str]] = []
        self.fields: list[dict[str, str]] = []
        self.called: list[str] = []
        self.valid: set[str] = set()
        self.accepts = True
        self.expires_in: int | None = 3600
        self.answer: Callable[[], Response] | None = None
        self.hold = trio.Event()
        self.hold.set()
        self.more: dict[str, object] = {}

    def app(self) -> App:
        app = App()

        @app.post("/token")
        async def give(request: Request) -> Response:
            self.asked.append(dict(parse_qsl((await request.read()).decode())))
            self.fields.append({name.lower(): value for name, value in request.headers.field_lines()})
            await self.hold.wait()
            if self.answer is not None:
                return self.answer()
            token = f"token{len(self.asked)}"
            self.valid.add(token)
            said = {"access_token": token, "token_type": "bearer", "expires_in": self.expires_in, **self.more}
            return Response.json(said)

        @app.get("/data")
        async def data(request: Request) -> Response:
            token = request.headers.get("authorization", "").removeprefix("Bearer ")
            self.called.append(token)
            return Response.text("data", status=200 if self.accepts and token in self.valid else 401)

        return app


@asynccontextmanager
async def open_issuer(**options: Any) -> AsyncIterator[tuple[Issuer, Client]]:
    issuer = Issuer()
    async with open_in_process(issuer.app()) as site, open_client(site, **options) as client:
        yield issuer, client


def open_client(site: InProcessServer, **options: Any) -> Client:
    return Client(API, mounts={API: site, ISSUER: site}, mounts_only=True, **options)


def registration(secret: str | None = SECRET, **options: Any) -> ClientRegistration:
    return ClientRegistration(f"{ISSUER}/token", "id", secret, allow_http=True, **options)


def credentials() -> ClientCredentials:
    return ClientCredentials(registration())


def expired(refresh_token: str | None = "refresh0") -> OAuth2Token:
    return OAuth2Token("old", time.time() - 1, refresh_token)


# -- getting a token ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("client_auth", ["basic", "content"])
async def test_client_credentials(client_auth: Any) -> None:
    """The program proves who it is as the server wants it, and gets a token that lasts for many calls."""
    async with open_issuer() as (issuer, client):
        auth = OAuth2(
            ClientCredentials(
                ClientRegistration(f"{ISSUER}/token", "i d", "a:b&c", client_auth=client_auth, allow_http=True),
                scope="read write",
                parameters={"audience": "api"},
            )
        )
        for _ in range(3):
            assert (await client.get("/data", auth=auth)).text == "data"
        (asked,), (fields,) = issuer.asked, issuer.fields
        own = {"client_id": "i d", "client_secret": "a:b&c"}
        expected = {"grant_type": "client_credentials", "scope": "read write", "audience": "api"}
        if client_auth == "basic":  # encoded as RFC 6749 §2.3.1 says
            assert base64.b64decode(fields["authorization"].removeprefix("Basic ")) == b"i+d:a%3Ab%26c"
            assert asked == expected
        else:
            assert "authorization" not in fields
            assert asked == {**expected, **own}
        assert issuer.called == ["token1"] * 3


async def test_a_token_endpoint_sees_nothing_that_is_not_for_it() -> None:
    """Neither header fields, query, cookies and middleware of the program's, nor its other credentials."""
    called: list[str] = []

    async def nosy(request: Any, send: Any) -> Any:
        called.append(str(request.url))
        request.headers["X-Api-Key"] = SECRET
        return await send(request)

    options: dict[str, Any] = {"headers": {"X-Api-Key": SECRET}, "params": {"key": SECRET}}
    async with open_issuer(**options, middleware=[nosy], hop_middleware=[nosy]) as (issuer, client):
        assert (await client.get("/data", auth=OAuth2(credentials()))).status == 200
        (fields,) = issuer.fields
        assert SECRET not in str({name: value for name, value in fields.items() if name != "authorization"})
        assert fields["accept"] == "application/json"
        assert set(called) == {f"{API}/data?key={SECRET}"}


async def test_refreshing_an_expired_token() -> None:
    """The refresh token is kept where the server gives out no other, and what is new is told."""
    stored: list[OAuth2Token] = []
    async with open_issuer() as (issuer, client):
        issuer.more = {"scope": "a b", "id_token": "x.y.z"}
        auth = OAuth2(RefreshToken(registration(None)), token=expired(), on_token=stored.append)
        assert (await client.get("/data", auth=auth)).status == 200
        assert issuer.asked == [{"grant_type": "refresh_token", "refresh_token": "refresh0", "client_id": "id"}]
        (token,) = stored
        assert auth.token is token
        assert (token.access_token, token.refresh_token, token.scope) == ("token1", "refresh0", "a b")
        assert token.extra == {"id_token": "x.y.z"}
        assert token.expires_within(3700)
        assert not token.expires_within(3500)


async def test_a_refresh_token_that_is_exchanged_too() -> None:
    """The next renewal uses the new one."""
    async with open_issuer() as (issuer, client):
        auth = OAuth2(RefreshToken(registration()), token=expired())
        issuer.more, issuer.expires_in = {"refresh_token": "refresh1"}, 1
        for _ in range(2):
            await client.get("/data", auth=auth)
        assert [one["refresh_token"] for one in issuer.asked] == ["refresh0", "refresh1"]


async def test_a_token_that_is_not_renewed() -> None:
    """Without a source it goes out as it is, and a 401 is the answer."""
    async with open_issuer() as (issuer, client):
        assert (await client.get("/data", auth=OAuth2(token=expired()))).status == 401
        assert issuer.called == ["old"]


@pytest.mark.parametrize("asynchronous", [False, True])
async def test_a_source_of_ones_own(asynchronous: bool) -> None:
    """Any function that returns a token is one; it is given a client that has no credentials, and the old token."""
    seen: list[tuple[object, object]] = []
    told: list[str] = []

    async def source(client: Client, token: OAuth2Token | None) -> OAuth2Token:
        answer = await client.get(f"{API}/data")  # would wait for itself, if it asked for a token
        seen.append((answer.status, token))
        issuer.valid.add("mine")
        return OAuth2Token("mine")

    async def note(token: OAuth2Token) -> None:
        await trio.lowlevel.checkpoint()
        told.append(token.access_token)

    async with open_issuer(auth=(auth := OAuth2(source, on_token=note))) as (issuer, client):
        assert (await client.get("/data")).status == 200
        assert (seen, told) == ([(401, None)], ["mine"])
        assert auth.token == OAuth2Token("mine")


# -- once for all ------------------------------------------------------------------------------------------------------


async def call(client: Client, auth: OAuth2, results: list[object]) -> None:
    try:
        results.append((await client.get("/data", auth=auth)).status)
    except AuthError as exc:
        results.append(exc)


@pytest.mark.parametrize("token", [None, expired(), OAuth2Token("revoked")], ids=["none", "expired", "refused"])
async def test_many_tasks_share_a_renewal(token: OAuth2Token | None, autojump_clock: trio.testing.MockClock) -> None:
    """Whether there is none, it has expired, or all are refused with it: the server is asked once."""
    async with open_issuer() as (issuer, client):
        auth = OAuth2(RefreshToken(registration()) if token == expired() else credentials(), token=token)
        issuer.hold = trio.Event()
        results: list[object] = []
        async with trio.open_nursery() as nursery:
            for _ in range(20):
                nursery.start_soon(call, client, auth, results)
            await trio.sleep(1)
            assert not results
            issuer.hold.set()
        assert results == [200] * 20
        assert len(issuer.asked) == 1


async def test_who_was_refused_with_an_older_token_asks_for_no_other(autojump_clock: trio.testing.MockClock) -> None:
    """A 401 that comes late, for a token that has been replaced meanwhile, renews nothing."""
    async with open_issuer() as (issuer, client):
        auth = OAuth2(credentials(), token=OAuth2Token("revoked"))
        late: list[int] = []

        async def slow() -> None:
            async def wait(request: Any, send: Any) -> Any:
                answer = await send(request)
                await trio.sleep(5 if not late and len(issuer.called) == 1 else 0)
                return answer

            delayed = client.derive(hop_middleware=[wait])
            late.append((await delayed.get("/data", auth=auth)).status)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(slow)
            await trio.sleep(1)
            assert (await client.get("/data", auth=auth)).status == 200
        assert late == [200]
        assert issuer.called == ["revoked", "revoked", "token1", "token1"]
        assert len(issuer.asked) == 1


async def test_a_waiter_that_is_cancelled_stops_no_other(autojump_clock: trio.testing.MockClock) -> None:
    """Not even the one that began it: the renewal goes on for the others, and for later calls."""
    async with open_issuer() as (issuer, client):
        auth = OAuth2(credentials())
        issuer.hold = trio.Event()
        results: list[object] = []
        async with trio.open_nursery() as nursery:
            with trio.move_on_after(1) as first:
                await call(client, auth, results)
            assert first.cancelled_caught
            nursery.start_soon(call, client, auth, results)
            await trio.sleep(1)
            issuer.hold.set()
        assert results == [200]
        assert len(issuer.asked) == 1


async def test_a_renewal_that_nobody_waits_for_ends_with_the_client(autojump_clock: trio.testing.MockClock) -> None:
    """It leaves nothing, and another client asks anew."""
    issuer = Issuer()
    issuer.hold = trio.Event()
    auth = OAuth2(credentials())
    async with open_in_process(issuer.app()) as site:
        async with open_client(site) as client:
            with trio.move_on_after(1):
                await client.get("/data", auth=auth)
        issuer.hold.set()
        async with open_client(site) as client:
            assert (await client.get("/data", auth=auth)).status == 200


async def test_a_client_that_is_closed_meanwhile(autojump_clock: trio.testing.MockClock) -> None:
    """Who waits is told, and who waits with another client asks anew."""
    issuer = Issuer()
    issuer.hold = trio.Event()
    auth = OAuth2(credentials())
    results: list[object] = []
    async with open_in_process(issuer.app()) as site, open_client(site) as other, trio.open_nursery() as nursery:

        async def use(client: Client) -> None:
            try:
                await call(client, auth, results)
            except ClientClosedError:
                results.append("closed")

        async with open_client(site) as client:
            nursery.start_soon(use, client)
            await trio.sleep(1)
            nursery.start_soon(use, other)
            await trio.sleep(1)
        await trio.sleep(1)
        assert results == ["closed"]
        issuer.hold.set()
    assert results == ["closed", 200]


async def test_an_error_reaches_all_who_wait(autojump_clock: trio.testing.MockClock) -> None:
    """Each gets an exception of its own, with what the server said; the next call tries again."""
    async with open_issuer() as (issuer, client):
        auth = OAuth2(RefreshToken(registration()), token=expired())
        issuer.hold = trio.Event()
        issuer.answer = lambda: Response.json({"error": "invalid_grant", "error_description": "too old"}, status=400)
        results: list[Any] = []
        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(call, client, auth, results)
            await trio.sleep(1)
            issuer.hold.set()
        assert len({id(one) for one in results}) == 3
        assert {(str(one), one.reason) for one in results} == {
            (f"the token endpoint URL('{ISSUER}/token') refused: 'invalid_grant': 'too old'", "token")
        }
        assert issuer.called == []
        issuer.answer = None
        assert (await client.get("/data", auth=auth)).status == 200


# -- refused -----------------------------------------------------------------------------------------------------------


async def test_a_refused_token_is_renewed_once_a_call() -> None:
    """A new one that is refused as well is no reason to get another; the next call begins with one."""
    async with open_issuer() as (issuer, client):
        auth = OAuth2(credentials(), token=OAuth2Token("revoked"))
        issuer.accepts = False
        assert (await client.get("/data", auth=auth)).status == 401
        assert issuer.called == ["revoked", "token1"]
        issuer.accepts = True
        assert (await client.get("/data", auth=auth)).status == 200
        assert issuer.called == ["revoked", "token1", "token2"]


async def test_a_good_token_that_is_revoked_is_renewed() -> None:
    """However it was had."""
    async with open_issuer() as (issuer, client):
        auth = OAuth2(credentials())
        for expected in ("token1", "token2"):
            assert (await client.get("/data", auth=auth)).status == 200
            assert issuer.called[-1] == expected
            issuer.valid.clear()


# -- what goes wrong ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "content", "told"),
    [
        (500, b"oops", "answered 500 with something that is no JSON object"),
        (200, b"[]", "answered 200 with something that is no JSON object"),
        (200, b"1", "no JSON object"),
        (200, b"access_token=" + SECRET.encode(), "no JSON object"),
        (200, b"{}", "'missing_token'"),
        (200, b'{"access_token": 5}', "no token"),
        (200, b'{"access_token": "' + SECRET.encode() + b' "}', "no token"),
        (200, b'{"access_token": "' + SECRET.encode() + b'", "token_type": "mac"}', "no token"),
        (200, b'{"access_token": "' + SECRET.encode() + b'", "expires_in": "soon"}', "no token"),
        (201, b'{"error": "slow_down"}', "refused: 'slow_down'"),
        (403, b'{"access_token": "' + SECRET.encode() + b'"}', "answered 403 without an error"),
        (302, b"{}", "'missing_token'"),
        (200, b"[" * 2000, "no JSON object"),
        (200, b'{"access_token": "\xff"}', "no"),
    ],
)
async def test_answers_that_are_no_token(status: int, content: bytes, told: str) -> None:
    """The error says what came, and shows no token."""
    async with open_issuer() as (issuer, client):
        headers = {"Location": f"{API}/token"} if status == 302 else {}
        issuer.answer = lambda: Response(content, status=status, headers=headers)
        with pytest.raises(AuthError) as caught:
            await client.get("/data", auth=OAuth2(credentials()))
        assert told in str(caught.value)
        assert caught.value.reason == "token"
        shown = f"{caught.value!r} {caught.value.__cause__!r}"
        assert SECRET not in shown
        assert (len(issuer.asked), issuer.called) == (1, [])


async def test_an_endpoint_that_goes_away() -> None:
    """The cause is the error of the transport."""

    async def source(client: Client, token: OAuth2Token | None) -> OAuth2Token:
        raise DisconnectedError("gone")

    async with open_issuer() as (_, client):
        with pytest.raises(AuthError) as caught:
            await client.get("/data", auth=OAuth2(source))
        assert isinstance(caught.value.__cause__, DisconnectedError)


@pytest.mark.parametrize("token", [None, OAuth2Token("old", 0.0)])
async def test_nothing_to_refresh_with(token: OAuth2Token | None) -> None:
    """Without a refresh token the user has to come back."""
    async with open_issuer() as (_, client):
        with pytest.raises(AuthError, match="log in again"):
            await client.get("/data", auth=OAuth2(RefreshToken(registration()), token=token))


async def test_a_token_that_cannot_be_stored_counts() -> None:
    """What ``on_token`` raises is told once; the token is not lost."""

    def fail(token: OAuth2Token) -> None:
        raise OSError("the disk is full")

    async with open_issuer() as (issuer, client):
        auth = OAuth2(credentials(), on_token=fail)
        with pytest.raises(AuthError, match="OSError"):
            await client.get("/data", auth=auth)
        assert (await client.get("/data", auth=auth)).status == 200
        assert len(issuer.asked) == 1


@pytest.mark.parametrize(
    ("make", "kind"),
    [
        (OAuth2, TypeError),
        (lambda: OAuth2(token=SECRET), TypeError),
        (lambda: OAuth2Token(f"{SECRET}\n"), ValueError),
        (lambda: ClientRegistration("http://id.test/token", "id", SECRET), ValueError),
        (lambda: registration(client_auth="digest"), ValueError),
    ],
)
def test_what_makes_no_sense(make: Callable[[], object], kind: type[Exception]) -> None:
    """It is refused at once; no secret is shown."""
    with pytest.raises(kind) as caught:
        make()
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    "one",
    [
        OAuth2Token(SECRET, 1.0, SECRET, "a", {"id_token": SECRET}),
        ClientRegistration("https://id.test/", "id", SECRET),
        AuthorizationRequest("https://id.test/", SECRET, SECRET, "https://app.test/"),
        OAuth2(token=OAuth2Token(SECRET)),
        ClientCredentials(ClientRegistration("https://id.test/", "id", SECRET)),
        RefreshToken(ClientRegistration("https://id.test/", "id", SECRET)),
    ],
    ids=lambda one: type(one).__name__,
)
def test_secrets_stay_inside(one: object) -> None:
    """No text shows them, and no pickle holds them."""
    assert SECRET not in f"{one!r} {one}"
    with pytest.raises(TypeError):
        pickle.dumps(one)


def test_a_token_is_stored_by_its_fields() -> None:
    """As JSON, say."""
    token = OAuth2Token(SECRET, 1.5, "refresh", "a b", {"id_token": "x"})
    assert OAuth2Token(**json.loads(json.dumps(asdict(token)))) == token


# -- a user's consent --------------------------------------------------------------------------------------------------


def test_an_authorization_request() -> None:
    """All that the server needs is in the URL; the verifier is not, only its hash is (RFC 7636)."""
    made = make_authorization_request(
        f"{ISSUER}/authorize?tenant=1",
        registration(),
        redirect_uri="https://app.test/back",
        scope="a b",
        parameters={"prompt": "login"},
    )
    url = URL(made.url)
    query = dict(Query.parse(url.query).pairs())
    assert (url.path, query.pop("tenant"), query.pop("prompt")) == ("/authorize", "1", "login")
    assert query.pop("state") == made.state
    assert len(query.pop("code_challenge")) == 43
    assert query == {
        "response_type": "code",
        "client_id": "id",
        "redirect_uri": "https://app.test/back",
        "scope": "a b",
        "code_challenge_method": "S256",
    }
    assert made.code_verifier not in made.url
    again = make_authorization_request(ISSUER, registration(), redirect_uri="https://app.test/back")
    assert again.state != made.state
    assert again.code_verifier != made.code_verifier


KEPT = AuthorizationRequest("", "sta te", "verifier", "https://app.test/back")


@pytest.mark.parametrize("redirected", ["https://app.test/back?", "/back?", "app:/back?"])
async def test_a_code_is_exchanged(redirected: str) -> None:
    """With the verifier and the place that the user came back to; the query alone is enough."""
    async with open_issuer() as (issuer, client):
        issuer.more = {"refresh_token": "r"}
        token = await exchange_code(client, registration(), KEPT, f"{redirected}code=c%2Bd&state=sta+te")
        assert (token.access_token, token.refresh_token) == ("token1", "r")
        assert issuer.asked == [
            {
                "grant_type": "authorization_code",
                "code": "c+d",
                "redirect_uri": "https://app.test/back",
                "code_verifier": "verifier",
            }
        ]


@pytest.mark.parametrize(
    ("query", "reason", "told"),
    [
        ("code=c", "state", "another request"),
        ("code=c&state=other", "state", "another request"),
        ("error=access_denied&state=other", "state", "another request"),
        ("error=access_denied&error_description=no+way&state=sta+te", "token", "'access_denied': 'no way'"),
        ("state=sta+te", "token", "no code"),
    ],
)
async def test_a_user_who_comes_back_without_one(query: str, reason: str, told: str) -> None:
    """Nothing is asked for, and the error says what happened."""
    async with open_issuer() as (issuer, client):
        with pytest.raises(AuthError, match=told) as caught:
            await exchange_code(client, registration(), KEPT, f"https://app.test/back?{query}")
        assert caught.value.reason == reason
        assert issuer.asked == []
