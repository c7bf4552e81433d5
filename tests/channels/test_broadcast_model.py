"""Any sequence of publishing, subscribing, receiving and leaving, compared with a list of all that was published."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import trio
from broadcast_checks import check_received
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from triohttp import Broadcast, Gap, MemoryEngine, Published, Subscription
from triohttp.errors import SlowReaderError

TOPICS = ["a", "b", "c"]


@dataclass
class Publish:
    topic: str


@dataclass
class Subscribe:
    topics: list[str]
    back: int | None
    """How many messages ago the reader was here; None for a new one, -1 for one with an id that is none of ours."""
    max_pending: int
    overflow: Literal["gap", "latest", "close"]


@dataclass
class Receive:
    reader: int
    count: int


@dataclass
class Leave:
    reader: int


@dataclass
class Reader:
    subscription: Subscription
    plan: Subscribe
    start: int
    items: list[Published | Gap] = field(default_factory=list)
    given_up: bool = False


publishes = st.builds(Publish, st.sampled_from(TOPICS))
operations = st.lists(
    st.one_of(
        publishes,
        publishes,
        publishes,
        st.builds(
            Subscribe,
            st.lists(st.sampled_from(TOPICS), min_size=1, unique=True),
            st.none() | st.integers(-1, 12),
            st.integers(1, 5),
            st.sampled_from(["gap", "latest", "close"]),
        ),
        st.builds(Receive, st.integers(0, 4), st.integers(1, 6)),
        st.builds(Leave, st.integers(0, 4)),
    ),
    max_size=60,
)
engines = st.builds(
    MemoryEngine,
    max_retained=st.integers(0, 8),
    max_retained_bytes=st.integers(0, 10_000),
    max_topics=st.integers(1, 3),
)


async def receive_waiting(reader: Reader, count: int) -> None:
    """Receive what is there."""
    with trio.move_on_after(1):
        try:
            for _ in range(count):
                reader.items.append(await reader.subscription.receive())
        except SlowReaderError:
            reader.given_up = True


def check(reader: Reader, published: list[tuple[str, str]]) -> None:
    plan, items = reader.plan, reader.items
    if plan.overflow == "latest":
        behind = [item for item in items if isinstance(item, Published)]
        numbers = [int(item.id.partition(".")[2]) for item in behind]
        assert numbers == sorted(set(numbers))
        for topic in plan.topics:
            newest = [identity for identity, name in published[reader.start :] if name == topic][-1:]
            got = [item.id for item in behind if item.topic == topic][-1:]
            assert got == newest or any(isinstance(item, Gap) and item.topic == topic for item in items)
    elif reader.given_up:
        assert plan.overflow == "close"
        last = next((item.id for item in reversed(items) if isinstance(item, Published)), None)
        until = [identity for identity, _ in published].index(last) + 1 if last else reader.start
        check_received(published[:until], items, plan.topics, reader.start)
    else:
        check_received(published, items, plan.topics, reader.start)
        assert plan.overflow == "gap" or not any(isinstance(item, Gap) and item.why == "slow" for item in items)


async def run(engine: MemoryEngine, plan: list[Publish | Subscribe | Receive | Leave]) -> None:
    published: list[tuple[str, str]] = []
    readers: list[Reader] = []
    async with Broadcast(engine) as hub:
        for step in plan:
            if isinstance(step, Publish):
                published.append((await hub.publish(step.topic, str(len(published))), step.topic))
            elif isinstance(step, Subscribe):
                start = len(published)
                after = None
                if step.back == -1:
                    after, start = "nowhere.1", 0
                elif step.back is not None and published:
                    start = max(1, len(published) - step.back)
                    after = published[start - 1][0]
                subscription = hub.subscribe(
                    *step.topics, after=after, max_pending=step.max_pending, overflow=step.overflow
                )
                readers.append(Reader(await subscription.__aenter__(), step, start))
            elif readers:
                reader = readers[step.reader % len(readers)]
                if isinstance(step, Receive):
                    await receive_waiting(reader, step.count)
                else:
                    readers.remove(reader)
                    await reader.subscription.aclose()
        for reader in readers:
            await receive_waiting(reader, 1000)
            check(reader, published)
            await reader.subscription.aclose()
        assert hub.statistics().topics == 0


@settings(max_examples=400, deadline=None)
@given(engines, operations)
def test_every_reader_gets_all_or_is_told(
    engine: MemoryEngine, plan: list[Publish | Subscribe | Receive | Leave]
) -> None:
    """Whatever happens in whatever order: no message twice, none out of order, none missing without a word."""
    trio.run(run, engine, plan, clock=MockClock(autojump_threshold=0))
