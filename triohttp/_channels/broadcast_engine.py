"""What passes through a broadcast hub, and all that an engine has to do for one.

A hub numbers its messages: one counter for all topics, so that they have one order and one id serves a reader of many
topics. An id is ``<epoch>.<seq>``. The epoch names the counter's life: a store that lost its content starts a new one,
and ids of the old one say nothing any more.

Rule 1: an id that a client sends is untrusted: what cannot have been given out is a foreign epoch, never an error.
Rule 2: what is missing is said in its place, by a ``Gap``; a reader that got none has everything.
Rule 3: an engine is asked to follow a topic before it is asked for the topic's history: what is published after the
        history was read is delivered, so that together they have no hole.
Rule 4: an engine tells of a new epoch before it answers with a position in it.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol, TypeAlias

__all__ = [
    "BroadcastEngine",
    "BroadcastPosition",
    "BroadcastReplay",
    "BroadcastSink",
    "Gap",
    "GapReason",
    "Published",
]

GapReason: TypeAlias = Literal["slow", "expired", "epoch"]

_ID = re.compile(r"([0-9A-Za-z]{1,32})\.([0-9]{1,16})")


class BroadcastPosition(NamedTuple):
    """A place in the order of a hub's messages; as text it is an id."""

    epoch: str
    """Letters and digits, at most 32."""
    seq: int

    def __str__(self) -> str:
        return f"{self.epoch}.{self.seq}"

    @classmethod
    def begin(cls) -> BroadcastPosition:
        """Return the position before the first message of an epoch that never was."""
        return cls(secrets.token_hex(6), 0)

    @classmethod
    def parse(cls, text: str) -> BroadcastPosition:
        """Return the position that an id names; for what is no id, one of an epoch that never was."""
        match = _ID.fullmatch(text)
        return cls("", 0) if match is None else cls(match[1], int(match[2]))


@dataclass(frozen=True, slots=True)
class Published:
    """A message, as every subscriber of its topic gets it."""

    id: str
    """Fit for an event stream's ``id``: letters, digits and a full stop."""
    topic: str
    data: str | bytes
    """What was published, text as text and bytes as bytes."""

    @property
    def text(self) -> str:
        """The data as text; bytes are read as UTF-8, and what is not UTF-8 is replaced."""
        return self.data if isinstance(self.data, str) else self.data.decode(errors="replace")


@dataclass(frozen=True, slots=True)
class Gap:
    """Messages of a topic are missing here; whoever keeps a state by them has to load it anew.

    Attributes:
        topic: whose messages are missing.
        why: ``slow``: this reader did not keep up, and the oldest that it had not read were dropped. ``expired``: they
            are no longer retained. ``epoch``: the store lost its content, or the reader's last id was not one of ours;
            what is retained follows, and may have been read before.
    """

    topic: str
    why: GapReason


@dataclass(frozen=True, slots=True)
class BroadcastReplay:
    """A piece of history: what was published on some topics after a position."""

    gaps: Sequence[Gap]
    """What is missing of it, and of no later piece; at most one a topic, to be read before the messages."""
    messages: Sequence[tuple[int, Published]]
    """In order, each with its number."""
    position: BroadcastPosition
    """Where the next piece begins: whatever was published on these topics up to here is told."""
    complete: bool
    """Nothing more had been published when this was read."""


class BroadcastSink(Protocol):
    """What an engine tells its hub. Nothing here awaits, and nothing here runs a reader's code."""

    def deliver(self, seq: int, message: Published, *, recovered: bool = False) -> None:
        """Give a message to the subscribers of its topic; one that they have already is dropped.

        Args:
            recovered: it comes late, with others that were missed; a reader whose buffer is full is then not slow, and
                reads the rest from the history.
        """
        ...

    def gap(self, gap: Gap, *, recovered: bool = False) -> None:
        """Tell the subscribers of a topic that messages are missing.

        Args:
            recovered: the history tells of it too, from where they are; see ``deliver``.
        """
        ...

    def renew(self, epoch: str) -> None:
        """Tell all subscribers that the store lost its content; what it retains by now is to be delivered after it."""
        ...

    def resume(self) -> None:
        """Say that the engine is back: a history that could not be read may be asked for again."""
        ...


class BroadcastEngine(Protocol):
    """What numbers, carries and retains the messages of a hub; all that an engine must do."""

    def open(self, sink: BroadcastSink) -> AbstractAsyncContextManager[object]:
        """Return what encloses the life of the hub: in it, what is published on followed topics goes to the sink.

        Entering it does not fail because a store is away, and tasks of the engine end with it.
        """
        ...

    async def publish(self, topic: str, data: str | bytes) -> str:
        """Number a message, retain it, hand it to every hub that follows the topic, and return its id.

        Raises:
            TransportError: the store could not be reached, or refused; ``sent`` is true when it may have the message.
        """
        ...

    def follow(self, topic: str) -> None:
        """Begin to deliver a topic; what is published after a later ``replay`` was answered is sure to come."""
        ...

    def unfollow(self, topic: str) -> None:
        """End the delivery of a topic."""
        ...

    async def replay(
        self, topics: Sequence[str], after: BroadcastPosition | None, max_messages: int
    ) -> BroadcastReplay:
        """Read the history of followed topics, in the order of the hub.

        Args:
            topics: whose.
            after: where to begin; None reads nothing and returns the position of now. One of another epoch, or one that
                was never reached, gives a gap ``epoch`` for each topic and begins with the oldest that is retained.
            max_messages: how many to return at most, of all topics together; the oldest.
        Raises:
            TransportError: the store could not be reached.
        """
        ...
