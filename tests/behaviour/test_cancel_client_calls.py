"""Cancel calls of several requests anywhere: redirects, challenges, renewed tokens, repeats, files and codings.

Each scenario is cancelled at every step that any task makes meanwhile. It has one connection to share, so that whoever
keeps the slot of one hop for the next is found out.
"""

from __future__ import annotations

import gzip
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import pytest
import trio

from triohttp import (
    App,
    Client,
    ClientAnswer,
    ClientLimits,
    ClientRequest,
    CookieJar,
    DigestAuth,
    Limits,
    Request,
    Response,
    Send,
)
from triohttp.integrations.oauth import ClientCredentials, ClientRegistration, OAuth2, OAuth2Token
from triohttp.testing import SweepRun

if TYPE_CHECKING:
    from conftest import Network, Sweep

pytestmark = [pytest.mark.sweep, pytest.mark.wall_seconds(300)]

PIECE = b"0123456789" * 400
CHALLENGE = 'Digest realm="r", nonce="n", qop="auth", algorithm=SHA-256'
SETTLING_SECONDS = 30


def make_app() -> App:
    app = App()
    tokens: set[str] = set()
    failed: list[str] = []

    @app.get("/plain")
    async def plain(request: Request) -> Response:
        return Response.text("plain " + request.query["token"])

    @app.get("/hop/{n:int}")
    async def hop(request: Request) -> Response:
        n = int(request.path_params["n"])
        if n == 0:
            return Response.text(request.headers.get("cookie", "none"))
        fields = [("Location", f"/hop/{n - 1}"), ("Set-Cookie", f"c{n}={n}")]
        return Response(PIECE, status=302, headers=fields)

    @app.get("/digest")
    async def digest(request: Request) -> Response:
        if request.headers.get("authorization", "").startswith("Digest "):
            return Response.text("known")
        return Response(PIECE, status=401, headers=[("WWW-Authenticate", CHALLENGE)])

    @app.post("/token")
    async def token(request: Request) -> Response:
        assert b"grant_type=client_credentials" in await request.read()
        tokens.add(f"t{len(tokens)}")
        return Response.json({"access_token": f"t{len(tokens) - 1}", "token_type": "bearer", "expires_in": 3600})

    @app.get("/data")
    async def data(request: Request) -> Response:
        sent = request.headers.get("authorization", "").removeprefix("Bearer ")
        return Response.text("data") if sent in tokens else Response(PIECE, status=401)

    @app.get("/flaky")
    async def flaky(request: Request) -> Response:
        if len(failed) % 2 == 0:
            failed.append("once")
            return Response(PIECE, status=503)
        failed.append("not")
        return Response.text("steady")

    @app.get("/coded")
    async def coded(request: Request) -> Response:
        return Response(gzip.compress(PIECE * 4), headers=[("Content-Encoding", "gzip")])

    async def upload(request: Request) -> Response:
        size = 0
        async for chunk in request.body:
            size += len(chunk)
        return Response.text(str(size))

    async def elsewhere(request: Request) -> Response:
        await request.read()
        return Response(status=307, headers=[("Location", "/upload")])

    app.add_route("/upload", upload, methods=["POST"])
    app.add_route("/elsewhere", elsewhere, methods=["POST"])
    return app


async def follow(client: Client, file: Path) -> None:
    derived = client.derive(cookies=CookieJar())
    assert (await derived.get("/hop/2")).text in ("c2=2; c1=1", "c1=1; c2=2")


async def follow_in_a_stream(client: Client, file: Path) -> None:
    derived = client.derive(cookies=CookieJar())
    async with derived.stream("GET", "/hop/2") as response:
        assert len(await response.read()) == len("c2=2; c1=1")


async def be_challenged(client: Client, file: Path) -> None:
    assert (await client.get("/digest", auth=DigestAuth("u", "p"))).text == "known"


async def be_challenged_in_a_stream(client: Client, file: Path) -> None:
    async with client.stream("GET", "/digest", auth=DigestAuth("u", "p")) as response:
        assert await response.text() == "known"


def make_oauth(client: Client, token: OAuth2Token | None) -> OAuth2:
    assert client.defaults.base_url is not None
    url = client.defaults.base_url.join("/token")
    return OAuth2(ClientCredentials(ClientRegistration(url, "id", "secret", allow_http=True)), token=token)


async def renew_an_expired_token(client: Client, file: Path) -> None:
    auth = make_oauth(client, OAuth2Token("old", time.time() - 1))
    assert (await client.get("/data", auth=auth)).text == "data"


async def renew_a_refused_token(client: Client, file: Path) -> None:
    auth = make_oauth(client, OAuth2Token("old"))
    async with client.stream("GET", "/data", auth=auth) as response:
        assert await response.text() == "data"


async def renew_together(client: Client, file: Path) -> None:
    auth = make_oauth(client, None)

    async def get() -> None:
        assert (await client.get("/data", auth=auth)).text == "data"

    async with trio.open_nursery() as nursery:
        nursery.start_soon(get)
        nursery.start_soon(get)


async def repeating(request: ClientRequest, send: Send) -> ClientAnswer:
    answer = await send(request)
    while answer.status == 503:
        await trio.sleep(0.1)
        answer = await send(request)
    return answer


async def repeat(client: Client, file: Path) -> None:
    assert (await client.derive(middleware=[repeating]).get("/flaky")).text == "steady"


async def repeat_in_a_stream(client: Client, file: Path) -> None:
    async with client.derive(middleware=[repeating]).stream("GET", "/flaky") as response:
        assert await response.text() == "steady"


async def upload_file(client: Client, file: Path) -> None:
    assert (await client.post("/upload", content=file)).text == str(len(PIECE))


async def upload_file_elsewhere(client: Client, file: Path) -> None:
    assert (await client.post("/elsewhere", content=file)).text == str(len(PIECE))


async def upload_files(client: Client, file: Path) -> None:
    assert int((await client.post("/upload", form={"a": "b"}, files={"file": file})).text) > len(PIECE)


async def decode(client: Client, file: Path) -> None:
    assert (await client.get("/coded")).content == PIECE * 4


async def decode_in_a_stream(client: Client, file: Path) -> None:
    async with client.stream("GET", "/coded") as response:
        pieces = []
        while piece := await response.body.receive_some(5000):
            pieces.append(piece)
        assert b"".join(pieces) == PIECE * 4


SCENARIOS = [
    follow,
    follow_in_a_stream,
    be_challenged,
    be_challenged_in_a_stream,
    renew_an_expired_token,
    renew_a_refused_token,
    renew_together,
    repeat,
    repeat_in_a_stream,
    decode,
    decode_in_a_stream,
]
WITH_FILES = [upload_file, upload_file_elsewhere, upload_files]
Scenario: TypeAlias = Callable[[Client, Path], Awaitable[None]]


async def settle(network: Network, client: Client) -> None:
    """Wait for what may outlive a call: a token that others may want; everything else is over already."""
    with trio.fail_after(SETTLING_SECONDS):
        while client.nursery.child_tasks:
            await trio.sleep(0.01)
    statistics = client.pool.statistics()
    assert (statistics.in_use, statistics.connecting, statistics.waiting) == (0, 0, 0), statistics
    assert statistics.connections <= 1
    with trio.fail_after(SETTLING_SECONDS):
        while network.server.statistics().open_connections > statistics.connections:
            await trio.sleep(0.01)


def check(sweep: Sweep, scenario: Scenario, file: Path) -> None:
    """Cancel a scenario everywhere: no slot, connection, task or open file is lost, and once more it is answered."""
    file.write_bytes(PIECE)

    async def run(point: SweepRun, network: Network) -> None:
        await network.serve(make_app(), limits=Limits(max_body_bytes=None))
        client = await network.client(limits=ClientLimits(connections=1))
        with point.block(every_task=True):
            await scenario(client, file)
        await settle(network, client)
        response = await client.get("/plain", params={"token": "a"})
        assert (response.status, response.text) == (200, "plain a")
        await scenario(client, file)
        await settle(network, client)
        assert client.pool.statistics().connections == 1

    report = sweep(run)
    assert len(report.points) >= 8
    assert report.cancelled >= 4


@pytest.mark.parametrize("sweep", ["memory", "tls-memory"], indirect=True)
@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__)
def test_a_cancelled_call_loses_nothing(sweep: Sweep, tmp_path: Path, scenario: Scenario) -> None:
    """Whichever hop it was in."""
    check(sweep, scenario, tmp_path / "content")


# A virtual clock does not wait for the threads that read files.
@pytest.mark.parametrize("sweep", ["tcp", "tls-tcp"], indirect=True)
@pytest.mark.parametrize("scenario", WITH_FILES, ids=lambda scenario: scenario.__name__)
def test_a_cancelled_upload_of_files_loses_nothing(sweep: Sweep, tmp_path: Path, scenario: Scenario) -> None:
    """Neither the connection nor the file."""
    check(sweep, scenario, tmp_path / "content")
