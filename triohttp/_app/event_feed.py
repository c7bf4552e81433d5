"""What an answer of server-sent events is asked to be, and what a response of them is fed from.

Rule 1: options are checked where they are given, not where they are used.
"""

from __future__ import annotations

from collections.abc import AsyncIterable
from dataclasses import dataclass
from typing import Literal, Self, TypeAlias, TypedDict, Unpack, get_args

from triohttp._values.headers import Headers, HeadersInit
from triohttp._values.message import ResponseHead
from triohttp._wire.sse import MEDIA_TYPE, Event, encode_retry
from triohttp.errors import clip

__all__ = ["EventFeed", "EventOptions", "EventSettings", "Events", "event_head"]

Events: TypeAlias = "AsyncIterable[Event | str] | AsyncIterable[Event] | AsyncIterable[str]"
"""Where events come from: a ``trio.abc.ReceiveChannel``, or anything else that is iterated asynchronously."""
Overflow: TypeAlias = Literal["block", "drop_oldest", "close"]
OnDrain: TypeAlias = Literal["end", "continue"]


class EventOptions(TypedDict, total=False):
    """How events are sent: what ``Request.events`` and ``Response.events`` take."""

    headers: HeadersInit
    """Header fields; each name replaces what would be sent under it."""
    retry_ms: int
    """How long the client should wait before it connects again, in milliseconds; it is told at the start."""
    heartbeat_seconds: float
    """Without anything sent, until a comment is (15 by default); ``math.inf`` for never."""
    overflow: Literal["block", "drop_oldest", "close"]
    """What a client that does not read does to senders. ``block`` (the default) has them wait for it. The others queue
    events: ``drop_oldest`` drops the oldest one when the queue is full, ``close`` ends the stream so that the client
    connects again."""
    max_pending: int
    """Events that are queued, by the latter two (64 by default)."""
    on_drain: Literal["end", "continue"]
    """What the beginning of a shutdown does: ``end`` (the default) ends the stream and its block, ``continue`` leaves
    that to the program."""


@dataclass(frozen=True, slots=True)
class EventSettings:
    """``EventOptions``, checked."""

    first: bytes = b""
    heartbeat_seconds: float = 15.0
    overflow: Overflow = "block"
    max_pending: int = 64
    on_drain: OnDrain = "end"

    @classmethod
    def of(cls, options: EventOptions) -> Self:
        """Return the settings that options ask for.

        Raises:
            TypeError: an option is unknown, or of another type.
            ValueError: one has a value that nobody knows.
        """
        unknown = sorted(options.keys() - EventOptions.__annotations__.keys())
        if unknown:
            raise TypeError(f"unknown option {unknown[0]!r}; events have {', '.join(EventOptions.__annotations__)}")
        seconds: object = options.get("heartbeat_seconds", 15.0)
        if not isinstance(seconds, (int, float)) or not seconds > 0:
            raise ValueError(f"heartbeat_seconds must be above 0, not {clip(seconds)}")
        pending = options.get("max_pending", 64)
        if type(pending) is not int or pending < 1:
            raise ValueError(f"max_pending must be a whole number of at least 1, not {clip(pending)}")
        overflow = options.get("overflow", "block")
        on_drain = options.get("on_drain", "end")
        for name, value, known in (("overflow", overflow, Overflow), ("on_drain", on_drain, OnDrain)):
            if value not in get_args(known):
                raise ValueError(f"{name} must be one of {', '.join(get_args(known))}, not {clip(value)}")
        first = encode_retry(options["retry_ms"]) if "retry_ms" in options else b""
        return cls(first, float(seconds), overflow, pending, on_drain)


class EventFeed:
    """The content of a response that is fed from a channel, or another asynchronous iterable, of events."""

    __slots__ = ("settings", "source")

    def __init__(self, source: Events, **options: Unpack[EventOptions]) -> None:
        if not isinstance(source, AsyncIterable):
            raise TypeError(f"events must come from a channel or another asynchronous iterable, not {clip(source)}")
        self.source = source
        self.settings = EventSettings.of(options)

    async def aclose(self) -> None:
        """Close the channel, or whatever else can be closed."""
        aclose = getattr(self.source, "aclose", None)
        if aclose is not None:
            await aclose()


def event_head(headers: HeadersInit | None) -> ResponseHead:
    """Return the head of an answer of events: nobody is to keep it, and no proxy to hold it back."""
    fields = Headers(headers if headers is not None else ())
    fields.setdefault("Content-Type", MEDIA_TYPE)
    fields.setdefault("Cache-Control", "no-store")
    fields.setdefault("X-Accel-Buffering", "no")
    return ResponseHead(200, fields)
