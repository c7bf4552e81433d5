"""Content codings: what a Content-Encoding field says, and undoing it a bounded step at a time.

A ``Decoder`` is a chain of stages, one a coding, the last one that was applied first. It is driven as the standard
library's decompressors are: fed when ``needs_input``, asked for pieces while not. The caller decides how much it takes,
between any two steps; here nothing grows with what the content becomes.

Encoders are to join as a file beside this one: they share nothing with the decoders but the names.

Rule 1: a step is bounded: at most ``STEP_BYTES`` come out, at most ``TURNS`` calls of a stage are made for it. Content
        that becomes large on the way and small in the end cannot hold up the caller.
Rule 2: a stage is given something only when it has used up all that it had, so each holds one step and no more.
Rule 3: one coding that is not known here leaves the content as it is: half decoded is of no use to anybody.
Rule 4: what an optional package is needed for is found by name when it is first asked for, and missing without a word.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable, Sequence
from functools import cache
from typing import Protocol

from triohttp._values.grammar import split_list
from triohttp.errors import BodyStateError, BodyTooLargeError, ContentError, TrioHTTPError, clip

from .inflate import DeflateDecompressor, GzipDecompressor

__all__ = ["STEP_BYTES", "Decoder", "accept_encoding", "find_decoder"]

STEP_BYTES = 64 * 1024
"""The most that one stage gives in one call."""
INPUT_BYTES = 16 * 1024
"""The most that the first stage is given at once; zlib copies what it could not use yet after each step."""
TURNS = 16
"""Calls of stages in one step that has given nothing yet: about 1 ms."""
RATIO_FREE_BYTES = 1024 * 1024
"""Up to this many bytes content may become whatever it likes: a few short ones often are highly compressed."""


class Stage(Protocol):
    """One coding being undone.

    Attributes:
        needs_input: all input has been used, and all output given.
        complete: the content may end here: nothing has come yet, or an end did.
    """

    @property
    def needs_input(self) -> bool: ...

    @property
    def complete(self) -> bool: ...

    def decompress(self, data: bytes, max_bytes: int) -> bytes:
        """Return at most ``max_bytes`` of output, ``b""`` when there is none yet; ``data`` only if ``needs_input``."""
        ...


class Decoder:
    """Undoes the codings of one message's content.

    Args:
        codings: their names and how to undo them, in the order in which they were applied.
        max_ratio: bound on the bytes that any stage gives for each byte that came in, once it has given more than 1
            MiB; ``math.inf`` for none.
    Attributes:
        codings: the names.
        raw_bytes: bytes fed so far.
        decoded_bytes: bytes given so far.
    """

    __slots__ = (
        "_error",
        "_given",
        "_input",
        "_max_ratio",
        "_offset",
        "_stages",
        "codings",
        "decoded_bytes",
        "raw_bytes",
    )

    def __init__(self, codings: Sequence[tuple[str, Callable[[], Stage]]], *, max_ratio: float = math.inf) -> None:
        self.codings = tuple(name for name, _ in codings)
        self._stages = [make() for _, make in reversed(codings)]
        self._given = [0] * len(codings)
        self._max_ratio = max_ratio
        self._input = b""
        self._offset = 0
        self._error: TrioHTTPError | None = None
        self.raw_bytes = 0
        self.decoded_bytes = 0

    def __repr__(self) -> str:
        return f"<Decoder {', '.join(self.codings)}: {self.raw_bytes} bytes became {self.decoded_bytes}>"

    @property
    def needs_input(self) -> bool:
        """All that was fed has been decoded and given: feed more, or ``finish``."""
        if self._input or self._error is not None:
            return False
        stages = self._stages
        return stages[0].needs_input and (len(stages) == 1 or all(stage.needs_input for stage in stages))

    def feed(self, data: bytes) -> None:
        """Take some more content as it came.

        Raises:
            BodyStateError: what came before is not decoded to its end.
        """
        if not self.needs_input:
            raise BodyStateError("what was fed before has not been decoded to its end")
        self._input = data
        self.raw_bytes += len(data)

    def next_piece(self) -> bytes:
        """Return the next decoded piece, at most 64 KiB; ``b""`` when this step gave none, which is no end.

        Raises:
            BodyTooLargeError: ``max_decode_ratio``: the content becomes much more than it was.
            ContentError: ``coding``: it is corrupt. Either is raised again by every later call.
        """
        if self._error is not None:
            raise self._error
        try:
            return self._step()
        except TrioHTTPError as exc:
            self._fail(exc)
            raise

    def finish(self) -> None:
        """Check that the content may end here; content without a single byte may (that of a 304, for one).

        Raises:
            BodyStateError: what was fed has not been decoded to its end.
            ContentError: ``coding``: it was cut off.
        """
        if self._error is not None:
            raise self._error
        if not self.needs_input:
            raise BodyStateError("what was fed has not been decoded to its end")
        for coding, stage in zip(reversed(self.codings), self._stages, strict=True):
            if not stage.complete:
                error = ContentError(
                    f"the {coding} content was cut off: its end is not among the {self.raw_bytes} bytes that came",
                    reason="coding",
                )
                self._fail(error)
                raise error

    def _fail(self, error: TrioHTTPError) -> None:
        self._error = error
        self._stages = []  # windows of some MiB, perhaps
        self._input = b""

    def _step(self) -> bytes:
        stages = self._stages
        at = last = len(stages) - 1
        data = b""  # on its way up, from the stage that gave it to the one that asked for it
        turns = 0
        while data or turns < TURNS:
            turns += 1
            stage = stages[at]
            if not data and stage.needs_input:
                if at:
                    at -= 1
                    continue
                data = self._next_input()
                if not data:
                    break
            data = stage.decompress(data, STEP_BYTES)
            if data:
                self._count(at, len(data))
                if at == last:
                    self.decoded_bytes += len(data)
                    return data
                at += 1
        return b""

    def _next_input(self) -> bytes:
        data, offset = self._input, self._offset
        if offset == 0 and len(data) <= INPUT_BYTES:
            self._input = b""
            return data
        piece = data[offset : offset + INPUT_BYTES]
        offset += len(piece)
        if offset == len(data):
            self._input, self._offset = b"", 0
        else:
            self._offset = offset
        return piece

    def _count(self, at: int, size: int) -> None:
        given = self._given[at] = self._given[at] + size
        if given > RATIO_FREE_BYTES and given > self._max_ratio * self.raw_bytes:
            raise BodyTooLargeError(
                f"{self.raw_bytes} bytes of {' over '.join(reversed(self.codings))} content became {given}, which "
                f"passes max_decode_ratio={self._max_ratio}",
                limit="max_decode_ratio",
                bound=int(self._max_ratio),
            )


def find_decoder(
    values: Sequence[str], *, max_codings: int, max_ratio: float = math.inf
) -> tuple[Decoder | None, tuple[str, ...]]:
    """Return what undoes the codings that Content-Encoding names, and the codings that stay on the content.

    Nothing stays when there is a decoder; there is none when nothing is to be undone, or not all of it can be.

    Args:
        values: the values of the field's lines, in order.
        max_codings: bound on the codings applied one over the other; ``identity`` is none.
        max_ratio: as for ``Decoder``.
    Raises:
        ContentError: ``coding``: there are more than ``max_codings``.
    Source: RFC 9110 §8.4, §8.4.1.
    """
    names: list[str] = []
    for value in values:
        for name in split_list(value):
            name = name.lower()
            if name != "identity":
                names.append("gzip" if name == "x-gzip" else name)
    if len(names) > max_codings:
        raise ContentError(
            f"the content has {len(names)} codings, {clip(', '.join(names))}, which passes max_codings={max_codings}",
            reason="coding",
        )
    codings: list[tuple[str, Callable[[], Stage]]] = []
    for name in names:
        make = _BUILT_IN.get(name) or (_find_installed(name) if name in _INSTALLED else None)
        if make is None:
            return None, tuple(names)
        codings.append((name, make))
    return (Decoder(codings, max_ratio=max_ratio), ()) if codings else (None, ())


@cache
def accept_encoding() -> str:
    """Return what Accept-Encoding says of the codings that can be undone here.

    Source: RFC 9110 §12.5.3.
    """
    return ", ".join([*_BUILT_IN, *(name for name in _INSTALLED if _find_installed(name) is not None)])


_BUILT_IN: dict[str, Callable[[], Stage]] = {"gzip": GzipDecompressor, "deflate": DeflateDecompressor}
_INSTALLED = {"br": ("brotli", "BrotliDecompressor"), "zstd": ("zstd", "ZstdDecompressor")}
"""Coding -> the integration that undoes it, and its class."""


@cache
def _find_installed(coding: str) -> Callable[[], Stage] | None:
    module, name = _INSTALLED[coding]
    try:
        integration = importlib.import_module(f"triohttp.integrations.{module}")
    except ImportError:
        return None
    make: Callable[[], Stage] = getattr(integration, name)
    return make
