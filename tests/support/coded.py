"""Content in every coding that is undone here, made by the programs that know how: none of this is ours."""

from __future__ import annotations

import gzip
import sys
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import brotli

from triohttp._wire.coding import Decoder, find_decoder

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

__all__ = ["CODED", "Coded", "decode", "deflate_raw", "gzip_bytes", "pieces_of"]


def gzip_bytes(data: bytes) -> bytes:
    return gzip.compress(data, mtime=0)


def deflate_raw(data: bytes) -> bytes:
    compressor = zlib.compressobj(wbits=-15)
    return compressor.compress(data) + compressor.flush()


def brotli_bytes(data: bytes) -> bytes:
    return bytes(brotli.compress(data, quality=5))


def zstd_checked(data: bytes) -> bytes:
    return zstd.compress(data, options={int(zstd.CompressionParameter.checksum_flag): 1})


@dataclass(frozen=True)
class Coded:
    """A way to code content.

    Attributes:
        field: what Content-Encoding says.
        checked: a checksum tells any change of the content.
    """

    name: str
    field: str
    encode: Callable[[bytes], bytes]
    checked: bool = True

    def __str__(self) -> str:
        return self.name


CODED = [
    Coded("gzip", "gzip", gzip_bytes),
    Coded("deflate-zlib", "deflate", zlib.compress),
    Coded("deflate-raw", "deflate", deflate_raw, checked=False),
    Coded("br", "br", brotli_bytes, checked=False),
    Coded("zstd", "zstd", zstd_checked),
    Coded("gzip-over-gzip", "gzip, gzip", lambda data: gzip_bytes(gzip_bytes(data))),
    Coded("br-over-gzip", "gzip, br", lambda data: brotli_bytes(gzip_bytes(data))),
    Coded("zstd-over-raw-over-gzip", "gzip, deflate, zstd", lambda data: zstd_checked(deflate_raw(gzip_bytes(data)))),
]


def decode(field: str, feeds: Sequence[bytes], *, max_ratio: float = float("inf")) -> bytes:
    """Undo the codings of content that comes in ``feeds``."""
    decoder, left = find_decoder([field], max_codings=3, max_ratio=max_ratio)
    assert decoder is not None and left == ()
    out = bytearray()
    for data in feeds:
        decoder.feed(data)
        for piece in pieces_of(decoder):
            out += piece
    decoder.finish()
    assert (decoder.raw_bytes, decoder.decoded_bytes) == (sum(map(len, feeds)), len(out))
    return bytes(out)


def pieces_of(decoder: Decoder) -> Iterator[bytes]:
    """What a decoder gives until it needs more input, a step at a time."""
    while not decoder.needs_input:
        yield decoder.next_piece()
