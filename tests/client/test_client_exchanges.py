"""One request and its answer, against scripted servers: what goes out, what comes back, what the connection becomes."""

from __future__ import annotations

import gc
from collections.abc import Awaitable, Callable
from typing import TypeAlias

import pytest
import trio
import trio.testing

from triohttp import Client, ClientLimits
from triohttp._wire.coding import accept_encoding
from triohttp.errors import (
    BodyStateError,
    BodyTooLargeError,
    BodyTruncatedError,
    DisconnectedError,
    RemoteProtocolError,
    StatusError,
)
from triohttp.testing import RawConnection, open_scripted

Script: TypeAlias = Callable[[RawConnection], Awaitable[None]]

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


async def answer_all(connection: RawConnection) -> None:
    """Answer requests until the client leaves."""
    while True:
        request = await connection.read_request()
        await connection.send_all(OK[:-2] if request.method == "HEAD" else OK)


def always(answer: bytes) -> Script:
    """Return a script that gives the same answer to every request."""

    async def script(connection: RawConnection) -> None:
        while True:
            await connection.read_request()
            await connection.send_all(answer)

    return script


def once(answer: bytes, *, then_wait: bool = True) -> Script:
    """Return a script that reads one request, sends ``answer``, and waits for the client's end or leaves."""

    async def script(connection: RawConnection) -> None:
        await connection.read_request()
        await connection.send_all(answer)
        if then_wait:
            await connection.read_until_closed()

    return script


async def test_a_connection_is_used_again() -> None:
    """After a complete answer the next request goes out on the same connection."""
    async with open_scripted(answer_all) as server, Client(mounts={server.url: server}) as client:
        for _ in range(3):
            assert (await client.get(server.url)).content == b"ok"
        assert len(server.connections) == 1
        statistics = client.pool.statistics()
        assert (statistics.opened, statistics.reused, statistics.idle) == (1, 2, 1)


async def test_a_request_on_the_wire() -> None:
    """Host comes first, the defaults follow, and nothing about content is said where there is none."""
    async with open_scripted(answer_all) as server, Client(mounts={server.url: server}) as client:
        await client.get(f"{server.url}/a%20b?q=1#fragment", headers={"X-Own": "1"})
        assert server.connections[0].received == (
            b"GET /a%20b?q=1 HTTP/1.1\r\nHost: scripted.test\r\nUser-Agent: triohttp\r\nAccept: */*\r\n"
            b"Accept-Encoding: " + accept_encoding().encode() + b"\r\nX-Own: 1\r\n\r\n"
        )


@pytest.mark.parametrize(("method", "expected"), [("POST", b"0"), ("PUT", b"0"), ("PATCH", b"0"), ("DELETE", None)])
async def test_a_method_that_has_content_says_when_there_is_none(method: str, expected: bytes | None) -> None:
    """An empty POST has Content-Length: 0 (RFC 9110 §8.6)."""
    seen: list[bytes | None] = []

    async def script(connection: RawConnection) -> None:
        seen.append((await connection.read_request()).headers.get_bytes("content-length"))
        await connection.send_all(OK)

    async with open_scripted(script) as server, Client(mounts={server.url: server}) as client:
        await client.request(method, server.url)
    assert seen == [expected]


@pytest.mark.parametrize("verb", ["get", "head", "options", "post", "put", "patch", "delete"])
async def test_each_verb_sends_its_method(verb: str) -> None:
    """A client has a method for each usual one."""

    async def script(connection: RawConnection) -> None:
        request = await connection.read_request()
        await connection.send_all(b"HTTP/1.1 200 OK\r\nX-Method: %s\r\n\r\n" % request.method.encode())

    async with open_scripted(script) as server, Client(server.url, mounts={server.url: server}) as client:
        response = await getattr(client, verb)("/")
        assert response.headers["x-method"] == verb.upper()


async def test_an_answer_has_all_that_came() -> None:
    """Status, phrase, fields, version, content, trailers, interim responses and time are there."""
    wire = (
        b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload\r\n\r\n"
        b"HTTP/1.1 201 Whatever\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
        b'8\r\n{"a": 1}\r\n0\r\nX-Sum: 7\r\n\r\n'
    )
    async with open_scripted(once(wire)) as server, Client(mounts={server.url: server}) as client:
        response = await client.get(f"{server.url}/x?y")
    assert (response.status, response.reason, response.http_version) == (201, "Created", "1.1")
    assert response.json() == {"a": 1}
    assert response.trailers is not None
    assert response.trailers["x-sum"] == "7"
    assert [(head.status, head.headers["link"]) for head in response.interim] == [(103, "</style.css>; rel=preload")]
    assert str(response.url) == f"{server.url}/x?y"
    assert response.request.method == "GET"
    assert response.elapsed >= 0


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok",
        b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nEVIL",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok\r\n",
    ],
)
async def test_a_connection_with_no_future_is_not_used_again(answer: bytes) -> None:
    """What the server said after its answer is never the answer to the next request (RFC 9112 §9.3, §9.6)."""
    async with open_scripted(once(answer)) as server, Client(mounts={server.url: server}) as client:
        for _ in range(2):
            assert (await client.get(server.url)).content == b"ok"
        assert len(server.connections) == 2
        assert client.pool.statistics().idle == 0


async def test_a_client_may_ask_for_the_end_of_a_connection() -> None:
    """``Connection: close`` of the program's own is sent, and heeded whatever the server says."""
    async with open_scripted(once(OK)) as server, Client(mounts={server.url: server}) as client:
        await client.get(server.url, headers={"Connection": "close"})
        assert b"\r\nConnection: close\r\n" in server.connections[0].received
        assert client.pool.statistics().connections == 0


async def test_a_server_out_of_step_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """Bytes after an answer are worth a warning: somebody may be smuggling."""
    async with open_scripted(once(OK + OK)) as server, Client(mounts={server.url: server}) as client:
        await client.get(server.url)
    assert [(record.name, record.levelname) for record in caplog.records] == [("triohttp.client", "WARNING")]
    assert f"{len(OK)} bytes" in caplog.text


async def test_a_connection_that_is_over_ends_without_a_reset() -> None:
    """When both messages are complete, closing is no accident, and the server does not see one."""
    ends: list[bytes] = []

    async def script(connection: RawConnection) -> None:
        await connection.read_request()
        await connection.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")
        ends.append(await connection.read_until_closed())

    async with open_scripted(script) as server, Client(mounts={server.url: server}) as client:
        await client.get(server.url)
        await trio.testing.wait_all_tasks_blocked()
        assert ends == [b""]


@pytest.mark.parametrize("use", ["one-shot", "stream", "upload"])
async def test_a_request_leaves_no_reference_cycle(use: str) -> None:
    """What a request used is freed when it is over, without the garbage collector."""
    async with open_scripted(answer_all) as server, Client(mounts={server.url: server}) as client:

        async def request() -> None:
            if use == "one-shot":
                await client.get(server.url)
            elif use == "stream":
                async with client.stream("GET", server.url) as response:
                    await response.read()
            else:
                await client.post(server.url, content=[b"x"])

        await request()
        gc.collect()
        gc.disable()
        flags = gc.get_debug()
        gc.set_debug(gc.DEBUG_SAVEALL)
        try:
            await request()
            gc.collect()
            ours = {type(one).__qualname__ for one in gc.garbage if type(one).__module__.startswith("triohttp._c")}
        finally:
            gc.set_debug(flags)
            gc.garbage.clear()
            gc.enable()
    assert not ours


async def test_what_a_server_says_while_idle_is_never_an_answer() -> None:
    """An unasked answer on an idle connection ends that connection."""
    late = trio.Event()

    async def script(connection: RawConnection) -> None:
        await connection.read_request()
        await connection.send_all(OK)
        await late.wait()
        await connection.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nEVIL")
        await connection.read_until_closed()

    async with open_scripted(script) as server, Client(mounts={server.url: server}) as client:
        await client.get(server.url)
        late.set()
        await trio.testing.wait_all_tasks_blocked()
        assert (await client.get(server.url)).content == b"ok"
        assert len(server.connections) == 2


@pytest.mark.parametrize(
    ("method", "answer"),
    [
        ("HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: 999999999999\r\n\r\n"),
        ("GET", b"HTTP/1.1 204 No Content\r\n\r\n"),
        ("GET", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n"),
    ],
)
async def test_an_answer_without_content_ends_with_its_head(method: str, answer: bytes) -> None:
    """HEAD, 204 and 304 have no content whatever their fields say, and the connection lives on (RFC 9112 §6.3)."""
    async with open_scripted(once(answer)) as server, Client(mounts={server.url: server}) as client:
        response = await client.request(method, server.url)
        assert response.content == b""
        assert client.pool.statistics().idle == 1


async def test_content_up_to_the_end_of_the_stream_is_complete() -> None:
    """Without a length the end of the stream is the end of the content (RFC 9112 §6.3)."""
    answer = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nall of it"
    async with open_scripted(once(answer, then_wait=False)) as server, Client(mounts={server.url: server}) as client:
        assert (await client.get(server.url)).content == b"all of it"


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nok",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n",
    ],
)
async def test_truncated_content_is_an_error(answer: bytes) -> None:
    """An end in the middle is never taken for the end; the error says how much came."""
    async with open_scripted(once(answer, then_wait=False)) as server, Client(mounts={server.url: server}) as client:
        with pytest.raises(BodyTruncatedError) as caught:
            await client.get(server.url)
        assert caught.value.received == 2
        assert caught.value.sent
        assert client.pool.statistics().connections == 0


@pytest.mark.parametrize(
    "answer",
    [
        b"hello\r\n\r\n",
        b"HTTP/1.1 99 No\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: \0\r\n\r\n",
    ],
)
async def test_what_is_not_http_is_an_error(answer: bytes) -> None:
    """A broken answer raises RemoteProtocolError once; the connection is gone, the client is fine."""
    async with open_scripted(once(answer)) as server, Client(mounts={server.url: server}) as client:
        with pytest.raises(RemoteProtocolError):
            await client.get(server.url)
        assert client.pool.statistics().connections == 0


async def test_errors_name_the_request() -> None:
    """A note says what was being asked, without what is secret in the URL's place."""
    async with open_scripted(once(b"nonsense\r\n\r\n")) as server, Client(mounts={server.url: server}) as client:
        with pytest.raises(RemoteProtocolError) as caught:
            await client.get(f"{server.url}/path")
    assert any("GET" in note and "/path" in note for note in caught.value.__notes__)


async def test_interim_responses_are_bounded() -> None:
    """A server cannot keep a client busy with 1xx."""
    answer = b"HTTP/1.1 103 Early Hints\r\n\r\n" * 17 + OK
    async with open_scripted(once(answer)) as server, Client(mounts={server.url: server}) as client:
        with pytest.raises(RemoteProtocolError) as caught:
            await client.get(server.url)
        assert caught.value.slug == "too-many-1xx"


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\n" + b"x" * 11,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nb\r\n" + b"x" * 11 + b"\r\n0\r\n\r\n",
    ],
)
async def test_the_content_of_a_one_shot_is_bounded(answer: bytes) -> None:
    """Announced or not, what passes ``max_body_bytes`` is an error and costs the connection."""
    limits = ClientLimits(max_body_bytes=10)
    async with open_scripted(once(answer)) as server, Client(mounts={server.url: server}, limits=limits) as client:
        with pytest.raises(BodyTooLargeError) as caught:
            await client.get(server.url)
        assert (caught.value.limit, caught.value.bound) == ("max_body_bytes", 10)
        assert client.pool.statistics().connections == 0
        async with client.stream("GET", server.url) as response:
            assert await response.read(max_bytes=None) == b"x" * 11


# -- a connection that died while idle ---------------------------------------------------------------------------------


def dying(requests_before: int, *, partial: bytes = b"") -> Script:
    """Return a script that closes its first connection when the next request has been read, unanswered."""
    connections: list[RawConnection] = []

    async def script(connection: RawConnection) -> None:
        connections.append(connection)
        if len(connections) > 1:
            await answer_all(connection)
        for _ in range(requests_before):
            await connection.read_request()
            await connection.send_all(OK)
        await connection.read_request()
        await connection.send_all(partial)

    return script


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "PUT", "DELETE"])
async def test_an_idempotent_request_is_repeated_once_on_a_new_connection(method: str) -> None:
    """A reused connection that ends without a byte of an answer was closed before it (RFC 9112 §9.3.1)."""
    async with open_scripted(dying(1)) as server, Client(mounts={server.url: server}) as client:
        await client.get(server.url)
        response = await client.request(method, server.url, content=b"x" if method == "PUT" else b"")
        assert response.status == 200
        assert len(server.connections) == 2
        assert client.pool.statistics().connections == 1


@pytest.mark.parametrize("method", ["POST", "PATCH"])
async def test_a_request_that_may_have_acted_is_not_repeated(method: str) -> None:
    """Whether a POST was carried out is not known, and the error says so."""
    async with open_scripted(dying(1)) as server, Client(mounts={server.url: server}) as client:
        await client.get(server.url)
        with pytest.raises(DisconnectedError) as caught:
            await client.request(method, server.url)
        assert caught.value.sent
        assert not caught.value.safe_to_retry
        assert len(server.connections) == 1


async def test_a_request_on_a_new_connection_is_not_repeated() -> None:
    """A server that refuses a fresh connection's request meant it."""
    async with open_scripted(dying(0)) as server, Client(mounts={server.url: server}) as client:
        with pytest.raises(DisconnectedError):
            await client.get(server.url)
        assert len(server.connections) == 1


async def test_a_request_whose_answer_has_begun_is_not_repeated() -> None:
    """One byte of an answer shows that the request was heard."""
    async with (
        open_scripted(dying(1, partial=b"HTTP/1.1 2")) as server,
        Client(mounts={server.url: server}) as client,
    ):
        await client.get(server.url)
        with pytest.raises(RemoteProtocolError, match="inside a head"):
            await client.get(server.url)
        assert len(server.connections) == 1


async def test_a_request_is_repeated_only_once() -> None:
    """When the new connection ends in the same way, that is the answer."""

    async def script(connection: RawConnection) -> None:
        if connection is server.connections[0]:
            await connection.read_request()
            await connection.send_all(OK)
        await connection.read_request()

    async with open_scripted(script) as server, Client(mounts={server.url: server}) as client:
        await client.get(server.url)
        with pytest.raises(DisconnectedError):
            await client.get(server.url)
        assert len(server.connections) == 2


async def test_a_connection_closed_while_idle_is_not_tried() -> None:
    """The end of an idle connection is seen when it is taken: even a POST goes out, on another."""
    async with open_scripted(once(OK, then_wait=False)) as server, Client(mounts={server.url: server}) as client:
        await client.get(server.url)
        await trio.testing.wait_all_tasks_blocked()
        assert (await client.post(server.url)).status == 200
        assert len(server.connections) == 2


# -- streamed answers --------------------------------------------------------------------------------------------------


async def test_a_streamed_answer_comes_piece_by_piece() -> None:
    """The head is there before the content, and each piece as it comes."""
    more = trio.Event()

    async def script(connection: RawConnection) -> None:
        await connection.read_request()
        await connection.send_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n")
        await more.wait()
        await connection.send_all(b"3\r\ntwo\r\n0\r\nX-Sum: 6\r\n\r\n")
        await connection.read_until_closed()

    async with open_scripted(script) as server, Client(mounts={server.url: server}) as client:
        async with client.stream("GET", server.url) as response:
            assert response.length is None
            assert await response.body.receive_some() == b"one"
            with pytest.raises(BodyStateError):
                assert response.trailers
            more.set()
            assert [piece async for piece in response.body] == [b"two"]
            assert response.trailers is not None
            assert response.trailers["x-sum"] == "6"
            assert client.pool.statistics().idle == 1, "the connection was free before its block was left"


async def test_leaving_the_block_early_closes_the_connection() -> None:
    """A content that was not received to its end costs the connection, at once."""
    async with open_scripted(once(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nfirst")) as server:
        async with Client(mounts={server.url: server}) as client:
            async with client.stream("GET", server.url) as response:
                assert await response.body.receive_some(2) == b"fi"
            assert client.pool.statistics().connections == 0
            with pytest.raises(trio.ClosedResourceError):
                await response.body.receive_some()


async def test_an_exception_in_the_block_comes_out_as_it_is() -> None:
    """The program's own exceptions are not wrapped in anything."""
    error = ValueError("mine")
    async with open_scripted(answer_all) as server, Client(mounts={server.url: server}) as client:
        with pytest.raises(ValueError, match="mine") as caught:
            async with client.stream("POST", server.url, content=[b"x"]):
                raise error
        assert caught.value is error
        assert client.pool.statistics().in_use == 0


async def test_a_block_is_entered_once() -> None:
    """A second use of the same context manager is a mistake that is told."""
    async with open_scripted(answer_all) as server, Client(mounts={server.url: server}) as client:
        block = client.stream("GET", server.url)
        async with block as response:
            await response.read()
        with pytest.raises(RuntimeError, match="entered before"):
            await block.__aenter__()


async def test_a_streamed_answer_can_be_read_at_once() -> None:
    """``read``, ``text``, ``json`` and ``lines`` collect what is left, within the client's bound."""
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n[1,\n2]"
    limits = ClientLimits(max_body_bytes=5)
    async with open_scripted(always(answer)) as server:
        async with Client(mounts={server.url: server}) as client:
            async with client.stream("GET", server.url) as response:
                assert await response.text() == "[1,\n2]"
            async with client.stream("GET", server.url) as response:
                assert await response.json() == [1, 2]
            async with client.stream("GET", server.url) as response:
                assert [line async for line in response.lines()] == ["[1,", "2]"]
        async with (
            Client(mounts={server.url: server}, limits=limits) as client,
            client.stream("GET", server.url) as response,
        ):
            with pytest.raises(BodyTooLargeError):
                await response.read()


async def test_raise_for_status_on_a_stream_keeps_some_content() -> None:
    """The error has what the server said about it, up to 64 KiB."""
    answer = b"HTTP/1.1 500 Oops\r\nContent-Length: 100000\r\n\r\n" + b"x" * 100_000
    async with open_scripted(once(answer)) as server, Client(mounts={server.url: server}) as client:
        async with client.stream("GET", server.url) as response:
            with pytest.raises(StatusError) as caught:
                await response.raise_for_status()
        assert caught.value.code == 500
        assert caught.value.content == b"x" * 65536


# -- upgrades ----------------------------------------------------------------------------------------------------------


async def test_an_upgraded_connection_is_a_raw_stream() -> None:
    """After 101 bytes go both ways as they are, early ones included, and the connection ends with the block."""

    async def script(connection: RawConnection) -> None:
        request = await connection.read_request()
        assert request.headers["upgrade"] == "echo"
        assert request.headers["connection"].lower() == "upgrade"
        await connection.send_all(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: echo\r\nConnection: upgrade\r\n\r\nhi")
        while data := await connection.receive_some():
            await connection.send_all(data)

    async with open_scripted(script) as server, Client(mounts={server.url: server}) as client:
        async with client.upgrade("echo", server.url) as upgraded:
            assert (upgraded.status, upgraded.protocol) == (101, "echo")
            assert await upgraded.stream.receive_some() == b"hi"
            await upgraded.stream.send_all(b"\0raw")
            assert await upgraded.stream.receive_some() == b"\0raw"
            assert client.pool.statistics().in_use == 1
        assert client.pool.statistics().connections == 0


async def test_a_refused_upgrade_says_why() -> None:
    """Any other answer than 101 is a StatusError with the content."""
    answer = b"HTTP/1.1 426 Upgrade Required\r\nContent-Length: 3\r\n\r\nwhy"
    async with open_scripted(once(answer)) as server, Client(mounts={server.url: server}) as client:
        with pytest.raises(StatusError) as caught:
            async with client.upgrade("echo", server.url):
                raise AssertionError("the block must not be entered")
        assert (caught.value.code, caught.value.content) == (426, b"why")
        assert client.pool.statistics().in_use == 0
