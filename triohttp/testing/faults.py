"""What networks and peers do to a stream, on purpose and in a known order.

A fault belongs to one direction of one end. ``FaultyStream`` puts any number of them around any stream, so the same
plan runs over memory, TCP and TLS; ``FaultyOrigin`` puts them around what a client connects to.

Rule 1: a fault is a value that says what happens; counting and waiting are the stream's.
Rule 2: faults combine: sizes take the smallest, delays add up, and the first that stops a direction stops it.
Rule 3: chance has a seed; the same plan with the same seed does the same again.
Rule 4: what a cancelled call had taken from the network already is handed out by the next one.
"""

from __future__ import annotations

import enum
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias

import trio

from .streams import end_sending, reset_stream

__all__ = ["BlackHole", "Clog", "Cut", "Delay", "Dribble", "Fault", "FaultyOrigin", "FaultyStream"]


@dataclass(frozen=True, slots=True)
class Dribble:
    """Bytes come in pieces of at most ``max_bytes``; of random sizes up to that if ``varied``.

    Pieces that are sent without a ``Delay`` may meet again on the way, as on a network.
    """

    max_bytes: int = 1
    varied: bool = False


@dataclass(frozen=True, slots=True)
class Delay:
    """Each piece comes ``seconds`` later than it would, and up to ``jitter_seconds`` more."""

    seconds: float
    jitter_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Clog:
    """After ``after_bytes`` nothing more moves, until ``FaultyStream.release``: a peer that has stopped reading."""

    after_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Cut:
    """After ``after_bytes`` the direction ends: politely, which leaves the connection half-closed, or by a reset.

    A reset destroys what its victim has not read yet, so less than ``after_bytes`` may be seen.
    """

    after_bytes: int = 0
    how: Literal["end", "reset"] = "end"


@dataclass(frozen=True, slots=True)
class BlackHole:
    """After ``after_bytes`` everything vanishes: sending succeeds, receiving waits, and nobody is told."""

    after_bytes: int = 0


class _State(enum.Enum):
    OPEN = enum.auto()
    RESET = enum.auto()
    """A cut has broken the connection."""
    CLOSED = enum.auto()


Fault: TypeAlias = Dribble | Delay | Clog | Cut | BlackHole


class _Direction:
    """What one plan does to one direction, and how far it has come."""

    def __init__(self, faults: Sequence[Fault], seed: str) -> None:
        self._dribbles = [fault for fault in faults if isinstance(fault, Dribble)]
        self._delays = [fault for fault in faults if isinstance(fault, Delay)]
        self._stops = sorted(
            (fault for fault in faults if isinstance(fault, (Clog, Cut, BlackHole))),
            key=lambda fault: fault.after_bytes,
        )
        self._random = random.Random(seed)
        self.moved = 0

    def stop(self) -> Clog | Cut | BlackHole | None:
        """The fault that has stopped this direction, if one has."""
        return self._stops[0] if self._stops and self._stops[0].after_bytes <= self.moved else None

    def release(self) -> None:
        self._stops = [fault for fault in self._stops if not isinstance(fault, Clog)]

    def size(self, size: int) -> int:
        """How many of ``size`` bytes go in the next piece."""
        for fault in self._dribbles:
            size = min(size, self._random.randint(1, fault.max_bytes) if fault.varied else fault.max_bytes)
        return min(size, self._stops[0].after_bytes - self.moved) if self._stops else size

    def delay(self) -> float:
        """How many seconds late the next piece is."""
        return sum(fault.seconds + self._random.random() * fault.jitter_seconds for fault in self._delays)


class FaultyStream(trio.abc.HalfCloseableStream):
    """A stream to which things happen.

    Args:
        stream: what really carries the bytes; it belongs to this stream from now on.
        receiving: what happens to bytes that come from the peer.
        sending: what happens to bytes on their way to the peer.
        seed: decides what is left to chance.
    """

    def __init__(
        self,
        stream: trio.abc.Stream,
        *,
        receiving: Sequence[Fault] = (),
        sending: Sequence[Fault] = (),
        seed: int = 0,
    ) -> None:
        self.stream = stream
        self._incoming = _Direction(receiving, f"{seed} receiving")
        self._outgoing = _Direction(sending, f"{seed} sending")
        self._arrived: bytes | None = None  # what a delay holds back
        self._due = 0.0
        self._parked = trio.lowlevel.ParkingLot()
        self._state = _State.OPEN
        self._ended = False  # the end of stream has been sent

    def release(self) -> None:
        """Let what was clogged flow, in both directions."""
        self._incoming.release()
        self._outgoing.release()
        self._parked.unpark_all()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Receive what the faults let through. Cancellation: atomic."""
        plan = self._incoming
        await self._pass_stops(plan)
        if isinstance(plan.stop(), Cut):
            await trio.lowlevel.checkpoint()
            return b""
        if self._arrived is None:
            size = plan.size(65536 if max_bytes is None else max_bytes)
            self._arrived = bytes(await self.stream.receive_some(size))
            self._due = trio.current_time() + plan.delay()
        else:
            await trio.lowlevel.checkpoint()
        if trio.current_time() < self._due:
            await trio.sleep_until(self._due)
        end = len(self._arrived) if max_bytes is None else max_bytes
        chunk, rest = self._arrived[:end], self._arrived[end:]
        self._arrived = rest or None
        plan.moved += len(chunk)
        return chunk

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send what the faults let through; a cut raises BrokenResourceError unless everything had gone by then."""
        plan = self._outgoing
        with memoryview(data) as octets:
            at = 0
            while True:
                await self._pass_stops(plan)
                stop = plan.stop()
                if isinstance(stop, Cut):
                    await self._end_sending()
                    raise trio.BrokenResourceError("the connection was cut")
                if isinstance(stop, BlackHole):
                    await trio.lowlevel.checkpoint()
                    return
                end = at + plan.size(len(octets) - at)
                if delay := plan.delay():
                    await trio.sleep(delay)
                await self.stream.send_all(octets[at:end])
                plan.moved += end - at
                at = end
                stop = plan.stop()
                if isinstance(stop, Cut):
                    if stop.how == "end":
                        await self._end_sending()
                    else:
                        self._break()
                if at == len(octets):
                    return

    async def wait_send_all_might_not_block(self) -> None:
        """Wait as long as sending would."""
        await self._pass_stops(self._outgoing)
        if self._outgoing.stop() is None:
            await self.stream.wait_send_all_might_not_block()
        else:
            await trio.lowlevel.checkpoint()

    async def send_eof(self) -> None:
        """Send the end of stream, unless it vanishes."""
        await self._pass_stops(self._outgoing)
        if isinstance(self._outgoing.stop(), BlackHole):
            await trio.lowlevel.checkpoint()
        else:
            await self._end_sending()

    def abort(self) -> None:
        """Close this end now, with a reset; the peer of a black hole learns of it, as descriptors must not leak."""
        self._state = _State.CLOSED
        self._parked.unpark_all()
        reset_stream(self.stream)

    async def aclose(self) -> None:
        """Close this end; the peer of a black hole learns of it, as descriptors must not leak."""
        self._state = _State.CLOSED
        self._parked.unpark_all()
        await self.stream.aclose()

    async def _end_sending(self) -> None:
        if self._ended:
            await trio.lowlevel.checkpoint()
        else:
            self._ended = True
            await end_sending(self.stream)

    def _break(self) -> None:
        self._state = _State.RESET
        self._parked.unpark_all()
        reset_stream(self.stream)

    async def _pass_stops(self, plan: _Direction) -> None:
        """Wait while the direction is stopped without an outcome, and carry out a reset."""
        while True:
            if self._state is _State.CLOSED:
                raise trio.ClosedResourceError("this end of the stream is closed")
            stop = plan.stop()
            if isinstance(stop, Cut) and stop.how == "reset" and self._state is _State.OPEN:
                self._break()
            if self._state is _State.RESET:
                raise trio.BrokenResourceError("the connection was reset")
            if not (isinstance(stop, Clog) or (isinstance(stop, BlackHole) and plan is self._incoming)):
                return
            await self._parked.park()


class Connectable(Protocol):
    """Anything that opens streams, such as an ``InProcessServer`` or a ``ScriptedServer``."""

    async def connect(self) -> trio.abc.Stream: ...


class FaultyOrigin:
    """An origin whose connections have faults, for ``Client(mounts={url: FaultyOrigin(server, …)})``.

    Args:
        origin: what really opens the connections.
        receiving: what happens to bytes that come from the server.
        sending: what happens to bytes on their way to the server.
        seed: decides what is left to chance; each connection draws its own.
        connections: how many connections are faulty; the later ones are sound. None means all.
    """

    def __init__(
        self,
        origin: Connectable,
        *,
        receiving: Sequence[Fault] = (),
        sending: Sequence[Fault] = (),
        seed: int = 0,
        connections: int | None = None,
    ) -> None:
        self._origin = origin
        self._receiving = tuple(receiving)
        self._sending = tuple(sending)
        self._seed = seed
        self._faulty = connections
        self.streams: list[FaultyStream] = []
        """The client ends of all connections so far, in the order in which they were opened."""

    async def connect(self) -> FaultyStream:
        """Open a connection; whoever calls it owns it."""
        number = len(self.streams)
        if self._faulty is not None and number >= self._faulty:
            stream = FaultyStream(await self._origin.connect())
        else:
            stream = FaultyStream(
                await self._origin.connect(),
                receiving=self._receiving,
                sending=self._sending,
                seed=self._seed + number,
            )
        self.streams.append(stream)
        return stream
