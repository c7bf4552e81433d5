"""curl as a client of the server."""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import trio

from triohttp import App, Headers, Request, Response
from triohttp.testing import CertificateAuthority

if TYPE_CHECKING:
    from conftest import OpenSite, Programs

pytestmark = pytest.mark.interop

BIG = os.urandom(1_500_000)
TOLD = "\n%{http_code} %{num_connects}\n"


def make_app() -> App:
    app = App()

    @app.get("/hello")
    async def hello(request: Request) -> Response:
        return Response.text("hello\n", headers={"X-Connection": str(request.exchange.info.number)})

    @app.post("/digest", limits={"max_body_bytes": None})
    async def digest(request: Request) -> Response:
        """Tell what came."""
        digest = hashlib.sha256()
        async for chunk in request.body:
            digest.update(chunk)
        framing = request.headers.get("transfer-encoding", "length")
        return Response.text(f"{request.body.received} {framing} {digest.hexdigest()}")

    @app.post("/echo", limits={"max_body_bytes": None})
    async def echo(request: Request) -> None:
        async with request.respond() as body:
            async for chunk in request.body:
                await body.send_all(chunk)

    @app.post("/refuse", limits={"max_body_bytes": None})
    async def refuse(request: Request) -> Response:
        return Response.text("no\n", status=403)

    @app.post("/small", limits={"max_body_bytes": 1000})
    async def small(request: Request) -> Response:
        return Response.text(f"{len(await request.read())}\n")

    @app.get("/trailers")
    async def trailers(request: Request) -> None:
        async with request.respond(headers={"Trailer": "X-Sum"}) as body:
            await body.send_all(b"first ")
            await body.send_all(b"second")
            body.trailers = Headers({"X-Sum": "12"})

    @app.get("/hints")
    async def hints(request: Request) -> Response:
        await request.inform(103, {"Link": "</style.css>; rel=preload"})
        return Response.text("after the hints")

    @app.get("/stream")
    async def stream(request: Request) -> None:
        async with request.respond() as body:
            for _ in range(3):
                await body.send_all(b"line\n")

    return app


async def test_one_connection_is_kept(programs: Programs, open_site: OpenSite) -> None:
    """Six requests of every shape share one connection: plain, HEAD, chunked, 404 and 405 among them."""
    async with open_site(make_app()) as server:
        url = server.urls[0]
        done = await programs.curl(
            *("-w", TOLD, *(f"{url}{path}" for path in ("/hello", "/stream", "/missing", "/trailers", "/hello"))),
            *("--next", "-sS", "-I", "-w", TOLD, f"{url}/stream"),
            *("--next", "-sS", "-X", "PUT", "-w", TOLD, f"{url}/hello"),
        )
        answers = re.findall(r"^(\d{3} \d)$", done.text, re.MULTILINE)
        assert answers == ["200 1", "200 0", "404 0", "200 0", "200 0", "200 0", "405 0"]
        assert server.statistics().connections == 1


async def test_http_1_0(programs: Programs, open_site: OpenSite) -> None:
    """A client of 1.0 gets content that ends with the connection, never chunks, and no interim answers."""
    async with open_site(make_app()) as server:
        for path, content in [("/hello", "hello\n"), ("/stream", "line\n" * 3), ("/hints", "after the hints")]:
            done = await programs.curl("--http1.0", "-i", f"{server.urls[0]}{path}")
            head, _, body = done.text.partition("\r\n\r\n")
            assert head.startswith("HTTP/1.1 200 OK\r\n")
            assert "connection: close" in head.lower()
            assert "transfer-encoding" not in head.lower()
            assert body == content


async def test_head_tells_what_get_would(programs: Programs, open_site: OpenSite) -> None:
    """HEAD has the fields of GET and no content."""
    async with open_site(make_app()) as server:
        head = (await programs.curl("-I", f"{server.urls[0]}/hello")).text
        whole = (await programs.curl("-i", f"{server.urls[0]}/hello")).text
        assert head.endswith("\r\n\r\n")
        assert "Content-Length: 6\r\n" in head

        def standing(text: str) -> list[str]:
            lines = text.partition("\r\n\r\n")[0].splitlines()
            return [line for line in lines if not line.startswith(("Date:", "X-Connection:"))]

        assert standing(head) == standing(whole)


@pytest.mark.parametrize("framing", ["length", "chunked"])
@pytest.mark.parametrize("expect", [True, False])
async def test_uploads(framing: str, expect: bool, programs: Programs, open_site: OpenSite, tmp_path: Path) -> None:
    """Content arrives whole in both framings; curl is told to go on when it asks, and not otherwise."""
    file = tmp_path / "big"
    file.write_bytes(BIG)
    async with open_site(make_app()) as server:
        done = await programs.curl(
            *("-v", "-X", "POST", "-H", "Expect: 100-continue" if expect else "Expect:"),
            *("-T", file if framing == "length" else "-", f"{server.urls[0]}/digest"),
            content=BIG if framing == "chunked" else b"",
        )
        assert done.text == f"{len(BIG)} {framing} {hashlib.sha256(BIG).hexdigest()}"
        assert (b"< HTTP/1.1 100 Continue" in done.errors) == expect
        assert b"left intact" in done.errors


async def test_an_upload_comes_back_while_it_is_sent(programs: Programs, open_site: OpenSite, tmp_path: Path) -> None:
    """A streamed echo keeps both directions going; nothing is lost."""
    async with open_site(make_app()) as server:
        await programs.curl("-X", "POST", "-T", "-", "-o", "back", f"{server.urls[0]}/echo", content=BIG)
        assert (tmp_path / "back").read_bytes() == BIG


REFUSALS = {"/refuse": ("403 Forbidden", "no\n"), "/small": ("413 Content Too Large", "Content Too Large\n")}


@pytest.mark.parametrize("framing", ["length", "chunked"])
@pytest.mark.parametrize("expect", [True, False])
@pytest.mark.parametrize("path", REFUSALS)
async def test_a_refused_upload_is_heard(
    path: str, expect: bool, framing: str, programs: Programs, open_site: OpenSite, tmp_path: Path
) -> None:
    """An answer that does not want the content arrives, whether curl asked before sending or not."""
    file = tmp_path / "big"
    file.write_bytes(BIG)
    status, content = REFUSALS[path]
    async with open_site(make_app()) as server:
        done = await programs.curl(
            *("-v", "-i", "-X", "POST", "-H", "Expect: 100-continue" if expect else "Expect:"),
            *("-T", file if framing == "length" else "-", f"{server.urls[0]}{path}"),
            content=BIG if framing == "chunked" else b"",
        )
        answers = done.text.split("\r\n\r\n")
        assert answers[-2].startswith(f"HTTP/1.1 {status}\r\n")
        assert answers[-1] == content
        # Only content of unknown length has to be looked at before it can be too much.
        assert (b"100 Continue" in done.errors) == (expect and path == "/small" and framing == "chunked")


async def test_trailers_are_heard(programs: Programs, open_site: OpenSite) -> None:
    """curl shows the trailer section behind the content."""
    async with open_site(make_app()) as server:
        done = await programs.curl("-D", "fields", f"{server.urls[0]}/trailers")
        assert done.text == "first second"
        assert (programs.directory / "fields").read_text().rstrip().endswith("X-Sum: 12")


async def test_early_hints_come_first(programs: Programs, open_site: OpenSite) -> None:
    """103 is seen before the final answer, on a connection that goes on."""
    async with open_site(make_app()) as server:
        url = f"{server.urls[0]}/hints"
        done = await programs.curl("-i", url, url)
        first, hints = done.text.index("HTTP/1.1 200"), done.text.index("HTTP/1.1 103")
        assert hints < first
        assert done.text.count("</style.css>; rel=preload") == 2
        assert done.text.endswith("after the hints")
        assert server.statistics().connections == 1


async def test_https(programs: Programs, open_site: OpenSite, authority: CertificateAuthority) -> None:
    """curl trusts the authority that it is given, keeps the connection, and refuses without it."""
    (programs.directory / "ca.pem").write_bytes(authority.pem)
    async with open_site(make_app(), tls=authority.server_context("127.0.0.1")) as server:
        url = f"{server.urls[0]}/hello"
        assert url.startswith("https:")
        done = await programs.curl("-v", "--cacert", "ca.pem", url, url)
        assert done.text == "hello\nhello\n"
        assert b"ALPN: server accepted http/1.1" in done.errors
        assert b"Re-using existing connection" in done.errors
        assert (await programs.curl(url, check=False)).status == 60
        assert (await programs.curl("--cacert", "ca.pem", "--tls-max", "1.2", url)).text == "hello\n"


BAD = {
    "a target that is no path": (["--request-target", "noslash"], "400"),
    "a target with a space": (["--request-target", "/a b"], "400"),
    "a target with a fragment": (["--request-target", "/hello#fragment"], "400"),
    "a target with bytes beyond ASCII": (["--request-target", "/h\xe9"], "400"),
    "a path that climbs out of the root": (["--request-target", "/../../etc/passwd"], "400"),
    "an asterisk for GET": (["--request-target", "*"], "400"),
    "another authority in the target": (["--request-target", "http://user@other/hello"], "400"),
    "a target that is too long": (["--request-target", "/" + "a" * 9000], "414"),
    "a method with a space": (["-X", "GE T"], "400"),
    "no host": (["-H", "Host:"], "400"),
    "a host that is none": (["-H", "Host: a/b"], "400"),
    "a field that is too long": (["-H", "X-Long: " + "a" * 9000], "431"),
    "too many fields": ([part for n in range(1000) for part in ("-H", f"X-{n}: {n}")], "431"),
    "a length that is no number": (["-H", "Content-Length: 3x", "-d", "abc"], "400"),
    "two framings": (["-H", "Transfer-Encoding: chunked", "-H", "Content-Length: 3", "-d", "abc"], "400"),
    "an unknown transfer coding": (["-H", "Transfer-Encoding: gzip", "-d", "abc"], "400"),
    "an expectation nobody meets": (["-H", "Expect: a-miracle", "-d", "abc"], "417"),
    "HTTP/2 by prior knowledge": (["--http2-prior-knowledge"], "000"),
}


@pytest.mark.parametrize("what", BAD)
async def test_bad_requests(what: str, programs: Programs, open_site: OpenSite) -> None:
    """A bad request gets its status and a close; the next one on another connection is served."""
    arguments, status = BAD[what]
    async with open_site(make_app()) as server:
        url = f"{server.urls[0]}/hello"
        done = await programs.curl("-v", *arguments, "-w", "%{http_code}", "-o", os.devnull, url, check=status != "000")
        assert done.text[-3:] == status
        assert b"Closing connection" in done.errors
        assert (await programs.curl(url)).text == "hello\n"
        assert server.statistics().rejects == 1


@pytest.mark.parametrize("when", ["before the answer", "in the middle of the answer"])
async def test_leaving_cancels_the_handler(when: str, programs: Programs, open_site: OpenSite) -> None:
    """curl gives up, and the handler is cancelled within moments."""
    app, ended = App(), trio.Event()

    @app.get("/")
    async def endless(request: Request) -> None:
        try:
            if when == "before the answer":
                await trio.sleep_forever()
            async with request.respond() as body:
                await body.send_all(b"some")
                await trio.sleep_forever()
        finally:
            ended.set()

    async with open_site(app) as server:
        done = await programs.curl("--max-time", "0.3", server.urls[0], check=False)
        assert done.status == 28
        assert done.output == (b"" if when == "before the answer" else b"some")
        with trio.fail_after(5):
            await ended.wait()


async def test_an_answer_that_is_cut_does_not_look_whole(programs: Programs, open_site: OpenSite) -> None:
    """curl reports an answer of unknown length that was given up as partial, not as complete."""
    app = App()

    @app.get("/")
    async def give_up(request: Request) -> None:
        async with request.respond() as body:
            await body.send_all(b"some")
            request.exchange.cut()

    async with open_site(app) as server:
        done = await programs.curl(server.urls[0], check=False)
        assert done.status in (18, 56)  # partial content, or the reset that says so
        assert b"some".startswith(done.output)


async def test_a_slow_reader_gets_everything(programs: Programs, open_site: OpenSite) -> None:
    """A download that is larger than every buffer and slower than its handler is whole."""
    app = App()

    @app.get("/")
    async def download(request: Request) -> None:
        async with request.respond(headers={"Content-Length": str(len(BIG) * 8)}) as body:
            for _ in range(8):
                await body.send_all(BIG)

    async with open_site(app) as server:
        done = await programs.curl("--limit-rate", "16M", server.urls[0])
        assert done.output == BIG * 8
