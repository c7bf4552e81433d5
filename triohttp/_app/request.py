"""Requests: what a handler is given.

A request is a view of one exchange. Whatever it can tell (``request_facts``) is worked out when somebody asks: making
one fills a handful of slots.

Rule 1: the content is received once, and the answer is one: plain, owned or a connection taken over.
Rule 2: an error that the peer caused here is remembered (``_blame``): only such an error decides the status of the
        answer. The same class raised by a client call inside the handler is the handler's own business, a 500.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, Unpack

import trio

from triohttp._channels.websocket import DEFAULT_COMPRESSION, DEFAULT_LIMITS, DEFAULT_TIMEOUTS, check_options
from triohttp._values import json
from triohttp._values.headers import Headers, HeadersInit
from triohttp._values.limits import WebSocketLimits, WebSocketTimeouts
from triohttp._values.media_types import find_codec
from triohttp._values.message import ResponseHead
from triohttp._values.query import QueryInit
from triohttp._values.service import Deadlines, Exchange
from triohttp._values.status import check_status
from triohttp._wire.websocket_deflate import PerMessageDeflate
from triohttp._wire.websocket_handshake import check_origins, check_own_fields, check_subprotocols
from triohttp.errors import (
    BodyStateError,
    BodyTooLargeError,
    ContentError,
    TransportError,
    clip,
)

from .event_feed import EventOptions, EventSettings, event_head
from .events import EventAnswer
from .exceptions import UnsupportedMediaType
from .owned import NOT_BEGUN, BodyFilter, HeadHook, OwnedAnswer, TakenOver, filters_for, run_hook
from .request_body import RequestBody
from .request_facts import RequestFacts
from .response import Response, sent_response, stream_of
from .state import State
from .websocket import RequestWebSocket

if TYPE_CHECKING:
    from .app import App
    from .response import Source
    from .route import Route

__all__ = ["Request"]


class Request(RequestFacts):
    """A request, and the means to answer it.

    Attributes:
        path_params: the variables of the route's pattern, as their converters made them.
        route: the route that matched; None where none did.
        app: the innermost App that the route lies in.
    """

    __slots__ = (
        "_answer",
        "_body",
        "_hooks",
        "_layer",
        "_outcome",
        "_owned_head",
        "_read",
        "_state",
        "_streams",
        "app",
        "path_params",
        "route",
    )

    path_params: Mapping[str, Any]  # what a value is, a converter decides when the program runs
    _body: RequestBody
    _read: bytes
    _state: State
    _outcome: Exception | Response

    def __init__(self, exchange: Exchange, app: App, route: Route | None, path_params: Mapping[str, Any]) -> None:
        super().__init__(exchange)
        self.app = app
        self.route = route
        self.path_params = path_params
        self._layer = 0
        self._answer: int | None = None  # which it is, not itself: it knows this request, and both would be a cycle
        self._hooks: list[HeadHook] | tuple[HeadHook, ...] | None = None  # a tuple once they have run
        self._owned_head: ResponseHead | None = None
        self._streams: list[Source] | None = None

    def __repr__(self) -> str:
        return f"<Request {self.method} {clip(self.raw_path)}>"

    # -- the exchange --------------------------------------------------------------------------------------------------

    @property
    def deadlines(self) -> Deadlines:
        """The deadlines of this exchange, as absolute trio times that may be moved while it runs."""
        return self._exchange.deadlines

    @property
    def draining(self) -> bool:
        """Whether the server has begun to shut down: time to bring a long answer to its end."""
        return self._exchange.draining

    async def wait_draining(self) -> None:
        """Wait until the server begins to shut down.

        Cancellation: atomic.
        """
        await self._exchange.wait_draining()

    # -- what the program adds -----------------------------------------------------------------------------------------

    @property
    def state(self) -> State:
        """What middleware and handler keep for each other, under ``StateKey`` objects."""
        try:
            return self._state
        except AttributeError:
            self._state = State()
            return self._state

    def url_for(self, name: str, path_params: Mapping[str, object] | None = None, *, query: QueryInit = ()) -> str:
        """Return the path of a named route, as ``Router.url_for`` does, seen from this request's own route.

        A name is looked for beside this route first, then in each mount above, so that a mounted router need not know
        under which names it is mounted.

        Raises:
            RoutingError: as ``Router.url_for``.
        """
        root = self.app if self.route is None else self.route.routers[0]
        spaces = [] if self.route is None else list(self.route.namespaces)
        while spaces:
            full = ":".join([*spaces, name])
            if root._has_route(full):
                return root.url_for(full, path_params, query=query)
            spaces.pop()
        return root.url_for(name, path_params, query=query)

    # -- content -------------------------------------------------------------------------------------------------------

    @property
    def body(self) -> RequestBody:
        """The content as a stream."""
        try:
            return self._body
        except AttributeError:
            self._body = RequestBody(self, self._exchange)
            return self._body

    async def read(self, *, max_bytes: int | None = None) -> bytes:
        """Return the whole content; a second call returns the same bytes.

        Args:
            max_bytes: bound on it, in bytes; None means the ``max_body_bytes`` of the route.
        Cancellation: fatal (the rest is unread, what came is lost).
        Raises:
            BodyTooLargeError: the bound was passed; nothing more is read.
            BodyStateError: part of the content has been received from ``body``.
            DisconnectedError, ReadTimeout, RemoteProtocolError: as ``body.receive_some``.
        Source: RFC 9112 §6.3, RFC 9110 §8.6.
        """
        try:
            data = self._read
        except AttributeError:
            pass
        else:
            await trio.lowlevel.checkpoint()
            if max_bytes is not None and len(data) > max_bytes:
                self._refuse(
                    BodyTooLargeError(f"the content passes max_bytes={max_bytes}", limit="max_bytes", bound=max_bytes)
                )
            return data
        body = self.body
        if body.received:
            raise BodyStateError("part of the content has been received from request.body already")
        if max_bytes is not None:
            body.max_bytes = max_bytes
        chunks: list[bytes] = []
        while chunk := await body.receive_some():
            chunks.append(chunk)
        self._read = b"".join(chunks)
        return self._read

    async def text(self) -> str:
        """Return the whole content as text, by the charset that it names, else as UTF-8.

        Raises:
            ContentError: the charset is unknown, or the content is not in it.
            Exception: as ``read``.
        """
        data = await self.read()
        charset = self.charset or "utf-8"
        try:
            return data.decode(find_codec(charset))
        except ContentError as exc:
            self._refuse(exc)
        except UnicodeDecodeError as exc:
            self._refuse(ContentError(f"the content is not {clip(charset)}", reason="charset"), exc)

    async def json(self, *, any_type: bool = False) -> object:
        """Return what the content says as JSON.

        Args:
            any_type: read content of any type; without it only ``application/json`` and ``+json``, for browsers send
                everything else for any site that asks them to.
        Raises:
            UnsupportedMediaType: the content is declared as something else.
            ContentError: it is not JSON, or deeper than ``max_json_depth``.
            Exception: as ``read``.
        """
        if not any_type:
            media_type = self.media_type
            if media_type is None or not media_type.is_json:
                raise UnsupportedMediaType("the content must be JSON\n", headers={"Accept": "application/json"})
        data = await self.read()
        try:
            return json.loads(data, max_depth=self._exchange.limits.max_json_depth)
        except ContentError as exc:
            self._refuse(exc)

    # -- answering -----------------------------------------------------------------------------------------------------

    def respond(self, status: int = 200, headers: HeadersInit | None = None) -> OwnedAnswer:
        """Own the answer: ``async with request.respond(200, headers) as body: await body.send_all(…)``.

        The block is left after the last byte has gone out. The head goes out with the first content, or with
        ``body.flush()``; an exception before that can still become an error page, one after it cuts the answer.
        With a Content-Length among ``headers`` that is its length, else the content is chunked.

        Raises:
            ValueError: the status is not from 200 to 599, or a header field must not go on the wire.
            BodyStateError: on entry: the request has been answered, or is being answered.
        """
        if check_status(status) < 200:
            raise ValueError(f"a final status must be from 200 to 599, not {status!r}; inform() sends interim ones")
        return OwnedAnswer(self, self._exchange, ResponseHead(status, Headers(headers if headers is not None else ())))

    def events(self, **options: Unpack[EventOptions]) -> EventAnswer:
        """Own the answer as server-sent events: ``async with request.events() as events: await events.send("hello")``.

        The head goes out at once. When the server begins to drain, the block is cancelled and the stream ends properly,
        so that clients connect again, to whoever serves then; ``last_event_id`` tells where they want to go on. A
        client that leaves cancels the handler as ever. An exception that leaves the block cuts the stream.

        Args:
            options: see ``EventOptions``.
        Raises:
            TypeError, ValueError: an option is unknown, or has a value that nobody knows.
            BodyStateError: on entry: the request has been answered, or is being answered.
        Source: HTML §9.2.
        """
        return EventAnswer(self, event_head(options.get("headers")), EventSettings.of(options))

    def take_over(self, protocol: str = "", headers: HeadersInit | None = None) -> TakenOver:
        """Own the connection: ``async with request.take_over("protocol") as stream``, a raw trio stream.

        The answer is 101 with ``protocol`` in Upgrade, or 200 for CONNECT. The stream begins with what the client sent
        after its request, and is closed at the end of the block.

        Raises:
            LocalProtocolError: on entry: the client asked for no upgrade.
            BodyStateError: on entry: the request has been answered, or has content that is unread.
        Source: RFC 9110 §7.8, §9.3.6.
        """
        fields = Headers(headers if headers is not None else ())
        connect = self.method == "CONNECT"
        if not connect:
            if not protocol:
                raise ValueError("take_over needs the protocol that the connection is upgraded to")
            fields["Upgrade"] = protocol
            fields["Connection"] = "Upgrade"
        return TakenOver(self, self._exchange, ResponseHead(200 if connect else 101, fields))

    def websocket(
        self,
        *,
        subprotocols: Sequence[str] = (),
        origins: Collection[str] | Literal["*"] = (),
        require_origin: bool = False,
        compression: PerMessageDeflate | None = DEFAULT_COMPRESSION,
        headers: HeadersInit | None = None,
        limits: WebSocketLimits = DEFAULT_LIMITS,
        timeouts: WebSocketTimeouts = DEFAULT_TIMEOUTS,
    ) -> RequestWebSocket:
        """Own the connection as a WebSocket: ``async with request.websocket() as ws: async for message in ws: …``.

        The block ends with a close of 1000, with 1001 when it is cancelled, with 1011 when it failed. When the server
        shuts down, the client gets 1001 at once and the loop ends with its answer. A client that leaves ends the loop
        after its last message; a handler that does not come back to the channel within ``close_seconds`` after that is
        cancelled up to the end of the block, unless its route says ``on_disconnect="finish"``.

        Args:
            subprotocols: those that this end speaks; the first of the client's that is among them is chosen.
            origins: origins of pages that may connect, beside those of this host, such as ``https://example.org``;
                ``*`` for any. Without this check any page could act in its visitor's name (RFC 6455 §10.2).
            require_origin: refuse clients that name no origin: those that are no browsers.
            compression: how messages are compressed when the client can; None not to.
            headers: header fields of the answer, beside those of the handshake.
            limits: how much is taken from the client.
            timeouts: how long the client may take.
        Raises:
            HTTPException: on entry: 400, 403, 405 or 426, for a request that opens no WebSocket.
            BodyStateError: on entry: the request has been answered, or is being answered.
            ValueError: a subprotocol is no token, an origin is none, or a header field is the handshake's own.
        Source: RFC 6455 §4.2.
        """
        return RequestWebSocket(
            self,
            self._exchange,
            check_subprotocols(subprotocols),
            (check_origins(origins), require_origin),
            compression,
            check_own_fields(Headers(headers if headers is not None else ()), client=False),
            check_options(limits, timeouts, compression),
        )

    async def inform(self, status: int = 103, headers: HeadersInit | None = None) -> None:
        """Send an interim response, 103 (Early Hints) for example; HTTP/1.0 clients are spared.

        Raises:
            ValueError: the status is not an interim one, or one that the connection sends by itself (100, 101).
            BodyStateError: the final answer has begun.
            DisconnectedError, WriteTimeout: as ``ResponseBody.send_all``.
        Source: RFC 9110 §15.2, RFC 8297.
        """
        if not 102 <= check_status(status) <= 199:
            raise ValueError(f"an interim status must be from 102 to 199, not {status!r}")
        fields = Headers(headers if headers is not None else ())
        if self.version == "1.0":
            await trio.lowlevel.checkpoint()
            return
        try:
            await self._exchange.inform(ResponseHead(status, fields))
        except TransportError as exc:
            self._blame(exc)
            raise

    def on_head(self, hook: HeadHook) -> None:
        """Have ``hook`` see the final head just before it goes out, whoever answers and however.

        Hooks are synchronous and run once for a head, the last registered first. One may change the head, and may
        return a filter (``feed``, ``flush``, ``finish``) for the content. One that raises makes the answer a 500. For
        that, and for whatever else takes the place of an answer of which nothing has gone out, the hooks run again, but
        for the one that raised.

        Raises:
            BodyStateError: the head has gone out.
        """
        hooks = self._hooks
        if isinstance(hooks, tuple) or self._exchange.state not in NOT_BEGUN:
            raise BodyStateError("the head of the answer has gone out")
        if hooks is None:
            self._hooks = [hook]
        else:
            hooks.append(hook)

    # -- for the rest of this room -------------------------------------------------------------------------------------

    @property
    def exchange(self) -> Exchange:
        """The exchange under this request, for what works below requests."""
        return self._exchange

    @property
    def _owned_response(self) -> Response | None:
        """The answer that the handler owned, as a response that has been sent; None when it owned none."""
        if self._answer is None:
            return None
        assert self._owned_head is not None
        return sent_response(self._owned_head)

    def _claim(self, answer: OwnedAnswer | EventAnswer | TakenOver, head: ResponseHead) -> None:
        """Make ``answer`` the one answer of this request.

        Raises:
            BodyStateError: there is one.
        """
        if self._answer is not None:
            raise BodyStateError("this request is being answered already, or has been")
        self._answer = id(answer)
        self._owned_head = head

    def _release(self, answer: OwnedAnswer | EventAnswer | TakenOver) -> None:
        """Undo ``_claim``: nothing of ``answer`` has gone out."""
        if self._answer == id(answer):
            self._start_over()

    def _run_head_hooks(self, head: ResponseHead) -> Sequence[BodyFilter]:
        """Run the hooks on a final head, and return the filters that its content passes, in that order."""
        hooks = self._hooks = tuple(self._hooks or ())
        filters: list[BodyFilter] = []
        for hook in reversed(hooks):
            try:
                body_filter = run_hook(hook, head)
            except BaseException:
                self._hooks = tuple(other for other in hooks if other is not hook)
                raise
            if body_filter is not None:
                filters.append(body_filter)
        return filters_for(filters, head)

    def _start_over(self) -> None:
        """Make ready for another answer, for nothing of the one before goes out: its hooks run again."""
        self._answer = self._owned_head = None
        if self._hooks is not None:
            self._hooks = list(self._hooks)

    async def _conclude(self) -> Response:
        """Give what routing has found without a handler: a refusal, a redirect, the methods there are, an error."""
        outcome = self._outcome
        if isinstance(outcome, Response):
            return outcome
        raise outcome

    def _decide(self, outcome: Exception | Response) -> None:
        """Set what ``_conclude`` gives."""
        self._outcome = outcome

    def _enter_layer(self, depth: int) -> None:
        """Count a layer of middleware in.

        Raises:
            RuntimeError: it, or one inside it, has been called for this request before.
        """
        if self._layer >= depth:
            raise RuntimeError("middleware called its handler twice for one request")
        self._layer = depth

    def _note_stream(self, response: Response) -> None:
        """Remember a stream, so that it is closed once, whether it is sent or something else in its place."""
        chunks = stream_of(response)
        if chunks is None:
            return
        if self._streams is None:
            self._streams = [chunks]
        elif not any(chunks is known for known in self._streams):
            self._streams.append(chunks)

    def _take_streams(self) -> list[Source]:
        """Return the streams that were remembered, once."""
        streams, self._streams = self._streams, None
        return streams or []
