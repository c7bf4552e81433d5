"""The pool: every slot has one owner, the oldest waiter is next, and nothing dead or old is used."""

from __future__ import annotations

import random
import ssl

import pytest
import trio
import trio.testing

from triohttp import ClientLimits
from triohttp._client.pool import Destination, Lease, Pool
from triohttp.errors import ClientClosedError

A = Destination("http", "a.test", 80, None, "")
B = Destination("http", "b.test", 80, None, "")


class Line:
    """A connection as far as a pool looks at it."""

    def __init__(self, name: str = "") -> None:
        self.name = name
        self.reusable = True
        self.quiet = True
        self.closed = False

    def is_quiet(self) -> bool:
        return self.quiet

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.closed = True


class Caller:
    """Whoever holds a lease."""

    def __init__(self) -> None:
        self.told = False

    def client_closed(self) -> None:
        self.told = True

    def __str__(self) -> str:
        return "GET /slow"


def make_pool(keep_alive_seconds: float = 15.0, **limits: int) -> Pool:
    return Pool(ClientLimits(**limits), keep_alive_seconds)


def take(pool: Pool, destination: Destination = A, line: Line | None = None) -> Lease:
    """Take a lease that must be there, and open a connection in it if it has none."""
    lease = pool.acquire_nowait(destination, Caller())
    assert lease is not None
    if lease.connection is None:
        lease.opened(Line() if line is None else line)
    return lease


async def test_the_connection_used_last_is_reused_first() -> None:
    """Reuse is last in, first out, so that what is not needed becomes old and goes."""
    pool = make_pool()
    lines = [Line("first"), Line("second")]
    leases = [take(pool, A, line) for line in lines]
    for lease in leases:
        assert not lease.reused
        lease.release()
    again = take(pool)
    assert again.reused
    assert again.connection is lines[1]
    again.release()


async def test_a_connection_serves_its_own_destination_only() -> None:
    """Another host, port, scheme, TLS context or mount is another connection."""
    pool = make_pool()
    contexts = [ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT) for _ in range(2)]
    destinations = [
        A,
        B,
        A._replace(port=81),
        A._replace(scheme="https", tls=contexts[0]),
        A._replace(scheme="https", tls=contexts[1]),
        A._replace(mount="http://a.test"),
    ]
    take(pool, A).release()
    for destination in destinations[1:]:
        lease = take(pool, destination)
        assert not lease.reused, destination
        lease.release()
    assert pool.statistics().idle == len(destinations)


async def test_a_released_connection_goes_to_the_oldest_waiter() -> None:
    """Waiters are served first in, first out, and each gets the connection that was released."""
    pool = make_pool(connections_per_origin=1)
    line = Line()
    lease = take(pool, A, line)
    order: list[str] = []

    async def wait(name: str) -> None:
        mine = await pool.wait(A, Caller())
        order.append(name)
        assert mine.connection is line
        mine.release()

    async with trio.open_nursery() as nursery:
        for name in "abc":
            nursery.start_soon(wait, name)
            await trio.testing.wait_all_tasks_blocked()
        assert pool.statistics().waiting == 3
        lease.release()
    assert order == ["a", "b", "c"]


async def test_a_newcomer_does_not_overtake_a_waiter() -> None:
    """Between a release and the waiter's next step the slot is the waiter's already."""
    pool = make_pool(connections_per_origin=1)
    lease = take(pool)
    got: list[Lease] = []

    async def wait() -> None:
        got.append(await pool.wait(A, Caller()))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait)
        await trio.testing.wait_all_tasks_blocked()
        lease.release()
        assert pool.acquire_nowait(A, Caller()) is None
    got[0].release()
    assert pool.statistics().idle == 1


async def test_a_waiter_gets_the_bare_slot_of_a_connection_that_cannot_go_on() -> None:
    """A connection that is not reusable is closed; its slot goes on without it."""
    pool = make_pool(connections_per_origin=1)
    line = Line()
    lease = take(pool, A, line)

    async def wait() -> None:
        mine = await pool.wait(A, Caller())
        assert mine.connection is None
        assert not mine.reused
        mine.release()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait)
        await trio.testing.wait_all_tasks_blocked()
        line.reusable = False
        lease.release()
    assert line.closed
    assert pool.statistics().connections == 0


async def test_a_cancelled_waiter_leaves_the_queue() -> None:
    """Who is cancelled while waiting gets nothing, and the next in line gets what is released."""
    pool = make_pool(connections_per_origin=1)
    lease = take(pool)
    got: list[str] = []

    async def wait(name: str, scope: trio.CancelScope) -> None:
        with scope:
            (await pool.wait(A, Caller())).release()
            got.append(name)

    scopes = [trio.CancelScope(), trio.CancelScope()]
    async with trio.open_nursery() as nursery:
        for name, scope in zip("ab", scopes, strict=True):
            nursery.start_soon(wait, name, scope)
            await trio.testing.wait_all_tasks_blocked()
        scopes[0].cancel()
        await trio.testing.wait_all_tasks_blocked()
        assert pool.statistics().waiting == 1
        lease.release()
    assert got == ["b"]


async def test_a_waiter_cancelled_after_the_hand_over_still_owns_its_slot() -> None:
    """Handing over and cancelling exclude each other: whoever was served first can give the slot back."""
    pool = make_pool(connections_per_origin=1)
    lease = take(pool)
    scope = trio.CancelScope()

    async def wait() -> None:
        with scope:
            mine = await pool.wait(A, Caller())
            try:
                await trio.sleep_forever()
            finally:
                mine.release()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait)
        await trio.testing.wait_all_tasks_blocked()
        lease.release()
        scope.cancel()
    statistics = pool.statistics()
    assert (statistics.in_use, statistics.waiting, statistics.idle) == (0, 0, 1)


async def test_a_full_pool_closes_the_longest_idle_connection_of_another_origin() -> None:
    """Idle connections never keep somebody waiting."""
    pool = make_pool(connections=2)
    old, new = Line("old"), Line("new")
    leases = [take(pool, A, old), take(pool, B, new)]
    for lease in leases:
        lease.release()
    third = take(pool, A._replace(port=81))
    assert old.closed
    assert not new.closed
    third.release()


async def test_the_oldest_waiter_of_all_destinations_is_next() -> None:
    """With the pool full, a busy origin does not starve another: its connection is closed for the older waiter."""
    pool = make_pool(connections=1)
    line = Line()
    lease = take(pool, A, line)
    order: list[str] = []

    async def wait(name: str, destination: Destination) -> None:
        mine = await pool.wait(destination, Caller())
        if mine.connection is None:
            mine.opened(Line())
        order.append(name)
        mine.release()

    async with trio.open_nursery() as nursery:
        for name, destination in (("b1", B), ("a1", A), ("b2", B)):
            nursery.start_soon(wait, name, destination)
            await trio.testing.wait_all_tasks_blocked()
        lease.release()
    assert order == ["b1", "a1", "b2"]
    assert line.closed
    assert pool.statistics().connections == 1


async def test_a_waiter_blocked_by_its_own_origin_does_not_block_others() -> None:
    """The limit of one origin concerns that origin only."""
    pool = make_pool(connections=3, connections_per_origin=1)
    held = take(pool, A)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(pool.wait, A, Caller())
        await trio.testing.wait_all_tasks_blocked()
        other = take(pool, B)
        other.release()
        assert pool.statistics().waiting == 1
        take(pool, B).release()
        held.release()


async def test_an_idle_connection_expires(autojump_clock: trio.testing.MockClock) -> None:
    """A connection idle for ``keep_alive_seconds`` is closed at the next checkout or release, whoever's it is."""
    pool = make_pool(keep_alive_seconds=5.0)
    line = Line()
    take(pool, A, line).release()
    await trio.sleep(4.9)
    again = take(pool, A)
    assert again.connection is line
    again.release()
    await trio.sleep(5.1)
    take(pool, B).release()
    assert line.closed
    assert pool.statistics().idle == 1


async def test_idle_connections_are_bounded() -> None:
    """Beyond ``idle_connections`` the longest idle one is closed; those in use do not count."""
    pool = make_pool(idle_connections=2)
    lines = [Line() for _ in range(4)]
    leases = [take(pool, A, line) for line in lines]
    for lease in leases[:3]:
        lease.release()
    assert [line.closed for line in lines] == [True, False, False, False]
    leases[3].release()
    assert [line.closed for line in lines] == [True, True, False, False]


async def test_a_connection_that_is_not_quiet_is_never_handed_out() -> None:
    """What a server said, or did, while idle makes its connection useless; the next one is taken."""
    pool = make_pool()
    lines = [Line(), Line()]
    leases = [take(pool, A, line) for line in lines]
    for lease in leases:
        lease.release()
    lines[1].quiet = False
    lease = take(pool)
    assert lease.connection is lines[0]
    assert lines[1].closed
    lease.release()


async def test_a_connection_that_is_not_quiet_is_not_handed_over() -> None:
    """The same holds for a waiter: it gets the slot to open another."""
    pool = make_pool(connections_per_origin=1)
    line = Line()
    lease = take(pool, A, line)

    async def wait() -> None:
        mine = await pool.wait(A, Caller())
        assert mine.connection is None
        mine.release()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait)
        await trio.testing.wait_all_tasks_blocked()
        line.quiet = False
        lease.release()
    assert line.closed


async def test_releasing_twice_does_nothing() -> None:
    """The second release of a lease gives nobody a slot."""
    pool = make_pool()
    lease = take(pool)
    lease.release()
    lease.release()
    assert pool.statistics().connections == 1
    assert pool.statistics().idle == 1


async def test_closing_ends_everything_at_once() -> None:
    """Idle connections are closed, holders are told, waiters and newcomers get ClientClosedError."""
    pool = make_pool(connections_per_origin=1)
    idle, used = Line(), Line()
    take(pool, B, idle).release()
    caller = Caller()
    lease = pool.acquire_nowait(A, caller)
    assert lease is not None
    lease.opened(used)

    async def wait() -> None:
        with pytest.raises(ClientClosedError):
            await pool.wait(A, Caller())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait)
        await trio.testing.wait_all_tasks_blocked()
        pool.close()
    assert idle.closed
    assert used.closed
    assert caller.told
    with pytest.raises(ClientClosedError):
        pool.acquire_nowait(A, Caller())
    lease.release()
    assert pool.statistics().connections == 0


async def test_the_statistics_add_up() -> None:
    """``connections`` is what is in use, opening and idle; origins are listed by name."""
    pool = make_pool()
    take(pool, A).release()
    reused = take(pool, A)
    opening = pool.acquire_nowait(B, Caller())
    assert opening is not None
    statistics = pool.statistics()
    assert (statistics.in_use, statistics.connecting, statistics.idle, statistics.connections) == (1, 1, 0, 2)
    assert (statistics.opened, statistics.reused) == (1, 1)
    assert statistics.origins["http://b.test:80"].connections == 1
    reused.release()
    opening.release()
    assert "http://b.test:80" not in pool.statistics().origins


async def test_destinations_of_one_origin_are_counted_together() -> None:
    """Mounts of two parts of an origin have connections of their own; the figures are the origin's."""
    pool = make_pool()
    take(pool, A)
    take(pool, A._replace(mount="http://a.test/api")).release()
    origin = pool.statistics().origins["http://a.test:80"]
    assert (origin.connections, origin.idle, origin.waiting) == (2, 1, 0)


async def test_why_somebody_waits_can_be_said() -> None:
    """The text has the limits, what is taken of them, and the oldest holder."""
    pool = make_pool(connections=7, connections_per_origin=1)
    lease = take(pool)
    text = pool.describe_wait(A)
    assert "1 of 1 connections to http://a.test:80" in text
    assert "1 of 7 in all" in text
    assert "GET /slow" in text
    lease.release()


@pytest.mark.parametrize("seed", range(20))
async def test_random_callers_lose_no_slot(seed: int, autojump_clock: trio.testing.MockClock) -> None:
    """Callers that come, wait, fail and are cancelled at random never exceed a limit and leave every slot free."""
    chance = random.Random(seed)
    limits = ClientLimits(connections=4, connections_per_origin=2, idle_connections=2)
    pool = Pool(limits, 3.0)
    destinations = [Destination("http", f"{name}.test", 80, None, "") for name in "abc"]
    lines: list[Line] = []

    async def call() -> None:
        await trio.sleep(chance.random() * 20)
        destination = chance.choice(destinations)
        with trio.move_on_after(chance.choice([0.0, 0.1, 0.5, 2.0, 100.0])):
            lease = pool.acquire_nowait(destination, Caller())
            if lease is None:
                lease = await pool.wait(destination, Caller())
            try:
                if lease.connection is None:
                    await trio.sleep(chance.choice([0.0, 0.2]))
                    line = Line()
                    lines.append(line)
                    lease.opened(line)
                assert isinstance(lease.connection, Line)
                assert not lease.connection.closed
                await trio.sleep(chance.random())
                lease.connection.reusable = chance.random() > 0.3
                lease.connection.quiet = chance.random() > 0.1
            finally:
                lease.release()
        statistics = pool.statistics()
        assert statistics.connections <= limits.connections
        assert statistics.idle <= limits.idle_connections
        assert all(origin.connections <= limits.connections_per_origin for origin in statistics.origins.values())
        assert statistics.in_use + statistics.connecting + statistics.idle == statistics.connections

    async with trio.open_nursery() as nursery:
        for _ in range(150):
            nursery.start_soon(call)
    statistics = pool.statistics()
    assert (statistics.in_use, statistics.connecting, statistics.waiting) == (0, 0, 0)
    assert sum(not line.closed for line in lines) == statistics.idle == statistics.connections
