"""What a reader of a broadcast hub may be given, written down the slow way, to compare with what it was given."""

from __future__ import annotations

from collections.abc import Sequence

import trio

from triohttp import Gap, Published, Subscription

__all__ = ["check_received", "receive_count", "receive_until"]


def check_received(
    published: Sequence[tuple[str, str]], items: Sequence[Published | Gap], topics: Sequence[str], start: int
) -> None:
    """Check that nothing is doubled or out of order, and nothing missing without a gap at its place.

    Args:
        published: id and topic of every message of the hub, in order.
        items: what the reader got, to the end.
        topics: what it had subscribed to.
        start: how many messages had been published before its place.
    """
    number_of = {identity: number for number, (identity, _) in enumerate(published)}
    latest = start - 1
    told: dict[str, bool] = dict.fromkeys(topics, False)
    reached = dict.fromkeys(topics, start)

    def expect(topic: str, until: int) -> None:
        missing = [published[number] for number in range(reached[topic], until) if published[number][1] == topic]
        assert told[topic] or not missing, f"without a gap, {missing} are missing in {items}"
        told[topic] = False

    for item in items:
        assert item.topic in told
        if isinstance(item, Gap):
            told[item.topic] = True
            continue
        number = number_of[item.id]
        assert published[number][1] == item.topic
        assert number > latest or told[item.topic], f"{item} is out of order in {items}"
        latest = number
        expect(item.topic, number)
        reached[item.topic] = number + 1
    for topic in topics:
        expect(topic, len(published))


async def receive_count(subscription: Subscription, count: int) -> list[Published | Gap]:
    """Receive so many items."""
    return [await subscription.receive() for _ in range(count)]


async def receive_until(subscription: Subscription, data: str) -> list[Published | Gap]:
    """Receive up to a message, which is the last of what is returned."""
    items: list[Published | Gap] = []
    with trio.fail_after(1000):  # on a virtual clock; a test's own bound is on the wall
        while not items or not isinstance(items[-1], Published) or items[-1].text != data:
            items.append(await subscription.receive())
    return items
