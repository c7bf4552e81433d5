"""Several requests at once: one request raced against itself, and many of them side by side.

Rule 1: every task ends before the call or the block does that began it, whichever way that ends.
Rule 2: nothing is raised in a nursery of ours: what happened is kept for whoever waits, who gets it as it was.
Rule 3: what is held is bounded: requests that are under way and answers that nobody has taken are counted together.
Rule 4: a request goes out twice only where that is as good as once.
"""

from __future__ import annotations

import math
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import TYPE_CHECKING, Generic, Self, TypeAlias, TypeVar

import trio

from triohttp._values.url import URL
from triohttp.errors import (
    ClientClosedError,
    LocalProtocolError,
    RemoteProtocolError,
    TotalTimeout,
    TransportError,
    TrioHTTPError,
    check_count,
    clip,
)

from .body import StreamedContent
from .call import leave_nursery
from .flow import Flow
from .groups import is_cancelled
from .options import RequestOptions
from .response import ClientResponse
from .retry import is_repeatable

if TYPE_CHECKING:
    from .client import Client

__all__ = ["ItemT", "MapContext", "MapItem", "MapResults", "hedge"]

BUSY = 429


# -- one request against itself ----------------------------------------------------------------------------------------


async def hedge(
    flow: Flow, *, after_seconds: float, attempts: int = 2, idempotent: bool | None = None
) -> ClientResponse:
    """Return the first good answer to a request that is sent again when it takes long; see ``Client.hedge``.

    Raises:
        LocalProtocolError: ``hedge``: the request may not be sent twice.
        TypeError, ValueError: an argument makes no sense.
    """
    check_count("attempts", attempts, 1)
    if not after_seconds >= 0:
        raise ValueError(f"after_seconds must be at least 0, not {clip(after_seconds)}")
    request = flow.request
    if isinstance(request.content, StreamedContent):
        raise TypeError("content that is sent several times at once must be bytes, text, json or a form of fields")
    if not (is_repeatable(request) if idempotent is None else idempotent):
        raise LocalProtocolError(
            f"{request.method} may not be sent twice; idempotent=True, or an Idempotency-Key, says otherwise",
            slug="hedge",
        )
    total = request.timeouts.total_seconds
    started = trio.current_time()
    race = _Race()
    manager = trio.open_nursery()
    nursery = await manager.__aenter__()  # by hand, as its exit is: what this task raises is no business of a nursery's
    try:
        for number in range(1, attempts + 1):
            if number > 1:
                left = started + total - trio.current_time()
                if left <= 0:
                    break
                flow = flow.again(request.timeouts.replace(total_seconds=left))
            race.running += 1
            nursery.start_soon(race.run, flow)
            with trio.move_on_after(after_seconds if number < attempts else math.inf):
                await race.wait_news()
            if race.over:
                break
        while not race.over and race.running:
            await race.wait_news()
    finally:
        nursery.cancel_scope.cancel(reason="another attempt was faster")
        await leave_nursery(manager)
    response = race.result()
    response.elapsed = trio.current_time() - started
    return response


class _Race:
    """What has become of the attempts so far.

    Attributes:
        running: attempts that are under way.
        over: a good answer, or an error that ends everything, has come.
    """

    __slots__ = ("_best", "_error", "_fatal", "_news", "over", "running")

    def __init__(self) -> None:
        self.running = 0
        self.over = False
        self._best: ClientResponse | None = None
        self._error: Exception | None = None
        self._fatal: BaseException | None = None
        self._news = trio.Event()

    async def run(self, flow: Flow) -> None:
        """Make one attempt; never raises."""
        try:
            response = await flow.fetch()
        except (TransportError, RemoteProtocolError) as exc:
            self._error = self._error or exc
            self.over = self.over or isinstance(exc, TotalTimeout)
        except BaseException as exc:  # noqa: BLE001  # kept
            if is_cancelled(exc):
                return  # no news: whoever waits for some is in the same scopes, and raises its own
            self._fatal = self._fatal or exc
            self.over = True
        else:
            good = response.status < 500 and response.status != BUSY
            if not self.over and (good or self._best is None):
                self._best = response
            self.over = self.over or good
        self.running -= 1
        self._news.set()

    async def wait_news(self) -> None:
        """Wait until one more attempt has ended."""
        await self._news.wait()
        self._news = trio.Event()

    def result(self) -> ClientResponse:
        """Return the good answer, else the first of any kind, else raise the first error."""
        if self._fatal is not None:
            raise self._fatal
        if self._best is not None:
            return self._best
        assert self._error is not None
        raise self._error


# -- many requests side by side ----------------------------------------------------------------------------------------

MapItem: TypeAlias = "str | URL | tuple[str, str | URL, RequestOptions]"
"""A request among many: a URL for a GET, or method, URL and options as for ``Client.request``."""

ItemT = TypeVar("ItemT", bound=MapItem)


class MapResults(Generic[ItemT]):
    """The answers to many requests, as they come: ``async for item, outcome in results``.

    An outcome is a ``ClientResponse`` or, of a request that failed, a ``TrioHTTPError``. Tasks may share it: each gets
    what no other got.
    """

    __slots__ = (
        "_client",
        "_error",
        "_fail_fast",
        "_iterator",
        "_places",
        "_received",
        "_requests",
        "_scope",
        "_sent",
        "_told",
    )

    def __init__(
        self, client: Client, requests: Iterable[ItemT] | AsyncIterable[ItemT], limit: int, fail_fast: bool
    ) -> None:
        self._client = client
        self._requests = requests
        self._fail_fast = fail_fast
        self._iterator: Iterator[ItemT] | AsyncIterator[ItemT] | None = None
        self._scope = trio.CancelScope()
        self._places = trio.Semaphore(limit)
        self._sent, self._received = trio.open_memory_channel[tuple[ItemT, ClientResponse | TrioHTTPError]](limit)
        self._error: BaseException | None = None
        self._told = False

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> tuple[ItemT, ClientResponse | TrioHTTPError]:
        """Return one of the requests, and what has become of it.

        Cancellation: resumable.
        Raises:
            StopAsyncIteration: there are no more.
            TrioHTTPError: with ``fail_fast``: a request failed.
            trio.ClosedResourceError: the block was left.
            Exception: what the iterable of requests raised, or a request for another reason than HTTP; the others have
                been cancelled.
        """
        try:
            result = await self._received.receive()
        except trio.EndOfChannel:
            if self._error is None:
                raise StopAsyncIteration from None
        else:
            self._places.release()
            return result
        self._told = True
        raise self._error

    # -- the tasks -----------------------------------------------------------------------------------------------------

    async def _run(self) -> None:
        """Send all requests; raises nothing that is not Ctrl-C's."""
        try:
            with self._scope:
                manager = trio.open_nursery()
                nursery = await manager.__aenter__()
                try:
                    await self._send_all(nursery)
                except BaseException as exc:  # noqa: BLE001  # kept
                    self._fail(exc)
                await leave_nursery(manager)
            try:  # outside of the scope, so that what it has to do in the end may take its time
                await _close(self._iterator if self._iterator is not None else self._requests)
            except BaseException as exc:  # noqa: BLE001  # kept
                self._fail(exc)
        finally:
            self._sent.close()

    async def _send_all(self, nursery: trio.Nursery) -> None:
        requests = self._requests
        iterator = self._iterator = aiter(requests) if isinstance(requests, AsyncIterable) else iter(requests)
        while True:
            await self._places.acquire()  # before the next one is asked for: nothing waits beyond the limit
            try:
                item = await anext(iterator) if isinstance(iterator, AsyncIterator) else next(iterator)
            except (StopIteration, StopAsyncIteration):
                return
            nursery.start_soon(self._fetch, item)

    async def _fetch(self, item: ItemT) -> None:
        outcome: ClientResponse | TrioHTTPError
        try:
            method, url, options = _parts(item)
            outcome = await self._client.request(method, url, **options)
        except TrioHTTPError as exc:
            if self._fail_fast or isinstance(exc, ClientClosedError):  # all that follow would fail like that
                self._fail(exc)
                return
            outcome = exc
        except BaseException as exc:  # noqa: BLE001  # kept
            self._fail(exc)
            return
        self._sent.send_nowait((item, outcome))  # there is room: this request has a place

    def _fail(self, exc: BaseException) -> None:
        """Keep what ends everything; answers that have come are handed out before it."""
        if is_cancelled(exc):
            return  # the program's task is in the same scopes, or has left the block
        if self._error is None:
            self._error = exc
        self._scope.cancel(reason="one of the requests failed")

    # -- the end -------------------------------------------------------------------------------------------------------

    async def _stop(self, manager: AbstractAsyncContextManager[trio.Nursery]) -> None:
        """Cancel what is under way, wait for its end, and forget what nobody has taken.

        Raises:
            Exception: a mistake of the program's that nobody has heard of yet.
        """
        self._scope.cancel(reason="the results are not wanted any more")
        try:
            await leave_nursery(manager)
        finally:
            self._received.close()
        if self._error is not None and not self._told and not isinstance(self._error, TrioHTTPError):
            raise self._error


class MapContext(Generic[ItemT]):
    """The block of ``client.map``."""

    __slots__ = ("_client", "_fail_fast", "_limit", "_manager", "_requests", "_results")

    def __init__(
        self,
        client: Client,
        requests: Iterable[ItemT] | AsyncIterable[ItemT],
        *,
        limit: int,
        fail_fast: bool = False,
    ) -> None:
        check_count("limit", limit, 1)
        given: object = requests  # whatever the annotation says
        if isinstance(given, (str, bytes, URL)) or not isinstance(given, (AsyncIterable, Iterable)):
            raise TypeError(f"map takes an iterable of requests, not {clip(given)}")
        self._client = client
        self._requests = requests
        self._limit = limit
        self._fail_fast = fail_fast
        self._results: MapResults[ItemT] | None = None
        self._manager: AbstractAsyncContextManager[trio.Nursery] | None = None

    async def __aenter__(self) -> MapResults[ItemT]:
        """Begin.

        Raises:
            RuntimeError: the block was entered before.
        """
        await trio.lowlevel.checkpoint()  # before anything is begun: a cancelled entry has no exit
        if self._manager is not None:
            raise RuntimeError("this block has been entered before: make a new one for each set of requests")
        results = self._results = MapResults(self._client, self._requests, self._limit, self._fail_fast)
        self._manager = trio.open_nursery()
        nursery = await self._manager.__aenter__()
        nursery.start_soon(results._run)
        return results

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Cancel the requests that are under way, and wait for their end.

        Raises:
            Exception: what the iterable of requests raised, or a request for another reason than HTTP, and nobody has
                heard of yet.
        """
        assert self._manager is not None
        assert self._results is not None
        await self._results._stop(self._manager)


def _parts(item: MapItem) -> tuple[str, str | URL, RequestOptions]:
    if isinstance(item, (str, URL)):
        return "GET", item, {}
    given: object = item
    if isinstance(given, tuple) and len(given) == 3:
        return item
    raise TypeError(f"a request is a URL, or a tuple of method, URL and options, not {clip(given)}")


async def _close(iterator: object) -> None:
    """Close what can be closed: a generator, a channel."""
    if (aclose := getattr(iterator, "aclose", None)) is not None:
        await aclose()
    elif (close := getattr(iterator, "close", None)) is not None:
        close()
