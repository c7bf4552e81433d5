"""A reader of a broadcast hub, and what hands a message to all of them.

A subscription is live, or behind. Live, messages are put into its buffer as they are published. Behind, they are not:
it reads them from the engine's history, piece by piece as its reader takes them, until it has everything; so a reader
that comes back with an id neither needs room for all that it missed, nor gets anything twice or out of order.

Rule 1: a publisher never waits for a reader. Handing a message over is an append and at most a wake-up, for each
        subscription: no task, no lock, no await.
Rule 2: a subscription becomes live in one step, right after a piece of history that was complete when no newer message
        has been seen meanwhile; when one has, or when the piece left little room in the buffer, there is one more to
        read. So nobody counts as slow for what was retained.
Rule 3: a number that is not above the subscription's own has been read and is dropped.
Rule 4: the gaps of dropped messages stand before the buffer, one a topic at most: there everything older is gone.
Rule 5: with ``latest`` a topic has one place behind the buffer, for what is newest. When the buffer is empty, all move
        into it at once; were each taken by itself, a topic that changes all the time would never be the oldest.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from enum import Enum
from typing import Literal, Self, TypeAlias

import trio

from triohttp.errors import SlowReaderError, TransportError

from .broadcast_engine import BroadcastEngine, BroadcastPosition, BroadcastReplay, Gap, GapReason, Published

__all__ = ["FanOut", "Overflow", "Subscription"]

Overflow: TypeAlias = Literal["gap", "latest", "close"]


class _State(Enum):
    NEW = "not open yet"
    OPENING = "opening"
    LIVE = "live"
    BEHIND = "behind"
    SLOW = "given up"
    CLOSED = "closed"


LIVE = _State.LIVE  # looked up once for each message and subscription


class Subscription(trio.abc.ReceiveChannel["Published | Gap"]):
    """What ``hub.subscribe`` returns: ``async with`` it and iterate, for ``Published`` messages and ``Gap`` marks.

    One task receives at a time.
    """

    __slots__ = (
        "_behind_to", "_engine", "_epoch", "_fan_out", "_latest", "_lost", "_max_pending", "_newest", "_overflow",
        "_pending", "_receiving", "_seq", "_state", "_task", "topics",
    )  # fmt: skip

    def __init__(
        self,
        fan_out: FanOut,
        engine: BroadcastEngine,
        topics: Sequence[str],
        after: BroadcastPosition | None,
        max_pending: int,
        overflow: Overflow,
    ) -> None:
        self.topics = tuple(topics)
        self._fan_out = fan_out
        self._engine = engine
        self._max_pending = max_pending
        self._overflow = overflow
        self._latest = overflow == "latest"
        self._state = _State.NEW
        self._epoch = None if after is None else after.epoch
        """None as long as it is not known where to begin."""
        self._seq = 0 if after is None else after.seq
        """Everything up to here has been put into the buffer."""
        self._behind_to = 0
        """The newest number that was seen while behind."""
        self._pending: deque[Published | Gap] = deque()
        self._lost: dict[str, GapReason] = {}
        """The gaps that stand before the buffer."""
        self._newest: dict[str, Published | Gap] = {}
        """Topic -> what is newest of it, in order; with ``latest`` everything comes through here."""
        self._task: trio.lowlevel.Task | None = None
        self._receiving = False

    def __repr__(self) -> str:
        return f"<Subscription {self._state.value}: {', '.join(self.topics)}>"

    @property
    def pending(self) -> int:
        """How many items wait in the buffer to be received."""
        return len(self._pending) + len(self._lost) + len(self._newest)

    @property
    def behind(self) -> bool:
        """True while messages are read from the history, and not as they are published."""
        return self._state is _State.BEHIND

    async def __aenter__(self) -> Self:
        if self._state is not _State.NEW:
            raise RuntimeError("a subscription can be opened only once")
        self._fan_out.add(self)
        self._state = _State.OPENING
        try:
            history = await self._ask_history()
        except TransportError:
            history = None  # its reader waits for the store to come back, as those do that were here before
        except BaseException:
            self._leave()
            raise
        if self._state is _State.OPENING:
            self._state = _State.BEHIND
            if history is not None:
                self._take_history(history)
        return self

    async def receive(self) -> Published | Gap:
        """Return the next message, or the mark of missing ones.

        While the engine's store is away there is nothing to receive, and no error either.

        Cancellation: resumable.
        Raises:
            SlowReaderError: the buffer was full, and ``overflow`` is ``close``; what was in it is gone.
            trio.EndOfChannel: the hub has closed, and everything before that has been received.
            trio.ClosedResourceError: the subscription is not open.
            trio.BusyResourceError: another task is receiving.
        """
        if self._receiving:
            raise trio.BusyResourceError("another task is receiving from this subscription")
        await trio.lowlevel.checkpoint_if_cancelled()
        yielded = False
        self._receiving = True
        try:
            while (item := self._next_item()) is None:
                self._check_open()
                yielded = True
                if self._state is _State.BEHIND:
                    await self._read_history()
                else:
                    await self._park()
        finally:
            self._receiving = False
        if not yielded:
            await trio.lowlevel.cancel_shielded_checkpoint()  # the item is taken: from here on nothing may fail
        return item

    async def aclose(self) -> None:
        """Leave the hub; the end of the block does it too. A task that is receiving gets ClosedResourceError."""
        self._leave()
        await trio.lowlevel.checkpoint()

    # -- what the fan-out calls ----------------------------------------------------------------------------------------

    def _take(self, seq: int, message: Published, recovered: bool) -> None:
        """Put a message into the buffer, if it is not there already."""
        if self._state is not LIVE:
            self._behind_to = max(self._behind_to, seq)
            return
        if seq <= self._seq:
            return
        if self._latest:
            self._keep_newest(message)
        else:
            if len(self._pending) >= self._max_pending:
                if recovered:
                    self._state = _State.BEHIND
                    self._behind_to = seq
                    return
                self._make_room()
                if self._state is not LIVE:
                    return
            self._pending.append(message)
        self._seq = seq
        if self._task is not None:
            self._wake()

    def _take_gap(self, gap: Gap, recovered: bool) -> None:
        """Put a gap into the buffer; who is behind finds it in the history."""
        if self._state is not LIVE:
            return
        if self._latest:
            self._keep_newest(gap)
        else:
            if len(self._pending) >= self._max_pending:
                if recovered:
                    self._state = _State.BEHIND
                    return
                self._make_room()
                if self._state is not LIVE:
                    return
            self._pending.append(gap)
        self._wake()

    def _renew(self, epoch: str) -> None:
        """Begin anew in another epoch, with a gap for each topic; who is behind finds it in the history."""
        self._behind_to = 0
        if self._epoch == epoch or self._state is not LIVE:
            return
        if not self._latest and len(self._pending) + len(self.topics) > self._max_pending:
            self._state = _State.BEHIND  # the reader is not slow: they come all at once, by no fault of its own
            self._wake()
            return
        for topic in self.topics:
            self._take_gap(Gap(topic, "epoch"), recovered=True)
        self._epoch, self._seq = epoch, 0

    def _wake(self) -> None:
        """Let the receiving task look again."""
        task, self._task = self._task, None
        if task is not None:
            trio.lowlevel.reschedule(task)

    # -- its own -------------------------------------------------------------------------------------------------------

    def _next_item(self) -> Published | Gap | None:
        if self._lost:
            topic = next(iter(self._lost))
            return Gap(topic, self._lost.pop(topic))
        if self._newest and not self._pending:
            self._pending.extend(self._newest.values())
            self._newest.clear()
        return self._pending.popleft() if self._pending else None

    def _check_open(self) -> None:
        if self._state is LIVE or self._state is _State.BEHIND:
            if self._fan_out.closed:
                raise trio.EndOfChannel
        elif self._state is _State.SLOW:
            bound = self._max_pending
            raise SlowReaderError(f"{bound} messages were not received in time", limit="max_pending", bound=bound)
        else:
            raise trio.ClosedResourceError(f"this subscription is {self._state.value}")

    async def _park(self) -> None:
        self._task = trio.lowlevel.current_task()

        def abort(_raise_cancel: Callable[[], None]) -> trio.lowlevel.Abort:
            self._task = None
            return trio.lowlevel.Abort.SUCCEEDED

        await trio.lowlevel.wait_task_rescheduled(abort)

    async def _read_history(self) -> None:
        resumed = self._fan_out.resumed
        nowhere = self._epoch is None
        try:
            history = await self._ask_history()
        except TransportError:
            # The engine comes back by itself and says so; it may have done that before this task heard of its absence.
            if self._fan_out.resumed == resumed and not self._fan_out.closed and self._state is _State.BEHIND:
                await self._park()
            return
        if self._state is not _State.BEHIND:
            return
        if nowhere:  # it was opened while the store was away, and nobody knows what has been published since
            self._lost.update(dict.fromkeys(self.topics, "epoch"))
        self._take_history(history)

    async def _ask_history(self) -> BroadcastReplay:
        after = None if self._epoch is None else BroadcastPosition(self._epoch, self._seq)
        return await self._engine.replay(self.topics, after, self._max_pending)

    def _take_history(self, history: BroadcastReplay) -> None:
        self._lost.update((gap.topic, gap.why) for gap in history.gaps)
        for _, message in history.messages:
            if self._latest:
                self._keep_newest(message)
            else:
                self._pending.append(message)
        self._epoch, self._seq = history.position
        if history.complete and self._behind_to <= self._seq and len(self._pending) * 2 <= self._max_pending:
            self._state = LIVE

    def _keep_newest(self, item: Published | Gap) -> None:
        """Put an item behind all others, in the place of the one of its topic that was there."""
        if self._newest.pop(item.topic, None) is not None:
            self._fan_out.dropped += 1
        self._newest[item.topic] = item

    def _make_room(self) -> None:
        """The buffer is full and one more comes: do what was asked for in that case."""
        pending = self._pending
        before = len(pending)
        if self._overflow == "close":
            pending.clear()
            self._lost.clear()
            self._state = _State.SLOW
        else:
            for _ in range((before + 1) // 2):
                item = pending.popleft()
                if isinstance(item, Gap):
                    self._lost[item.topic] = item.why
                else:
                    self._lost.setdefault(item.topic, "slow")
        self._fan_out.dropped += before - len(pending)

    def _leave(self) -> None:
        if self._state is not _State.CLOSED:
            if self._state is not _State.NEW:
                self._fan_out.remove(self)
            self._state = _State.CLOSED
            self._pending.clear()
            self._newest.clear()
            self._lost.clear()
            self._wake()


class FanOut:
    """The subscriptions of an open hub, by topic; what the engine tells goes to them."""

    def __init__(self, engine: BroadcastEngine) -> None:
        self.subscriptions: dict[Subscription, None] = {}
        self.closed = False
        self.resumed = 0
        """How often the engine has come back."""
        self.dropped = 0
        """How many messages were dropped because a reader did not keep up."""
        self._engine = engine
        self._by_topic: dict[str, dict[Subscription, None]] = {}

    @property
    def topics(self) -> int:
        """How many topics have a subscriber."""
        return len(self._by_topic)

    @property
    def opened(self) -> int:
        """How many subscriptions get whatever is published from now on."""
        return sum(subscription._state is not _State.OPENING for subscription in self.subscriptions)

    def add(self, subscription: Subscription) -> None:
        """Hand messages to a subscription from now on."""
        if self.closed:
            raise trio.ClosedResourceError("this hub is closed")
        self.subscriptions[subscription] = None
        for topic in subscription.topics:
            subscribers = self._by_topic.get(topic)
            if subscribers is None:
                subscribers = self._by_topic[topic] = {}
                self._engine.follow(topic)
            subscribers[subscription] = None

    def remove(self, subscription: Subscription) -> None:
        """Hand it nothing any more."""
        del self.subscriptions[subscription]
        if self.closed:
            return  # the engine may serve another opening of the hub by now
        for topic in subscription.topics:
            subscribers = self._by_topic[topic]
            del subscribers[subscription]
            if not subscribers:
                del self._by_topic[topic]
                self._engine.unfollow(topic)

    def close(self) -> None:
        """Let every reader come to its end."""
        self.closed = True
        for topic in self._by_topic:
            self._engine.unfollow(topic)
        self._by_topic.clear()
        for subscription in self.subscriptions:
            subscription._wake()

    def deliver(self, seq: int, message: Published, *, recovered: bool = False) -> None:
        """Hand a message to the subscribers of its topic."""
        for subscription in self._by_topic.get(message.topic, ()):
            subscription._take(seq, message, recovered)

    def gap(self, gap: Gap, *, recovered: bool = False) -> None:
        """Hand a gap to the subscribers of its topic."""
        for subscription in self._by_topic.get(gap.topic, ()):
            subscription._take_gap(gap, recovered)

    def renew(self, epoch: str) -> None:
        """Tell every subscriber that the store has lost its content."""
        for subscription in self.subscriptions:
            subscription._renew(epoch)

    def resume(self) -> None:
        """Let those who could not read the history try it again."""
        self.resumed += 1
        for subscription in self.subscriptions:
            if subscription.behind:
                subscription._wake()
