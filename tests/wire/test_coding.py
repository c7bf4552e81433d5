"""Content codings: what a Content-Encoding field means, and undoing what it names (RFC 9110 §8.4)."""

from __future__ import annotations

import gzip
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from coded import CODED, Coded, decode, gzip_bytes, pieces_of, zstd
from hypothesis import given, settings
from hypothesis import strategies as st

from triohttp._wire.coding import STEP_BYTES, accept_encoding, find_decoder
from triohttp.errors import BodyStateError, ContentError

TEXT = "Grüße aus dem Speicher, 0123456789 und noch einmal: Grüße. ".encode() * 3
every_coding = pytest.mark.parametrize("coded", CODED, ids=str)

# -- the field ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "codings"),
    [
        (["gzip"], ("gzip",)),
        (["x-gzip"], ("gzip",)),
        (["GZip"], ("gzip",)),
        (["deflate, gzip"], ("deflate", "gzip")),
        (["deflate", "gzip"], ("deflate", "gzip")),
        ([" ,br,,\tzstd ,", ""], ("br", "zstd")),
        (["identity, gzip, Identity"], ("gzip",)),
        (["gzip,gzip,gzip"], ("gzip", "gzip", "gzip")),
    ],
)
def test_codings_are_found_however_they_are_written(values: Sequence[str], codings: tuple[str, ...]) -> None:
    """Case, spaces, empty elements, several lines and the old name of gzip make no difference."""
    decoder, left = find_decoder(values, max_codings=3)
    assert decoder is not None
    assert decoder.codings == codings
    assert left == ()


@pytest.mark.parametrize("values", [[], [""], ["identity"], [",", "identity, IDENTITY"]])
def test_nothing_is_to_be_undone(values: Sequence[str]) -> None:
    """Content without a coding, and with the one that is none."""
    assert find_decoder(values, max_codings=0) == (None, ())


@pytest.mark.parametrize(
    ("values", "left"),
    [
        (["foo"], ("foo",)),
        (["gzip, Foo"], ("gzip", "foo")),
        (["foo", "x-gzip"], ("foo", "gzip")),
        (["compress"], ("compress",)),
        (["utf-8"], ("utf-8",)),
        (["gzip;q=1"], ("gzip;q=1",)),
        (["brotli"], ("brotli",)),
    ],
)
def test_with_one_unknown_coding_nothing_is_undone(values: Sequence[str], left: tuple[str, ...]) -> None:
    """Which codings stay on the content is told, all of them: half decoded content is of no use."""
    assert find_decoder(values, max_codings=3) == (None, left)


@pytest.mark.parametrize("values", [["gzip"] * 10, [", ".join(["gzip"] * 10)], ["gzip, gzip", "br, br"], ["foo"] * 4])
def test_too_many_codings_are_refused(values: Sequence[str]) -> None:
    """Content that was coded over and over has one purpose."""
    with pytest.raises(ContentError, match="max_codings=3") as info:
        find_decoder(values, max_codings=3)
    assert info.value.reason == "coding"


def test_what_is_asked_for_can_be_undone() -> None:
    """Accept-Encoding names what there is a decoder for."""
    assert accept_encoding() == "gzip, deflate, br, zstd"
    decoder, _ = find_decoder([accept_encoding()], max_codings=4)
    assert decoder is not None


PROBE = """
import sys
for name in {missing!r}:
    sys.modules[name] = None
import triohttp
assert not [name for name in ("brotli", "backports.zstd") if sys.modules.get(name)]  # found when needed, not before
from triohttp._wire.coding import accept_encoding, find_decoder
print(accept_encoding(), find_decoder(["br"], max_codings=3)[1], find_decoder(["zstd"], max_codings=3)[1])
for name in {integrations!r}:
    try:
        __import__("triohttp.integrations." + name)
    except ImportError as exc:
        print(exc)
"""


@pytest.mark.parametrize(
    ("missing", "integrations", "said"),
    [
        (
            ["brotli"],
            ["brotli"],
            "gzip, deflate, zstd ('br',) ()\nbr content needs brotli: pip install 'triohttp[brotli]'\n",
        ),
        (
            ["backports.zstd", "compression.zstd"],
            ["zstd"],
            "gzip, deflate, br () ('zstd',)\nzstd content needs backports.zstd: pip install 'triohttp[zstd]'\n",
        ),
        (["brotli", "backports.zstd", "compression.zstd"], [], "gzip, deflate ('br',) ('zstd',)\n"),
    ],
    ids=["brotli", "zstd", "both"],
)
def test_what_is_not_installed_is_not_asked_for(missing: list[str], integrations: list[str], said: str) -> None:
    """Without an optional package its coding is unknown, and importing the integration says what to install."""
    program = PROBE.format(missing=missing, integrations=integrations)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == (said, "")


OLD_BROTLI = """
import sys, types
sys.modules["brotli"] = types.SimpleNamespace(Decompressor=object)
from triohttp._wire.coding import accept_encoding
print(accept_encoding())
import triohttp.integrations.brotli
"""


def test_a_brotli_that_cannot_be_bounded_is_as_good_as_none() -> None:
    """Before 1.2 it gave all that there was at once, however much that was."""
    done = subprocess.run([sys.executable, "-c", OLD_BROTLI], capture_output=True, text=True, check=False)
    assert done.stdout == "gzip, deflate, zstd\n"
    assert "brotli 1.2 or later: pip install 'triohttp[brotli]'" in done.stderr


# -- undoing -----------------------------------------------------------------------------------------------------------


@every_coding
@pytest.mark.parametrize("text", [b"", b"x", TEXT, bytes(300_000)], ids=["empty", "one", "text", "zeros"])
def test_content_is_what_it_was(coded: Coded, text: bytes) -> None:
    """Whole or byte by byte, what was coded comes out."""
    data = coded.encode(text)
    assert decode(coded.field, [data]) == text
    assert decode(coded.field, [data[i : i + 1] for i in range(len(data))]) == text


@every_coding
def test_it_does_not_matter_where_content_is_cut(coded: Coded) -> None:
    """Content in two pieces, cut anywhere, is the same content."""
    data = coded.encode(TEXT)
    wrong = [cut for cut in range(len(data) + 1) if decode(coded.field, [data[:cut], data[cut:]]) != TEXT]
    assert wrong == []


@every_coding
def test_content_may_end_in_the_middle_of_a_step(coded: Coded) -> None:
    """A step that is full says nothing about the end: decompressors hold output when they have no input any more."""
    sizes = [size * STEP_BYTES // 2 + more for size in (1, 2, 3, 4) for more in (-16, -1, 0, 1, 16, 200, 259, 1000)]
    wrong = [size for size in sizes if decode(coded.field, [coded.encode(bytes(size))]) != bytes(size)]
    assert wrong == []


@settings(max_examples=300, deadline=None)
@given(
    coded=st.sampled_from(CODED),
    parts=st.lists(st.tuples(st.binary(max_size=200), st.integers(1, 5000)), max_size=5),
    sizes=st.lists(st.integers(1, 40_000), min_size=1, max_size=8),
)
def test_content_of_any_kind_in_pieces_of_any_size(
    coded: Coded, parts: list[tuple[bytes, int]], sizes: list[int]
) -> None:
    """What the compressors make is undone, however compressible it is and however it comes."""
    text = b"".join(part * times for part, times in parts)
    data = coded.encode(text)
    feeds, start = [], 0
    while start < len(data):
        size = sizes[len(feeds) % len(sizes)]
        feeds.append(data[start : start + size])
        start += size
    assert decode(coded.field, feeds) == text


@every_coding
def test_content_without_a_byte_is_no_content(coded: Coded) -> None:
    """The answer to HEAD, a 204 or a 304 may name a coding; nothing is missing then."""
    assert decode(coded.field, []) == b""


def test_codings_are_undone_in_reverse() -> None:
    """The field names them in the order in which they were applied (RFC 9110 §8.4)."""
    data = zstd.compress(gzip_bytes(TEXT))
    assert decode("gzip, zstd", [data]) == TEXT
    with pytest.raises(ContentError, match="the gzip content is corrupt"):
        decode("zstd, gzip", [data])


def test_gzip_of_several_members_is_one_content() -> None:
    """Members follow each other without a break, empty ones too (RFC 1952 §2.2)."""
    data = gzip_bytes(b"aa") + gzip_bytes(b"") + gzip_bytes(TEXT) + gzip_bytes(b"bb")
    assert decode("gzip", [data]) == b"aa" + TEXT + b"bb"
    assert decode("gzip", [data[i : i + 1] for i in range(len(data))]) == b"aa" + TEXT + b"bb"


def test_zstd_of_several_frames_is_one_content() -> None:
    """Frames follow each other without a break; those that are to be skipped are (RFC 8878 §3.1)."""
    skippable = b"\x50\x2a\x4d\x18\x04\x00\x00\x00abcd"
    data = skippable + zstd.compress(b"aa") + skippable + zstd.compress(b"") + zstd.compress(TEXT) + skippable
    assert decode("zstd", [data]) == b"aa" + TEXT
    assert decode("zstd", [data[i : i + 1] for i in range(len(data))]) == b"aa" + TEXT


@pytest.mark.interop
def test_what_the_command_makes_is_undone(tmp_path: Path) -> None:
    """Files that were compressed once and for all are served as they are, with a name and a time in them."""
    (tmp_path / "text").write_bytes(TEXT * 10_000)
    subprocess.run(["gzip", "--name", "text"], cwd=tmp_path, check=True)
    data = (tmp_path / "text.gz").read_bytes()
    assert b"text" in data[:20]
    assert decode("gzip", [data]) == TEXT * 10_000


# -- driving it --------------------------------------------------------------------------------------------------------


def test_a_decoder_says_what_it_needs_and_what_it_has_done() -> None:
    """It needs input at first, then not until all of that is decoded; it counts both sides."""
    decoder, _ = find_decoder(["gzip"], max_codings=1)
    assert decoder is not None
    assert decoder.needs_input
    data = gzip_bytes(TEXT)
    decoder.feed(data)
    assert not decoder.needs_input
    assert decoder.next_piece() == TEXT
    assert decoder.needs_input
    assert repr(decoder) == f"<Decoder gzip: {len(data)} bytes became {len(TEXT)}>"


def test_a_decoder_is_fed_when_it_needs_input() -> None:
    """Feeding on and on without taking what comes out would hold any amount; so would an end be missed."""
    decoder, _ = find_decoder(["gzip"], max_codings=1)
    assert decoder is not None
    decoder.feed(gzip.compress(bytes(2 * STEP_BYTES)))
    with pytest.raises(BodyStateError):
        decoder.feed(b"")
    with pytest.raises(BodyStateError):
        decoder.finish()
    assert sum(map(len, pieces_of(decoder))) == 2 * STEP_BYTES
    decoder.finish()


def test_without_input_there_is_no_piece() -> None:
    """Asking too often does no harm."""
    decoder, _ = find_decoder(["br, gzip"], max_codings=2)
    assert decoder is not None
    assert decoder.next_piece() == b""
    assert decoder.needs_input
