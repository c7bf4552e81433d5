"""Ways around the matrix of leaks: as events, through middleware, over many hops, and in what is no header field.

Each case looks at what the servers really received. Beside it stands the same case with a redirect inside the origin,
where the secret does arrive: without that a case that sends nothing at all would pass.
"""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import trio
from recording_sites import Answers, Authority, RecordingSites, Seen, open_sites

from triohttp import (
    URL,
    Auth,
    BasicAuth,
    BearerAuth,
    Certificate,
    Client,
    ClientAnswer,
    ClientRequest,
    DigestAuth,
    NetrcAuth,
    RedirectPolicy,
    Send,
)
from triohttp.errors import RedirectError
from triohttp.integrations.oauth import OAuth1, OAuth2, OAuth2Token

SECRET = "s3cr3t"
CHALLENGE = 'Digest realm="r", nonce="n", qop="auth", algorithm=SHA-256'
HTTP, HTTPS = "http://a.test", "https://a.test"

AXES = {
    "http-to-https": (HTTP, "https://a.test"),
    "https-to-http": (HTTPS, "http://a.test"),
    "host": (HTTPS, "https://b.test"),
    "subdomain": (HTTPS, "https://sub.a.test"),
    "parent": ("https://sub.a.test", "https://a.test"),
    "port": (HTTPS, "https://a.test:8443"),
    "host-without-tls": (HTTP, "http://b.test"),
    "port-without-tls": (HTTP, "http://a.test:8080"),
}
"""What differs between the origin that a secret is for and the one that a redirect leads to."""
ORIGINS = sorted({origin for pair in AXES.values() for origin in pair})
POLICY = RedirectPolicy(to_http=True, content=True)


@pytest.fixture(scope="module")
def signer(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Who signs the certificates of all sites and of the client."""
    return Authority(tmp_path_factory.mktemp("authority"), {URL(origin).host for origin in ORIGINS})


@pytest.fixture
def netrc_file(tmp_path: Path) -> Path:
    """Passwords for everybody."""
    file = tmp_path / "netrc"
    file.write_text(f"machine a.test login u password {SECRET}\ndefault login u password {SECRET}\n")
    file.chmod(0o600)
    return file


@dataclass(frozen=True)
class Secret:
    """One way to give a client something for an origin.

    Attributes:
        name: of the case.
        request: options of the request, from the origin.
        client: options of the client, from the origin.
        fields: the header fields that carry it.
        userinfo: what stands in the URL.
        policy: what the client does about redirects.
        challenge: what the servers ask for first.
    """

    name: str
    request: Callable[[str, Path], dict[str, Any]] = field(default=lambda origin, netrc: {})
    client: Callable[[str, Path], dict[str, Any]] = field(default=lambda origin, netrc: {})
    fields: tuple[str, ...] = ("authorization",)
    userinfo: str = ""
    policy: RedirectPolicy = POLICY
    challenge: str | None = None

    def carried_by(self, seen: Seen) -> bool:
        """Tell whether a request has it, in its fields or anywhere else."""
        coded = base64.b64encode(f"u:{SECRET}".encode()).decode()
        return SECRET in seen or coded in seen or any(seen.get(name) is not None for name in self.fields)


def auths(netrc: Path) -> dict[str, Auth]:
    return {
        "basic": BasicAuth("u", SECRET),
        "bearer": BearerAuth(SECRET),
        "digest": DigestAuth("u", SECRET),
        "oauth1": OAuth1("id", SECRET, token="t", token_secret=SECRET),
        "oauth2": OAuth2(token=OAuth2Token(SECRET)),
        "netrc": NetrcAuth(netrc, use_default=True, allow_http=True),
    }


def of_auth(kind: str) -> list[Secret]:
    challenge = CHALLENGE if kind == "digest" else None
    return [
        Secret(f"{kind}-of-request", request=lambda _, netrc: {"auth": auths(netrc)[kind]}, challenge=challenge),
        Secret(
            f"{kind}-of-client",
            client=lambda origin, netrc: {"auth": {origin: auths(netrc)[kind]}},
            challenge=challenge,
        ),
        Secret(  # even if the client has some for the other: who is redirected there did not ask for it
            f"{kind}-for-everybody",
            client=lambda _, netrc: {"auth": dict.fromkeys(ORIGINS, auths(netrc)[kind])},
            challenge=challenge,
        ),
    ]


def of_field(name: str, value: str = SECRET, policy: RedirectPolicy = POLICY) -> list[Secret]:
    fields = (name.lower(),)
    return [
        Secret(f"{name}-of-request", request=lambda *_: {"headers": {name: value}}, fields=fields, policy=policy),
        Secret(f"{name}-of-client", client=lambda *_: {"headers": {name: value}}, fields=fields, policy=policy),
    ]


def sign(request: ClientRequest) -> None:
    request.headers["X-Signature"] = SECRET


SECRETS = [
    *(secret for kind in ("basic", "bearer", "digest", "oauth1", "oauth2", "netrc") for secret in of_auth(kind)),
    Secret("function-of-request", request=lambda *_: {"auth": sign}, fields=("x-signature",)),
    Secret("userinfo", userinfo=f"u:{SECRET}@"),
    *of_field("Authorization", f"Custom {SECRET}"),
    *of_field("Cookie", f"own={SECRET}"),
    *of_field("X-Api-Key"),
    *of_field("X-Auth-Token"),
    *of_field("X-Csrf-Token"),
    *of_field("X-Amz-Security-Token"),
    *of_field("Accept-Language", policy=RedirectPolicy(to_http=True, secret_headers=["ACCEPT-language"])),
    *of_field("Referer", f"https://a.test/{SECRET}"),
    *of_field("Origin", "https://a.test"),
    *of_field("Forwarded", f"for={SECRET}"),
    Secret("cookies-of-request", request=lambda *_: {"cookies": {"own": SECRET}}, fields=("cookie",)),
]
FOR_EVERYBODY = [secret for secret in SECRETS if secret.name.endswith("for-everybody")]


async def get(client: Client, url: str, options: dict[str, Any]) -> ClientAnswer:
    return await client.get(url, **options)


async def events(client: Client, url: str, options: dict[str, Any]) -> ClientAnswer:
    async with client.events(url, **options) as received:
        assert (await received.receive()).data == "ok"
        return received.response


async def passing(client: Client, url: str, options: dict[str, Any]) -> ClientAnswer:
    """Around the call and around each hop, middleware that sends copies."""

    async def middleware(request: ClientRequest, send: Send) -> ClientAnswer:
        return await send(request.copy())

    return await client.derive(middleware=[middleware], hop_middleware=[middleware]).get(url, **options)


async def repeating(client: Client, url: str, options: dict[str, Any]) -> ClientAnswer:
    """Middleware that sends everything twice, from the beginning."""

    async def middleware(request: ClientRequest, send: Send) -> ClientAnswer:
        await send(request)
        return await send(request)

    return await client.derive(middleware=[middleware]).get(url, **options)


Ask = Callable[[Client, str, dict[str, Any]], Any]


@asynccontextmanager
async def open_client(
    signer: Authority, secret: Secret, origin: str, netrc_file: Path, **options: Any
) -> AsyncIterator[tuple[RecordingSites, Client]]:
    """All sites, and a client that has the secret for one of them."""
    async with open_sites(ORIGINS, signer.contexts) as sites:
        options = {**secret.client(origin, netrc_file), **options}
        mounts = sites.mounts
        async with Client(
            mounts=mounts, mounts_only=True, ca=signer.ca_file, redirects=secret.policy, **options
        ) as client:
            yield sites, client


async def ask(
    sites: RecordingSites,
    client: Client,
    secret: Secret,
    shape: Ask,
    netrc_file: Path,
    *urls: str,
    status: int = 302,
    asked_for_there: bool = True,
) -> tuple[list[Seen], list[Seen]]:
    """Ask for the first URL, from which each leads to the next; return what came before the last one, and there."""
    sites.lead(*urls, status=status)
    for url in urls[:-1]:
        if URL(url).origin == URL(urls[0]).origin:  # a challenge elsewhere, without an answer to it, is the end
            sites.answers[url].challenge = secret.challenge
    sites.answers[urls[-1]] = Answers(challenge=secret.challenge if asked_for_there else None)
    origin = URL(urls[0])
    url = f"{origin.scheme}://{secret.userinfo}{origin.authority}{origin.path}"
    sites.seen.clear()
    answer = await shape(client, url, secret.request(urls[0], netrc_file))
    assert str(answer.url) == urls[-1]
    return [one for one in sites.seen if one.url != urls[-1]], [one for one in sites.seen if one.url == urls[-1]]


@pytest.mark.parametrize("axis", AXES)
@pytest.mark.parametrize("secret", FOR_EVERYBODY, ids=lambda secret: secret.name)
async def test_what_the_client_has_for_there_stays_too(
    signer: Authority, netrc_file: Path, secret: Secret, axis: str
) -> None:
    """Credentials for both origins: who was led there did not ask there. Inside the origin they go along."""
    here, there = AXES[axis]
    async with open_client(signer, secret, here, netrc_file) as (sites, client):
        control = await ask(sites, client, secret, get, netrc_file, f"{here}/inside", f"{here}/end")
        assert all(any(secret.carried_by(one) for one in seen) for seen in control)
        before, after = await ask(sites, client, secret, get, netrc_file, f"{here}/start", f"{there}/end")
        assert any(secret.carried_by(one) for one in before)
        assert [secret.carried_by(one) for one in after] == [False]


@pytest.mark.parametrize("shape", [events, passing, repeating], ids=lambda shape: shape.__name__)
@pytest.mark.parametrize("secret", SECRETS, ids=lambda secret: secret.name)
async def test_however_it_is_asked(signer: Authority, netrc_file: Path, secret: Secret, shape: Ask) -> None:
    """In a block, as events, through middleware that copies, and through one that asks twice."""
    there = "https://b.test/end"
    asked_for_there = shape is not events  # which ends with an error where it is asked who it is
    async with open_client(signer, secret, HTTPS, netrc_file) as (sites, client):
        control = await ask(sites, client, secret, shape, netrc_file, f"{HTTPS}/inside", f"{HTTPS}/end")
        assert all(any(secret.carried_by(one) for one in seen) for seen in control)
        before, after = await ask(
            sites, client, secret, shape, netrc_file, f"{HTTPS}/start", there, asked_for_there=asked_for_there
        )
        assert any(secret.carried_by(one) for one in before)
        assert [secret.carried_by(one) for one in after] == [False] * (2 if shape is repeating else 1)


@pytest.mark.parametrize("status", [302, 307])
@pytest.mark.parametrize("secret", SECRETS, ids=lambda secret: secret.name)
async def test_what_stayed_behind_does_not_come_back(
    signer: Authority, netrc_file: Path, secret: Secret, status: int
) -> None:
    """From A to B to A, as from A to A to B to C: who leads back decides what is asked there (CVE-2024-45336)."""
    async with open_client(signer, secret, HTTPS, netrc_file) as (sites, client):
        way = [f"{HTTPS}/one", "https://b.test/two", f"{HTTPS}/three"]
        _, after = await ask(sites, client, secret, get, netrc_file, *way, status=status)
        assert [secret.carried_by(one) for one in after] == [False]
        way = [f"{HTTPS}/one", f"{HTTPS}/two", "https://b.test/three", "https://sub.a.test/four"]
        before, after = await ask(sites, client, secret, get, netrc_file, *way, status=status)
        assert [one.url for one in before if secret.carried_by(one)][-1] == f"{HTTPS}/two"
        assert [secret.carried_by(one) for one in before if one.url == "https://b.test/three"] == [False]
        assert [secret.carried_by(one) for one in after] == [False]


async def test_the_next_call_has_its_credentials_again(signer: Authority, netrc_file: Path) -> None:
    """What a redirect takes away it takes away from one call: the client is as it was."""
    (secret,) = (one for one in SECRETS if one.name == "basic-of-client")
    async with open_client(signer, secret, HTTPS, netrc_file) as (sites, client):
        for _ in range(2):
            before, after = await ask(sites, client, secret, get, netrc_file, f"{HTTPS}/start", "https://b.test/end")
            assert [secret.carried_by(one) for one in (*before, *after)] == [True, False]


# -- content -----------------------------------------------------------------------------------------------------------


async def in_pieces() -> AsyncIterator[bytes]:
    yield SECRET.encode()
    await trio.lowlevel.checkpoint()


CONTENTS: dict[str, Callable[[], dict[str, Any]]] = {
    "bytes": lambda: {"content": SECRET.encode()},
    "json": lambda: {"json": {"password": SECRET}},
    "form": lambda: {"form": {"password": SECRET}},
    "files": lambda: {"files": {"file": SECRET.encode()}},
    "iterable": lambda: {"content": in_pieces()},
    "asked-first": lambda: {"content": SECRET.encode(), "expect_continue": True},
}


@pytest.mark.parametrize("axis", ["https-to-http", "host", "port"])
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("content", CONTENTS)
async def test_content_stays_at_its_origin(signer: Authority, content: str, status: int, axis: str) -> None:
    """307 and 308 to another origin are an error before that is asked; the others lead there without the content."""
    here, there = AXES[axis]
    policy = RedirectPolicy(to_http=True)
    async with open_client(signer, Secret("none", policy=policy), here, Path()) as (sites, client):
        sites.lead(f"{here}/start", f"{there}/end", status=status)
        if status in (307, 308):
            with pytest.raises(RedirectError) as caught:
                await client.post(f"{here}/start", **CONTENTS[content]())
            assert caught.value.reason == "content"
        else:
            assert (await client.post(f"{here}/start", **CONTENTS[content]())).status == 200
        reached = [one for one in sites.seen if one.url == f"{there}/end"]
        assert [(one.method, one.content, SECRET in one) for one in reached] == (
            [] if status in (307, 308) else [("GET", b"", False)]
        )
        assert not any(one.get(name) for one in reached for name in ("content-type", "content-length", "expect"))


@pytest.mark.parametrize("content", [name for name in CONTENTS if name != "iterable"])
async def test_content_goes_along_inside_its_origin(signer: Authority, content: str) -> None:
    """The control: 307 sends it again, all of it."""
    async with open_client(signer, Secret("none"), HTTPS, Path()) as (sites, client):
        sites.lead(f"{HTTPS}/start", f"{HTTPS}/end", status=307)
        await client.post(f"{HTTPS}/start", **CONTENTS[content]())
        assert [(one.method, SECRET in one) for one in sites.seen] == [("POST", True), ("POST", True)]


# -- the client's certificate ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("given", ["everywhere", "here", "there", "both"])
@pytest.mark.parametrize("axis", [name for name, (_, there) in AXES.items() if there.startswith("https")])
async def test_a_certificate_stays_at_its_origin(signer: Authority, axis: str, given: str) -> None:
    """It is shown to nobody that a redirect leads to, and to who is asked first if it is for that."""
    here, there = AXES[axis]
    certificate = Certificate(signer.client_file)
    certificates: Any = {"here": {here: certificate}, "there": {there: certificate}}.get(given)
    if given == "both":
        certificates = {here: certificate, there: certificate}
    elif given == "everywhere":
        certificates = certificate
    async with open_client(signer, Secret("none"), here, Path(), certificate=certificates) as (sites, client):
        sites.lead(f"{here}/start", f"{there}/end")
        sites.lead(f"{here}/inside", f"{here}/end")
        for url in (f"{there}/end", f"{here}/inside", f"{here}/start"):
            await client.get(url)
        shown = [(one.url, one.certificate is not None) for one in sites.seen]
        known_there = given != "here"
        known_here = given != "there" and here.startswith("https")
        assert shown == [
            (f"{there}/end", known_there),  # asked for by the program: the connection stays, with the certificate
            (f"{here}/inside", known_here),
            (f"{here}/end", known_here),
            (f"{here}/start", known_here),
            (f"{there}/end", False),
        ]


async def test_a_certificate_does_not_come_back(signer: Authority) -> None:
    """From A to B to A the second request to A is on a connection without one, although one with it is idle."""
    certificate = Certificate(signer.client_file)
    async with open_client(signer, Secret("none"), HTTPS, Path(), certificate={HTTPS: certificate}) as (sites, client):
        sites.lead(f"{HTTPS}/one", "https://b.test/two", f"{HTTPS}/three")
        await client.get(f"{HTTPS}/one")
        assert [one.certificate is not None for one in sites.seen] == [True, False, False]
        await client.get(f"{HTTPS}/three")
        assert sites.seen[-1].certificate is not None
