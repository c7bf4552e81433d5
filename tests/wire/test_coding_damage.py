"""Coded content that is cut off, corrupt, padded, or a bomb: never a wrong success, never more than a step."""

from __future__ import annotations

import gzip
import tracemalloc
import zlib

import brotli
import pytest
from coded import CODED, Coded, decode, deflate_raw, gzip_bytes, pieces_of, zstd
from hypothesis import given, settings
from hypothesis import strategies as st

from triohttp._wire.coding import RATIO_FREE_BYTES, STEP_BYTES, TURNS, find_decoder
from triohttp._wire.inflate import MAX_SMALL_MEMBERS, SMALL_MEMBER_BYTES
from triohttp.errors import BodyTooLargeError, ContentError

KIB = 1024
MIB = 1024 * 1024
TEXT = b"The quick brown fox, and the lazy dog; 0123456789. The quick brown dog."
every_coding = pytest.mark.parametrize("coded", CODED, ids=str)


def outcome(field: str, feeds: list[bytes]) -> bytes | None:
    """What content says; None where that is refused, as it has to be refused."""
    try:
        return decode(field, feeds)
    except ContentError as exc:
        assert exc.reason == "coding"
        return None


# -- cut off, corrupt, padded ------------------------------------------------------------------------------------------


@every_coding
@pytest.mark.parametrize("text", [b"", b"x", TEXT, TEXT * 500], ids=["empty", "one", "short", "long"])
def test_content_that_was_cut_off_is_never_taken_for_whole(coded: Coded, text: bytes) -> None:
    """However little is missing; only nothing at all is no content."""
    data = coded.encode(text)
    assert [cut for cut in range(1, len(data)) if outcome(coded.field, [data[:cut]]) is not None] == []


@every_coding
def test_an_error_for_what_was_cut_off_says_so(coded: Coded) -> None:
    """It names the coding and how much came; what had come before the cut was handed out."""
    data = coded.encode(TEXT * 500)[:-1]
    decoder, _ = find_decoder([coded.field], max_codings=3)
    assert decoder is not None
    decoder.feed(data)
    assert (TEXT * 500).startswith(b"".join(pieces_of(decoder)))
    outermost = decoder.codings[-1]
    with pytest.raises(ContentError, match=f"the {outermost} content was cut off: .* {len(data)} bytes") as info:
        decoder.finish()
    with pytest.raises(ContentError) as again:
        decoder.next_piece()
    assert again.value is info.value


@every_coding
@pytest.mark.parametrize("mask", [0x01, 0x80, 0xFF])
def test_corrupt_content_is_refused(coded: Coded, mask: int) -> None:
    """Any octet may be wrong: where there is a checksum no other content comes out, and elsewhere no other error."""
    data = coded.encode(TEXT)
    outcomes = [
        outcome(coded.field, [data[:at] + bytes([data[at] ^ mask]) + data[at + 1 :]]) for at in range(len(data))
    ]
    assert None in outcomes
    if coded.checked:
        assert set(outcomes) <= {None, TEXT}  # a few octets of a gzip header mean nothing
        assert outcomes.count(TEXT) < 10


@settings(max_examples=500, deadline=None)
@given(coded=st.sampled_from(CODED), data=st.binary(max_size=300), prefix=st.integers(0, 30))
def test_nonsense_is_refused_with_the_same_error(coded: Coded, data: bytes, prefix: int) -> None:
    """Whatever a peer sends, it is content or a ``ContentError``."""
    outcome(coded.field, [coded.encode(TEXT)[:prefix] + data])


@every_coding
@pytest.mark.parametrize(
    "garbage", [b"\x00", b"\x00" * 512, b"garbage behind the end", b"\r\n", b"\x1f", b"\x1f\x8b\x08"]
)
@pytest.mark.parametrize("apart", [False, True])
def test_what_follows_the_end_is_no_part_of_content(coded: Coded, garbage: bytes, apart: bool) -> None:
    """It is refused, and be it zeros: whoever sent it meant something, and here nobody knows what."""
    data = coded.encode(TEXT)
    assert outcome(coded.field, [data, garbage] if apart else [data + garbage]) is None


@pytest.mark.parametrize("encode", [zlib.compress, deflate_raw])
@pytest.mark.parametrize("apart", [False, True])
def test_deflate_has_one_end(encode: type, apart: bool) -> None:
    """Unlike gzip, deflate has no members: a second one is something else behind the end."""
    data = encode(TEXT)
    assert outcome("deflate", [data, data] if apart else [data + data]) is None


def test_garbage_is_told_from_corruption() -> None:
    """The first octet behind a member says that no other one begins."""
    with pytest.raises(ContentError, match="goes on behind its end"):
        decode("gzip", [gzip_bytes(TEXT) + b"PK"])
    with pytest.raises(ContentError, match=r"is corrupt: .*header"):
        decode("gzip", [b"PK" + gzip_bytes(TEXT)])


@every_coding
def test_an_error_is_final(coded: Coded) -> None:
    """The same error again, from whatever is called next; nothing more is decoded."""
    decoder, _ = find_decoder([coded.field], max_codings=3)
    assert decoder is not None
    decoder.feed(coded.encode(TEXT) + b"garbage")
    with pytest.raises(ContentError) as info:
        list(pieces_of(decoder))
    for call in (decoder.next_piece, decoder.finish):
        with pytest.raises(ContentError) as again:
            call()
        assert again.value is info.value
    assert not decoder.needs_input


# -- more than it should be --------------------------------------------------------------------------------------------


BOMBS = {
    "gzip": ("gzip", lambda data: gzip.compress(data, 1)),
    "deflate-zlib": ("deflate", lambda data: zlib.compress(data, 1)),
    "deflate-raw": ("deflate", deflate_raw),
    "br": ("br", lambda data: brotli.compress(data, quality=1)),
    "zstd": ("zstd", lambda data: zstd.compress(data, 1)),
    "gzip-over-gzip": ("gzip, gzip", lambda data: gzip_bytes(gzip.compress(data, 1))),
    "gzip-over-br": ("br, gzip", lambda data: gzip_bytes(brotli.compress(data, quality=1))),
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_comes_out_in_small_steps(name: str) -> None:
    """64 MiB from little: no step gives more than 64 KiB, and no more than a few steps are ever held."""
    field, encode = BOMBS[name]
    data = encode(bytes(64 * MIB))
    decoder, _ = find_decoder([field], max_codings=2)
    assert decoder is not None
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        decoder.feed(data)
        sizes = {len(piece) for piece in pieces_of(decoder)}
        decoder.finish()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert decoder.decoded_bytes == 64 * MIB
    assert max(sizes) <= STEP_BYTES == 64 * KIB
    assert peak - before < 600 * KIB


def test_what_is_large_on_the_way_and_small_in_the_end_is_undone_in_steps_too() -> None:
    """Content that grows in the middle and comes to nothing must not hold the caller up: a step ends all the same."""
    empty_blocks = b"\x00\x00\x00\xff\xff" * (MIB // 5) * 32  # deflate data that says nothing, 32 MiB of it
    data = gzip_bytes(empty_blocks + deflate_raw(b"done"))
    decoder, _ = find_decoder(["deflate, gzip"], max_codings=2)
    assert decoder is not None
    decoder.feed(data)
    pieces = list(pieces_of(decoder))
    decoder.finish()
    assert b"".join(pieces) == b"done"
    assert len(pieces) >= 32 * MIB // (TURNS * STEP_BYTES)


@every_coding
def test_a_bomb_is_refused_once_it_passes_the_ratio(coded: Coded) -> None:
    """More than ``max_decode_ratio`` times what came in is refused, at most one step behind the first MiB."""
    decoder, _ = find_decoder([coded.field], max_codings=3, max_ratio=100)
    assert decoder is not None
    data = coded.encode(bytes(4 * MIB))
    decoder.feed(data)
    with pytest.raises(BodyTooLargeError, match=r"passes max_decode_ratio=100") as info:
        list(pieces_of(decoder))
    assert (info.value.limit, info.value.bound) == ("max_decode_ratio", 100)
    assert decoder.decoded_bytes <= RATIO_FREE_BYTES
    with pytest.raises(BodyTooLargeError) as again:
        decoder.finish()
    assert again.value is info.value


@every_coding
def test_the_first_mebibyte_may_have_any_ratio(coded: Coded) -> None:
    """Short answers often are highly compressible, and do no harm."""
    assert decode(coded.field, [coded.encode(bytes(MIB))], max_ratio=1) == bytes(MIB)


def test_the_ratio_counts_what_comes_in_between() -> None:
    """What grows in the middle and shrinks again is refused as well."""
    data = gzip_bytes(b"\x00\x00\x00\xff\xff" * MIB + deflate_raw(b"done"))
    with pytest.raises(BodyTooLargeError, match=r"of gzip over deflate content"):
        decode("deflate, gzip", [data], max_ratio=200)


def test_content_of_a_usual_ratio_is_not_refused() -> None:
    """The bound is about bombs: large content that compresses well is still far from it."""
    text = b"".join(b"line %d of a log, as there are many\n" % number for number in range(100_000))
    assert decode("gzip", [gzip_bytes(text)], max_ratio=200) == text


@pytest.mark.parametrize(
    ("field", "encode"),
    [("gzip", gzip_bytes), ("zstd", zstd.compress)],
    ids=["gzip", "zstd"],
)
def test_small_members_are_counted(field: str, encode: type) -> None:
    """A thousand with next to nothing in them are taken, one more is refused: each costs more than its octets."""
    member = encode(b"x" * (SMALL_MEMBER_BYTES - 1))
    assert len(decode(field, [member * MAX_SMALL_MEMBERS])) == MAX_SMALL_MEMBERS * (SMALL_MEMBER_BYTES - 1)
    with pytest.raises(ContentError, match=f"more than {MAX_SMALL_MEMBERS} (?:members|frames)"):
        decode(field, [member * (MAX_SMALL_MEMBERS + 1)])


@pytest.mark.parametrize(
    ("field", "encode"),
    [("gzip", gzip_bytes), ("zstd", zstd.compress)],
    ids=["gzip", "zstd"],
)
def test_members_with_something_in_them_may_be_many(field: str, encode: type) -> None:
    """Files that are compressed block by block, to be read from the middle, have one for every few KiB."""
    member = encode(b"x" * SMALL_MEMBER_BYTES)
    assert len(decode(field, [member * 3000])) == 3000 * SMALL_MEMBER_BYTES


def test_a_window_of_zstd_is_bounded() -> None:
    """8 MiB is what a receiver has to have, and all that is given (RFC 9659 §3)."""
    parameter = zstd.CompressionParameter
    options = {int(parameter.content_size_flag): 0}
    streams = {}
    for log in (23, 24):
        compressor = zstd.ZstdCompressor(options={**options, int(parameter.window_log): log})
        streams[log] = b"".join(compressor.compress(bytes(9 * MIB)) for _ in range(2)) + compressor.flush()
    assert len(decode("zstd", [streams[23]])) == 18 * MIB
    with pytest.raises(ContentError, match=r"the zstd content is corrupt: .*memory"):
        decode("zstd", [streams[24]])
