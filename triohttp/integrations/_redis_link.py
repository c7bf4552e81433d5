"""A connection to Redis that is made again whenever it ends, and scripts over it.

coredis' connection is used, which packs, parses and shares one stream among many requests; and neither its pool nor its
PubSub: the pool loses a slot for every connection that dies while it is lent or is cancelled while it is dialled, and
PubSub connects again and tells nobody.

Rule 1: an absent Redis ends nothing: what goes wrong is stored, told once, and tried again with growing pauses.
Rule 2: who asks while there is no connection gets an attempt that begins from then on; all who wait share it.
Rule 3: coredis queues whatever it is given, and keeps it when nobody waits for it any more. So who asks while too many
        requests are under way waits with its own, and one that is cancelled then was never sent.
Rule 4: nothing of the address but host and port is ever shown; it may hold a password.
"""

from __future__ import annotations

import hashlib
import logging
import math
import random
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias
from urllib.parse import unquote, urlsplit

import trio

from triohttp.errors import ConnectError, DisconnectedError, TransportError, clip

try:
    import anyio
    from coredis.connection import BaseConnection, Location, TCPLocation, UnixDomainSocketLocation
    from coredis.exceptions import ConnectionError as LostError
    from coredis.exceptions import NoScriptError, RedisError
except ImportError as error:
    raise ImportError("this needs coredis: pip install 'triohttp[redis]'") from error

__all__ = ["Part", "RedisLink", "Script"]

log = logging.getLogger("triohttp.broadcast")

LEAST_PAUSE_SECONDS = 0.02
"""Between two attempts, even when somebody waits for the second."""
FIRST_PAUSE_SECONDS = 0.1
LONGEST_PAUSE_SECONDS = 5.0
SELDOM_SECONDS = 5.0

GONE = (LostError, OSError, anyio.ClosedResourceError, anyio.BrokenResourceError)
"""What a connection raises that is over."""
AWAY = (*GONE, RedisError, trio.TooSlowError, TransportError)
"""What ends the use of a connection."""

Part: TypeAlias = Callable[[BaseConnection], Awaitable[None]]


class Script:
    """A script, and the digest by which Redis knows it."""

    def __init__(self, text: str) -> None:
        self.text = text.encode()
        self.digest = hashlib.sha1(self.text, usedforsecurity=False).hexdigest().encode()


@dataclass(frozen=True)
class Address:
    """Where Redis is and as whom to speak to it, read from a URL."""

    location: TCPLocation | UnixDomainSocketLocation
    tls: bool
    username: str | None
    password: str | None
    db: int

    def __str__(self) -> str:
        location = self.location
        return f"{location.host}:{location.port}" if isinstance(location, TCPLocation) else location.path

    @classmethod
    def parse(cls, url: str) -> Address:
        """Read a URL; what it says is never in the error, since there may be a password in it."""
        try:
            parts = urlsplit(url)
            location: TCPLocation | UnixDomainSocketLocation
            if parts.scheme == "unix" and parts.path:
                location = UnixDomainSocketLocation(unquote(parts.path))
                db = parts.query.removeprefix("db=")
            elif parts.scheme in {"redis", "rediss"} and parts.hostname and not parts.query:
                location = TCPLocation(parts.hostname, parts.port or 6379)
                db = parts.path.removeprefix("/")
            else:
                raise ValueError
            number = int(db or "0")
        except ValueError:
            message = "a URL of Redis is redis://[user:password@]host[:port][/db], rediss:// or unix:///path[?db=1]"
            raise ValueError(message) from None
        user, password = (None if one is None else unquote(one) for one in (parts.username, parts.password))
        return cls(location, parts.scheme == "rediss", user or None, password, number)

    async def dial(self, tls: ssl.SSLContext | None) -> anyio.abc.ByteStream:
        """Open a stream."""
        location = self.location
        if not isinstance(location, TCPLocation):
            return await anyio.connect_unix(location.path)
        if not self.tls:
            return await anyio.connect_tcp(location.host, location.port)
        context = tls or ssl.create_default_context()
        return await anyio.connect_tcp(
            location.host, location.port, tls=True, ssl_context=context, tls_standard_compatible=False
        )


class _Connection(BaseConnection):
    """coredis' connection over a stream that is open already: one that fails to open its own leaves things unclosed."""

    def __init__(self, location: Location, stream: anyio.abc.ByteStream, **options: Any) -> None:
        super().__init__(location, **options)
        self._opened = stream

    async def _connect(self) -> anyio.abc.ByteStream:
        return self._opened

    def describe(self) -> str:
        return f"<Connection to {self.location}>"


class RedisLink:
    """Keeps a connection to Redis while a block runs.

    Args:
        url: where, and as whom.
        tls: the context for ``rediss``; None means the default one.
        connect_seconds: what connecting may take.
        ping_seconds: how often a silent connection is tried, and what an answer may take.
        max_in_flight: how many requests may be under way, those that were given up included.
    """

    def __init__(
        self,
        url: str,
        *,
        tls: ssl.SSLContext | None,
        connect_seconds: float,
        ping_seconds: float,
        max_in_flight: int,
    ) -> None:
        for name, seconds in (("connect_seconds", connect_seconds), ("ping_seconds", ping_seconds)):
            if not 0 < seconds < math.inf:
                raise ValueError(f"{name} must be a number above 0, not {clip(seconds)}")
        self.address = Address.parse(url)
        self._tls = tls
        self._connect_seconds = connect_seconds
        self._ping_seconds = ping_seconds
        self._max_in_flight = max_in_flight
        self._crowded = trio.Event()
        """Set when somebody waits for room."""
        self._room = trio.Event()
        """Set when there may be room again, or the connection is over."""
        self._connection: BaseConnection | None = None
        self._begun = 0
        """How many attempts to connect have begun."""
        self._attempt = trio.Event()
        """Set when the attempt that is made now, or next, has ended."""
        self._hurry = trio.Event()
        self._failure: BaseException | None = None
        self._over = False
        """There will be no other attempt."""
        self._told_away = False
        self._said_at: dict[str, float] = {}

    @property
    def connection(self) -> BaseConnection | None:
        """The connection, if there is one that has not begun to end."""
        connection = self._connection
        return connection if connection is not None and connection.usable else None

    @asynccontextmanager
    async def open(self, greet: Callable[[], None], *parts: Part) -> AsyncIterator[None]:
        """Stay connected while a block runs; it begins after the first attempt, even a vain one.

        Args:
            greet: called with every new connection, before anybody else can use it.
            parts: tasks that use a connection, each begun with every new one; when one ends, so does the connection.
        """
        failure: BaseException | None = None
        self._over = False
        try:
            async with trio.open_nursery() as nursery:
                first = self._attempt
                nursery.start_soon(self._stay_connected, greet, parts)
                try:
                    await first.wait()
                    yield
                except (trio.Cancelled, GeneratorExit):
                    raise
                except BaseException as exc:  # noqa: BLE001  # kept, to be raised outside the nursery
                    failure = exc
                nursery.cancel_scope.cancel(reason="the connection is not needed any more")
        except BaseExceptionGroup as group:
            raise first_of(group) from None
        finally:
            self._over = True
            self._failure = trio.ClosedResourceError("the hub is closed")
            self._end_attempt()
        if failure is not None:
            raise failure

    async def run_script(
        self,
        script: Script,
        keys: Sequence[str],
        arguments: Sequence[str | bytes | int],
        *,
        over: BaseConnection | None = None,
    ) -> Any:
        """Run a script and return its answer.

        Args:
            over: the connection to use; None means the one that there is, or the next one.
        Cancellation: the script may have run.
        Raises:
            ConnectError: there is no connection, and the attempt to make one failed.
            DisconnectedError: the connection ended before the answer; the script may have run.
            TransportError: Redis refused, because it is full or read-only for example.
        """
        connection = over or self.connection or await self._reach()
        while connection.usable and connection.statistics.requests_pending >= self._max_in_flight:
            self._crowded.set()
            await self._room.wait()
            connection = over or self.connection or await self._reach()
        try:
            try:
                return await connection.create_request(
                    b"EVALSHA", script.digest, len(keys), *keys, *arguments, decode=False
                )
            except NoScriptError:  # Redis forgets its scripts when it ends
                return await connection.create_request(
                    b"EVAL", script.text, len(keys), *keys, *arguments, decode=False
                )
        except GONE as exc:
            message = f"the connection to Redis at {self.address} was lost before the answer"
            raise DisconnectedError(message, phase="redis", sent=True) from exc
        except RedisError as exc:
            message = f"Redis at {self.address} refused: {reason_of(exc)}"
            raise TransportError(message, phase="redis", sent=True) from exc

    def tell(self, command: bytes, *arguments: bytes) -> None:
        """Send a command that has no answer but pushes; without a connection it is dropped."""
        if (connection := self.connection) is not None:
            connection.send_command(command, *arguments)

    def unreachable(self) -> ConnectError:
        """Return the error for whoever needs a connection when there is none."""
        message = f"Redis at {self.address} cannot be reached: {reason_of(self._failure)}"
        error = ConnectError(message, phase="redis", safe_to_retry=True)
        error.__cause__ = self._failure
        return error

    def is_back(self) -> None:
        """Say that Redis is there, if it was said that it is not."""
        if self._told_away:
            self._told_away = False
            self.say(logging.INFO, "Redis at %s is back")

    def say(self, level: int, message: str, *arguments: object) -> bool:
        """Log a message, with the address before its arguments, at most every five seconds; return whether it was."""
        now = trio.current_time()
        if now - self._said_at.get(message, -math.inf) < SELDOM_SECONDS:
            return False
        self._said_at[message] = now
        log.log(level, message, self.address, *arguments)
        return True

    async def _stay_connected(self, greet: Callable[[], None], parts: Sequence[Part]) -> None:
        failures = 0
        while True:
            began = trio.current_time()
            await self._connect(greet, parts)
            failures = 1 if trio.current_time() - began > LONGEST_PAUSE_SECONDS else failures + 1
            if not self._told_away:
                reason = reason_of(self._failure)
                self._told_away = self.say(logging.WARNING, "Redis at %s is away, trying until it is back: %s", reason)
            pause = min(LONGEST_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2.0 ** min(failures - 1, 10))
            await trio.sleep(LEAST_PAUSE_SECONDS)
            with trio.move_on_after(pause * random.uniform(0.5, 1.0)):
                await self._hurry.wait()
            self._hurry = trio.Event()

    async def _connect(self, greet: Callable[[], None], parts: Sequence[Part]) -> None:
        """Make one connection and use it to its end; why it ended is left in ``_failure``."""
        self._begun += 1
        async with trio.open_nursery() as nursery:

            async def run(part: Part, connection: BaseConnection) -> None:
                try:
                    await part(connection)
                except AWAY as exc:
                    self._failure = exc.__cause__ if isinstance(exc, TransportError) else exc
                nursery.cancel_scope.cancel(reason="the connection to Redis is over")

            try:
                with trio.fail_after(self._connect_seconds):
                    stream = await self.address.dial(self._tls)
                    connection = _Connection(
                        self.address.location,
                        stream,
                        username=self.address.username,
                        password=self.address.password,
                        db=self.address.db,
                    )
                    await nursery.start(connection.run)
            except AWAY as exc:
                self._failure = exc
                nursery.cancel_scope.cancel(reason="there is no connection to Redis")
            else:
                self._connection = connection
                greet()
                for part in (*parts, self._ping, self._make_room):
                    nursery.start_soon(run, part, connection)
            self._end_attempt()
            try:
                await trio.sleep_forever()
            finally:
                self._connection = None
                self._tell_of_room()

    def _end_attempt(self) -> None:
        self._attempt.set()
        self._attempt = trio.Event()

    async def _ping(self, connection: BaseConnection) -> None:
        """Notice a connection that is silent because it is dead."""
        while True:
            await trio.sleep(self._ping_seconds)
            with trio.fail_after(self._ping_seconds):
                await connection.create_request(b"PING")

    async def _make_room(self, connection: BaseConnection) -> None:
        """Tell those who wait when what is under way was answered, even if nobody waits for that any more."""
        while True:
            await self._crowded.wait()
            await connection.create_request(b"PING")  # answers come in order, so all before it have come too
            self._tell_of_room()

    def _tell_of_room(self) -> None:
        self._crowded = trio.Event()
        self._room.set()
        self._room = trio.Event()

    async def _reach(self) -> BaseConnection:
        """Return the connection that there is after an attempt that begins from now on."""
        await trio.lowlevel.checkpoint()
        begun = self._begun
        while (connection := self.connection) is None:
            if self._over or self._begun > begun:
                raise self.unreachable()
            attempt = self._attempt
            self._hurry.set()
            await attempt.wait()
        return connection


def reason_of(error: BaseException | None) -> str:
    """Say why, in one line; coredis puts the cause behind what it raises itself."""
    while isinstance(error, LostError) and str(error.__cause__ or ""):
        error = error.__cause__
    return clip(str(error) or type(error).__name__)[1:-1]


def first_of(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """Return the one exception that a group stands for: a cancellation that came to several tasks."""
    first = group.exceptions[0]
    return first_of(first) if isinstance(first, BaseExceptionGroup) else first
