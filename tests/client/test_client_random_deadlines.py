"""Random deadlines over few connections: every slot is free in the end, no answer goes to the wrong request."""

from __future__ import annotations

import random
from collections import Counter

import pytest
import trio

from triohttp import App, Client, ClientLimits, DigestAuth, Request, Response
from triohttp.testing import CertificateAuthority, open_in_process

SLOTS = 4
CALLERS = 20
CALLS = 25
HOME = {False: "http://app.test", True: "https://app.test"}


def make_app() -> App:
    app = App()

    @app.route("/echo/{number:int}", methods=["GET", "POST"])
    async def echo(request: Request) -> Response:
        number = request.path_params["number"]
        content = await request.read()
        await trio.sleep(random.Random(number).choice([0, 0, 0.01, 0.1, 1]))
        return Response.text(f"{number} {len(content)}", headers={"X-Number": str(number), "Set-Cookie": f"n={number}"})

    @app.get("/moved/{number:int}")
    async def moved(request: Request) -> Response:
        await trio.sleep(0.01)
        return Response.redirect(f"/echo/{request.path_params['number']}")

    @app.get("/guarded/{number:int}")
    async def guarded(request: Request) -> Response:
        if "authorization" not in request.headers:
            challenge = 'Digest realm="r", nonce="n", algorithm=SHA-256, qop="auth"'
            return Response(status=401, headers={"WWW-Authenticate": challenge})
        return Response.text(f"{request.path_params['number']} 0")

    @app.get("/long/{number:int}")
    async def long(request: Request) -> None:
        number = request.path_params["number"]
        async with request.respond(200) as body:
            for _ in range(10):
                await body.send_all(f"{number}\n".encode())
                await trio.sleep(0.02)

    return app


async def call(client: Client, number: int, kind: str) -> str:
    """Make one request of a kind, and return the number that its answer is about."""
    match kind:
        case "get":
            return (await client.get(f"/echo/{number}")).text.split()[0]
        case "post":
            reply = await client.post(f"/echo/{number}", content=(b"x" * 1000 for _ in range(number % 50)))
            assert reply.text == f"{number} {number % 50 * 1000}"
            return reply.headers["x-number"]
        case "moved":
            return (await client.get(f"/moved/{number}")).text.split()[0]
        case "guarded":
            return (await client.get(f"/guarded/{number}", auth=DigestAuth("u", "p"))).text.split()[0]
        case _:
            async with client.stream("GET", f"/long/{number}") as response:
                seen = {line async for line in response.lines()}
                assert len(seen) == 1
                return seen.pop()


@pytest.mark.parametrize("tls", [False, True])
@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_random_deadlines(
    seed: int, tls: bool, authority: CertificateAuthority, autojump_clock: trio.abc.Clock
) -> None:
    """Hundreds of calls of all kinds, each with a deadline that may strike anywhere."""
    chance = random.Random(seed)
    outcomes: Counter[str] = Counter()

    async def caller(client: Client, first: int) -> None:
        for number in range(first, first + CALLS):
            kind = chance.choice(["get", "get", "post", "moved", "guarded", "long"])
            answer = None
            with trio.move_on_after(chance.choice([0, 0.005, 0.01, 0.05, 0.2, 1, 100])):
                answer = await call(client, number, kind)
            assert answer in (None, str(number))
            outcomes["cut" if answer is None else "answered"] += 1

    limits = ClientLimits(connections=SLOTS, connections_per_origin=SLOTS)
    async with open_in_process(make_app(), tls=authority if tls else None) as site:
        options = {"tls": authority.client_context()} if tls else {}
        async with Client(HOME[tls], mounts={HOME[tls]: site}, limits=limits, **options) as client:
            async with trio.open_nursery() as nursery:
                for first in range(0, CALLERS * 1000, 1000):
                    nursery.start_soon(caller, client, first)
            statistics = client.pool.statistics()
            assert (statistics.in_use, statistics.connecting, statistics.waiting) == (0, 0, 0)
            assert statistics.connections == statistics.idle <= SLOTS
            async with trio.open_nursery() as nursery:  # all four can be had at once
                for number in range(SLOTS):
                    nursery.start_soon(call, client, number, "long")
            assert client.pool.statistics().idle == SLOTS
    assert outcomes.total() == CALLERS * CALLS
    assert min(outcomes["cut"], outcomes["answered"]) > 50
