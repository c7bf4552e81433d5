"""Digest: the examples of the RFCs, and what a client says to servers that behave in one way or another."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial

import pytest
import trio

from triohttp import App, Client, ClientRequest, ClientResponse, RequestOptions, Response
from triohttp import Request as ServerRequest
from triohttp._client.challenges import parse_challenges, quote
from triohttp._client.digest import MAX_SPACES, DigestAuth
from triohttp._client.request import DEFAULT_HEADERS, Defaults, build_request
from triohttp.errors import AuthError
from triohttp.testing import open_in_process

PLAIN = Defaults(None, DEFAULT_HEADERS, None)
ORIGIN = "http://a.test"


def build(url: str = f"{ORIGIN}/", method: str = "GET", options: RequestOptions | None = None) -> ClientRequest:
    return build_request(PLAIN, method, url, options or {})


async def ask(auth: DigestAuth, challenge: str | list[str], request: ClientRequest) -> tuple[bool, dict[str, str]]:
    """Challenge a request as it went out; return whether it is sent again, and what it says then."""
    lines = [challenge] if isinstance(challenge, str) else challenge
    answer = ClientResponse(request, 401, [("WWW-Authenticate", line) for line in lines])
    again = await auth.challenged(request, answer, Client())
    return again, (await say(auth, request))[1] if again else {}


async def say(auth: DigestAuth, request: ClientRequest) -> tuple[ClientRequest, dict[str, str]]:
    """What a request says when it goes out, as the server reads it."""
    sending = request.copy()
    await auth.authorize(sending, Client())
    said = parse_challenges(sending.headers.get_all("authorization"))
    return sending, said[0].parameters if said else {}


RFC7616 = 'Digest realm="http-auth@example.org", qop="auth, auth-int", algorithm={}, {}'
RFC7616_NONCE = (
    'nonce="7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v", opaque="FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS"'
)


@pytest.mark.parametrize(
    ("algorithm", "response"),
    [
        ("MD5", "8ca523f5e9506fed4657c9700eebdbec"),
        ("SHA-256", "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"),
    ],
)
async def test_the_example_of_rfc_7616_with_md5_and_sha_256(algorithm: str, response: str) -> None:
    """§3.9.1: all that is said."""
    auth = DigestAuth(
        "Mufasa", "Circle of Life", make_cnonce=lambda: "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ"
    )
    request = build("http://www.example.org/dir/index.html")
    _, said = await ask(auth, RFC7616.format(algorithm, RFC7616_NONCE), request)
    assert said == {
        "username": "Mufasa",
        "realm": "http-auth@example.org",
        "uri": "/dir/index.html",
        "algorithm": algorithm,
        "nonce": "7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v",
        "nc": "00000001",
        "cnonce": "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ",
        "qop": "auth",
        "response": response,
        "opaque": "FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS",
    }


async def test_both_challenges_of_that_example() -> None:
    """The server offers both, the better one is taken, whichever comes first."""
    lines = [RFC7616.format(algorithm, RFC7616_NONCE) for algorithm in ("MD5", "SHA-256")]
    for offered in (lines, lines[::-1], [", ".join(lines)]):
        _, said = await ask(DigestAuth("Mufasa", "Circle of Life"), offered, build())
        assert said["algorithm"] == "SHA-256"


async def test_the_example_of_rfc_7616_with_sha_512_256_and_userhash() -> None:
    """§3.9.2, with the digests of erratum 4897: those printed are of SHA-512 cut in half, which is another function."""
    auth = DigestAuth(
        "J\u00e4s\u00f8n Doe",
        "Secret, or not?",
        make_cnonce=lambda: "NTg6RKcb9boFIAS3KrFK9BGeh+iDa/sm6jUMp2wds69v",
    )
    challenge = (
        'Digest realm="api@example.org", qop="auth", algorithm=SHA-512-256, '
        'nonce="5TsQWLVdgBdmrQ0XsxbDODV+57QdFR34I9HAbC/RVvkK", '
        'opaque="HRPCssKJSGjCrkzDg8OhwpzCiGPChXYjwrI2QmXDnsOS", charset=UTF-8, userhash=true'
    )
    _, said = await ask(auth, challenge, build("http://api.example.org/doe.json"))
    assert said == {
        "username": "793263caabb707a56211940d90411ea4a575adeccb7e360aeb624ed06ece9b0b",
        "realm": "api@example.org",
        "uri": "/doe.json",
        "algorithm": "SHA-512-256",
        "nonce": "5TsQWLVdgBdmrQ0XsxbDODV+57QdFR34I9HAbC/RVvkK",
        "nc": "00000001",
        "cnonce": "NTg6RKcb9boFIAS3KrFK9BGeh+iDa/sm6jUMp2wds69v",
        "qop": "auth",
        "response": "3798d4131c277846293534c3edc11bd8a5e4cdcbff78b05db9d95eeb1cec68a5",
        "opaque": "HRPCssKJSGjCrkzDg8OhwpzCiGPChXYjwrI2QmXDnsOS",
        "userhash": "true",
    }


async def test_the_example_of_rfc_2069() -> None:
    """§2.4, with the digest of erratum 749; a server that says neither qop nor algorithm is told neither."""
    challenge = (
        'Digest realm="testrealm@host.com", nonce="dcd98b7102dd2f0e8b11d0f600bfb0c093", '
        'opaque="5ccc069c403ebaf9f0171e9517f40e41"'
    )
    _, said = await ask(DigestAuth("Mufasa", "CircleOfLife"), challenge, build("http://h.test/dir/index.html"))
    assert said == {
        "username": "Mufasa",
        "realm": "testrealm@host.com",
        "nonce": "dcd98b7102dd2f0e8b11d0f600bfb0c093",
        "uri": "/dir/index.html",
        "response": "1949323746fe6a43ef61f9606e7febea",
        "opaque": "5ccc069c403ebaf9f0171e9517f40e41",
    }


async def test_the_example_of_rfc_2617() -> None:
    """§3.5."""
    challenge = (
        'Digest realm="testrealm@host.com", qop="auth,auth-int", nonce="dcd98b7102dd2f0e8b11d0f600bfb0c093", '
        'opaque="5ccc069c403ebaf9f0171e9517f40e41"'
    )
    auth = DigestAuth("Mufasa", "Circle Of Life", make_cnonce=lambda: "0a4f113b")
    _, said = await ask(auth, challenge, build("http://h.test/dir/index.html"))
    assert said["response"] == "6629fae49393a05397450978507c4ef1"


CHALLENGE = 'Digest realm="r", nonce="n1", qop="auth"'


async def test_what_is_escaped_and_what_is_not_ascii() -> None:
    """Quotes are escaped, and the server's bytes come back; a user name outside ASCII is sent as RFC 7616 §3.4 says."""
    request = build()
    answer = ClientResponse(request, 401, {"WWW-Authenticate": 'Digest realm="a \\"b\\" \\\\ \xc3\xbc", nonce="n"'})
    for name, written in [('u"\\', 'username="u\\"\\\\"'), ("ü, u", "username*=UTF-8''%C3%BC%2C%20u")]:
        auth = DigestAuth(name, "p")
        assert await auth.challenged(request, answer, Client())
        sending, _ = await say(auth, request)
        value = sending.headers["Authorization"]
        assert value.startswith(f'Digest {written}, realm="a \\"b\\" \\\\ \xc3\xbc", nonce="n", uri="/"')


async def test_the_uri_is_what_goes_on_the_wire() -> None:
    """Path and query, encoded."""
    _, said = await ask(DigestAuth("u", "p"), CHALLENGE, build(f"{ORIGIN}/ü?q=a b#no"))
    assert said["uri"] == "/%C3%BC?q=a%20b"


async def test_later_requests_count() -> None:
    """They go out authorized at once, each with a count and a nonce of its own; other origins get nothing."""
    auth = DigestAuth("u", "p")
    assert (await say(auth, build()))[1] == {}
    _, first = await ask(auth, CHALLENGE, build())
    _, second = await say(auth, build(f"{ORIGIN}/else", "POST"))
    _, third = await say(auth, build())
    assert [one["nc"] for one in (first, second, third)] == ["00000001", "00000002", "00000003"]
    assert len({one["cnonce"] for one in (first, second, third)}) == 3
    for url in ("http://a.test:8080/", "https://a.test/", "http://b.test/"):
        assert (await say(auth, build(url)))[1] == {}


async def test_a_session_keeps_the_nonce_of_the_client() -> None:
    """With ``-sess`` it is part of the key, so it stays; the digest is that of RFC 7616 §3.4.2."""
    auth = DigestAuth("u", "p", make_cnonce=iter(["c1", "c2"]).__next__)
    challenge = 'Digest realm="r", nonce="n", qop="auth", algorithm=MD5-sess'
    _, first = await ask(auth, challenge, build())
    _, second = await say(auth, build())
    assert (first["cnonce"], second["cnonce"]) == ("c1", "c1")
    # md5(md5(md5("u:r:p") ":n:c1") ":n:00000001:c1:auth:" md5("GET:/")), computed with md5sum
    assert first["response"] == "71da3a5a366624854f16789e340492ac"
    assert first["algorithm"] == "MD5-sess"


@pytest.mark.parametrize(
    ("offered", "taken"),
    [
        (["MD5", "SHA-256", "SHA-512-256"], "SHA-512-256"),
        (["MD5-sess", "MD5"], "MD5"),
        (["MD5", "SHA-1"], "MD5"),
        (["md5", "sha-256"], "sha-256"),
        (["SHA-256-sess", "MD5"], "SHA-256-sess"),
        (["SHA-1"], None),
    ],
)
async def test_the_strongest_algorithm_is_taken(offered: list[str], taken: str | None) -> None:
    """What the client does not know is passed over, and named as the server spells it."""
    lines = [f'Digest realm="r", nonce="n", qop="auth", algorithm={one}' for one in offered]
    _, said = await ask(DigestAuth("u", "p"), lines, build())
    assert said.get("algorithm") == taken


async def test_md5_can_be_refused() -> None:
    """Then a server that offers nothing better gets nothing, and the error says why."""
    auth = DigestAuth("u", "p", allow_md5=False)
    with pytest.raises(AuthError, match="allow_md5") as caught:
        await ask(auth, CHALLENGE, build())
    assert caught.value.reason == "challenge"
    assert (await say(auth, build()))[1] == {}


@pytest.mark.parametrize(
    "challenge",
    ['Basic realm="r"', 'Digest nonce="n"', 'Digest realm="r"', 'Digest realm="r", nonce="n", qop="new"', "Digest", ""],
)
async def test_challenges_that_are_not_met(challenge: str) -> None:
    """The 401 is the answer."""
    assert await ask(DigestAuth("u", "p"), challenge, build()) == (False, {})


async def test_the_content_is_protected_where_the_server_asks_for_nothing_else() -> None:
    """``auth-int`` covers content in bytes; any other content is an error."""
    auth = DigestAuth("u", "p", make_cnonce=lambda: "c")
    challenge = 'Digest realm="r", nonce="n", qop="auth-int"'
    _, said = await ask(auth, challenge, build(method="POST", options={"content": b"abc"}))
    assert said["qop"] == "auth-int"
    # md5(md5("u:r:p") ":n:00000001:c:auth-int:" md5("POST:/:" md5("abc"))), computed with md5sum
    assert said["response"] == "cdbdb0cd7c628280df20900e1587089c"
    with pytest.raises(AuthError, match="needs it as bytes"):
        await say(auth, build(method="POST", options={"content": iter([b"abc"])}))


async def test_a_domain_limits_where_credentials_go() -> None:
    """Only to what begins as the server says; other origins in its list mean nothing."""
    auth = DigestAuth("u", "p")
    await ask(auth, CHALLENGE + ', domain="/private http://a.test/own/ http://b.test/"', build(f"{ORIGIN}/private/x"))
    for path in ("/private", "/private/y?z", "/own/x"):
        assert (await say(auth, build(ORIGIN + path)))[1]["realm"] == "r"
    for url in (f"{ORIGIN}/", f"{ORIGIN}/own", "http://b.test/", "http://b.test/private"):
        assert (await say(auth, build(url)))[1] == {}


async def test_a_domain_without_the_place_itself_means_nothing() -> None:
    """What was asked for is answered for."""
    auth = DigestAuth("u", "p")
    again, said = await ask(auth, CHALLENGE + ', domain="http://b.test/"', build(f"{ORIGIN}/x"))
    assert again
    assert said["realm"] == "r"


async def test_two_realms_side_by_side() -> None:
    """The one that covers a path most precisely counts, else the one used last."""
    auth = DigestAuth("u", "p")
    await ask(auth, 'Digest realm="all", nonce="n", qop="auth"', build())
    await ask(auth, 'Digest realm="admin", nonce="n", qop="auth", domain="/admin/"', build(f"{ORIGIN}/admin/"))
    assert (await say(auth, build(f"{ORIGIN}/admin/x")))[1]["realm"] == "admin"
    assert (await say(auth, build(f"{ORIGIN}/x")))[1]["realm"] == "all"


async def test_realms_are_bounded() -> None:
    """A server that makes one up for each request fills no memory."""
    auth = DigestAuth("u", "p")
    for number in range(MAX_SPACES + 10):
        again, _ = await ask(auth, f'Digest realm="{number}", nonce="n", qop="auth"', build())
        assert again
    assert len(auth._spaces) == MAX_SPACES


async def refused(auth: DigestAuth, challenge: str) -> bool:
    """Whether a request that went out with credentials is sent again when it is challenged."""
    sent, said = await say(auth, build())
    assert said
    return (await ask(auth, challenge, sent))[0]


@pytest.mark.parametrize(("stale", "again"), [("true", True), ("TRUE", True), ("false", False), ("", False)])
async def test_a_new_nonce_that_is_refused(stale: str, again: bool) -> None:
    """Only where the server blames its age, something else than the password may be wrong."""
    auth = DigestAuth("u", "p")
    await ask(auth, CHALLENGE, build())
    assert await refused(auth, f'Digest realm="r", nonce="n2", qop="auth", stale="{stale}"') is again
    assert (await say(auth, build()))[1].get("nonce") == ("n2" if again else None)


async def test_another_realm_is_no_refusal() -> None:
    """Credentials for one realm say nothing about another's password."""
    auth = DigestAuth("u", "p")
    await ask(auth, CHALLENGE, build())
    assert await refused(auth, 'Digest realm="other", nonce="n2", qop="auth"')


async def test_a_password_that_another_task_found_wrong() -> None:
    """It is not tried again by those who were told so a little later."""
    auth = DigestAuth("u", "p")
    await ask(auth, CHALLENGE, build())
    first, _ = await say(auth, build())
    second, _ = await say(auth, build())
    assert [(await ask(auth, CHALLENGE, sent))[0] for sent in (first, second)] == [False, False]


@pytest.mark.parametrize(("algorithm", "nonce"), [("SHA-256", "n2"), ("SHA-256-sess", "n")])
async def test_a_session_keeps_the_nonce_of_the_server(algorithm: str, nonce: str) -> None:
    """``nextnonce`` counts but where the key was made with the first one; there a stale nonce is told when it is."""
    auth = DigestAuth("u", "p")
    await ask(auth, f'Digest realm="r", nonce="n", qop="auth", algorithm={algorithm}', build())
    sent, _ = await say(auth, build())
    auth.answered(sent, ClientResponse(sent, 200, {"Authentication-Info": 'nextnonce="n2"'}))
    assert (await say(auth, build()))[1]["nonce"] == nonce


# -- a whole exchange with a server ------------------------------------------------------------------------------------


class Guard:
    """A server's end of digest that knows its current nonces, and what they were used with."""

    def __init__(self, password: str = "p") -> None:
        self.password = password
        self.nonces: list[str] = []
        self.asked: list[str | None] = []
        self.seen: list[tuple[str, int]] = []
        self.following = ""
        self.stale = "true"
        self.qop = "auth"
        self.forgetful = False

    def judge(self, request: ServerRequest) -> Response:
        field = request.headers.get("authorization")
        self.asked.append(field)
        stale = ""
        if field is not None:
            (said,) = parse_challenges([field])
            given, nonce = said.parameters, said.parameters["nonce"]
            expected = DigestAuth("u", self.password, make_cnonce=lambda: given["cnonce"])
            if nonce not in self.nonces or self.forgetful:
                stale = f", stale={self.stale}"
            else:
                use = (nonce, int(given["nc"], 16))
                assert use not in self.seen, "a count was used twice"
                self.seen.append(use)
                if given["response"] == self._response(expected, request, given):
                    info = {"Authentication-Info": f"nextnonce={quote(self.following)}"} if self.following else {}
                    if self.following:
                        self.nonces = [self.following]
                    return Response.text("welcome", headers=info)
        self.nonces.append(f"nonce{len(self.nonces)}-{len(self.asked)}")
        challenge = f'Digest realm="r", nonce="{self.nonces[-1]}", qop="{self.qop}", algorithm=SHA-256{stale}'
        return Response(b"no", status=401, headers={"WWW-Authenticate": challenge})

    def _response(self, expected: DigestAuth, request: ServerRequest, given: dict[str, str]) -> str:
        own = build(f"{ORIGIN}{request.url.target}", request.method)
        key = (own.url.origin, "r")
        challenge = f'Digest realm="r", nonce="{given["nonce"]}", qop="{self.qop}", algorithm=SHA-256'
        expected._spaces[key] = expected._open(parse_challenges([challenge])[0], own.url)
        expected._spaces[key].count = int(given["nc"], 16) - 1
        (said,) = parse_challenges([expected._credentials(expected._spaces[key], own)])
        return said.parameters["response"]


@asynccontextmanager
async def open_guarded(guard: Guard, auth: DigestAuth) -> AsyncIterator[Client]:
    app = App()

    async def handle(request: ServerRequest) -> Response:
        await request.read()
        return guard.judge(request)

    app.add_route("/{rest:path}", handle, methods=["GET", "POST"])
    async with open_in_process(app) as site:
        async with Client(ORIGIN, mounts={ORIGIN: site}, mounts_only=True, auth=auth) as client:
            yield client


async def test_two_requests_are_three_exchanges() -> None:
    """One to be asked, and then one each."""
    guard = Guard()
    async with open_guarded(guard, DigestAuth("u", "p")) as client:
        for _ in range(2):
            assert (await client.get("/x?y=z")).text == "welcome"
    assert [one is None for one in guard.asked] == [True, False, False]


async def test_content_goes_out_again() -> None:
    """The request that is sent again is whole."""
    guard = Guard()
    async with open_guarded(guard, DigestAuth("u", "p")) as client:
        assert (await client.post("/", content=b"abc")).text == "welcome"
        async with client.stream("POST", "/", content=b"abc") as response:
            assert response.status == 200


@pytest.mark.parametrize("stale", ["true", "TRUE", "false"])
async def test_a_nonce_that_was_good_is_replaced(stale: str) -> None:
    """It is not taken for a wrong password, whether or not the server says that it is stale."""
    guard = Guard()
    guard.stale = stale
    async with open_guarded(guard, DigestAuth("u", "p")) as client:
        await client.get("/")
        guard.nonces = []
        assert (await client.get("/")).status == 200
    assert len(guard.asked) == 4


async def test_a_wrong_password_is_the_end() -> None:
    """The 401 is the answer, after one try; the next call asks anew."""
    guard = Guard(password="other")
    async with open_guarded(guard, DigestAuth("u", "p")) as client:
        assert (await client.get("/")).status == 401
        assert len(guard.asked) == 2
        guard.password = "p"
        assert (await client.get("/")).status == 200
        assert len(guard.asked) == 4


async def test_a_password_that_was_changed_is_the_end() -> None:
    """The nonce was good, so a new one is tried, once."""
    guard = Guard()
    async with open_guarded(guard, DigestAuth("u", "p")) as client:
        await client.get("/")
        guard.password = "other"
        del guard.asked[:]
        assert (await client.get("/")).status == 401
        assert len(guard.asked) == 2


async def test_stale_for_ever_is_bounded() -> None:
    """A server that is never content is asked three times."""
    guard = Guard()
    guard.forgetful = True
    async with open_guarded(guard, DigestAuth("u", "p")) as client:
        assert (await client.get("/")).status == 401
    assert len(guard.asked) == 3


async def test_the_next_nonce_is_used() -> None:
    """A server that gives out one nonce a request is not asked for each."""
    guard = Guard()
    async with open_guarded(guard, DigestAuth("u", "p")) as client:
        for number in range(3):
            guard.following = f"next{number}"
            assert (await client.get("/")).status == 200
    assert len(guard.asked) == 4
    assert [count for _, count in guard.seen] == [1, 1, 1]


@pytest.mark.parametrize("known", [False, True])
async def test_many_tasks_share_one(known: bool) -> None:
    """No count is used twice with a nonce, whoever sends when."""
    guard = Guard()
    async with open_guarded(guard, DigestAuth("u", "p")) as client:
        if known:
            await client.get("/")
        statuses: list[int] = []

        async def get() -> None:
            statuses.append((await client.get("/")).status)

        async with trio.open_nursery() as nursery:
            for _ in range(20):
                nursery.start_soon(get)
        assert statuses == [200] * 20
    assert len(guard.seen) == 20 + known


@pytest.mark.parametrize("make", [partial(DigestAuth, "a\n"), lambda password: DigestAuth("u", password + "\n")])
def test_what_digest_cannot_carry(make: Callable[[str], DigestAuth]) -> None:
    """Control characters are refused; the password is not shown."""
    with pytest.raises(ValueError, match="control characters") as caught:
        make("secret")
    assert "secret" not in str(caught.value)
