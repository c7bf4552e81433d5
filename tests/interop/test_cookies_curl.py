"""The corpus of cookies played to curl: it agrees with what our jar keeps and sends, but for what is listed here.

curl is built with the public list (libpsl); its real clock leaves out the cases about lifetimes.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest

from triohttp import URL, App, Headers, Request, Response
from triohttp._client.cookie_jar import CookieJar
from triohttp.testing import CertificateAuthority

if TYPE_CHECKING:
    from conftest import OpenSite, Programs

pytestmark = pytest.mark.interop

CORPUS = tomllib.loads((Path(__file__).parents[1] / "client" / "cookie_corpus.toml").read_text(encoding="utf-8"))

DIFFERENT = {
    "neither name nor value": "curl takes an attribute for a cookie where none is in front of it",
    "a value without a name": "curl keeps none; RFC 6265bis does",
    "another value without a name takes its place": "as above",
    "names that are no tokens": "curl sorts cookies of equal paths by the length of their names; RFC 6265bis by age",
    "names are told apart by case": "curl compares names without case; browsers and servers do not",
    "the last Domain counts": "curl drops a cookie for any Domain that is foreign; in RFC 6265bis the last one decides",
    "an empty Domain means the host only": "curl drops a cookie whose Domain is a dot; RFC 6265bis reads it as none",
    "a public suffix may set its own, for itself only": "curl makes it one for all hosts below",
    "a path with a slash behind does not match itself without": "curl cuts the slash off; RFC 6265bis does not",
    "one name at two paths is two cookies": "as above",
    "a path that is empty or begins otherwise is the default": "curl takes / for it; RFC 6265bis does not",
    "http sets no Secure cookie": "curl reads Secure with a value as an attribute that it does not know",
    "http://localhost is not secure": "curl trusts localhost; who listens there is not known",
    "not from a domain above or below either": "curl compares domains more narrowly",
    "nor for all subdomains where one has a Secure cookie": "as above",
    "__Host- without Secure, without a Path, with another, with a Domain": "curl asks for no Path; RFC 6265bis does",
    "__Http- and __Host-Http- want HttpOnly": "curl 7.88 does not know these prefixes yet",
}
"""Cases in which curl 7.88 does something else, and why we do not follow."""


def suits_curl(case: dict) -> bool:
    steps = case["steps"]
    urls = [step.get("from") or step.get("to") or "" for step in steps]
    lines = [line for step in steps for line in step.get("set", [])]
    readable = all(line.isascii() and line.isprintable() for line in lines)
    timeless = all("wait" not in step for step in steps) and not any("expires" in line.lower() for line in lines)
    return readable and timeless and not any("{" in line for line in lines) and not any(url[:2] == "ws" for url in urls)


CASES = [case for case in CORPUS["case"] if suits_curl(case) and case["name"] not in DIFFERENT]


def make_app() -> App:
    app = App()

    @app.get("/{path:path}")
    async def answer(request: Request) -> Response:
        """Set the cookies that the query asks for, and tell which ones came."""
        headers = Headers()
        for line in request.query.get_all("set"):
            headers.add("Set-Cookie", line)
        return Response.text(request.headers.get("cookie", ""), headers=headers)

    return app


async def play(case: dict, programs: Programs, ports: dict[str, int]) -> list[tuple[str, str, str]]:
    """Return, for each request, its URL, what the corpus expects, and what curl sent."""
    found = []
    for step in case["steps"]:
        url = URL(step.get("from") or step["to"])
        query = "&".join(f"set={quote(line, safe='')}" for line in step.get("set", []))
        target = str(url.replace(query=query, fragment=""))
        done = await programs.curl(
            *("-b", "jar", "-c", "jar", "-k", "--path-as-is", "--noproxy", "*"),
            *("--connect-to", f"::127.0.0.1:{ports[url.scheme]}", target),
        )
        if "to" in step:
            found.append((str(url), step["sent"] or "", done.text))
    return found


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
async def test_curl_agrees(case, programs: Programs, open_site: OpenSite, authority: CertificateAuthority) -> None:
    """curl sends what the corpus says."""
    app = make_app()
    async with open_site(app) as plain, open_site(make_app(), tls=authority.server_context("127.0.0.1")) as secure:
        ports = {"http": URL(plain.urls[0]).port, "https": URL(secure.urls[0]).port}
        found = await play(case, programs, ports)
    different = [one for one in found if one[1] != one[2]]
    assert not different


def test_each_difference_is_one_of_a_case():
    """What is said about differences is about cases that exist, and the others are many."""
    assert DIFFERENT.keys() <= {case["name"] for case in CORPUS["case"] if suits_curl(case)}
    assert len(CASES) > 60


async def test_a_cookies_txt_of_curl(programs: Programs, open_site: OpenSite) -> None:
    """The file that curl keeps its cookies in can be loaded: hosts, domains, ends and HttpOnly come out."""
    lines = ["a=1; Max-Age=600; Domain=example.org", "b=2; Max-Age=600; HttpOnly; Path=/x", "c=3"]
    query = "&".join(f"set={quote(line, safe='')}" for line in lines)
    async with open_site(make_app()) as server:
        port = URL(server.urls[0]).port
        to = ("--noproxy", "*", "--connect-to", f"::127.0.0.1:{port}")
        await programs.curl("-c", "jar", *to, f"http://www.example.org/?{query}")
    jar = await CookieJar.load_netscape(programs.directory / "jar")
    found = {one.name: (one.domain, one.host_only, one.http_only, one.expires is None) for one in jar}
    assert found == {
        "a": ("example.org", False, False, False),
        "b": ("www.example.org", True, True, False),
        "c": ("www.example.org", True, False, True),
    }
