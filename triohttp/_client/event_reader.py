"""Server-sent events from the content of one answer.

Rule 1: an object, not a generator: leaving a loop early leaves nothing open.
"""

from __future__ import annotations

from typing import Self

import trio

from triohttp._wire.sse import Event, EventDecoder

__all__ = ["EventReader"]


class EventReader:
    """An asynchronous iterator over the events of a stream.

    Args:
        stream: where to receive.
        max_event_bytes: bound on one event.
    """

    __slots__ = ("_decoder", "_ended", "_stream")

    def __init__(self, stream: trio.abc.ReceiveStream, max_event_bytes: int) -> None:
        self._stream = stream
        self._decoder = EventDecoder(max_event_bytes)
        self._ended = False

    @property
    def last_event_id(self) -> str | None:
        """The id that was said last; None before any."""
        return self._decoder.last_event_id

    @property
    def retry_ms(self) -> int | None:
        """How long to wait before connecting again, as the server said last; None before it did."""
        return self._decoder.retry_ms

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Event:
        """Return the next event; it checkpoints where it receives, not for each of many that are there already.

        Cancellation: resumable.
        Raises:
            LimitError: an event passes ``max_event_bytes``.
            TrioHTTPError: as ``body.receive_some``.
        """
        while (event := self._decoder.next_event()) is None:
            if self._ended:
                raise StopAsyncIteration
            data = await self._stream.receive_some()
            if data:
                self._decoder.feed(bytes(data))
            else:
                self._ended = True
        return event
