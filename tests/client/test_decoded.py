"""Content that is decoded while it is received, as a stream and collected: over trio's memory streams."""

from __future__ import annotations

import pytest
import trio
import trio.testing
from coded import CODED, Coded, gzip_bytes

from triohttp._client.decoded import DecodedCollector, DecodedStream
from triohttp._wire.coding import Decoder, find_decoder
from triohttp.errors import BodyTooLargeError, ContentError
from triohttp.testing import Cut, Dribble, FaultyStream, SweepRun, cancel_sweep, memory_stream_pair

KIB = 1024
MIB = 1024 * 1024
TEXT = b"".join(b"line %d of a text that is neither short nor long\n" % number for number in range(4000))
every_coding = pytest.mark.parametrize("coded", CODED, ids=str)


def decoder_of(field: str, max_ratio: float = float("inf")) -> Decoder:
    decoder, left = find_decoder([field], max_codings=3, max_ratio=max_ratio)
    assert decoder is not None and left == ()
    return decoder


async def stream_of(data: bytes, field: str = "gzip", max_ratio: float = float("inf")) -> DecodedStream:
    """A stream over raw content that has come, and has ended."""
    sender, raw = trio.testing.memory_stream_one_way_pair()
    await sender.send_all(data)
    await sender.aclose()
    return DecodedStream(raw, decoder_of(field, max_ratio))


# -- the stream --------------------------------------------------------------------------------------------------------


@every_coding
async def test_a_stream_gives_decoded_content_and_an_end(coded: Coded) -> None:
    """All of it in pieces of at most 64 KiB, then ``b""`` for ever; both sides are counted."""
    data = coded.encode(TEXT)
    stream = await stream_of(data, coded.field)
    pieces = [piece async for piece in stream]
    assert b"".join(pieces) == TEXT
    assert max(map(len, pieces)) <= 64 * KIB
    assert [await stream.receive_some(), await stream.receive_some(10)] == [b"", b""]
    assert (stream.raw_bytes, stream.decoded_bytes) == (len(data), len(TEXT))
    await stream.aclose()


@pytest.mark.parametrize("max_bytes", [1, 7, 1000, 10 * MIB])
async def test_a_receive_gives_at_most_what_was_asked_for(max_bytes: int) -> None:
    """Never more than ``max_bytes``, and nothing is lost in between."""
    text = TEXT[:5000]
    stream = await stream_of(gzip_bytes(text))
    pieces = []
    while piece := await stream.receive_some(max_bytes):
        pieces.append(piece)
    assert b"".join(pieces) == text
    assert {len(piece) for piece in pieces[:-1]} <= {max_bytes}
    await stream.aclose()


async def test_nothing_can_be_asked_for_in_less_than_a_byte() -> None:
    """A bound of nothing could not be told from the end."""
    stream = await stream_of(b"")
    with pytest.raises(ValueError, match="max_bytes must be at least 1, not 0"):
        await stream.receive_some(0)
    await stream.aclose()


async def test_content_without_a_byte_ends_at_once() -> None:
    """An answer without content may name a coding."""
    stream = await stream_of(b"")
    assert await stream.receive_some() == b""
    await stream.aclose()


async def test_what_has_come_is_decoded_before_more_is_received(autojump_clock: trio.testing.MockClock) -> None:
    """A piece that was flushed comes out at once, though the content goes on: events and lines depend on it."""
    sender, raw = trio.testing.memory_stream_one_way_pair()
    stream = DecodedStream(raw, decoder_of("gzip"))
    first, second = gzip_bytes(b"first"), gzip_bytes(b"second")
    await sender.send_all(first + second[:-1])
    assert [await stream.receive_some(), await stream.receive_some()] == [b"first", b"second"]
    with trio.move_on_after(1) as scope:
        await stream.receive_some()
    assert scope.cancelled_caught
    await sender.send_all(second[-1:])
    await sender.aclose()
    assert await stream.receive_some() == b""
    await stream.aclose()


@pytest.mark.parametrize("damage", ["cut", "corrupt", "garbage", "ratio"])
async def test_an_error_of_the_decoder_is_raised_again(damage: str) -> None:
    """Whoever goes on receiving gets the same error, never an end that would look like success."""
    whole = gzip_bytes(TEXT)
    data = {
        "cut": whole[:-1],
        "corrupt": whole[:-6] + b"\x00" + whole[-5:],
        "garbage": whole + b"garbage",
        "ratio": gzip_bytes(bytes(2 * MIB)),
    }[damage]
    stream = await stream_of(data, max_ratio=200)
    with pytest.raises((ContentError, BodyTooLargeError)) as info:
        while await stream.receive_some():
            pass
    for _ in range(2):
        with pytest.raises((ContentError, BodyTooLargeError)) as again:
            await stream.receive_some()
        assert again.value is info.value
    await stream.aclose()


async def test_errors_of_the_raw_stream_come_through() -> None:
    """A connection that was lost is that, and no content that was cut off."""
    raw, peer = memory_stream_pair()
    data = gzip_bytes(TEXT)
    faulty = FaultyStream(raw, receiving=[Cut(after_bytes=100, how="reset")])
    stream = DecodedStream(faulty, decoder_of("gzip"))
    await peer.send_all(data)
    with pytest.raises(trio.BrokenResourceError):
        while await stream.receive_some():
            pass
    with pytest.raises(trio.BrokenResourceError):
        await stream.receive_some()
    await stream.aclose()
    await peer.aclose()


def test_a_cancelled_receive_loses_nothing() -> None:
    """Wherever it is cancelled, receiving goes on after it: ``resumable``."""
    text = TEXT[:3000]
    data = gzip_bytes(text[:1000]) + gzip_bytes(text[1000:])

    async def run(sweep: SweepRun) -> None:
        raw, peer = memory_stream_pair()
        faulty = FaultyStream(raw, receiving=[Dribble(max_bytes=50)])
        stream = DecodedStream(faulty, decoder_of("gzip"))
        async with trio.open_nursery() as nursery:

            async def send() -> None:
                await peer.send_all(data)
                await peer.aclose()

            nursery.start_soon(send)
            received = []
            with sweep.block():
                while piece := await stream.receive_some(300):
                    received.append(piece)
            while piece := await stream.receive_some(300):
                received.append(piece)
        assert b"".join(received) == text
        await stream.aclose()

    assert cancel_sweep(run).cancelled >= 10


async def test_a_closed_stream_gives_nothing_more() -> None:
    """Closing closes the raw stream; what had been decoded is lost with the rest."""
    sender, raw = trio.testing.memory_stream_one_way_pair()
    stream = DecodedStream(raw, decoder_of("gzip"))
    await sender.send_all(gzip_bytes(TEXT))
    assert await stream.receive_some(5) == TEXT[:5]
    await stream.aclose()
    with pytest.raises(trio.ClosedResourceError):
        await stream.receive_some()
    with pytest.raises(trio.ClosedResourceError):
        await raw.receive_some()
    with pytest.raises(trio.BrokenResourceError):
        await sender.send_all(b"more")
    await stream.aclose()
    await sender.aclose()


async def test_closing_ends_a_receive_that_waits() -> None:
    """The receiver is told."""
    sender, raw = trio.testing.memory_stream_one_way_pair()
    stream = DecodedStream(raw, decoder_of("gzip"))

    async def receive() -> None:
        with pytest.raises(trio.ClosedResourceError):
            await stream.receive_some()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(receive)
        await trio.testing.wait_all_tasks_blocked()
        await stream.aclose()
    await sender.aclose()


class ClosedMeanwhile(trio.abc.ReceiveStream):
    """A raw stream that gives something in the step in which another task closes what is over it."""

    over: DecodedStream

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        await self.over.aclose()
        return gzip_bytes(TEXT)

    async def aclose(self) -> None:
        await trio.lowlevel.checkpoint()


async def test_closing_ends_a_receive_that_has_got_something() -> None:
    """Closed is closed, though there would have been something to hand out."""
    raw = ClosedMeanwhile()
    stream = raw.over = DecodedStream(raw, decoder_of("gzip"))
    with pytest.raises(trio.ClosedResourceError):
        await stream.receive_some()


async def test_one_task_receives_at_a_time() -> None:
    """The second is told; the first is not disturbed."""
    sender, raw = trio.testing.memory_stream_one_way_pair()
    stream = DecodedStream(raw, decoder_of("gzip"))

    async def receive() -> None:
        assert await stream.receive_some() == b"content"

    async with trio.open_nursery() as nursery:
        nursery.start_soon(receive)
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(trio.BusyResourceError):
            await stream.receive_some()
        await sender.send_all(gzip_bytes(b"content"))
    await sender.aclose()
    assert await stream.receive_some() == b""
    await stream.aclose()


async def test_one_task_takes_what_is_there() -> None:
    """A second one is told, too, where nobody has to wait: it must not find the piece gone and call that the end."""
    stream = await stream_of(gzip_bytes(TEXT))
    assert await stream.receive_some(5) == TEXT[:5]
    outcomes: list[object] = []

    async def receive() -> None:
        try:
            outcomes.append(await stream.receive_some(5))
        except trio.BusyResourceError as exc:
            outcomes.append(type(exc))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(receive)
        nursery.start_soon(receive)
    assert outcomes == [trio.BusyResourceError, TEXT[5:10]]
    await stream.aclose()


async def count_turns(turns: list[int]) -> None:
    while True:
        turns[0] += 1
        await trio.lowlevel.checkpoint()


@pytest.mark.parametrize("field", ["gzip", "deflate, gzip"], ids=["bomb", "large-on-the-way"])
async def test_other_tasks_run_while_a_stream_decodes(field: str) -> None:
    """16 MiB from one small piece: every step of 64 KiB, and every few that give nothing, end in a checkpoint."""
    data = gzip_bytes(bytes(16 * MIB) if field == "gzip" else b"\x00\x00\x00\xff\xff" * (16 * MIB // 5) + b"\x03\x00")
    stream = await stream_of(data, field)
    turns = [0]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(count_turns, turns)
        while await stream.receive_some():
            pass
        nursery.cancel_scope.cancel()
    assert turns[0] >= (250 if field == "gzip" else 14)  # of 256 and 16 turns, not all were the counter's
    await stream.aclose()


class AlreadyThere(trio.abc.ReceiveStream):
    """A raw stream that gives octet by octet what has come, and never yields, as a connection may."""

    def __init__(self, data: bytes) -> None:
        self.left = data

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        octet, self.left = self.left[:1], self.left[1:]
        return octet

    async def aclose(self) -> None:
        await trio.lowlevel.checkpoint()


async def test_other_tasks_run_while_much_comes_to_nothing() -> None:
    """A gzip header may name a file at any length; whoever sends that in small pieces holds nobody up."""
    data = gzip_bytes(TEXT)
    named = data[:3] + b"\x08" + data[4:10] + b"n" * 1600 + b"\x00" + data[10:]
    stream = DecodedStream(AlreadyThere(named), decoder_of("gzip"))
    turns = [0]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(count_turns, turns)
        assert TEXT.startswith(await stream.receive_some())
        nursery.cancel_scope.cancel()
    assert turns[0] >= 1600 // 16 - 2
    await stream.aclose()


# -- the collector -----------------------------------------------------------------------------------------------------


@every_coding
@pytest.mark.parametrize("size", [1, 100, 10 * MIB])
async def test_a_collector_gives_the_whole_content(coded: Coded, size: int) -> None:
    """From raw pieces of any size."""
    text = TEXT[:20_000]
    data = coded.encode(text)
    collector = DecodedCollector(decoder_of(coded.field), len(text))
    for start in range(0, len(data), size):
        await collector.add(data[start : start + size])
    assert collector.finish() == text


async def test_a_collector_stops_at_its_bound() -> None:
    """``max_body_bytes`` is about decoded content; no more than one step is decoded beyond it."""
    decoder = decoder_of("gzip")
    collector = DecodedCollector(decoder, 100_000)
    with pytest.raises(BodyTooLargeError, match="passes max_body_bytes=100000 after its codings were undone") as info:
        await collector.add(gzip_bytes(bytes(10 * MIB)))
    assert (info.value.limit, info.value.bound) == ("max_body_bytes", 100_000)
    assert decoder.decoded_bytes <= 100_000 + 64 * KIB


async def test_a_collector_without_content() -> None:
    """No bytes are no content, and what was cut off is none either."""
    assert DecodedCollector(decoder_of("gzip"), None).finish() == b""
    collector = DecodedCollector(decoder_of("gzip"), None)
    await collector.add(gzip_bytes(TEXT)[:-1])
    with pytest.raises(ContentError, match="cut off"):
        collector.finish()


async def test_other_tasks_run_while_a_collector_decodes() -> None:
    """There is a checkpoint for every MiB that one piece becomes, and for every few pieces."""
    turns = [0]
    collector = DecodedCollector(decoder_of("gzip"), None)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(count_turns, turns)
        await collector.add(gzip_bytes(bytes(16 * MIB)))
        assert turns[0] >= 13
        data = gzip_bytes(bytes(range(256)) * 10)
        for start in range(len(data)):
            await collector.add(data[start : start + 1])
        nursery.cancel_scope.cancel()
    assert turns[0] >= 13 + len(data) // 16 - 2
    assert len(collector.finish()) == 16 * MIB + 2560
