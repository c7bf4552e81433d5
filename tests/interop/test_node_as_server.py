"""The client against a server on Node's http module."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
import trio

from triohttp import Client, ClientLimits
from triohttp.errors import BodyTruncatedError, DisconnectedError, StatusError

if TYPE_CHECKING:
    from conftest import Programs

pytestmark = pytest.mark.interop

CHUNKS = "a" + "b" * 100_000 + "c"


@asynccontextmanager
async def open_client(programs: Programs) -> AsyncIterator[Client]:
    """A client of a Node server that lives as long as the block."""
    async with programs.beside("node", programs.beside_tests("node_server.js")) as node:
        limits = ClientLimits(connections_per_origin=10)
        async with Client(f"http://127.0.0.1:{node.line}", limits=limits) as client:
            yield client


async def test_one_connection_is_kept(programs: Programs) -> None:
    """Content with a length, HEAD, chunks, hints, trailers and 404 all leave the connection in the pool."""
    async with open_client(programs) as client:
        port = (await client.get("/socket")).text
        assert (await client.get("/hello")).text == "hello"
        assert (await client.head("/hello")).content == b""
        assert (await client.get("/chunks")).text == CHUNKS
        assert (await client.get("/missing")).status == 404
        assert (await client.get("/hints")).text == "after"
        assert (await client.get("/trailers")).text == "content"
        assert (await client.get("/socket")).text == port
        assert client.pool.statistics().opened == 1


async def test_trailers(programs: Programs) -> None:
    """The trailer section is there after the content."""
    async with open_client(programs) as client, client.stream("GET", "/trailers") as response:
        assert await response.text() == "content"
        assert response.trailers is not None
        assert response.trailers["x-sum"] == "7"


async def test_interim_answers(programs: Programs) -> None:
    """103 and 102 are kept beside the final answer, in order."""
    async with open_client(programs) as client:
        response = await client.get("/hints")
        assert [head.status for head in response.interim] == [103, 102]
        assert response.interim[0].headers["link"] == "</style.css>; rel=preload"


async def test_a_server_that_closes(programs: Programs) -> None:
    """A connection is not used again after Connection: close, nor when the content ended with it."""
    async with open_client(programs) as client:
        assert (await client.get("/close")).text == "last"
        assert client.pool.statistics().connections == 0
        assert (await client.get("/until-close")).text == "to the end"
        assert client.pool.statistics().connections == 0


async def test_a_connection_that_died_in_the_pool(programs: Programs) -> None:
    """A server that leaves without a word costs nothing but a new connection."""
    async with open_client(programs) as client:
        for _ in range(5):
            assert (await client.get("/forget")).text == "bye"
        assert (await client.get("/hello")).text == "hello"  # a POST must not go out twice, so it may meet the end


@pytest.mark.parametrize("path", ["/cut", "/cut-chunks"])
async def test_an_answer_that_is_cut(path: str, programs: Programs) -> None:
    """An answer that ends too early is an error, and its connection is gone."""
    async with open_client(programs) as client:
        with pytest.raises((BodyTruncatedError, DisconnectedError)):
            await client.get(path)
        assert client.pool.statistics().connections == 0
        assert (await client.get("/hello")).text == "hello"


async def test_giving_up(programs: Programs) -> None:
    """A call that is cancelled while it waits gives its connection up, and the next one works."""
    async with open_client(programs) as client:
        with trio.move_on_after(0.1) as scope:
            await client.get("/silence")
        assert scope.cancelled_caught
        assert client.pool.statistics().connections == 0
        assert (await client.get("/hello")).text == "hello"


async def test_uploads(programs: Programs) -> None:
    """Content arrives in both framings, with trailers behind chunks, and after 100 when asked for."""
    async with open_client(programs) as client:
        whole = await client.post("/report", content=b"x" * 300_000)
        assert whole.json() == {
            "received": 300_000,
            "length": "300000",
            "coding": None,
            "trailers": {},
            "expected": False,
        }
        pieces = await client.post("/report", content=[b"x" * 1000] * 30, trailers={"X-Sum": "30000"})
        assert pieces.json() == {
            "received": 30_000,
            "length": None,
            "coding": "chunked",
            "trailers": {"x-sum": "30000"},
            "expected": False,
        }
        asked = await client.post("/report", content=b"hello", expect_continue=True)
        assert asked.json() == {"received": 5, "length": "5", "coding": None, "trailers": {}, "expected": True}
        assert client.pool.statistics().opened == 1


async def test_an_echo_both_ways_at_once(programs: Programs) -> None:
    """More than every buffer holds goes out and comes back through one exchange."""
    async with open_client(programs) as client:
        async with client.stream("POST", "/echo", content=[bytes([n]) * 100_000 for n in range(200)]) as response:
            assert await response.read() == b"".join(bytes([n]) * 100_000 for n in range(200))
        assert client.pool.statistics().idle == 1


@pytest.mark.parametrize("expect_continue", [True, False])
async def test_a_refused_upload_is_heard(expect_continue: bool, programs: Programs) -> None:
    """An early final answer ends the upload."""
    async with open_client(programs) as client:
        response = await client.post("/refuse", content=b"x" * 3_000_000, expect_continue=expect_continue)
        assert (response.status, response.text) == (403, "no")


async def test_an_upgrade(programs: Programs) -> None:
    """After 101 both sides speak raw bytes, and closing one half leaves the other open."""
    async with open_client(programs) as client, client.upgrade("shout", "/shout") as upgraded:
        assert upgraded.protocol == "shout"
        await upgraded.stream.send_all(b"hello")
        await upgraded.stream.send_eof()
        received = b""
        async for data in upgraded.stream:
            received += data
        assert received == b"ready HELLO bye"


async def test_a_refused_upgrade(programs: Programs) -> None:
    """An answer other than 101 is a StatusError with its content."""
    async with open_client(programs) as client:
        with pytest.raises(StatusError) as caught:
            async with client.upgrade("shout", "/hello"):
                pass
        assert (caught.value.code, caught.value.content) == (426, b"/shout")


async def test_many_at_once(programs: Programs) -> None:
    """Two hundred calls share ten connections, and each gets its own answer."""
    async with open_client(programs) as client, trio.open_nursery() as nursery:
        answers: list[int] = []

        async def call(size: int) -> None:
            reply = (await client.post("/report", content=b"x" * size)).json()
            assert isinstance(reply, dict)
            assert isinstance(reply["received"], int)
            answers.append(reply["received"])

        for size in range(200):
            nursery.start_soon(call, size)
    assert sorted(answers) == list(range(200))
    assert client.pool.statistics().opened <= 10
