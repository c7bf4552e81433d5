"""A hub over Redis while Redis is cut, killed, emptied and frozen: nothing is lost without a word, and nothing is left.

What every engine promises is in ``test_broadcast_engines.py``. Two hubs of one name stand for two processes.
"""

from __future__ import annotations

import logging
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

import pytest
import trio
from broadcast_checks import check_received, receive_count, receive_until
from trio.testing import wait_all_tasks_blocked

from triohttp import Broadcast, BroadcastPosition, Gap, Published, Subscription
from triohttp.errors import ConnectError, DisconnectedError, TransportError
from triohttp.integrations._redis_scripts import PUBLISH
from triohttp.integrations.redis import RedisEngine
from triohttp.testing import CertificateAuthority, SweepRun, cancel_sweep

if TYPE_CHECKING:
    from conftest import Proxy, RedisServer

Overflow: TypeAlias = Literal["gap", "close"]


class Traffic:
    """Publishes on two topics, through whatever happens, and remembers what was accepted."""

    def __init__(self, hub: Broadcast) -> None:
        self.hub = hub
        self.published: list[tuple[str, str]] = []
        self.doubtful = 0

    async def publish(self, count: int, pause: float = 0.002) -> None:
        """Publish so many, each until it is accepted or in doubt."""
        done = 0
        while done < count:
            topic = "ab"[done % 2]
            try:
                identity = await self.hub.publish(topic, str(len(self.published)))
            except ConnectError:
                await trio.sleep(0.01)
                continue
            except DisconnectedError as error:
                assert error.sent
                self.doubtful += 1
                continue
            self.published.append((identity, topic))
            done += 1
            await trio.sleep(pause)

    async def finish(self) -> None:
        """Publish a last message on each topic."""
        for topic in "ab":
            self.published.append((await self.hub.publish(topic, f"last of {topic}"), topic))


def hub_at(url: str, **options: float) -> Broadcast:
    return Broadcast(RedisEngine(url, **options))  # type: ignore[arg-type]  # names and numbers


def data_of(items: list[Published | Gap]) -> list[str]:
    return [item.text if isinstance(item, Published) else f"({item.topic}: {item.why})" for item in items]


async def collect(subscription: Subscription, items: list[Published | Gap]) -> None:
    """Receive up to the last message of topic b."""
    items.extend(await receive_until(subscription, "last of b"))


async def wait_connected(engine: RedisEngine, connected: bool = True) -> None:
    with trio.fail_after(10):
        while engine.connected is not connected:
            await trio.lowlevel.checkpoint()  # a shorter absence than a sleep would be missed


@pytest.mark.parametrize("how", ["kill the clients", "cut at a proxy", "freeze at a proxy"])
async def test_nothing_is_lost_when_connections_are_cut(
    redis_server: RedisServer, proxy: Proxy, nursery: trio.Nursery, how: str
) -> None:
    """Connections end again and again while messages flow: every reader gets all of them, in order, without a gap."""
    url = f"redis://127.0.0.1:{proxy.port}" if "proxy" in how else redis_server.url
    async with (
        hub_at(url, ping_seconds=0.1) as hub,
        hub_at(redis_server.url if "proxy" in how else url) as other,
        hub.subscribe("a", "b") as small,
        hub.subscribe("a", "b", max_pending=10_000) as large,
        trio.open_nursery() as readers,
    ):
        traffic = Traffic(other)
        received: list[list[Published | Gap]] = [[], []]
        readers.start_soon(collect, small, received[0])
        readers.start_soon(collect, large, received[1])
        async with trio.open_nursery() as publishing:
            publishing.start_soon(traffic.publish, 300)
            for _ in range(3):
                await trio.sleep(0.2)
                if how == "kill the clients":
                    redis_server.cut()
                elif how == "cut at a proxy":
                    proxy.cut()
                else:
                    proxy.freeze()
        await traffic.finish()
    numbers = {identity for identity, _ in traffic.published}
    for items in received:
        assert not [item for item in items if isinstance(item, Gap)]
        # What was in doubt may have been published, and then it is delivered too.
        known = [item for item in items if isinstance(item, Published) and item.id in numbers]
        assert len(items) - len(known) <= traffic.doubtful
        check_received(traffic.published, known, ["a", "b"], 0)
    if "proxy" in how:
        assert proxy.connections >= 3


async def test_what_expired_while_the_connection_was_cut_is_told(redis_server: RedisServer, proxy: Proxy) -> None:
    """More is published during a cut than is retained: a gap in its place, and the rest."""
    engine = RedisEngine(f"redis://127.0.0.1:{proxy.port}", max_retained=5)
    other = hub_at(redis_server.url, max_retained=5)
    async with Broadcast(engine) as hub, other, hub.subscribe("a") as reader:
        traffic = Traffic(other)
        await traffic.publish(1)
        items = await receive_count(reader, 1)
        proxy.refusing = True
        proxy.cut()
        await traffic.publish(700, pause=0)
        await traffic.finish()
        proxy.refusing = False
        items += await receive_until(reader, "last of a")
        assert data_of(items[:2]) == ["0", "(a: expired)"]
        check_received(traffic.published, items, ["a"], 0)


async def test_a_piece_of_history_is_full_however_many_topics_there_are(redis_server: RedisServer) -> None:
    """With more topics than messages in a piece, each piece is still as large as asked for, and in order."""
    engine = RedisEngine(redis_server.url)
    topics = [f"topic {number}" for number in range(100)]
    async with Broadcast(engine) as hub:
        position = BroadcastPosition.parse(await hub.publish("elsewhere", ""))
        busy = [*topics, *topics[:3] * 40, topics[-1], *topics[::-1]]
        ids = [await hub.publish(topic, "") for topic in busy]
        read: list[str] = []
        sizes: list[int] = []
        complete = False
        while not complete:
            history = await engine.replay(topics, position, 32)
            assert not history.gaps
            read += [message.id for _, message in history.messages]
            sizes.append(len(history.messages))
            position, complete = history.position, history.complete
        assert read == ids
        assert sizes == [*[32] * (len(ids) // 32), len(ids) % 32]


async def test_a_server_that_comes_back_empty_is_told(redis_server: RedisServer, nursery: trio.Nursery) -> None:
    """Killed and started again without its data, while messages flow: one gap a topic, and then all that is new."""
    async with (
        hub_at(redis_server.url) as hub,
        hub_at(redis_server.url) as other,
        hub.subscribe("a", "b", max_pending=1000) as reader,
        trio.open_nursery() as readers,
    ):
        received: list[Published | Gap] = []
        readers.start_soon(collect, reader, received)
        traffic = Traffic(other)
        await traffic.publish(20)
        async with trio.open_nursery() as publishing:
            publishing.start_soon(traffic.publish, 50)
            await trio.sleep(0.05)
            redis_server.kill()
            await trio.sleep(0.1)
            redis_server.start()
        await traffic.finish()
    assert sorted(item.topic for item in received if isinstance(item, Gap)) == ["a", "b"]
    assert {item.why for item in received if isinstance(item, Gap)} == {"epoch"}
    check_received(traffic.published, received, ["a", "b"], 0)
    assert len({identity.partition(".")[0] for identity, _ in traffic.published}) == 2


async def test_a_server_that_is_emptied_is_noticed(redis_server: RedisServer) -> None:
    """FLUSHALL under a connection that stays: the next message tells everybody, and is itself not lost."""
    async with hub_at(redis_server.url) as hub, hub_at(redis_server.url) as other, hub.subscribe("a", "b") as reader:
        old = await other.publish("a", "old")
        redis_server.cli("flushall")
        await other.publish("a", "new")
        assert data_of(await receive_until(reader, "new")) == ["old", "(a: epoch)", "(b: epoch)", "new"]
        async with other.subscribe("a", after=old) as returning:
            assert data_of(await receive_until(returning, "new")) == ["(a: epoch)", "new"]


@pytest.mark.parametrize("overflow", ["gap", "close"])
async def test_gaps_of_many_topics_make_nobody_slow(redis_server: RedisServer, overflow: Overflow) -> None:
    """A reader of more topics than ``max_pending`` is told of each when the server was emptied, and stays."""
    topics = [f"topic {number}" for number in range(5)]
    async with hub_at(redis_server.url) as hub, hub.subscribe(*topics, max_pending=4, overflow=overflow) as reader:
        await hub.publish(topics[0], "old")
        assert data_of(await receive_count(reader, 1)) == ["old"]
        async with trio.open_nursery() as nursery:
            received: list[Published | Gap] = []

            async def read() -> None:
                received.extend(await receive_until(reader, "new"))

            nursery.start_soon(read)
            await wait_all_tasks_blocked()
            redis_server.cli("flushall")
            await hub.publish(topics[0], "new")
        assert data_of(received) == [*(f"({topic}: epoch)" for topic in topics), "new"]
        assert hub.statistics().dropped == 0


@pytest.mark.parametrize("overflow", ["gap", "close"])
async def test_what_expired_of_many_topics_makes_nobody_slow(
    redis_server: RedisServer, proxy: Proxy, overflow: Overflow
) -> None:
    """More topics than ``max_pending`` were forgotten during a cut: the reader is told of each, and stays."""
    topics = [f"topic {number}" for number in range(5)]
    other = hub_at(redis_server.url, max_topics=1)
    async with (
        hub_at(f"redis://127.0.0.1:{proxy.port}") as hub,
        other,
        hub.subscribe(*topics, max_pending=4, overflow=overflow) as reader,
    ):
        proxy.refusing = True
        proxy.cut()
        for topic in (*topics, "another", topics[0]):
            await other.publish(topic, topic)
        proxy.refusing = False
        items = await receive_until(reader, topics[0])
        assert {item for item in items if isinstance(item, Gap)} == {Gap(topic, "expired") for topic in topics}
        assert hub.statistics().dropped == 0


async def test_a_new_epoch_is_told_without_a_message(redis_server: RedisServer) -> None:
    """As soon as one process notices that the server was emptied, all readers are told."""
    async with hub_at(redis_server.url) as hub, hub_at(redis_server.url) as other, hub.subscribe("a") as reader:
        await other.publish("a", "old")
        redis_server.cli("flushall")
        async with other.subscribe("b"):  # which asks for its place
            assert data_of(await receive_count(reader, 2)) == ["old", "(a: epoch)"]


async def test_a_server_that_kept_its_data_lost_nothing(redis_server: RedisServer) -> None:
    """Ended with its data and started again: no gap, and the history is there."""
    engine = RedisEngine(redis_server.url)
    async with Broadcast(engine) as hub, hub.subscribe("a") as reader:
        first = await hub.publish("a", "1")
        await hub.publish("a", "2")
        redis_server.cli("save")
        redis_server.kill()
        await wait_connected(engine, False)
        redis_server.start()
        await wait_connected(engine)
        await hub.publish("a", "3")
        assert data_of(await receive_until(reader, "3")) == ["1", "2", "3"]
        async with hub.subscribe("a", after=first) as returning:
            assert data_of(await receive_until(returning, "3")) == ["2", "3"]


async def test_a_server_from_an_old_snapshot_is_told(redis_server: RedisServer) -> None:
    """Killed after it had accepted more than it had saved: whoever knows of the lost messages brings it to light."""
    async with hub_at(redis_server.url) as hub, hub.subscribe("a") as reader:
        saved = await hub.publish("a", "saved")
        redis_server.cli("save")
        lost = await hub.publish("a", "lost")
        redis_server.kill()
        redis_server.start()
        items = data_of(await receive_count(reader, 4))
        assert items == ["saved", "lost", "(a: epoch)", "saved"]
        await hub.publish("a", "new")
        for after in (saved, lost):
            async with hub.subscribe("a", after=after) as returning:
                assert data_of(await receive_until(returning, "new")) == ["(a: epoch)", "saved", "new"]


async def test_a_forgotten_topic_is_no_lost_message(redis_server: RedisServer) -> None:
    """That the newest message a process knows was forgotten by the bounds does not look like a server that lost it."""
    engine = RedisEngine(redis_server.url, max_topics=1)
    async with Broadcast(engine) as hub, hub_at(redis_server.url, max_topics=1) as other, hub.subscribe("a") as reader:
        await other.publish("a", "1")
        assert data_of(await receive_count(reader, 1)) == ["1"]
        await other.publish("b", "elsewhere")
        redis_server.cut()
        await wait_connected(engine, False)
        await wait_connected(engine)
        await other.publish("a", "2")
        assert data_of(await receive_count(reader, 1)) == ["2"]


async def test_publishing_while_redis_is_away(redis_server: RedisServer) -> None:
    """It fails at once and says that nothing was published; the first one after Redis is back succeeds."""
    engine = RedisEngine(redis_server.url)
    async with Broadcast(engine) as hub, hub.subscribe("a") as reader:
        redis_server.kill()
        await wait_connected(engine, False)
        for _ in range(3):
            with pytest.raises(ConnectError) as caught, trio.fail_after(1):
                await hub.publish("a", "lost")
            assert (caught.value.phase, caught.value.sent, caught.value.safe_to_retry) == ("redis", False, True)
            assert str(redis_server.path) in str(caught.value)
        await trio.sleep(0.5)  # the pauses between the attempts have grown
        redis_server.start()
        with trio.fail_after(1):
            await hub.publish("a", "new")
        assert data_of(await receive_until(reader, "new")) == ["(a: epoch)", "new"]


async def test_a_hub_may_be_opened_while_redis_is_away(
    redis_server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    """An app starts without its Redis, with a warning; readers wait, and are told that they may have missed some."""
    redis_server.kill()
    caplog.set_level(logging.INFO, "triohttp.broadcast")
    async with hub_at(redis_server.url) as hub, hub.subscribe("a") as reader:
        with trio.move_on_after(0.5) as scope:
            await reader.receive()
        assert scope.cancelled_caught
        redis_server.start()
        assert await reader.receive() == Gap("a", "epoch")
        await hub.publish("a", "1")
        assert data_of(await receive_count(reader, 1)) == ["1"]
    told = [record.getMessage() for record in caplog.records if record.name == "triohttp.broadcast"]
    assert told[0].startswith(f"Redis at {redis_server.path} is away, trying until it is back: ")
    assert told[1:] == [f"Redis at {redis_server.path} is back"]


async def test_an_absence_is_told_once(redis_server: RedisServer, caplog: pytest.LogCaptureFixture) -> None:
    """However many attempts fail, and however often a connection flaps: one record in five seconds."""
    engine = RedisEngine(redis_server.url)
    async with Broadcast(engine):
        for _ in range(4):
            assert redis_server.cut() == 1
            await wait_connected(engine, False)
            await wait_connected(engine)
    assert len([record for record in caplog.records if "is away" in record.getMessage()]) == 1


async def test_a_refusal_is_told(redis_server: RedisServer) -> None:
    """A Redis that is full says so to the publisher; readers and connections stay."""
    engine = RedisEngine(redis_server.url)
    async with Broadcast(engine) as hub, hub.subscribe("a") as reader:
        await hub.publish("a", "1")
        redis_server.cli("config", "set", "maxmemory", "1")
        with pytest.raises(TransportError, match="OOM"):
            await hub.publish("a", "2")
        assert engine.connected
        redis_server.cli("config", "set", "maxmemory", "0")
        await hub.publish("a", "3")
        assert data_of(await receive_count(reader, 2)) == ["1", "3"]


@pytest.mark.parametrize(
    ("topics", "expected"), [("aba", ["1", "unseen", "2", "3", "4"]), ("baa", ["1", "2", "(a: expired)", "3", "4"])]
)
async def test_a_hole_is_noticed_without_any_cut(redis_server: RedisServer, topics: str, expected: list[str]) -> None:
    """A message that was retained and never pushed comes with the next one, or is told where it is too late for it."""
    async with hub_at(redis_server.url) as hub, hub.subscribe("a", "b") as reader:
        await hub.publish("a", "1")
        assert data_of(await receive_count(reader, 1)) == ["1"]
        keys = ["{triohttp}:hub", "{triohttp}:topics", "{triohttp}:stream:a"]
        unseen = ["a", "elsewhere", "{triohttp}:stream:", "s", "unseen", "-", "1000", "1000", "86400000000"]
        redis_server.cli("eval", PUBLISH.text.decode(), "3", *keys, *unseen)
        for number, topic in enumerate(topics, 2):
            await hub.publish(topic, str(number))
        assert ["1", *data_of(await receive_until(reader, "4"))] == expected


async def test_forgotten_scripts_are_sent_again(redis_server: RedisServer) -> None:
    """A Redis that has forgotten its scripts gets them again, and nobody notices."""
    async with hub_at(redis_server.url) as hub, hub.subscribe("a") as reader:
        for number in range(3):
            redis_server.cli("script", "flush")
            await hub.publish("a", str(number))
        assert data_of(await receive_count(reader, 3)) == ["0", "1", "2"]


async def test_silent_topics_are_forgotten(redis_server: RedisServer) -> None:
    """``retain_seconds``: nothing of a topic that is silent for longer stays in Redis, and late readers are told."""
    async with hub_at(redis_server.url, retain_seconds=0.2) as hub:
        first = await hub.publish("a", "1")
        await hub.publish("a", "2")
        await trio.sleep(0.25)
        await hub.publish("b", "3")
        keys = sorted(redis_server.cli("keys", "*").split())
        assert keys == ["{triohttp}:hub", "{triohttp}:stream:b", "{triohttp}:topics"]
        async with hub.subscribe("a", "b", after=first) as reader:
            assert data_of(await receive_until(reader, "3")) == ["(a: expired)", "3"]


async def test_what_others_publish_on_our_channels_is_ignored(redis_server: RedisServer) -> None:
    """A payload that is no message of ours is dropped, and so is a hub of the same name in another database."""
    async with (
        hub_at(redis_server.url) as hub,
        hub_at(f"{redis_server.url}?db=3") as elsewhere,
        hub.subscribe("a") as reader,
        elsewhere.subscribe("a"),
    ):
        redis_server.cli("publish", "{triohttp}:0:topic:a", "garbage")
        redis_server.cli("publish", "{triohttp}:0:hub", "garbage")
        await elsewhere.publish("a", "elsewhere")
        await hub.publish("a", "ours")
        assert data_of(await receive_count(reader, 1)) == ["ours"]


async def test_a_process_has_one_connection_and_leaves_none(redis_server: RedisServer) -> None:
    """However many topics and readers there are; and after the block there is no connection and no subscription."""
    async with hub_at(redis_server.url) as hub, trio.open_nursery() as nursery:
        for number in range(50):
            await nursery.start(read_forever, hub, f"topic {number % 10}")
        await hub.publish("topic 1", "1")
        assert len(redis_server.clients()) == 1
        assert redis_server.cli("pubsub", "numsub", "{triohttp}:0:topic:topic 1").split()[-1] == "1"
        nursery.cancel_scope.cancel()
    await redis_server.wait_no_clients()
    assert redis_server.cli("pubsub", "channels") == ""


async def read_forever(hub: Broadcast, topic: str, task_status: trio.TaskStatus[None]) -> None:
    async with hub.subscribe(topic) as subscription:
        task_status.started()
        async for _ in subscription:
            pass


async def test_topics_without_readers_are_not_followed(redis_server: RedisServer) -> None:
    """The last reader of a topic ends its subscription in Redis too."""
    async with hub_at(redis_server.url) as hub:
        async with hub.subscribe("a"), hub.subscribe("a"):
            assert "{triohttp}:0:topic:a" in redis_server.cli("pubsub", "channels").split("\n")
        async with hub.subscribe("b"):  # asked over the same connection, so what went before is done
            assert redis_server.cli("pubsub", "channels").split("\n").count("{triohttp}:0:topic:a") == 0


async def test_the_error_of_a_block_comes_out_as_it_is(redis_server: RedisServer) -> None:
    """What a block raises is not wrapped, though tasks of the engine end with it."""
    with pytest.raises(KeyError):
        async with hub_at(redis_server.url):
            raise KeyError("mine")
    with trio.move_on_after(0.05) as scope:
        async with hub_at(redis_server.url):
            await trio.sleep_forever()
    assert scope.cancelled_caught
    await redis_server.wait_no_clients()


@pytest.mark.sweep
@pytest.mark.wall_seconds(60)
def test_a_hub_over_redis_can_be_cancelled_anywhere(redis_server: RedisServer) -> None:
    """While it is opened, published on, read from and closed: no task, no connection and no descriptor is left."""

    async def scenario(sweep: SweepRun) -> None:
        with sweep.block():
            async with hub_at(redis_server.url) as hub:
                first = await hub.publish("a", "1")
                await hub.publish("a", "2")
                async with hub.subscribe("a", "b", after=first, max_pending=1) as subscription:
                    await hub.publish("b", "3")
                    await receive_count(subscription, 2)
        await redis_server.wait_no_clients()

    report = cancel_sweep(scenario, virtual_time=False)
    assert len(report.points) > 10


@pytest.mark.parametrize(
    ("mistake", "what"),
    [
        (lambda: RedisEngine("http://h"), "a URL of Redis"),
        (lambda: RedisEngine("redis://user:hunter2@h:port"), "a URL of Redis"),
        (lambda: RedisEngine("redis://:hunter2@h/db"), "a URL of Redis"),
        (lambda: RedisEngine("redis://h?ssl_cert_reqs=none"), "a URL of Redis"),
        (lambda: RedisEngine("unix://"), "a URL of Redis"),
        (lambda: RedisEngine(name="{a}"), "name"),
        (lambda: RedisEngine(max_retained=0), "max_retained"),
        (lambda: RedisEngine(max_topics=0), "max_topics"),
        (lambda: RedisEngine(max_in_flight=0), "max_in_flight"),
        (lambda: RedisEngine(max_retained=True), "max_retained"),
        (lambda: RedisEngine(max_topics=1.0), "max_topics"),  # type: ignore[arg-type]  # the mistake
        (lambda: RedisEngine(retain_seconds=0), "retain_seconds"),
        (lambda: RedisEngine(connect_seconds=-1), "connect_seconds"),
        (lambda: RedisEngine(ping_seconds=float("inf")), "ping_seconds"),
    ],
)
def test_options_that_cannot_work(mistake: Callable[[], object], what: str) -> None:
    """They are refused where they are given, and a password is in no message."""
    with pytest.raises(ValueError, match=what) as caught:
        mistake()
    assert "hunter2" not in str(caught.value)
    assert caught.value.__cause__ is None


async def test_a_password_is_used_and_never_shown(
    redis_server: RedisServer, proxy: Proxy, caplog: pytest.LogCaptureFixture
) -> None:
    """With the right one a hub works; with a wrong one it is away, and neither is in a record, a repr or an error."""
    redis_server.cli("acl", "setuser", "app", "on", ">hunter2!", "allkeys", "allchannels", "+@all")
    caplog.set_level(logging.DEBUG)
    async with hub_at(f"redis://app:hunter2%21@127.0.0.1:{proxy.port}/2") as hub, hub.subscribe("a") as reader:
        await hub.publish("a", "1")
        assert data_of(await receive_count(reader, 1)) == ["1"]
        assert "hunter2" not in repr(hub)
        assert "user=app" in redis_server.clients()[0]
    async with hub_at(f"redis://app:hunter3@127.0.0.1:{proxy.port}") as hub:
        with pytest.raises(ConnectError, match="invalid username-password pair") as caught:
            await hub.publish("a", "1")
    assert "hunter" not in caplog.text + repr(caught.value) + repr(caught.value.__cause__)


async def test_tls_trusts_nobody_unasked(
    proxy: Proxy, authority: CertificateAuthority
) -> None:
    """``rediss`` takes no certificate that it cannot verify, for a name or an authority, and works with one it can."""
    proxy.tls = authority.server_context("localhost")
    async with hub_at(f"rediss://localhost:{proxy.port}") as hub:
        with pytest.raises(ConnectError, match="certificate verify failed"):
            await hub.publish("a", "1")
    async with Broadcast(RedisEngine(f"rediss://127.0.0.1:{proxy.port}", tls=authority.client_context())) as hub:
        with pytest.raises(ConnectError, match="certificate verify failed"):
            await hub.publish("a", "1")
    engine = RedisEngine(f"rediss://localhost:{proxy.port}", tls=authority.client_context())
    async with Broadcast(engine) as hub, hub.subscribe("a") as reader:
        await hub.publish("a", "1")
        assert data_of(await receive_count(reader, 1)) == ["1"]


async def test_a_publisher_does_not_outwait_the_hub(redis_server: RedisServer) -> None:
    """Who waits for a connection when the hub is closed hears that there will be none."""
    engine = RedisEngine(redis_server.url)
    async with trio.open_nursery() as nursery:
        async with Broadcast(engine) as hub:

            async def publish() -> None:
                with pytest.raises(ConnectError):
                    await hub.publish("a", "1")

            redis_server.kill()
            await wait_connected(engine, False)
            nursery.start_soon(publish)
            await trio.lowlevel.checkpoint()
            await trio.lowlevel.checkpoint()


def test_without_coredis_the_extra_is_named() -> None:
    """Importing the engine without its library says what to install."""
    code = "import sys; sys.modules['coredis'] = None; import triohttp.integrations.redis"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr.splitlines()[-1] == "ImportError: this needs coredis: pip install 'triohttp[redis]'"


async def test_two_processes_share_a_hub(redis_server: RedisServer, tmp_path: Path) -> None:
    """What another process publishes arrives here, and that process may die of a signal at any time."""
    script = tmp_path / "publisher.py"
    script.write_text(
        "import sys, trio\n"
        "from triohttp import Broadcast\n"
        "from triohttp.integrations.redis import RedisEngine\n"
        "async def main():\n"
        "    async with Broadcast(RedisEngine(sys.argv[1])) as hub:\n"
        "        for number in range(1000000):\n"
        "            await hub.publish('a', str(number))\n"
        "trio.run(main)\n",
        encoding="utf-8",
    )
    async with hub_at(redis_server.url) as hub, hub.subscribe("a", max_pending=100_000) as reader:
        process = await trio.lowlevel.open_process([sys.executable, str(script), redis_server.url])
        try:
            items = await receive_count(reader, 50)
        finally:
            process.send_signal(signal.SIGKILL)
            await process.wait()
        assert data_of(items) == [str(number) for number in range(50)]
