"""What crosses an origin on a redirect: nothing that was given for the first one.

Each secret is tried against each way in which an origin can change, in a one-shot call and in a stream. What counts is
what the second server really received. The control is the same redirect inside of the origin, which carries the secret:
it shows that there was something to leak.
"""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from triohttp import (
    App,
    BasicAuth,
    BearerAuth,
    Client,
    ClientAnswer,
    ClientRequest,
    CookieJar,
    DigestAuth,
    NetrcAuth,
    RedirectPolicy,
    Request,
    Response,
    Send,
)
from triohttp.errors import LocalProtocolError, RedirectError
from triohttp.integrations.oauth import OAuth1, OAuth2, OAuth2Token
from triohttp.testing import CertificateAuthority, open_in_process

START = "http://a.test"
CHANGES = {
    "scheme": (START, "https://a.test"),
    "host": (START, "http://b.test"),
    "subdomain": (START, "http://sub.a.test"),
    "port": (START, "http://a.test:8080"),
    "downgrade": ("https://a.test", START),
}
HARMLESS = {"host", "user-agent", "accept", "accept-encoding"}
SECRET = "s3cr3t"
POLICY = RedirectPolicy(to_http=True, secret_headers=["accept-language"])


@dataclass
class Recorder:
    """An app that leads on from /start and keeps what it receives at /echo."""

    received: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)
    app: App = field(default_factory=App)

    def __post_init__(self) -> None:
        async def start(request: Request) -> Response:
            await request.read()
            if "challenge" in request.query and "authorization" not in request.headers:
                challenge = 'Digest realm="r", nonce="n", algorithm=SHA-256, qop="auth"'
                return Response(status=401, headers={"WWW-Authenticate": challenge})
            status = int(request.query.get("status", "302"))
            return Response(status=status, headers={"Location": request.query["to"]})

        async def echo(request: Request) -> Response:
            fields = {name.lower(): value for name, value in request.headers.field_lines()}
            self.received.append((str(request.url), fields, await request.read()))
            return Response.text("ok")

        self.app.add_route("/start", start)
        self.app.add_route("/echo", echo)


@asynccontextmanager
async def open_client(authority: CertificateAuthority, **options: Any) -> AsyncIterator[tuple[Client, Recorder]]:
    """A client that reaches one app under every origin of the table, with TLS and without."""
    plain, secure = Recorder(), Recorder()
    secure.received = plain.received
    origins = {one for pair in CHANGES.values() for one in pair}
    async with (
        open_in_process(plain.app) as site,
        open_in_process(secure.app, tls=authority) as secure_site,
        Client(
            mounts={origin: secure_site if origin.startswith("https") else site for origin in origins},
            mounts_only=True,
            redirects=POLICY,
            verify=False,
            **options,
        ) as client,
    ):
        yield client, plain


@dataclass
class Case:
    """A secret: how a client or a request is given it, and which field of a request holds it."""

    field: str
    client: Callable[[str, Path], dict[str, Any]] = lambda origin, path: {}
    request: Callable[[str, Path], dict[str, Any]] = lambda origin, path: {}
    url: Callable[[str], str] = lambda origin: origin
    query: str = ""


def netrc(path: Path) -> NetrcAuth:
    file = path / "netrc"
    file.write_text(f"machine a.test login u password {SECRET}\n")
    file.chmod(0o600)
    return NetrcAuth(file, allow_http=True)


def jar(origin: str) -> CookieJar:
    kept = CookieJar()
    kept.set("__Host-sid" if origin.startswith("https") else "sid", SECRET, origin)
    return kept


AUTHS: dict[str, Callable[[Path], Any]] = {
    "basic": lambda path: BasicAuth("u", SECRET),
    "pair": lambda path: ("u", SECRET),
    "bearer": lambda path: BearerAuth(SECRET),
    "digest": lambda path: DigestAuth("u", SECRET),
    "oauth1": lambda path: OAuth1("id", SECRET, "token", SECRET),
    "oauth2": lambda path: OAuth2(token=OAuth2Token(SECRET)),
    "netrc": netrc,
}
FIELDS = ["Authorization", "Cookie", "X-Api-Key", "Referer", "X-Auth-Token", "X-Own", "Accept-Language"]

CASES: dict[str, Case] = {}
for _name, _make in AUTHS.items():
    _query = "&challenge=1" if _name == "digest" else ""
    CASES[f"auth-{_name}-request"] = Case(
        "authorization", request=lambda origin, path, make=_make: {"auth": make(path)}, query=_query
    )
    CASES[f"auth-{_name}-client"] = Case(
        "authorization", client=lambda origin, path, make=_make: {"auth": {origin: make(path)}}, query=_query
    )
for _name in FIELDS:
    CASES[f"field-{_name}-request"] = Case(
        _name.lower(), request=lambda origin, path, name=_name: {"headers": {name: SECRET}}
    )
    CASES[f"field-{_name}-client"] = Case(
        _name.lower(), client=lambda origin, path, name=_name: {"headers": {name: SECRET}}
    )
CASES["cookies-request"] = Case("cookie", request=lambda origin, path: {"cookies": {"own": SECRET}})
CASES["userinfo"] = Case("authorization", url=lambda origin: origin.replace("://", f"://u:{SECRET}@"))


async def send(client: Client, how: str, method: str, url: str, **options: Any) -> ClientAnswer:
    if how == "whole":
        return await client.request(method, url, **options)
    async with client.stream(method, url, **options) as response:
        await response.read()
        return response


@pytest.mark.parametrize("how", ["whole", "stream"])
@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("name", CASES)
async def test_nothing_crosses(
    name: str, change: str, how: str, authority: CertificateAuthority, tmp_path: Path
) -> None:
    """The second server sees what is harmless and nothing else; a target at home sees the secret."""
    case = CASES[name]
    origin, target = CHANGES[change]
    async with open_client(authority, **case.client(origin, tmp_path)) as (client, recorder):
        options = case.request(origin, tmp_path)
        await send(client, how, "GET", f"{case.url(origin)}/start?to=/echo{case.query}", **options)
        await send(client, how, "GET", f"{case.url(origin)}/start?to={target}/echo{case.query}", **options)
    (_, at_home, _), (where, abroad, _) = recorder.received
    assert case.field in at_home
    assert where == f"{target}/echo"
    assert set(abroad) <= HARMLESS
    assert SECRET not in str(abroad)
    assert base64.b64encode(f"u:{SECRET}".encode()).decode() not in str(abroad)


@pytest.mark.parametrize(
    ("change", "crosses"),
    [("scheme", True), ("host", False), ("subdomain", False), ("port", True), ("downgrade", False)],
)
async def test_cookies_of_the_jar_follow_their_own_rules(
    change: str, crosses: bool, authority: CertificateAuthority
) -> None:
    """A host-only cookie goes to its host alone; neither port nor scheme keep it in (RFC 6265bis §8.5), Secure does."""
    origin, target = CHANGES[change]
    async with open_client(authority, cookies=jar(origin)) as (client, recorder):
        await client.get(f"{origin}/start?to=/echo")
        await client.get(f"{origin}/start?to={target}/echo")
    (_, at_home, _), (_, abroad, _) = recorder.received
    assert SECRET in at_home["cookie"]
    assert ("cookie" in abroad) == crosses


@pytest.mark.parametrize("status", [307, 308])
@pytest.mark.parametrize("change", CHANGES)
async def test_content_does_not_cross(change: str, status: int, authority: CertificateAuthority) -> None:
    """It is sent again inside of the origin; to another one it is an error, and that server hears nothing."""
    origin, target = CHANGES[change]
    async with open_client(authority) as (client, recorder):
        await client.post(f"{origin}/start?status={status}&to=/echo", content=SECRET)
        with pytest.raises(RedirectError) as caught:
            await client.post(f"{origin}/start?status={status}&to={target}/echo", content=SECRET)
        assert caught.value.reason == "content"
    [(_, _, content)] = recorder.received
    assert content == SECRET.encode()


@pytest.mark.parametrize("change", CHANGES)
async def test_nothing_comes_back(change: str, authority: CertificateAuthority) -> None:
    """From here to there and here again: what was dropped stays dropped (CVE-2024-45336)."""
    origin, target = CHANGES[change]
    back = f"{target}/start?to={origin}/echo"
    async with open_client(authority) as (client, recorder):
        await client.get(
            f"{origin}/start",
            params={"to": back},
            auth=("u", SECRET),
            cookies={"own": SECRET},
            headers={"X-Api-Key": SECRET, "Referer": SECRET},
        )
    [(where, fields, _)] = recorder.received
    assert where == f"{origin}/echo"
    assert set(fields) <= HARMLESS


@pytest.mark.parametrize("where", ["middleware", "hop_middleware"])
@pytest.mark.parametrize("change", CHANGES)
async def test_middleware_changes_nothing_of_it(change: str, where: str, authority: CertificateAuthority) -> None:
    """A middleware that passes requests on does not pass secrets on."""

    async def passing(request: ClientRequest, send: Send) -> ClientAnswer:
        return await send(request)

    origin, target = CHANGES[change]
    async with open_client(authority, **{where: [passing]}) as (client, recorder):
        await client.get(f"{origin}/start?to={target}/echo", auth=("u", SECRET), headers={"Cookie": SECRET})
    [(_, fields, _)] = recorder.received
    assert set(fields) <= HARMLESS


@pytest.mark.parametrize("how", ["client", "request"])
async def test_the_credentials_of_a_proxy_are_no_field_of_a_request(how: str, authority: CertificateAuthority) -> None:
    """They could only end up at a server: the error says where they belong."""
    headers = {"Proxy-Authorization": SECRET}
    with pytest.raises(LocalProtocolError):
        async with open_client(authority, **({"headers": headers} if how == "client" else {})) as (client, _):
            await client.get(f"{START}/echo", headers=headers)
