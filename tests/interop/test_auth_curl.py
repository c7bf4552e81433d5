"""What curl answers to a digest challenge is what this client answers to it, letter by letter."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from triohttp import App, Client, ClientResponse, Request, Response
from triohttp._client.challenges import parse_challenges
from triohttp._client.digest import DigestAuth
from triohttp._client.request import DEFAULT_HEADERS, Defaults, build_request

if TYPE_CHECKING:
    from conftest import OpenSite, Programs

pytestmark = pytest.mark.interop

PLAIN = Defaults(None, DEFAULT_HEADERS, None)


@pytest.mark.parametrize(
    ("username", "challenge"),
    [
        ("user", 'Digest realm="r", nonce="n"'),
        ("user", 'Digest realm="r", nonce="n", opaque="o", algorithm=MD5'),
        ("user", 'Digest realm="a b@c", nonce="n+/=", opaque="", qop="auth"'),
        ("user", 'Digest realm="r", nonce="n", qop="auth,auth-int", algorithm=MD5-sess'),
        ("user", 'Digest realm="r", nonce="n", qop="auth", algorithm=SHA-256'),
        ("user", 'Digest realm="r", nonce="n", qop="auth", algorithm=SHA-256-sess, opaque="o"'),
        ("user", 'Digest realm="a \\"b\\"", nonce="n", qop="auth", algorithm=SHA-256'),
        ('us"er', 'Digest realm="r", nonce="n", qop="auth"'),
        ("user", 'Digest realm="r", nonce="n", qop="auth", algorithm=SHA-256, userhash=true'),
        ("user", 'Digest realm="r\xc3\xbc", nonce="n", qop="auth", algorithm=SHA-256'),
    ],
)
@pytest.mark.parametrize("target", ["/", "/a%20b?c=d&e=%25"])
async def test_digest_as_curl_does_it(
    programs: Programs, open_site: OpenSite, username: str, challenge: str, target: str
) -> None:
    """Same challenge, same nonce of the client: all that they say is the same."""
    app = App()
    answers: list[str] = []

    async def handle(request: Request) -> Response:
        field = request.headers.get("authorization")
        if field is None:
            return Response(b"", status=401, headers={"WWW-Authenticate": challenge})
        answers.append(field)
        return Response(b"")

    app.add_route("/{rest:path}", handle, methods=["GET"])
    async with open_site(app) as server:
        url = server.urls[0] + target
        await programs.curl("--digest", "--user", f"{username}:pass:word", url)
        (curls,) = (parse_challenges([field])[0].parameters for field in answers)
        auth = DigestAuth(username, "pass:word", make_cnonce=lambda: curls.get("cnonce", "unused"))
        request = build_request(PLAIN, "GET", url, {})
        answer = ClientResponse(request, 401, {"WWW-Authenticate": challenge})
        async with Client() as client:
            assert await auth.challenged(request, answer, client)
            await auth.authorize(request, client)
        (ours,) = parse_challenges([request.headers["Authorization"]])
    assert ours.parameters == curls
