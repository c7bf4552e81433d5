"""Sending again: what is sent again and what is not, how long is waited, and that nobody waits in vain."""

from __future__ import annotations

import itertools
import logging
import re
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
import trio.testing

from triohttp import Client, ClientLimits, ClientTimeouts, retry
from triohttp._values.dates import format_http_date
from triohttp.errors import ClientClosedError, ConnectError, DisconnectedError, HeadTimeout, TLSError, TotalTimeout
from triohttp.testing import CertificateAuthority, RawConnection, RawRequest, ScriptedServer, open_scripted

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
RESET = b""


def reply(status: int, *fields: str, content: bytes = b"no") -> bytes:
    lines = [f"HTTP/1.1 {status} Whatever", f"Content-Length: {len(content)}", *fields]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + content


class Origin:
    """A server that gives answers from a list, then ``OK``, behind a way that fails ``refuse`` times first."""

    def __init__(self, server: ScriptedServer, seen: list[tuple[float, RawRequest]], refuse: int) -> None:
        self._server = server
        self.url = server.url
        self.seen = seen
        self.refuse = refuse
        self.dials = 0

    async def connect(self) -> trio.abc.Stream:
        self.dials += 1
        await trio.lowlevel.checkpoint()
        if self.dials <= self.refuse:
            raise OSError("refused")
        return await self._server.connect()

    @property
    def methods(self) -> list[str]:
        return [request.method for _, request in self.seen]

    @property
    def times(self) -> list[float]:
        first = self.seen[0][0]
        return [at - first for at, _ in self.seen]


@asynccontextmanager
async def open_client(*answers: bytes, refuse: int = 0, **options: Any) -> AsyncIterator[tuple[Client, Origin]]:
    """Open a client that sends again, as ``options`` of ``retry`` say; the value has its server too."""
    rest = list(answers)
    seen: list[tuple[float, RawRequest]] = []

    async def script(raw: RawConnection) -> None:
        while True:
            request = await raw.read_request()
            seen.append((trio.current_time(), request))
            answer = rest.pop(0) if rest else OK
            if answer == RESET:
                raw.reset()
                return
            await raw.send_all(answer)

    async with open_scripted(script) as server:
        origin = Origin(server, seen, refuse)
        middleware = [retry(**options)]
        limits = ClientLimits(connections=1)
        async with Client(origin.url, mounts={origin.url: origin}, middleware=middleware, limits=limits) as client:
            yield client, origin


# -- what is sent again ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [429, 502, 503, 504])
async def test_answers_that_may_pass(status: int, autojump_clock: trio.testing.MockClock) -> None:
    """The request is sent until there is a better one; all on one connection."""
    async with open_client(reply(status), reply(status)) as (client, origin):
        response = await client.get("/")
        assert (response.status, response.content, response.history) == (200, b"ok", ())
        assert response.attempts == 3
        assert origin.methods == ["GET"] * 3
        assert origin.dials == 1


@pytest.mark.parametrize("status", [200, 204, 302, 400, 404, 408, 500, 501])
async def test_other_answers_are_answers(status: int, autojump_clock: trio.testing.MockClock) -> None:
    """They are returned as they came."""
    async with open_client(reply(status, content=b"")) as (client, origin):
        assert (await client.get("/")).status == status
        assert len(origin.seen) == 1


async def test_the_last_answer_is_returned(autojump_clock: trio.testing.MockClock) -> None:
    """When all attempts are used up, whatever it says."""
    async with open_client(*[reply(503, content=b"%d" % n) for n in range(9)], attempts=4) as (client, origin):
        response = await client.get("/")
        assert (response.status, response.content) == (503, b"3")
        assert len(origin.seen) == 4


async def test_statuses_are_those_that_were_given(autojump_clock: trio.testing.MockClock) -> None:
    """In the place of the usual ones."""
    async with open_client(reply(418), reply(503), statuses={418}) as (client, origin):
        assert (await client.get("/")).status == 503
        assert len(origin.seen) == 2


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "PUT", "DELETE", "TRACE"])
async def test_idempotent_requests_are_sent_again(method: str, autojump_clock: trio.testing.MockClock) -> None:
    """After a connection broke with the request on it, and after an answer; with all their content."""
    async with open_client(RESET, reply(503, content=b"")) as (client, origin):
        content = b"content" if method == "PUT" else b""
        with trio.fail_after(100):
            response = await client.request(method, "/", content=content, timeouts=ClientTimeouts(head_seconds=1))
        assert response.status == 200
        assert [(one.method, one.content) for _, one in origin.seen] == [(method, content)] * 3


@pytest.mark.parametrize("answer", [RESET, reply(503)], ids=["reset", "503"])
@pytest.mark.parametrize("method", ["POST", "PATCH"])
async def test_other_requests_are_sent_once(method: str, answer: bytes, autojump_clock: trio.testing.MockClock) -> None:
    """The server may have acted on them; the error says how many attempts there were, and why no more."""
    async with open_client(answer) as (client, origin):
        if answer:
            assert (await client.request(method, "/", content=b"x")).status == 503
        else:
            with pytest.raises(DisconnectedError) as caught:
                await client.request(method, "/", content=b"x")
            assert f"attempt 1 of 3 was the last: {method} may not be sent twice" in caught.value.__notes__
        assert origin.methods == [method]


@pytest.mark.parametrize("content", ["bytes", "iterable"])
async def test_what_has_not_gone_out_is_sent_again(content: str, autojump_clock: trio.testing.MockClock) -> None:
    """Whatever the method, even content that can be read once: without a connection nothing of it was asked for."""
    async with open_client(refuse=2) as (client, origin):
        response = await client.post("/", content=b"abc" if content == "bytes" else (piece for piece in [b"a", b"bc"]))
        assert response.status == 200
        assert origin.dials == 3
        assert [request.content for _, request in origin.seen] == [b"abc"]


@pytest.mark.parametrize("answer", [RESET, reply(503)], ids=["reset", "503"])
@pytest.mark.parametrize("how", ["all methods", "named", "its key", "our key"])
async def test_a_program_may_say_that_twice_is_as_good_as_once(
    how: str, answer: bytes, autojump_clock: trio.testing.MockClock
) -> None:
    """For all methods, for some, or for requests with an Idempotency-Key; ours is the same each time, and a UUID."""
    options: dict[str, dict[str, Any]] = {
        "all methods": {"methods": None},
        "named": {"methods": ["post"]},
        "its key": {},
        "our key": {"idempotency_key": True},
    }
    headers = {"Idempotency-Key": "mine"} if how == "its key" else {}
    async with open_client(answer, answer, **options[how]) as (client, origin):
        response = await client.post("/", content=b"abc", headers=headers)
        assert response.status == 200
        assert [request.content for _, request in origin.seen] == [b"abc"] * 3
        (key,) = {request.headers.get("idempotency-key") for _, request in origin.seen}
        if how == "our key":
            assert key is not None
            assert key == f'"{uuid.UUID(key.strip(chr(34)))}"'
        else:
            assert key == headers.get("Idempotency-Key")


async def test_keys_are_for_requests_that_need_one(autojump_clock: trio.testing.MockClock) -> None:
    """One that there is stays, two requests have two, and an idempotent one has none."""
    async with open_client(idempotency_key=True) as (client, origin):
        await client.post("/", headers={"Idempotency-Key": "mine"})
        await client.post("/")
        await client.patch("/")
        await client.get("/")
        keys = [request.headers.get("idempotency-key") for _, request in origin.seen]
        assert keys[0] == "mine"
        assert keys[3] is None
        assert len(set(keys)) == 4


@pytest.mark.parametrize("answer", [RESET, reply(503)], ids=["reset", "503"])
async def test_content_that_has_been_read_is_not_sent_again(
    answer: bytes, autojump_clock: trio.testing.MockClock
) -> None:
    """Half of it would be worse than nothing; it is closed in the end."""
    async with open_client(answer) as (client, origin):
        pieces = (piece for piece in [b"a", b"b"])
        if answer:
            assert (await client.put("/", content=pieces)).status == 503
        else:
            with pytest.raises(DisconnectedError) as caught:
                await client.put("/", content=pieces)
            assert "can be read only once" in caught.value.__notes__[-1]
        assert len(origin.seen) == 1
        assert list(pieces) == []


async def test_an_error_of_the_contents_source_says_nothing_about_the_request(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """It was safe to repeat something else: the POST that was to carry it had begun."""
    async with open_client() as (client, origin):

        class Source:
            def __iter__(self) -> Iterator[bytes]:
                raise ConnectError("another one", safe_to_retry=True)

        with pytest.raises(ConnectError, match="another one"):
            await client.post("/", content=Source())
        assert origin.dials == 1


@pytest.mark.parametrize("mounted", [True, False])
async def test_what_was_redirected_has_gone_out(mounted: bool, autojump_clock: trio.testing.MockClock) -> None:
    """A POST that led somewhere was acted on, though nothing went to where it led."""
    async with open_client(reply(303, "Location: http://refusing.test/")) as (_, origin):

        class Refusing:
            async def connect(self) -> trio.abc.Stream:
                await trio.lowlevel.checkpoint()
                raise OSError("refused")

        mounts = {origin.url: origin, **({"http://refusing.test": Refusing()} if mounted else {})}
        async with Client(mounts=mounts, mounts_only=True, middleware=[retry()]) as client:
            with pytest.raises(ConnectError) as caught:
                await client.post(origin.url, content=b"pay")
        assert (caught.value.sent, caught.value.safe_to_retry) == (True, False)
        assert origin.methods == ["POST"]


async def test_one_pass_over_content_ends_before_the_next_begins(autojump_clock: trio.testing.MockClock) -> None:
    """However long its cleanup takes, and though the answer that stopped it was let go meanwhile."""
    steps: list[str] = []

    class Content:
        async def __aiter__(self) -> AsyncIterator[bytes]:
            steps.append("begin")
            try:
                for _ in range(100):
                    yield b"x" * 10_000
            finally:
                with trio.CancelScope(shield=True):
                    await trio.sleep(60)
                steps.append("end")

    async def script(raw: RawConnection) -> None:
        await raw.receive_some()
        status = b"503 Busy" if len(server.connections) == 1 else b"200 OK"
        await raw.send_all(b"HTTP/1.1 %s\r\nContent-Length: 0\r\n\r\n" % status)
        await trio.sleep(1)

    async with open_scripted(script) as server:
        async with Client(mounts={server.url: server}, middleware=[retry()]) as client:
            async with client.stream("PUT", server.url, content=Content()) as response:
                assert response.status == 200
    assert steps == ["begin", "end"] * 2


# -- what is not sent again --------------------------------------------------------------------------------------------


async def test_a_client_that_is_closed_stays_closed(autojump_clock: trio.testing.MockClock) -> None:
    """Whoever closes a client does not wait for attempts."""
    async with open_client(refuse=99) as (client, origin):
        await client.aclose()
        before = trio.current_time()
        with pytest.raises(ClientClosedError):
            await client.get("/")
        assert trio.current_time() == before
        assert origin.dials == 0


async def test_a_certificate_that_is_not_trusted_stays_so(autojump_clock: trio.testing.MockClock) -> None:
    """One attempt; the error is the handshake's."""

    async def script(raw: RawConnection) -> None:
        await raw.receive_some()

    async with open_scripted(script, tls=CertificateAuthority()) as server:
        strangers = CertificateAuthority().client_context()
        async with Client(mounts={server.url: server}, tls=strangers, middleware=[retry()]) as client:
            with pytest.raises(TLSError) as caught:
                await client.get(server.url)
            assert "fail in the same way" in caught.value.__notes__[-1]
        assert len(server.connections) == 1


async def test_other_failures_of_a_handshake_may_pass(autojump_clock: trio.testing.MockClock) -> None:
    """A server that hangs up in the middle of it is asked again."""

    async def script(raw: RawConnection) -> None:
        return

    async with open_scripted(script, tls=CertificateAuthority()) as server:
        context = CertificateAuthority().client_context()
        async with Client(mounts={server.url: server}, tls=context, middleware=[retry()]) as client:
            with pytest.raises(TLSError):
                await client.get(server.url)
        assert len(server.connections) == 3


# -- how long is waited ------------------------------------------------------------------------------------------------


async def test_waits_grow_up_to_a_bound_and_are_drawn(autojump_clock: trio.testing.MockClock) -> None:
    """Between 0 and a bound that doubles; no two of them are alike."""
    answers = [reply(503)] * 39
    async with open_client(*answers, attempts=40, backoff_seconds=1, max_backoff_seconds=8) as (client, origin):
        assert (await client.get("/")).status == 200
        times = origin.times
        waits = [later - earlier for earlier, later in itertools.pairwise(times)]
        assert len(waits) == 39
        assert [wait for wait, bound in zip(waits, [1, 2, 4] + [8] * 36, strict=True) if not 0 <= wait <= bound] == []
        assert len(set(waits)) == len(waits)
        assert max(waits) > 4  # it is 2⁻³⁶ that all were small


async def test_no_backoff_is_none(autojump_clock: trio.testing.MockClock) -> None:
    """Errors and answers are followed by the next attempt at once."""
    async with open_client(RESET, reply(503), backoff_seconds=0) as (client, origin):
        await client.get("/")
        assert origin.times == [0, 0, 0]


async def test_many_attempts_do_not_overflow(autojump_clock: trio.testing.MockClock) -> None:
    """Doubling ends long before numbers do."""
    async with open_client(*[reply(503)] * 1100, attempts=1101, max_backoff_seconds=0.001) as (client, origin):
        assert (await client.get("/")).status == 200
        assert len(origin.seen) == 1101


DATE = "Date: Sun, 06 Nov 1994 08:49:37 GMT"


@pytest.mark.parametrize(
    ("fields", "seconds"),
    [
        (["Retry-After: 7"], 7),
        (["Retry-After: 0"], 0),
        (["Retry-After: 60"], 60),
        ([DATE, "Retry-After: Sun, 06 Nov 1994 08:49:47 GMT"], 10),
        ([DATE, "Retry-After: Sunday, 06-Nov-94 08:49:47 GMT"], 10),
        ([DATE, "Retry-After: Sun, 06 Nov 1994 08:49:37 GMT"], 0),
        ([DATE, "Retry-After: Sun, 06 Nov 1994 07:49:37 GMT"], 0),
        (["Retry-After: Sun, 06 Nov 1994 07:49:37 GMT"], 0),
        (["Retry-After: soon"], 0),
        (["Retry-After: -5"], 0),
        (["Retry-After:"], 0),
        ([], 0),
    ],
    ids=str,
)
async def test_what_the_server_asks_for(
    fields: list[str], seconds: float, autojump_clock: trio.testing.MockClock
) -> None:
    """Retry-After in both forms; a date counts from the answer's own, one in the past means now, nonsense nothing."""
    async with open_client(reply(503, *fields), backoff_seconds=0) as (client, origin):
        assert (await client.get("/")).status == 200
        assert origin.times == [0, seconds]


async def test_a_date_counts_from_now_when_the_answer_has_none(autojump_clock: trio.testing.MockClock) -> None:
    """Then the clock of this machine has to do."""
    field = f"Retry-After: {format_http_date(time.time() + 40)}"
    async with open_client(reply(503, field), backoff_seconds=0) as (client, origin):
        assert (await client.get("/")).status == 200
        assert 30 < origin.times[1] <= 40


async def test_backoff_comes_on_top_of_what_the_server_asks_for(autojump_clock: trio.testing.MockClock) -> None:
    """All clients that were told the same second do not come in the same."""
    async with open_client(*[reply(503, "Retry-After: 7")] * 2) as (client, origin):
        assert (await client.get("/")).status == 200
        assert 7 < origin.times[1] <= 7.5
        assert 7 < origin.times[2] - origin.times[1] <= 8


@pytest.mark.parametrize("field", ["61", "9" * 30, "Fri, 31 Dec 9999 23:59:59 GMT"])
async def test_a_server_that_asks_for_too_much(field: str, autojump_clock: trio.testing.MockClock) -> None:
    """Its answer is returned at once: to come back earlier than it says would be of no use."""
    async with open_client(reply(503, f"Retry-After: {field}")) as (client, origin):
        before = trio.current_time()
        assert (await client.get("/")).status == 503
        assert trio.current_time() == before
        assert len(origin.seen) == 1


# -- deadlines ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("where", ["scope", "total_seconds"])
async def test_no_wait_outlasts_a_deadline(
    where: str, autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """The answer that there is is returned at once, while there is time to do something about it; the log says why."""
    caplog.set_level(logging.INFO, "triohttp.client")
    timeouts = ClientTimeouts(total_seconds=5) if where == "total_seconds" else ClientTimeouts()
    async with open_client(reply(503, "Retry-After: 10")) as (client, origin):
        before = trio.current_time()
        with trio.fail_after(5 if where == "scope" else 1000):
            assert (await client.get("/", timeouts=timeouts)).status == 503
        assert trio.current_time() == before
        assert len(origin.seen) == 1
    assert re.search(r"503 Service Unavailable; attempt 1 was the last: .*, the deadline is in 5\.0 s", caplog.text)


async def test_an_error_says_that_there_was_no_time_for_another_attempt(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """It is raised at once, with a note."""
    async with open_client(refuse=99, attempts=99, backoff_seconds=20) as (client, _):
        before = trio.current_time()
        with trio.fail_after(1), pytest.raises(ConnectError) as caught:
            await client.get("/")
        assert trio.current_time() - before < 1
        assert re.search(r"attempt \d of 99 was the last: .* the deadline is in", caught.value.__notes__[-1])


async def test_attempts_go_on_while_there_is_time(autojump_clock: trio.testing.MockClock) -> None:
    """A deadline that is far enough changes nothing."""
    async with open_client(reply(503, "Retry-After: 10"), backoff_seconds=0) as (client, _):
        with trio.fail_after(10.1):
            assert (await client.get("/", timeouts=ClientTimeouts(total_seconds=10.1))).status == 200


async def test_the_time_of_the_whole_call_is_over_once(autojump_clock: trio.testing.MockClock) -> None:
    """``total_seconds`` bounds all attempts together, and its error is not a reason for another."""

    async def script(raw: RawConnection) -> None:
        await raw.read_request()
        await trio.sleep_forever()

    async with open_scripted(script) as server:
        timeouts = ClientTimeouts(head_seconds=4, total_seconds=10)
        middleware = [retry(9, backoff_seconds=0)]
        async with Client(mounts={server.url: server}, middleware=middleware, timeouts=timeouts) as client:
            before = trio.current_time()
            with pytest.raises(TotalTimeout):
                await client.get(server.url)
            assert trio.current_time() - before == 10
            assert len(server.connections) == 3
            with pytest.raises(HeadTimeout) as caught:
                await client.derive(middleware=[]).get(server.url, timeouts=ClientTimeouts(head_seconds=1))
            assert "attempt 9 of 9 was the last: there are no more" in caught.value.__notes__


async def test_a_call_that_is_cancelled_already_is_cancelled(autojump_clock: trio.testing.MockClock) -> None:
    """A failure that comes with the cancellation does not stand in for it."""

    class Cancelling:
        async def connect(self) -> trio.abc.Stream:
            await trio.lowlevel.checkpoint()
            scope.cancel()
            raise OSError("refused")

    async with Client(mounts={"http://c.test": Cancelling()}, middleware=[retry()]) as client:
        with trio.CancelScope() as scope:
            await client.get("http://c.test/")
        assert scope.cancelled_caught


# -- while it waits ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 2, 50_000, 1_000_000])
async def test_nothing_is_held_while_it_waits(size: int, autojump_clock: trio.testing.MockClock) -> None:
    """Neither a slot nor the answer's content; a connection whose answer was short is used again."""
    answer = reply(503, "Retry-After: 10", content=b"x" * size)
    async with open_client(answer, backoff_seconds=0) as (client, origin):

        async def look() -> None:
            await trio.sleep(5)
            statistics = client.pool.statistics()
            looked.append((statistics.in_use, statistics.waiting))

        looked: list[tuple[int, int]] = []
        async with trio.open_nursery() as nursery:
            nursery.start_soon(look)
            async with client.stream("GET", "/") as response:
                assert (response.status, await response.read()) == (200, b"ok")
        assert looked == [(0, 0)]
        assert origin.dials == (1 if size < 64 * 1024 else 2)
        assert client.pool.statistics().in_use == 0


async def test_an_open_answer_whose_content_does_not_come_is_let_go(autojump_clock: trio.testing.MockClock) -> None:
    """After a second; the wait begins then."""
    stalled = b"HTTP/1.1 503 Busy\r\nContent-Length: 10\r\n\r\n"
    async with open_client(stalled, backoff_seconds=0) as (client, origin):
        async with client.stream("GET", "/") as response:
            assert response.status == 200
        assert origin.times == [0, 1]
        assert origin.dials == 2


async def test_the_last_open_answer_can_be_read(autojump_clock: trio.testing.MockClock) -> None:
    """It is not given up, only those before it."""
    async with open_client(*[reply(503, content=b"%d" % n) for n in range(9)]) as (client, origin):
        async with client.stream("GET", "/") as response:
            assert (response.status, await response.read()) == (503, b"2")
            assert response.attempts == 3
        assert len(origin.seen) == 3


async def test_cancelling_a_wait(autojump_clock: trio.testing.MockClock) -> None:
    """Ends the call; its slot is free already."""
    async with open_client(reply(503), backoff_seconds=20) as (client, origin):
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:

                async def cancel() -> None:
                    await trio.testing.wait_all_tasks_blocked()
                    scope.cancel()

                nursery.start_soon(cancel)
                await client.get("/")
        assert scope.cancelled_caught
        assert client.pool.statistics().in_use == 0
        assert (await client.get("/")).status == 200
        assert len(origin.seen) == 2


# -- what is told ------------------------------------------------------------------------------------------------------


async def test_an_error_is_about_all_attempts(autojump_clock: trio.testing.MockClock) -> None:
    """What an earlier one has sent has been sent, though the last found no connection."""
    async with open_client(RESET, attempts=2) as (client, origin):

        async def refuse(request: Any, send: Any) -> Any:
            try:
                return await send(request)
            finally:
                origin.refuse = 99

        with pytest.raises(ConnectError) as caught:
            await client.derive(middleware=[refuse]).get("/")
        assert (caught.value.sent, caught.value.safe_to_retry) == (True, False)
        assert "attempt 2 of 2 was the last: there are no more" in caught.value.__notes__


async def test_each_attempt_is_logged(autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture) -> None:
    """At INFO, with the reason and the wait."""
    caplog.set_level(logging.INFO, "triohttp.client")
    async with open_client(RESET, reply(503, "Retry-After: 3"), backoff_seconds=0) as (client, _):
        await client.get("/")
    records = [record.getMessage() for record in caplog.records]
    assert len(records) == 2
    assert re.search(r"^GET .*: .*; attempt 2 follows in 0\.0 s$", records[0])
    assert re.search(r"^GET .*: 503 Service Unavailable; attempt 3 follows in 3\.0 s$", records[1])


async def test_around_a_hop(autojump_clock: trio.testing.MockClock) -> None:
    """As hop middleware it sends again what failed, not the redirects before it."""
    answers = [reply(302, "Location: /there"), reply(503)]
    async with open_client(*answers, attempts=1) as (client, origin):
        response = await client.derive(hop_middleware=[retry()]).get("/")
        assert [request.target for _, request in origin.seen] == ["/", "/there", "/there"]
        assert len(response.history) == 1


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"attempts": 0}, ValueError, "attempts must be an integer of at least 1, not 0"),
        ({"attempts": True}, ValueError, "attempts"),
        ({"statuses": {"503"}}, ValueError, "statuses must be status codes from 200 to 599, not '503'"),
        ({"statuses": [True]}, ValueError, "statuses"),
        ({"statuses": [101]}, ValueError, "statuses"),
        ({"methods": "GET"}, TypeError, "methods must be a collection of methods, not one text: 'GET'"),
        ({"backoff_seconds": -1}, ValueError, "backoff_seconds must be at least 0, not -1"),
        ({"backoff_seconds": float("nan")}, ValueError, "backoff_seconds"),
        ({"max_backoff_seconds": -1}, ValueError, "max_backoff_seconds"),
        ({"max_retry_after_seconds": -1}, ValueError, "max_retry_after_seconds"),
    ],
    ids=str,
)
def test_options_that_make_no_sense(options: dict[str, Any], error: type[Exception], message: str) -> None:
    """They are refused when the middleware is made."""
    with pytest.raises(error, match=re.escape(message)):
        retry(**options)
