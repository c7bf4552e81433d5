"""The pool: who may have a connection, to where, and who gets the next one.

A slot is the right to have one connection open, or to be opening it. It is owned by exactly one of: nobody (it is
free), a lease (one call has it), or an idle connection. Every change of owner happens between two awaits.

Rule 1: accounting never awaits; the only await is a waiter's own, and handing over excludes cancelling: a waiter that
        is rescheduled owns its lease before it runs again, one that was cancelled is out of the queue.
Rule 2: waiters are served in the order they came; the oldest that can be served with what was freed is next. A newcomer
        never overtakes a waiter for the same destination.
Rule 3: the connection used last is reused first; the one idle longest is evicted first.
Rule 4: no task, no clock of its own: expired connections are closed at each checkout and release, and a connection
        proves that it is quiet when it is taken: what a server said while idle is never an answer (RFC 9112 §9.2).
"""

from __future__ import annotations

import ssl
from collections import OrderedDict, deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import trio

from triohttp._values.authority import bracketed
from triohttp._values.limits import ClientLimits
from triohttp.errors import ClientClosedError

from .proxies import Proxy

__all__ = ["Destination", "Holder", "Lease", "OriginStatistics", "Pool", "PoolStatistics", "Pooled"]


class Destination(NamedTuple):
    """What a connection is good for; two requests may share one exactly when their destinations are equal."""

    scheme: str
    host: str
    port: int
    tls: ssl.SSLContext | None
    """The context, compared by identity: another context is another idea of whom to trust."""
    mount: str
    """The mount that opens the connection, an empty string for the network."""
    proxy: Proxy | None = None
    """What the connection goes through; another user of the same proxy is another proxy."""
    tunnel: bool = False
    """Through an HTTP proxy: by CONNECT, and not by asking the proxy to forward each request."""

    @property
    def forwards(self) -> bool:
        """Requests are sent to an HTTP proxy, which forwards them."""
        return self.proxy is not None and not self.tunnel and not self.proxy.is_socks

    def __str__(self) -> str:
        return f"{self.scheme}://{bracketed(self.host)}:{self.port}"


class Pooled(Protocol):
    """What the pool needs of a connection."""

    @property
    def reusable(self) -> bool: ...
    @property
    def closed(self) -> bool: ...
    def is_quiet(self) -> bool: ...
    def close(self) -> None: ...
    def abort(self) -> None: ...


class Holder(Protocol):
    """Who holds a lease: a call."""

    def client_closed(self) -> None:
        """End at once: the client is being closed. Never awaits."""
        ...

    def __str__(self) -> str:
        """Say what is being done, for an error's message: ``GET http://…``."""
        ...


@dataclass(frozen=True, slots=True)
class OriginStatistics:
    """One origin's share of the pool."""

    connections: int
    idle: int
    waiting: int


_NOTHING = OriginStatistics(0, 0, 0)


@dataclass(frozen=True, slots=True)
class PoolStatistics:
    """A pool at one moment; ``connections`` is the sum of ``in_use``, ``connecting`` and ``idle``."""

    connections: int
    in_use: int
    connecting: int
    idle: int
    waiting: int
    opened: int
    """Connections opened since the pool was made."""
    reused: int
    """Times a connection was used again."""
    origins: Mapping[str, OriginStatistics]
    """By ``scheme://host:port``; the mounts of one origin are counted together."""


class _Idle:
    """A connection that nobody uses."""

    __slots__ = ("bucket", "connection", "since")

    def __init__(self, bucket: _Bucket, connection: Pooled, since: float) -> None:
        self.bucket = bucket
        self.connection = connection
        self.since = since


class _Waiter:
    """A task that waits for a slot; ``lease`` is set before it is rescheduled."""

    __slots__ = ("holder", "lease", "task", "ticket")

    def __init__(self, task: trio.lowlevel.Task, holder: Holder, ticket: int) -> None:
        self.task = task
        self.holder = holder
        self.ticket = ticket
        self.lease: Lease | None = None


class _Bucket:
    """One destination's connections and waiters."""

    __slots__ = ("destination", "idle", "slots", "waiters")

    def __init__(self, destination: Destination) -> None:
        self.destination = destination
        self.slots = 0
        self.idle: deque[_Idle] = deque()
        self.waiters: OrderedDict[_Waiter, None] = OrderedDict()

    @property
    def first_ticket(self) -> int:
        return next(iter(self.waiters)).ticket


class Lease:
    """One slot in the hands of one call.

    Attributes:
        connection: the connection, None until the holder has opened one.
        reused: the connection has served an exchange before.
        since: when it was given, in trio's time.
    """

    __slots__ = ("_bucket", "_pool", "connection", "holder", "reused", "since")

    def __init__(self, pool: Pool, bucket: _Bucket, holder: Holder, connection: Pooled | None, since: float) -> None:
        self._pool: Pool | None = pool
        self._bucket = bucket
        self.holder = holder
        self.connection = connection
        self.reused = connection is not None
        self.since = since

    def opened(self, connection: Pooled) -> None:
        """Take a connection that the holder has just opened, in the place of the one before."""
        assert self._pool is not None, "a connection was opened for a lease that had been given back"
        self.connection = connection
        self.reused = False
        self._pool.count_opened()

    def discard(self) -> None:
        """Abort the connection but keep the slot, to open another."""
        if self.connection is not None:
            self.connection.abort()
            self.connection = None

    def release(self) -> None:
        """Give the slot back, with the connection if it may be used again; a second time does nothing."""
        pool, self._pool = self._pool, None
        if pool is not None:
            pool.take_back(self, self._bucket)


class Pool:
    """The connections of a client.

    Args:
        limits: how many, in all, of one origin, and idle.
        keep_alive_seconds: age at which an idle connection is closed instead of used.
    """

    def __init__(self, limits: ClientLimits, keep_alive_seconds: float) -> None:
        self._limits = limits
        self._keep_alive_seconds = keep_alive_seconds
        self._buckets: dict[Destination, _Bucket] = {}
        self._waiting: dict[_Bucket, None] = {}
        self._idle: OrderedDict[_Idle, None] = OrderedDict()
        self._leases: set[Lease] = set()
        self._slots = 0
        self._tickets = 0
        self._opened = 0
        self._reused = 0
        self._closed = False
        self._settled = trio.Event()

    # -- taking --------------------------------------------------------------------------------------------------------

    def acquire_nowait(self, destination: Destination, holder: Holder) -> Lease | None:
        """Return a lease if one can be had without waiting, with or without a connection in it.

        Raises:
            ClientClosedError: the pool was closed.
        """
        if self._closed:
            raise closed_error()
        now = trio.current_time()
        if self._idle:
            self._sweep(now)
        bucket = self._buckets.get(destination)
        if bucket is None:
            bucket = self._buckets[destination] = _Bucket(destination)
        elif bucket.waiters:
            return None
        while bucket.idle:
            connection = self._take_idle(bucket.idle.pop())
            if connection.is_quiet():
                return self._lease(bucket, holder, connection, now)
            connection.close()
            self._free_slot(bucket)
        lease = None
        if bucket.slots < self._limits.connections_per_origin:
            if self._slots >= self._limits.connections and self._idle:
                self._evict()
            if self._slots < self._limits.connections:
                self._slots += 1
                bucket.slots += 1
                lease = self._lease(bucket, holder, None, now)
        if lease is None:
            self._forget_if_unused(bucket)
        return lease

    async def wait(self, destination: Destination, holder: Holder) -> Lease:
        """Wait for a lease, behind those who came before.

        Cancellation: atomic.
        Raises:
            ClientClosedError: the pool was closed.
        """
        bucket = self._buckets.setdefault(destination, _Bucket(destination))
        self._tickets += 1
        waiter = _Waiter(trio.lowlevel.current_task(), holder, self._tickets)
        bucket.waiters[waiter] = None
        self._waiting[bucket] = None

        def abort(_: object) -> trio.lowlevel.Abort:
            self._leave_queue(bucket, waiter)
            self._forget_if_unused(bucket)
            return trio.lowlevel.Abort.SUCCEEDED

        await trio.lowlevel.wait_task_rescheduled(abort)
        if waiter.lease is None:
            raise closed_error()
        return waiter.lease

    def _lease(self, bucket: _Bucket, holder: Holder, connection: Pooled | None, now: float) -> Lease:
        lease = Lease(self, bucket, holder, connection, now)
        if connection is not None:
            self._reused += 1
        self._leases.add(lease)
        return lease

    # -- giving back ---------------------------------------------------------------------------------------------------

    def take_back(self, lease: Lease, bucket: _Bucket) -> None:
        """Find the slot of a lease its next owner; called by ``Lease.release`` only."""
        self._leases.discard(lease)
        connection = lease.connection
        now = trio.current_time()
        if connection is not None and (self._closed or connection.closed or not connection.reusable):
            connection.abort()
            connection = None
        if self._waiting:
            self._serve(bucket, connection, now)
        elif connection is not None:
            self._keep(bucket, connection, now)
        else:
            self._free_slot(bucket)
            self._forget_if_unused(bucket)
        if self._idle:
            self._sweep(now)
        if self._closed and not self._connecting:
            self._settled.set()

    def _serve(self, bucket: _Bucket, connection: Pooled | None, now: float) -> None:
        """Pass the slot of ``bucket``, with its connection if there is one, to the oldest waiter that can use it."""
        per_origin = self._limits.connections_per_origin
        able = [other for other in self._waiting if other is bucket or other.slots < per_origin]
        if not able:
            if connection is not None:
                self._keep(bucket, connection, now)
            else:
                self._free_slot(bucket)
                self._forget_if_unused(bucket)
            return
        chosen = min(able, key=lambda other: other.first_ticket)
        if connection is not None and (chosen is not bucket or not connection.is_quiet()):
            connection.close()
            connection = None
        if chosen is not bucket:
            bucket.slots -= 1
            chosen.slots += 1
            self._forget_if_unused(bucket)
        waiter = next(iter(chosen.waiters))
        self._leave_queue(chosen, waiter)
        waiter.lease = self._lease(chosen, waiter.holder, connection, now)
        trio.lowlevel.reschedule(waiter.task)

    def _keep(self, bucket: _Bucket, connection: Pooled, now: float) -> None:
        idle = _Idle(bucket, connection, now)
        bucket.idle.append(idle)
        self._idle[idle] = None
        while len(self._idle) > self._limits.idle_connections:
            self._evict()

    def _sweep(self, now: float) -> None:
        """Close what has been idle for too long; the oldest come first, so this looks at one more than it closes."""
        oldest_allowed = now - self._keep_alive_seconds
        while self._idle and next(iter(self._idle)).since <= oldest_allowed:
            self._evict()

    def _evict(self) -> None:
        """Close the connection that has been idle longest and free its slot."""
        idle = next(iter(self._idle))
        bucket = idle.bucket
        bucket.idle.popleft()  # the oldest of all is the oldest of its own
        self._take_idle(idle).close()
        self._free_slot(bucket)
        self._forget_if_unused(bucket)

    def _take_idle(self, idle: _Idle) -> Pooled:
        del self._idle[idle]
        return idle.connection

    def _free_slot(self, bucket: _Bucket) -> None:
        self._slots -= 1
        bucket.slots -= 1

    def _leave_queue(self, bucket: _Bucket, waiter: _Waiter) -> None:
        del bucket.waiters[waiter]
        if not bucket.waiters:
            del self._waiting[bucket]

    def _forget_if_unused(self, bucket: _Bucket) -> None:
        if not bucket.slots and not bucket.waiters:
            self._buckets.pop(bucket.destination, None)

    # -- the whole -----------------------------------------------------------------------------------------------------

    @property
    def closed(self) -> bool:
        """``close`` was called."""
        return self._closed

    @property
    def _connecting(self) -> int:
        return sum(lease.connection is None for lease in self._leases)

    def count_opened(self) -> None:
        """Count a connection that was opened; called by ``Lease.opened`` only."""
        self._opened += 1

    def close(self) -> None:
        """Close every idle connection, end every call that holds a lease, and refuse whoever waits or comes."""
        self._closed = True
        while self._idle:
            self._evict()
        for bucket in list(self._waiting):
            for waiter in list(bucket.waiters):
                self._leave_queue(bucket, waiter)
                trio.lowlevel.reschedule(waiter.task)
            self._forget_if_unused(bucket)
        for lease in list(self._leases):
            lease.holder.client_closed()
            if lease.connection is not None:
                lease.connection.abort()
        if not self._connecting:
            self._settled.set()

    async def wait_settled(self) -> None:
        """Wait, after ``close``, until nobody opens a connection any more: then no socket is left."""
        await self._settled.wait()

    def statistics(self) -> PoolStatistics:
        """Return figures about this moment."""
        connecting = self._connecting
        origins: dict[str, OriginStatistics] = {}
        for bucket in self._buckets.values():
            name = str(bucket.destination)
            before = origins.get(name, _NOTHING)
            origins[name] = OriginStatistics(
                before.connections + bucket.slots,
                before.idle + len(bucket.idle),
                before.waiting + len(bucket.waiters),
            )
        return PoolStatistics(
            connections=self._slots,
            in_use=len(self._leases) - connecting,
            connecting=connecting,
            idle=len(self._idle),
            waiting=sum(len(bucket.waiters) for bucket in self._waiting),
            opened=self._opened,
            reused=self._reused,
            origins=origins,
        )

    def describe_wait(self, destination: Destination) -> str:
        """Say why somebody waits for ``destination``, for an error's message."""
        bucket = self._buckets.get(destination)
        limits = self._limits
        text = (
            f"{bucket.slots if bucket else 0} of {limits.connections_per_origin} connections to {destination} "
            f"and {self._slots} of {limits.connections} in all are taken"
        )
        if self._leases:
            oldest = min(self._leases, key=lambda lease: lease.since)
            text += f"; the longest, for {trio.current_time() - oldest.since:.1f} s, by {oldest.holder}"
        return text


def closed_error() -> ClientClosedError:
    """Return the error for using a client that is not open."""
    return ClientClosedError("the client is not open: use it inside its own `async with` block", safe_to_retry=True)
