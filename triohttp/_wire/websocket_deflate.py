"""permessage-deflate: what two ends agree on, and the coding itself (RFC 7692).

Ours because wsproto's own inflates without a bound, loses its place when a ping arrives inside of a message, and takes
parameters that the RFC has declined.

Rule 1: an offer that is not understood to its last parameter is declined; nothing that a peer wrote raises here.
Rule 2: inflating stops one byte behind what is allowed, whatever the input would become.
Rule 3: without takeover nothing is kept between messages: an idle connection costs no window.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from triohttp._values.grammar import is_token, split_list
from triohttp.errors import clip

__all__ = ["Agreement", "Deflater", "Inflater", "PerMessageDeflate", "accept_offer", "confirm_answer", "make_offer"]

NAME = "permessage-deflate"
TAIL = b"\x00\x00\xff\xff"
"""The end of every flushed block; it stays off the wire (§7.2.1)."""
MEMORY_LEVEL = 5
MAX_FINAL_BLOCKS = 1024
"""Each one in a message costs a new inflater, for as little as two bytes."""
_FLAGS = ("server_no_context_takeover", "client_no_context_takeover")
_WINDOWS = ("server_max_window_bits", "client_max_window_bits")


@dataclass(frozen=True, kw_only=True, slots=True)
class PerMessageDeflate:
    """How one end wants messages compressed; the peer has to agree.

    The defaults cost an idle connection nothing; a larger window and ``context_takeover`` compress small messages that
    resemble each other better, for up to 64 KiB a direction.
    """

    window_bits: int = 12
    """The window that is compressed with, and asked of the peer: 2 to the power of this, in bytes; 9 to 15."""
    context_takeover: bool = False
    """Keep the window from one message to the next."""
    min_bytes: int = 1024
    """Messages below this go out as they are."""

    def __post_init__(self) -> None:
        if not 9 <= self.window_bits <= 15:
            raise ValueError(f"window_bits must be from 9 to 15, not {self.window_bits!r}")
        if self.min_bytes < 0:
            raise ValueError(f"min_bytes must be at least 0, not {self.min_bytes!r}")


@dataclass(frozen=True, slots=True)
class Agreement:
    """What both ends have agreed on, for each direction."""

    server_window_bits: int = 15
    client_window_bits: int = 15
    server_takeover: bool = True
    client_takeover: bool = True


def make_offer(options: PerMessageDeflate) -> str:
    """Return what a client says in Sec-WebSocket-Extensions."""
    offer = f"{NAME}; client_max_window_bits={options.window_bits}; server_max_window_bits={options.window_bits}"
    if not options.context_takeover:
        offer += "; client_no_context_takeover; server_no_context_takeover"
    # A server may know no windows, or decline parameters: it may take the plain offer then (§5.1).
    return f"{offer}, {NAME}; client_max_window_bits"


def accept_offer(field: str, options: PerMessageDeflate) -> tuple[str, Agreement] | None:
    """Return a server's answer to the first offer that it can take, and what is agreed by it; None to decline all."""
    try:
        offers = list(_extensions(field))
    except ValueError:
        return None
    for name, parameters in offers:
        if name != NAME:
            continue
        offered = _understood(parameters, bare_client_window=True)
        if offered is None or not 9 <= offered.get("server_max_window_bits", 15) <= 15:  # zlib has no window of 8 bits
            continue
        keep = options.context_takeover
        server_bits = min(options.window_bits, offered.get("server_max_window_bits", 15))
        answer = [NAME]
        server_takeover = keep and "server_no_context_takeover" not in offered
        if not server_takeover:
            answer.append("server_no_context_takeover")
        client_takeover = keep and "client_no_context_takeover" not in offered
        if not client_takeover:
            answer.append("client_no_context_takeover")
        if server_bits < 15 or "server_max_window_bits" in offered:  # to accept one is to name one (§7.1.2.1)
            answer.append(f"server_max_window_bits={server_bits}")
        client_bits = 15
        if "client_max_window_bits" in offered:  # only then may a server name one (§7.1.2.2)
            client_bits = min(options.window_bits, offered["client_max_window_bits"])
            answer.append(f"client_max_window_bits={client_bits}")
        return "; ".join(answer), Agreement(server_bits, client_bits, server_takeover, client_takeover)
    return None


def confirm_answer(field: str, options: PerMessageDeflate) -> Agreement:
    """Return what a server's answer to ``make_offer`` has agreed on.

    Raises:
        ValueError: the answer is none to what was offered; the message says why, and quotes the server only clipped.
    """
    accepted = list(_extensions(field))
    if len(accepted) != 1 or accepted[0][0] != NAME:
        raise ValueError(f"the server chose extensions that were not offered: {clip([one[0] for one in accepted])}")
    agreed = _understood(accepted[0][1], bare_client_window=False)
    if agreed is None:
        raise ValueError("the server's parameters of permessage-deflate are none")
    client_bits = min(agreed.get("client_max_window_bits", 15), options.window_bits)
    if client_bits < 9:
        raise ValueError("the server asks for a window of 8 bits, which zlib does not have")
    return Agreement(
        server_window_bits=agreed.get("server_max_window_bits", 15),
        client_window_bits=client_bits,
        server_takeover="server_no_context_takeover" not in agreed,
        client_takeover=options.context_takeover and "client_no_context_takeover" not in agreed,
    )


def _extensions(field: str) -> Iterator[tuple[str, list[tuple[str, str | None]]]]:
    """Yield the extensions of a field with their parameters, a value of None for a parameter without one (§5.1)."""
    for element in split_list(field):
        name, *pieces = [*split_list(element, ";")] or [""]
        if not is_token(name):
            raise ValueError("an extension's name is no token")
        parameters: list[tuple[str, str | None]] = []
        for piece in pieces:
            key, equals, value = piece.partition("=")
            key, value = key.rstrip(" \t"), value.lstrip(" \t")
            if value[:1] == '"':
                value = value[1:-1] if len(value) > 1 and value[-1] == '"' else ""
            if not is_token(key) or (equals and not is_token(value)):
                raise ValueError("a parameter of an extension is neither a token nor a pair of them")
            parameters.append((key.lower(), value if equals else None))
        yield name.lower(), parameters


def _understood(parameters: list[tuple[str, str | None]], *, bare_client_window: bool) -> dict[str, int] | None:
    """Return the parameters by name, the windows as numbers; None where one is unknown, twice there or malformed."""
    known: dict[str, int] = {}
    for key, value in parameters:
        if key in known:
            return None
        if key in _FLAGS and value is None:
            known[key] = 1
        elif key == "client_max_window_bits" and value is None and bare_client_window:
            known[key] = 15
        elif key in _WINDOWS and value is not None and value in _BITS:
            known[key] = int(value)
        else:
            return None
    return known


_BITS = frozenset(str(bits) for bits in range(8, 16))  # no leading zeros (§7.1.2.1)


class Deflater:
    """Compresses the messages of one direction."""

    __slots__ = ("_bits", "_keep", "_zlib")

    def __init__(self, window_bits: int, *, takeover: bool) -> None:
        self._bits = window_bits
        self._keep = takeover
        self._zlib: zlib._Compress | None = None

    def deflate(self, data: bytes, *, finished: bool) -> bytes:
        """Return what goes out for a piece of a message; ``finished`` says that it is the last."""
        if self._zlib is None:
            self._zlib = zlib.compressobj(wbits=-self._bits, memLevel=MEMORY_LEVEL)
        out = self._zlib.compress(data) + self._zlib.flush(zlib.Z_SYNC_FLUSH)
        if finished:
            if not self._keep:
                self._zlib = None
            out = out[: -len(TAIL)] or b"\x00"  # an empty message is an empty stored block (§7.2.3.6)
        return out


class Inflater:
    """Inflates the messages of one direction."""

    __slots__ = ("_bits", "_final_blocks", "_keep", "_zlib")

    def __init__(self, window_bits: int, *, takeover: bool) -> None:
        self._bits = max(window_bits, 9)
        self._keep = takeover
        self._final_blocks = 0
        self._zlib: zlib._Decompress | None = None

    def inflate(self, data: bytes, allowed: int | None) -> bytes | None:
        """Return what a piece of a message says; None when it says more than ``allowed`` bytes.

        Raises:
            zlib.error: it is not deflated data, or more than ``MAX_FINAL_BLOCKS`` in one message.
        """
        out = b""
        while data:
            if self._zlib is None:
                self._zlib = zlib.decompressobj(wbits=-self._bits)
            if allowed is None:
                out += self._zlib.decompress(data)
            else:
                out += self._zlib.decompress(data, allowed + 1 - len(out))
                if len(out) > allowed:
                    return None
            data = self._zlib.unconsumed_tail
            if self._zlib.eof:  # a final block inside of a message: what follows stands by itself (§7.2.3.4)
                data = self._zlib.unused_data
                self._zlib = None
                self._final_blocks += 1
                if self._final_blocks > MAX_FINAL_BLOCKS:
                    raise zlib.error("too many final blocks")
        return out

    def finish(self, allowed: int | None) -> bytes | None:
        """End a message; returns and raises as ``inflate``."""
        out: bytes | None = b""
        if self._zlib is not None:  # else a final block was the end
            out = self.inflate(TAIL, allowed)
        self._final_blocks = 0
        if not self._keep:
            self._zlib = None
        return out
