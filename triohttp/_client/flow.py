"""One call of a program, from its request to its answer, over as many hops as it takes.

    call middleware
      └ for each hop: cookies, credentials
          └ hop middleware
              └ Call: the wire
        then: cookies are kept; a 401 is answered once more; a redirect is the next hop

Rule 1: an answer is complete or open, as the program asked; what is around it sees the same kind.
Rule 2: at most one exchange goes on at a time: a hop begins when the one before has given its connection back.
Rule 3: credentials and cookies go into a copy of the request, made for one sending: none is left in what is sent next.
Rule 4: nothing of a flow outlives it: content is closed in the end, whoever put it into a request.
"""

from __future__ import annotations

import math
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from typing import TYPE_CHECKING

import trio

from triohttp._values.limits import ClientTimeouts
from triohttp.errors import TooManyRedirectsError, TotalTimeout, TransportError, TrioHTTPError

from .body import StreamedContent
from .call import Call, leave_nursery, needs_task
from .chain import Send, compose
from .phases import CONTENT
from .redirects import leads_on, next_request
from .request import ClientRequest
from .response import ClientAnswer, ClientResponse
from .stream import ClientResponseStream

if TYPE_CHECKING:
    from .client import Client

__all__ = ["Flow"]

CHALLENGES = 2
"""How often one hop is sent again because of a 401: for a challenge, and for one that is stale by then."""


class Flow:
    """One call.

    Args:
        client: whose defaults, pool and jar count.
        request: what the program asked for.
    """

    __slots__ = (
        "_call",
        "_client",
        "_contents",
        "_manager",
        "_nursery",
        "_started",
        "_total_deadline",
        "_whole",
        "request",
    )

    def __init__(self, client: Client, request: ClientRequest) -> None:
        self._client = client
        self.request = request
        self._whole = True
        self._started = -math.inf
        self._total_deadline = math.inf
        self._call: Call | None = None
        self._contents: list[StreamedContent] = []
        self._manager: AbstractAsyncContextManager[trio.Nursery] | None = None
        self._nursery: trio.Nursery | None = None

    def __str__(self) -> str:
        return str(self.request)

    def again(self, timeouts: ClientTimeouts) -> Flow:
        """Return a call of the same request, with header fields of its own; not for streamed content."""
        return Flow(self._client, replace(self.request.copy(), timeouts=timeouts))

    # -- what the program asks for -------------------------------------------------------------------------------------

    async def fetch(self) -> ClientResponse:
        """Return the complete answer."""
        try:
            answer = await self._run()
        finally:
            if self._contents:
                await self._close_contents()
        if not isinstance(answer, ClientResponse):
            raise TypeError(f"middleware must return a complete answer here, not {answer!r}")
        answer.elapsed = trio.current_time() - self._started
        return answer

    async def open(self) -> ClientResponseStream:
        """Return the answer once its head has come; ``close`` and ``join`` end what is open then.

        Raises:
            RuntimeError: it was opened before.
        """
        if self._started != -math.inf:
            raise RuntimeError("this block has been entered before: make a new one for each request")
        self._whole = False
        defaults = self._client.defaults
        try:
            request = self.request
            if needs_task(request) or request.auth is not None or defaults.middleware or defaults.hop_middleware:
                # Entered here, and by hand: opened any deeper it would outlive scopes that middleware has opened.
                self._manager = trio.open_nursery()
                self._nursery = await self._manager.__aenter__()
            answer = await self._run()
            if isinstance(answer, ClientResponse):
                answer = ClientResponseStream.of_response(answer)
            if not isinstance(answer, ClientResponseStream):
                raise TypeError(f"middleware must return an open answer here, not {answer!r}")
            return answer
        except BaseException:
            self.close()
            await self.join()
            raise

    def close(self) -> None:
        """End what still goes on: its connection stays when all of the answer has come in."""
        if self._call is not None:
            self._call.close(skip_received=True)

    async def join(self) -> None:
        """Wait for the end of uploads and close content that was never begun; receiving may go on.

        Raises:
            BaseException: what the iterable of the request's content raised.
        """
        manager, self._manager = self._manager, None
        try:
            if manager is not None:
                await leave_nursery(manager)
            if self._call is not None:
                self._call.check_upload()
        finally:
            if self._contents:
                await self._close_contents()

    async def _close_contents(self) -> None:
        contents, self._contents = self._contents, []
        for content in contents:
            await content.aclose()

    # -- the call as a whole -------------------------------------------------------------------------------------------

    async def _run(self) -> ClientAnswer:
        client, request = self._client, self.request
        if isinstance(request.content, StreamedContent):
            self._contents.append(request.content)
        self._started = trio.current_time()
        total = request.timeouts.total_seconds
        middleware = client.defaults.middleware
        if total == math.inf and not middleware:
            return await self._follow(request)
        self._total_deadline = self._started + total
        send = compose(middleware, self._follow)
        with trio.CancelScope(deadline=self._total_deadline):
            return await send(request)
        phase = self._call.phases.phase if self._call is not None else ""
        sent = self._call is not None and self._call.sent
        raise TotalTimeout(
            f"the call was not over in {total:g} s; {request} was in its {phase or 'first'} phase",
            phase=phase,
            seconds=total,
            sent=sent,
            safe_to_retry=not sent,
        )

    async def _follow(self, request: ClientRequest) -> ClientAnswer:
        """Send a request, and those that redirects ask for."""
        if request is not self.request and isinstance(request.content, StreamedContent):
            self._contents.append(request.content)  # put there by middleware
        if request.url.origin != self.request.url.origin:  # middleware sends it elsewhere: what was given stays behind
            own = self.request
            request = request.copy()
            request.auth = None if request.auth is own.auth else request.auth
            request.cookies = None if request.cookies is own.cookies else request.cookies
        history: list[ClientResponse] = []
        while True:
            answer = await self._hop(request)
            policy = request.redirects
            if policy is None or not leads_on(policy, request.method, answer.status, answer.headers):
                answer.history = tuple(history)
                return answer
            bound = self._client.limits.max_redirects
            if len(history) >= bound:
                raise TooManyRedirectsError(
                    f"{self.request} was redirected more than max_redirects={bound} times, at last by {request}",
                    bound=bound,
                    history=tuple(history),
                )
            following = next_request(request, answer.status, answer.headers, policy)
            if isinstance(answer, ClientResponseStream):
                answer = await self._skipped(answer)
            assert isinstance(answer, ClientResponse)
            history.append(answer)
            request = following

    async def _skipped(self, answer: ClientResponseStream) -> ClientResponse:
        """Return an open answer as a complete one without its content, which is thrown away."""
        if self._call is not None and not self._call.ended:
            await self._give_up(self._call)
        elapsed = trio.current_time() - self._started
        return ClientResponse(
            answer.request,
            answer.status,
            answer.headers,
            interim=answer.interim,
            http_version=answer.http_version,
            elapsed=elapsed,
        )

    # -- one hop -------------------------------------------------------------------------------------------------------

    async def _hop(self, request: ClientRequest) -> ClientAnswer:
        """Send a request with the cookies and the credentials that belong into it."""
        auth = request.auth
        answer = await self._sent(request)
        for _ in range(CHALLENGES):
            if answer.status != 401 or auth is None:
                break
            if not await auth.challenged(answer.request, answer, self._client):
                break
            content = request.content
            if isinstance(content, StreamedContent) and content.started and not content.replayable:
                break  # it cannot be sent again: the 401 is the answer
            answer = await self._sent(request)
        return answer

    async def _sent(self, request: ClientRequest) -> ClientAnswer:
        """Send a request once, and keep the cookies that its answer sets."""
        defaults = self._client.defaults
        jar = defaults.cookies
        cookies = jar.field_for(request.url) if jar is not None else None
        if cookies is None and request.auth is None and not request.cookies and not defaults.hop_middleware:
            answer = await self._exchange(request)
        else:
            answer = await self._prepared(request, cookies)
        if jar is not None and "set-cookie" in answer.headers:
            jar.store(answer.request.url, answer.headers.get_all("set-cookie"))
        return answer

    async def _prepared(self, request: ClientRequest, cookies: str | None) -> ClientAnswer:
        """Send a copy of a request with everything in it that is not for the next hop."""
        sending = request.copy()
        if request.cookies:
            own = "; ".join(f"{name}={value}" for name, value in request.cookies.items())
            cookies = f"{cookies}; {own}" if cookies else own
        if cookies:
            sending.headers.setdefault("Cookie", cookies)  # a field that was given by hand stands instead
        auth = request.auth
        if auth is not None:
            await auth.authorize(sending, self._client)
        send: Send = self._exchange
        if middleware := self._client.defaults.hop_middleware:
            send = compose(middleware, send)
        answer = await send(sending)
        if auth is not None:
            auth.answered(sending, answer)
        return answer

    # -- the wire ------------------------------------------------------------------------------------------------------

    async def _exchange(self, request: ClientRequest) -> ClientAnswer:
        """Send one request to its server."""
        sent = False
        if self._call is not None:
            sent = self._call.sent
            if not self._call.ended:
                await self._give_up(self._call)
            await self._call.wait_upload()  # of an open answer that middleware has closed: its content may go out again
        try:
            call = self._call = self._client.make_call(request, self._total_deadline)
        except TransportError as exc:
            if sent:
                exc.sent, exc.safe_to_retry = True, False
            raise
        call.sent_before = sent  # whoever was asked first may have acted: the call as a whole is not safe any more
        return await (self._exchange_whole(call) if self._whole else self._exchange_open(call))

    async def _give_up(self, call: Call) -> None:
        """End an exchange whose answer is not wanted any more, before the next one begins."""
        try:
            await call.skip()
        finally:
            call.close()
            await call.join()

    async def _exchange_whole(self, call: Call) -> ClientResponse:
        response: ClientResponse | None = None
        redirected = False
        request = call.request
        try:
            await call.start(None)
            with call.begin():
                head = await call.receive_head()
                policy = request.redirects
                redirected = policy is not None and leads_on(policy, request.method, head.status, head.headers)
                content = b"" if redirected else await call.read(self._client.limits.max_body_bytes)
                assert call.content is not None
                response = ClientResponse(
                    request,
                    head.status,
                    head.headers,
                    content,
                    trailers=call.content.trailers,
                    interim=call.interim,
                    http_version=head.version,
                    codings=call.codings,
                )
            if response is None:
                raise call.failure()
            if redirected:
                await call.skip()
        except TrioHTTPError as exc:
            call.explain(exc)
            raise
        finally:
            call.close()
            await call.join()
        return response

    async def _exchange_open(self, call: Call) -> ClientResponseStream:
        head = None
        try:
            await call.start(self._nursery)
            with call.begin():
                head = await call.receive_head()
            if head is None:
                raise call.failure()
            call.phases.phase = CONTENT
            return ClientResponseStream(call, head, self._client.limits.max_body_bytes)
        except BaseException as exc:
            if isinstance(exc, TrioHTTPError):
                call.explain(exc)
            call.close()
            await call.join()
            raise
