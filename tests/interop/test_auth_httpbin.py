"""Credentials, judged by a server that this project did not write."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import trio
from httpbin_server import open_httpbin

from triohttp import Auth, BasicAuth, Client, ClientRequest
from triohttp._client.auth import BearerAuth
from triohttp._client.digest import DigestAuth

pytestmark = pytest.mark.interop


@pytest.fixture(scope="module")
def httpbin() -> Iterator[str]:
    """The URL of an httpbin."""
    with open_httpbin() as url:
        yield url


@pytest.mark.parametrize(("password", "status"), [("passwd", 200), ("other", 401)])
async def test_basic(httpbin: str, password: str, status: int) -> None:
    """A pair, an object, and what stands in the URL are the same."""
    async with Client() as client:
        url = f"{httpbin}/basic-auth/ann/passwd"
        assert (await client.get(url, auth=("ann", password))).status == status
        assert (await client.get(url, auth=BasicAuth("ann", password))).status == status
        assert (await client.get(url.replace("://", f"://ann:{password}@"))).status == status
        assert (await client.get(url)).status == 401


async def test_basic_outside_ascii(httpbin: str) -> None:
    """Names and passwords are UTF-8."""
    async with Client() as client:
        response = await client.get(f"{httpbin}/basic-auth/jürgen/pä ss:wörd", auth=("jürgen", "pä ss:wörd"))
        assert response.json() == {"authenticated": True, "user": "jürgen"}


async def test_bearer(httpbin: str) -> None:
    """The token arrives as it is."""
    async with Client() as client:
        response = await client.get(f"{httpbin}/bearer", auth=BearerAuth("a.b-c_d~e+f/=="))
        assert response.json() == {"authenticated": True, "token": "a.b-c_d~e+f/=="}


async def test_a_function(httpbin: str) -> None:
    """What it does to the request goes out."""

    async def sign(request: ClientRequest) -> None:
        await trio.lowlevel.checkpoint()
        request.headers["X-Signed"] = request.method

    async with Client() as client:
        response = await client.get(f"{httpbin}/headers", auth=sign)
        assert '"X-Signed": "GET"' in response.text


@pytest.mark.parametrize("algorithm", ["MD5", "SHA-256"])
@pytest.mark.parametrize("qop", ["auth", "auth-int", "both"])
async def test_digest(httpbin: str, qop: str, algorithm: str) -> None:
    """The right password is accepted, again and again, and a wrong one is not.

    httpbin fails at any query, whoever asks; those are compared with curl's.
    """
    async with Client() as client:
        auth = DigestAuth("ann", "passwd")
        url = f"{httpbin}/digest-auth/{qop}/ann/passwd/{algorithm}"
        for _ in range(3):
            response = await client.get(url, auth=auth)
            assert response.json() == {"authenticated": True, "user": "ann"}
        assert (await client.get(url, auth=DigestAuth("ann", "other"))).status == 401
        async with client.stream("GET", url, auth=auth) as stream:
            assert stream.status == 200


async def test_digest_with_stale_nonces(httpbin: str) -> None:
    """A server that forgets its nonces after two requests is asked again, silently."""
    async with Client() as client:
        auth = DigestAuth("ann", "passwd")
        url = f"{httpbin}/digest-auth/auth/ann/passwd/SHA-256/2"
        assert [(await client.get(url, auth=auth)).status for _ in range(7)] == [200] * 7


async def test_an_algorithm_that_is_not_registered(httpbin: str) -> None:
    """SHA-512 has no entry in the registry of RFC 7616 §6.1; the 401 is the answer."""
    async with Client() as client:
        url = f"{httpbin}/digest-auth/auth/ann/passwd/SHA-512"
        assert (await client.get(url, auth=DigestAuth("ann", "passwd"))).status == 401


@pytest.mark.parametrize("auth", [BasicAuth("ann", "passwd"), DigestAuth("ann", "passwd")], ids=repr)
async def test_many_tasks_share_one(httpbin: str, auth: Auth) -> None:
    """Whatever they do at once."""
    kind = "basic-auth" if isinstance(auth, BasicAuth) else "digest-auth/auth"
    statuses: list[int] = []
    async with Client() as client, trio.open_nursery() as nursery:

        async def get() -> None:
            statuses.append((await client.get(f"{httpbin}/{kind}/ann/passwd", auth=auth)).status)

        for _ in range(10):
            nursery.start_soon(get)
    assert statuses == [200] * 10
