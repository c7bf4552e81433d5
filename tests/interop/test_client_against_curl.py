"""Redirects as curl follows them: one server sees what curl asks and what this client asks, and both are the same.

Where they are not, a table says why.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from triohttp import App, Client, ClientLimits, DigestAuth, RedirectPolicy, Request, Response
from triohttp.errors import RedirectError, TooManyRedirectsError

if TYPE_CHECKING:
    from conftest import Finished, OpenSite, Programs

pytestmark = pytest.mark.interop

CHALLENGE = 'Digest realm="r", nonce="n", qop="auth", algorithm=SHA-256'
NOTED = ("authorization", "cookie", "x-api-key", "referer", "content-type")
HOSTS = ("a.test", "b.test")


class Recorder:
    """A server under two names that leads where the query says, and what it was asked."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, ...]] = []
        self.port = 0
        self.app = App()
        self.app.add_route("/{rest:path}", self._answer, methods=["GET", "HEAD", "POST", "PUT", "DELETE"])

    def url(self, host: str, target: str = "/end") -> str:
        return f"http://{host}:{self.port}{target}"

    def lead(self, host: str, *, to: str, status: int = 302, more: str = "") -> str:
        """Return a URL that leads to another one."""
        return self.url(host, f"/lead?status={status}{more}&to={to.replace('?', '%3F').replace('&', '%26')}")

    def take(self) -> list[tuple[str, ...]]:
        """Return what was asked, and forget it."""
        seen, self.seen = self.seen, []
        return seen

    async def _answer(self, request: Request) -> Response:
        fields = [f"{name}={request.headers[name].split(' ')[0]}" for name in NOTED if name in request.headers]
        host = request.url.host
        content = (await request.read()).decode()
        self.seen.append((request.method, host, request.url.target, content, *fields))
        if "challenge" in request.query and "authorization" not in request.headers:
            return Response(status=401, headers={"WWW-Authenticate": CHALLENGE})
        if request.url.path == "/loop":
            return Response(status=302, headers={"Location": f"/loop?n={int(request.query.get('n', '0')) + 1}"})
        if (to := request.query.get("to")) is None:
            return Response(b"end")
        headers = [("Location", to)]
        if (cookie := request.query.get("cookie")) is not None:
            headers.append(("Set-Cookie", cookie))
        return Response(b"", status=int(request.query["status"]), headers=headers)


class Pair:
    """curl and a client of ours, before one server."""

    def __init__(self, programs: Programs, recorder: Recorder, client: Client) -> None:
        self._programs = programs
        self.recorder = recorder
        self.client = client

    async def curl(self, *arguments: str, check: bool = True) -> Finished:
        names = [one for host in HOSTS for one in ("--resolve", f"{host}:{self.recorder.port}:127.0.0.1")]
        return await self._programs.curl(*names, "-L", *arguments, check=check)


@asynccontextmanager
async def open_pair(programs: Programs, open_site: OpenSite, **options: Any) -> AsyncIterator[Pair]:
    recorder = Recorder()
    async with open_site(recorder.app) as server:
        recorder.port = server.port
        addresses = dict.fromkeys(HOSTS, "127.0.0.1")
        async with Client(resolve=addresses, headers={"Accept": "*/*"}, **options) as client:
            yield Pair(programs, recorder, client)


METHODS: dict[str, list[str]] = {
    "GET": [],
    "HEAD": ["-I"],
    "POST": ["-d", "abc", "-H", "Content-Type: text/plain"],
    "PUT": ["-T", "-", "-H", "Content-Type: text/plain", "-H", "Expect:"],
}
DIFFERENT_METHODS = {
    ("PUT", 303): "curl makes a GET of it and keeps the Content-Type of the content that it does not send",
    ("POST", 301): "as above",
    ("POST", 302): "as above",
    ("POST", 303): "as above",
}


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("method", METHODS)
async def test_methods(programs: Programs, open_site: OpenSite, method: str, status: int) -> None:
    """What becomes of a method and of content, status by status."""
    async with open_pair(programs, open_site) as pair:
        url = pair.recorder.lead("a.test", to="/end", status=status)
        has_content = method in ("POST", "PUT")
        options: dict[str, Any] = {"headers": {"Content-Type": "text/plain"}} if has_content else {}
        content = b"abc" if has_content else None
        file = programs.directory / "content"
        file.write_bytes(b"abc")
        arguments = [str(file) if one == "-" else one for one in METHODS[method]]
        # curl puts a file's name to a URL that ends with a slash alone; this one does not
        await pair.curl(*arguments, url)
        curls = pair.recorder.take()
        await pair.client.request(method, url, content=content, redirects=True, **options)
        ours = pair.recorder.take()
        if (method, status) in DIFFERENT_METHODS:
            assert curls[-1][-1].startswith("content-type=")
            curls = [curls[0], curls[1][:-1]]
        assert ours == curls
        assert len(ours) == 2


@pytest.mark.parametrize(
    "location",
    [
        "end",
        "/end",
        "/a/b/../end",
        "./end",
        "../../end",
        "?x=y",
        "//b.test:{port}/end",
        "HTTP://B.TEST:{port}/end",
        "/end#fragment",
        "/a%20b",
        "/end?a=%26",
    ],
)
async def test_locations(programs: Programs, open_site: OpenSite, location: str) -> None:
    """Where a Location leads from ``/dir/lead``, with the very same request target."""
    async with open_pair(programs, open_site) as pair:
        recorder = pair.recorder
        to = location.replace("{port}", str(recorder.port))
        for one, code in (("%", "%25"), ("#", "%23"), ("?", "%3F"), ("&", "%26")):
            to = to.replace(one, code)
        url = recorder.url("a.test", f"/dir/lead?status=302&to={to}")
        await pair.curl(url)
        curls = recorder.take()
        assert (await pair.client.get(url)).text == "end"
        assert recorder.take() == curls
        assert len(curls) == 2


@pytest.mark.parametrize("bound", [0, 1, 3, 10])
async def test_bounds(programs: Programs, open_site: OpenSite, bound: int) -> None:
    """The same number of requests, then an error."""
    async with open_pair(programs, open_site, limits=ClientLimits(max_redirects=bound)) as pair:
        url = pair.recorder.url("a.test", "/loop")
        assert (await pair.curl("--max-redirs", str(bound), url, check=False)).status == 47
        curls = pair.recorder.take()
        with pytest.raises(TooManyRedirectsError):
            await pair.client.get(url)
        assert pair.recorder.take() == curls
        assert len(curls) == bound + 1


@pytest.mark.parametrize("location", ["file:///etc/passwd", "gopher://a.test/", "javascript:alert(1)"])
async def test_schemes_that_are_not_followed(programs: Programs, open_site: OpenSite, location: str) -> None:
    """An error of both."""
    async with open_pair(programs, open_site) as pair:
        url = pair.recorder.lead("a.test", to=location)
        assert (await pair.curl("--proto-redir", "=http,https", url, check=False)).status != 0
        with pytest.raises(RedirectError):
            await pair.client.get(url)
        assert len(pair.recorder.take()) == 2


GIVEN: dict[str, tuple[list[str], dict[str, Any], str]] = {
    "basic": (["-u", "u:p"], {"auth": ("u", "p")}, ""),
    "digest": (["--digest", "-u", "u:p"], {"auth": DigestAuth("u", "p")}, "&challenge=1"),
    "authorization": (["-H", "Authorization: Own x"], {"headers": {"Authorization": "Own x"}}, ""),
    "cookie": (["-H", "Cookie: a=b"], {"headers": {"Cookie": "a=b"}}, ""),
    "own field": (["-H", "X-Api-Key: k"], {"headers": {"X-Api-Key": "k"}}, ""),
    "referer": (["-e", "http://r.test/"], {"headers": {"Referer": "http://r.test/"}}, ""),
}
WAYS = {"inside": ["a.test", "a.test"], "across": ["a.test", "b.test"], "back": ["a.test", "b.test", "a.test"]}
DIFFERENT_SECRETS = {
    ("basic", "back"): "curl sends them again to the first host, wherever the redirect came from (CVE-2024-45336)",
    ("authorization", "back"): "as above",
    ("cookie", "back"): "as above",
    ("digest", "back"): "as above",
    ("own field", "across"): "curl keeps every field but Authorization and Cookie; we keep those that are harmless",
    ("own field", "back"): "as above",
    ("referer", "across"): "as above",
    ("referer", "back"): "as above",
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("given", GIVEN)
async def test_secrets(programs: Programs, open_site: OpenSite, given: str, way: str) -> None:
    """What goes along inside a host, and what stays behind at the next."""
    arguments, options, more = GIVEN[given]
    async with open_pair(programs, open_site) as pair:
        recorder = pair.recorder
        *hosts, last = WAYS[way]
        url = recorder.url(last)
        for host in reversed(hosts):
            url = recorder.lead(host, to=url, more=more if host == "a.test" else "")
        await pair.curl(*arguments, url)
        curls = recorder.take()
        await pair.client.get(url, **options)
        ours = recorder.take()
        if (given, way) in DIFFERENT_SECRETS:
            assert len(curls[-1]) > 4
            curls[-1] = curls[-1][:4]
            if given in ("own field", "referer"):
                curls = [curls[0], *(one[:4] for one in curls[1:])]
        assert ours == curls


async def test_who_redirects_does_not_say_who_we_are(programs: Programs, open_site: OpenSite) -> None:
    """User and password in a Location are nobody's: both go there without."""
    async with open_pair(programs, open_site) as pair:
        recorder = pair.recorder
        url = recorder.lead("a.test", to=f"http://u:p@b.test:{recorder.port}/end")
        await pair.curl(url)
        curls = recorder.take()
        await pair.client.get(url)
        assert recorder.take() == curls
        assert curls[1] == ("GET", "b.test", "/end", "")


@pytest.mark.parametrize("cookie", ["a=b", "a=b; Domain=test", "a=b; Path=/other", "a=b; Max-Age=0", "a=b; Secure"])
@pytest.mark.parametrize("host", HOSTS)
async def test_cookies(programs: Programs, open_site: OpenSite, cookie: str, host: str) -> None:
    """A cookie that a redirect sets goes with the next request where it belongs."""
    async with open_pair(programs, open_site) as pair:
        recorder = pair.recorder
        url = recorder.lead("a.test", to=recorder.url(host), more=f"&cookie={cookie.replace(' ', '%20')}")
        await pair.curl("-b", "", url)
        curls = recorder.take()
        await pair.client.get(url)
        assert recorder.take() == curls


async def test_content_goes_to_another_origin_only_when_told(programs: Programs, open_site: OpenSite) -> None:
    """curl sends it wherever a 307 leads; here a policy has to say so."""
    async with open_pair(programs, open_site) as pair:
        recorder = pair.recorder
        url = recorder.lead("a.test", to=recorder.url("b.test"), status=307)
        await pair.curl("-d", "abc", "-H", "Content-Type: text/plain", url)
        curls = recorder.take()
        options: dict[str, Any] = {"content": b"abc", "headers": {"Content-Type": "text/plain"}}
        with pytest.raises(RedirectError, match="with its content"):
            await pair.client.post(url, **options)
        assert recorder.take() == curls[:1]
        await pair.client.post(url, redirects=RedirectPolicy(content=True), **options)
        assert recorder.take() == curls
