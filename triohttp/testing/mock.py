"""Answers without a server: for tests of programs that use a client, where what servers do is not the subject.

A mock stands below the whole client as hop middleware: cookies, redirects, credentials and whatever middleware a
program has go on as ever; what it takes the place of is the wire. Where bytes matter, ``open_in_process`` and
``open_scripted`` have a real one.

Rule 1: nothing goes out: a request that nothing was registered for is an error, at once and again at the block's end,
        so that a program that catches everything does not hide it.
Rule 2: an answer is chosen and counted in one step, without awaiting: two tasks never get the same one by accident.
Rule 3: the content of a request is read to its end, as a server would, and seen whole.
"""

from __future__ import annotations

import inspect
import json as json_module
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Final, Self, TypeAlias

import trio

from triohttp import URL, ClientAnswer, ClientRequest, ClientResponse, Headers, Query, Send
from triohttp.errors import BodyTooLargeError, HeadTimeout, check_count, clip

__all__ = ["MockAnswer", "MockCall", "MockError", "MockRoute", "MockServer"]

MAX_CONTENT_BYTES = 16 * 1024 * 1024
WITHOUT_CONTENT = frozenset({204, 304})


class _Nothing:
    def __repr__(self) -> str:
        return "NOTHING"


NOTHING: Final = _Nothing()
"""No value was given; None is one, and JSON."""


class MockError(AssertionError):
    """A request came that nothing was registered for, or answers that were to be used were not."""


class MockAnswer:
    """What a mock answers with.

    Args:
        status: a final status code.
        headers: header fields; ``Content-Type`` and ``Content-Length`` are added where they are missing.
        content: bytes, or text, which is UTF-8; an answer to HEAD leaves it out.
        json: a value to answer with as JSON, in the place of ``content``.
        trailers: the trailer section.
        delay_seconds: what passes first; more than the request's ``head_seconds`` is a ``HeadTimeout`` by then.
    Raises:
        TypeError: ``content`` and ``json`` were both given.
        ValueError: the status is no final one, or has no content; JSON cannot say the value.
    """

    __slots__ = ("content", "delay_seconds", "headers", "status", "trailers")

    def __init__(
        self,
        status: int = 200,
        headers: Headers | Mapping[str, str] | Iterable[tuple[str, str]] = (),
        content: bytes | str = b"",
        *,
        json: object = NOTHING,
        trailers: Mapping[str, str] | None = None,
        delay_seconds: float = 0.0,
    ) -> None:
        media_type: str | None = None
        if not isinstance(json, _Nothing):
            if content:
                raise TypeError("an answer has one content, not content and json")
            text = json_module.dumps(json, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
            content, media_type = text.encode(), "application/json"
        elif isinstance(content, str):
            content, media_type = content.encode(), "text/plain; charset=utf-8"
        check_count("status", status, 200)
        if status > 599:
            raise ValueError(f"status must be a final status code, from 200 to 599, not {clip(status)}")
        if status in WITHOUT_CONTENT and content:
            raise ValueError(f"an answer of {status} has no content, not {clip(content)}")
        self.status = status
        self.content = content
        self.headers = Headers(headers)
        if media_type is not None:
            self.headers.setdefault("Content-Type", media_type)
        if status not in WITHOUT_CONTENT:
            self.headers.setdefault("Content-Length", str(len(content)))
        self.trailers = None if trailers is None else Headers(trailers)
        self.delay_seconds = delay_seconds

    def __repr__(self) -> str:
        return f"<MockAnswer {self.status}, {len(self.content)} bytes>"

    def response(self, request: ClientRequest) -> ClientResponse:
        """Return the answer to one request."""
        content = b"" if request.method == "HEAD" else self.content
        trailers = None if self.trailers is None else self.trailers.copy()
        return ClientResponse(request, self.status, self.headers.copy(), content, trailers=trailers)


Answered: TypeAlias = MockAnswer | ClientResponse
AnswerInit: TypeAlias = "MockAnswer | Exception | Callable[[ClientRequest], Answered | Awaitable[Answered]]"
"""What answers: an answer, an exception to raise, or a function of the request, asynchronous or not."""
Pattern: TypeAlias = "str | URL | Callable[[ClientRequest], bool]"


@dataclass(frozen=True, slots=True)
class MockCall:
    """A request that came.

    Attributes:
        request: as it would have gone out, with its cookies and credentials.
        content: its whole content, be it one that was streamed.
    """

    request: ClientRequest
    content: bytes

    @property
    def method(self) -> str:
        """The method."""
        return self.request.method

    @property
    def url(self) -> URL:
        """The URL."""
        return self.request.url

    @property
    def headers(self) -> Headers:
        """The header fields."""
        return self.request.headers

    @property
    def params(self) -> Query:
        """The query fields of the URL."""
        return Query.parse(self.request.url.query or "")

    def json(self) -> object:
        """Return the value that the content says.

        Raises:
            ValueError: it is not JSON.
        """
        return json_module.loads(self.content)


class MockRoute:
    """What was registered for some requests; ``MockServer.add`` makes it.

    Attributes:
        calls: the requests that it answered, in order.
    """

    __slots__ = ("_answers", "_given", "_method", "_pattern", "calls")

    def __init__(self, method: str | None, pattern: Pattern, answers: tuple[AnswerInit, ...]) -> None:
        self._method = method
        self._pattern = pattern
        self._answers = answers
        self._given = 0
        self.calls: list[MockCall] = []

    def __str__(self) -> str:
        pattern = self._pattern
        if isinstance(pattern, URL):
            where = repr(pattern)
        elif isinstance(pattern, str):
            where = clip(pattern)
        else:
            where = getattr(pattern, "__qualname__", None) or clip(pattern)
        return f"{self._method or 'any method'} {where}"

    def __repr__(self) -> str:
        return f"<MockRoute {self}>"

    @property
    def unused(self) -> int:
        """How many of its answers have not been given yet."""
        return max(0, len(self._answers) - self._given)

    def shadows(self, other: MockRoute) -> bool:
        """Tell whether every request that ``other`` is for is for this one."""
        if self._method not in (None, other._method):
            return False
        if isinstance(self._pattern, str) and isinstance(other._pattern, (str, URL)):
            return str(other._pattern).startswith(self._pattern[:-1])
        return self._pattern == other._pattern

    def matches(self, request: ClientRequest) -> bool:
        """Tell whether it is for this request."""
        if self._method not in (None, request.method):
            return False
        pattern, url = self._pattern, request.url
        if isinstance(pattern, URL):
            return pattern == (url.replace(fragment="") if url.fragment else url)
        if isinstance(pattern, str):
            return str(url).startswith(pattern[:-1])
        return pattern(request)

    def take(self) -> AnswerInit:
        """Return the answer whose turn it is; the last one has every further turn."""
        answer = self._answers[min(self._given, len(self._answers) - 1)]
        self._given += 1
        return answer


class MockServer:
    """Answers in the place of all servers: ``Client(hop_middleware=[mock])``.

    Its block, ``with MockServer() as mock``, checks at its end that nothing else was asked for; ``check`` does it
    without one. Observers of a client are told nothing, since nothing happens on any connection.

    Args:
        base_url: what URLs are relative to when answers are registered.
        all_used: check at the end, too, that every answer was given.
        max_content_bytes: bound on the content of a request that is streamed.
    Attributes:
        calls: the requests that were answered, in order.
        unexpected: the requests that nothing was registered for.
    """

    def __init__(
        self,
        base_url: str | URL | None = None,
        *,
        all_used: bool = False,
        max_content_bytes: int = MAX_CONTENT_BYTES,
    ) -> None:
        check_count("max_content_bytes", max_content_bytes, 0)
        self._base_url = URL(base_url) if isinstance(base_url, str) else base_url
        self._all_used = all_used
        self._max_content_bytes = max_content_bytes
        self._routes: list[MockRoute] = []
        self.calls: list[MockCall] = []
        self.unexpected: list[MockCall] = []

    def __repr__(self) -> str:
        return f"<MockServer {len(self._routes)} registered, {len(self.calls)} calls>"

    def add(
        self,
        method: str | None,
        url: Pattern,
        *answers: AnswerInit,
        params: Mapping[str, str | int | float | bool | None] | None = None,
    ) -> MockRoute:
        """Register answers for some requests; of several registrations that match, the first counts.

        Args:
            method: the method, None for any.
            url: the whole URL with its query; with ``*`` at its end all that begin so; or a
                function that is asked about each request.
            answers: given one after the other, the last one again and again; without any, a plain 200.
            params: query fields, put after those of an exact URL.
        Raises:
            InvalidURLError: it is no absolute URL, and there is no base URL.
            ValueError: an earlier registration has all these requests: several answers go into one; or ``*`` stands
                in the middle.
        """
        given: tuple[object, ...] = answers  # whatever the annotation says
        for answer in given:
            if not isinstance(answer, (MockAnswer, Exception)) and (isinstance(answer, type) or not callable(answer)):
                raise TypeError(f"an answer must be a MockAnswer, an exception or a function, not {clip(answer)}")
        pattern = self._resolve(url)
        if params is not None:
            if not isinstance(pattern, URL):
                raise TypeError("params are for an exact URL")
            pattern = pattern.with_query(params)
        route = MockRoute(None if method is None else method.upper(), pattern, answers or (MockAnswer(),))
        for known in self._routes:
            if known.shadows(route):
                raise ValueError(f"{route} would never be asked after {known}: give it all answers in one add(...)")
        self._routes.append(route)
        return route

    def _resolve(self, url: Pattern) -> Pattern:
        if isinstance(url, URL):
            return url.replace(fragment="") if url.fragment else url
        if not isinstance(url, str):
            return url
        text = url.removesuffix("*")
        if "*" in text:
            raise ValueError(f"* stands at the end of a URL or nowhere, a function can do more: {clip(url)}")
        base = self._base_url
        resolved = URL(text) if base is None else base.join(text)
        if text == url:
            return resolved.replace(fragment="") if resolved.fragment else resolved
        return f"{resolved}?*" if text.endswith("?") else f"{resolved}*"

    async def __call__(self, request: ClientRequest, send: Send) -> ClientAnswer:
        """Answer a request: this is the middleware.

        Cancellation: fatal.
        Raises:
            BodyTooLargeError: the request's content is streamed, and passes ``max_content_bytes``.
            HeadTimeout: the answer took longer than ``head_seconds``.
            MockError: nothing was registered for it.
            Exception: the one that was registered.
        """
        await trio.lowlevel.checkpoint()
        call = MockCall(request, await self._receive(request))
        seen = replace(request, content=call.content)  # what was streamed can be looked at
        route = next((one for one in self._routes if one.matches(seen)), None)
        if route is None:
            self.unexpected.append(call)
            raise MockError(f"nothing was registered for {request}; {self._registered()}")
        answer = route.take()
        self.calls.append(call)
        route.calls.append(call)
        seconds = request.timeouts.head_seconds
        with trio.move_on_after(seconds):
            response = await self._answer(answer, seen)
            response.request = request
            return response
        raise HeadTimeout(f"no response head came in {seconds:g} s", phase="head", seconds=seconds, sent=True)

    async def _receive(self, request: ClientRequest) -> bytes:
        """Return the content of a request, read as the wire would read it."""
        content = request.content
        if isinstance(content, bytes):
            if content and request.on_upload is not None:
                request.on_upload(len(content), len(content))
            return content
        content.rewind()
        data = bytearray()
        told = request.on_upload
        try:
            await content.measure()
            if told is not None:
                told(0, content.length)
            while (piece := await content.next_piece()) is not None:
                data += piece
                if len(data) > self._max_content_bytes:
                    raise BodyTooLargeError(
                        f"the content of {request} passes max_content_bytes={self._max_content_bytes} of the mock",
                        limit="max_content_bytes",
                        bound=self._max_content_bytes,
                    )
                if told is not None:
                    told(len(data), content.length)
                if not content.blocks:  # nothing has yielded, and it may go on for long
                    await trio.lowlevel.checkpoint()
            if told is not None and content.length is None:
                told(len(data), len(data))
        finally:
            await content.aclose()
        return bytes(data)

    async def _answer(self, answer: AnswerInit, request: ClientRequest) -> ClientResponse:
        if isinstance(answer, Exception):
            raise answer.with_traceback(None)  # raised again and again, it would drag all its past along
        if not isinstance(answer, MockAnswer):
            given: object = answer(request)  # whatever the annotation says
            if inspect.isawaitable(given):
                given = await given
            if isinstance(given, ClientResponse):
                return given
            if not isinstance(given, MockAnswer):
                raise TypeError(f"a function must answer with a MockAnswer or a ClientResponse, not {clip(given)}")
            answer = given
        if answer.delay_seconds:
            await trio.sleep(answer.delay_seconds)
        return answer.response(request)

    def _registered(self) -> str:
        if not self._routes:
            return "nothing is registered at all"
        return "registered are:\n" + "\n".join(f"  {route}" for route in self._routes)

    def check(self) -> None:
        """Raise ``MockError`` if something else was asked for, or, with ``all_used``, an answer was not given."""
        lines = [f"nothing was registered for {call.request}" for call in self.unexpected]
        if lines:
            lines.append(self._registered())
        if self._all_used:
            unused = [(route, route.unused) for route in self._routes if route.unused]
            lines += [f"{count} of the answers for {route} were not used" for route, count in unused]
        if lines:
            raise MockError("\n".join(lines))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Check, unless the block has failed anyway."""
        if exc is None:
            self.check()
