"""The app: what ``serve`` serves. Routing, handlers, errors and the lifespan come together here.

Rule 1: nothing but cancellations, requests to exit and rejects of malformed paths leaves ``__call__``.
Rule 2: on the path of a plain request there is one dict lookup, one ``Request``, the handler, one ``respond``.
Rule 3: an error is answered if nothing has gone out, else the answer is cut; the program's own are reported once.
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import Literal, TypeAlias, TypeVar
from urllib.parse import unquote

import trio

from triohttp._values.limits import RouteLimits, RouteTimeouts
from triohttp._values.message import RequestHead
from triohttp._values.service import AnswerState, Exchange, OnDisconnect
from triohttp.errors import BodyTooLargeError, RemoteProtocolError, RoutingError, TransportError, clip

from .converters import Converter
from .exceptions import BadRequest, HTTPException, MethodNotAllowed, NotFound, PermanentRedirect
from .faults import breaks_message, is_expected, mention, report, split, status_of
from .handlers import Answering, takes
from .middleware import Handler, Middleware, compose, settle
from .owned import NOT_BEGUN
from .pages import debug_page, is_local, plain_page
from .paths import check_path
from .request import Request
from .response import Response
from .route import Route
from .router import Mount, Router
from .sending import close_streams, send_response
from .state import State
from .tree import ANY_METHOD, NO_VALUES, NOT_BY_ANY

__all__ = ["App", "ErrorHandler", "Lifespan"]

E = TypeVar("E", bound=Exception)
F = TypeVar("F")
B = TypeVar("B", bound="BackgroundService")

ErrorHandler: TypeAlias = "Callable[[Request, E], Awaitable[Response] | Response]"
"""What answers for an error; async, or plain and quick."""
Lifespan: TypeAlias = "Callable[[App], AbstractAsyncContextManager[None]]"
"""What encloses the serving of an app."""
BackgroundService: TypeAlias = Callable[..., Awaitable[object]]

_USUAL_METHODS = frozenset({"DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"})


class App(Router):
    """A web application: a router that can be served.

    Args:
        lifespan: called with the app; the async context manager that it returns encloses the serving. Context variables
            that it sets reach every request.
        middleware: around everything, the outermost first; it sees 404 and 405 too, as exceptions.
        debug: show tracebacks to browsers on this machine: over TCP, without a proxy between, and as ``localhost`` or
            by a loopback address.
        limits: what the routes may take, where they do not say otherwise.
        timeouts: how long the routes wait, where they do not say otherwise.
        on_disconnect: what a client's leaving does to handlers, where routes do not say otherwise.
        converters: own converters by name, for path patterns.
        trailing_slash: ``redirect`` sends a path that only differs in its last slash from one that has a route there,
            with 308; ``strict`` (the default) makes it a 404.
    Attributes:
        state: what the program keeps for its handlers, under ``StateKey`` objects.
    """

    def __init__(
        self,
        *,
        lifespan: Lifespan | None = None,
        middleware: Sequence[Middleware] = (),
        debug: bool = False,
        limits: RouteLimits | None = None,
        timeouts: RouteTimeouts | None = None,
        on_disconnect: OnDisconnect | None = None,
        converters: Mapping[str, Converter] | None = None,
        trailing_slash: Literal["strict", "redirect"] = "strict",
    ) -> None:
        super().__init__(
            middleware=middleware, limits=limits, timeouts=timeouts, on_disconnect=on_disconnect, converters=converters
        )
        if trailing_slash not in ("strict", "redirect"):
            raise ValueError(f"trailing_slash must be 'strict' or 'redirect', not {trailing_slash!r}")
        if lifespan is not None and not takes(lifespan, 1):
            raise TypeError(f"lifespan must be a callable that takes the app, not {clip(lifespan)}")
        self.debug = debug
        self.state = State()
        self._redirects = trailing_slash == "redirect"
        self._lifespan = lifespan
        self._services: list[BackgroundService] = []
        self._nursery: trio.Nursery | None = None
        self._handlers_by_class: dict[type[BaseException], ErrorHandler[Exception]] = {}
        self._handlers_by_status: dict[int, ErrorHandler[Exception]] = {}
        self._refusals: dict[tuple[Router, ...], Answering] = {}

    # -- what belongs to the program -----------------------------------------------------------------------------------

    def service(self, function: B) -> B:
        """Have the decorated async function run as long as the app is served.

        One that takes ``task_status`` is waited for until it calls ``task_status.started()``, before the server
        listens. Services end after the last connection; one that crashes drains the server, and ``serve`` raises.

        Raises:
            TypeError: it is no async function.
            RuntimeError: the app is being served already.
        """
        is_async = inspect.iscoroutinefunction(function)  # apart, or a type checker forgets what B is
        if not is_async:
            raise TypeError(f"a service must be an async function, not {clip(function)}")
        if self._nursery is not None:
            raise RuntimeError("the app is being served; start what joins it now in app.nursery")
        self._services.append(function)
        return function

    def error_handler(self, *targets: int | type[Exception]) -> Callable[[F], F]:
        """Return a decorator: its function, called with request and error, answers for statuses or exceptions.

        Of several the closest class counts, then the status, then ``Exception`` itself. An exception that a class
        below ``Exception`` was registered for is not logged: the program has dealt with it.

        Raises:
            ValueError: there is no target, or one that no handler could answer for.
        """
        if not targets:
            raise ValueError("an error handler needs a status or an exception class to answer for")
        for target in targets:
            if not _may_be_answered(target):
                raise ValueError(f"an error handler is for statuses from 300 and exception classes, not {clip(target)}")

        def decorate(function: F) -> F:
            if not callable(function):
                raise TypeError(f"an error handler must be callable, not {clip(function)}")
            for target in targets:
                if isinstance(target, type):
                    self._handlers_by_class[target] = function
                else:
                    self._handlers_by_status[target] = function
            return function

        return decorate

    @property
    def nursery(self) -> trio.Nursery:
        """The nursery for work that outlives an answer; it ends after the last connection.

        Raises:
            RuntimeError: the app is not being served.
        """
        if self._nursery is None:
            raise RuntimeError("app.nursery exists while the app is served")
        return self._nursery

    @asynccontextmanager
    async def lifespan(self, nursery: trio.Nursery) -> AsyncIterator[None]:
        """Be served: enter the lifespans of this app and of those mounted in it, and start their services.

        Raises:
            RuntimeError: one of them is being served already.
            Exception: what a lifespan or the start of a service raises.
        """
        apps = list(dict.fromkeys(router for router in self._with_mounts() if isinstance(router, App)))
        for app in apps:
            if app._nursery is not None:
                raise RuntimeError("an App is served once at a time; for several addresses give one serve() listeners=")
        async with AsyncExitStack() as stack:
            for app in apps:
                app._nursery = nursery
                stack.callback(app._leave)
            for app in apps:
                if app._lifespan is not None:
                    await stack.enter_async_context(app._lifespan(app))
            for app in apps:
                for service in app._services:
                    if "task_status" in inspect.signature(service).parameters:
                        await nursery.start(service)
                    else:
                        nursery.start_soon(service)
            yield

    def _leave(self) -> None:
        self._nursery = None

    def _with_mounts(self) -> Iterable[Router]:
        waiting: list[Router] = [self]
        while waiting:
            router = waiting.pop(0)
            yield router
            waiting += [mount.router for mount in router.mounts]

    def _check_mountable(self, router: Router) -> None:
        super()._check_mountable(router)
        if self._nursery is not None and any(isinstance(part, App) for part in (router, *router._descendants())):
            raise RoutingError("an App cannot be mounted while it would have to be started: the app is being served")

    def _as_app(self) -> App:
        """Return the app."""
        return self

    def _layers(self, *, outermost: bool) -> Sequence[Middleware]:
        """Return the middleware; below another app, with this app's error handlers around it."""
        return self._middleware if outermost else (self._boundary, *self._middleware)

    def _recompose(self) -> None:
        super()._recompose()
        self._refusals = {}

    # -- one request ---------------------------------------------------------------------------------------------------

    async def __call__(self, exchange: Exchange) -> None:
        """Answer one exchange.

        Raises:
            RemoteProtocolError: the path is malformed as only an attacker's is; the server rejects the request.
        """
        head = exchange.head
        routes = self._table.literals.get(head.target)
        route = None if routes is None else routes.get(head.method)
        if route is not None:
            request = Request(exchange, route.app or self, route, NO_VALUES)
            answering = route.answering
        else:
            request, answering = self._find(exchange, head)
            route = request.route
        if route is not None:
            settings = route.settings
            if settings.any:
                if settings.limits:
                    exchange.limits = settings.limits_over(exchange.limits)
                if settings.timeouts:
                    exchange.timeouts = settings.timeouts_over(exchange.timeouts)
                if settings.on_disconnect is not None:
                    exchange.on_disconnect = settings.on_disconnect
            length = exchange.content_length
            if length:
                bound = exchange.limits.max_body_bytes
                if bound is not None and length > bound:
                    answering = self._refuse_content(request, route, length, bound)
        try:
            response = await answering(request)
            if response.__class__ is not Response:
                response = settle(response, request, answering if route is None else route.handler)
            if request._hooks is None and request._answer is None and response._stream is None and not response._sent:
                response._sent = True
                try:
                    await exchange.respond(response._head, response._content, response._trailers)
                except TransportError as exc:
                    request._blame(exc)
                    raise
            else:
                await send_response(request, response)
        except BaseException as exc:
            passing, error, raised = split(exc, request)
            if passing is not None:
                if error is not None and raised is not None and not is_expected(error, request):
                    report(raised, request, "failed while it was cancelled")
                if passing is exc:
                    raise
                raise passing from None
            assert error is not None
            assert raised is not None
            await self._recover(request, error, raised)
        finally:
            if request._streams is not None:
                await close_streams(request)

    def _find(self, exchange: Exchange, head: RequestHead) -> tuple[Request, Answering]:
        """Route a request the long way; what has no handler gets its answer from ``Request._conclude``."""
        try:
            return self._find_or_miss(exchange, head)
        except RemoteProtocolError:
            raise
        except Exception as exc:  # noqa: BLE001  # a converter is the program's, and so are its errors
            request = Request(exchange, self, None, NO_VALUES)
            request._decide(exc)
            return request, self._refusal((self,))

    def _find_or_miss(self, exchange: Exchange, head: RequestHead) -> tuple[Request, Answering]:
        method = head.method
        path = head.target.partition("?")[0]
        outcome: HTTPException | Response | None = None
        if path[:1] == "/":
            if not check_path(path):
                outcome = BadRequest()
        elif method == "CONNECT":
            path = "*"
        elif path != "*":
            outcome = BadRequest()
        if outcome is None:
            allowed: set[str] = set()
            found = self._table.find(path, method, allowed)
            if found is not None:
                route, values = found
                return Request(exchange, route.app or self, route, values), route.answering
            outcome = self._miss(method, path, head.target, allowed)
            if method == "CONNECT":
                exchange.close_after()  # whatever follows is meant for somebody else
        request = Request(exchange, self, None, NO_VALUES)
        request._decide(outcome)
        return request, self._refusal(self._scope(path))

    def _miss(self, method: str, path: str, target: str, allowed: set[str]) -> HTTPException | Response:
        """Return the answer for a path, or a method, that no route has."""
        if path == "*" and method == "OPTIONS":
            allowed = self._table.methods()
        if not allowed and method not in NOT_BY_ANY and not (path == "*" and method == "OPTIONS"):
            if self._redirects:
                other = path[:-1] if path.endswith("/") else path + "/"
                tried: set[str] = set()
                known = self._table.find(other, method, tried) is not None or bool(tried)
                if known and not other.startswith("//"):  # which clients would read as a host
                    return PermanentRedirect(other + target[len(path) :])
            return NotFound()
        if ANY_METHOD in allowed:
            allowed = (allowed - {ANY_METHOD}) | _USUAL_METHODS
        if "GET" in allowed:
            allowed = allowed | {"HEAD"}
        if allowed or method == "OPTIONS":
            allowed = allowed | {"OPTIONS"}
        if method == "OPTIONS":
            return Response(status=200 if path == "*" else 204, headers={"Allow": ", ".join(sorted(allowed))})
        return MethodNotAllowed(allowed=allowed)

    def _refuse_content(self, request: Request, route: Route, length: int, bound: int) -> Answering:
        error = BodyTooLargeError(
            f"the content of {length} bytes passes max_body_bytes={bound}", limit="max_body_bytes", bound=bound
        )
        request.exchange.content.refuse(error)
        request._blame(error)
        request._decide(error)
        return self._refusal(route.routers)

    def _scope(self, path: str) -> tuple[Router, ...]:
        """Return the routers that a path without a route lies in, by the prefixes of mounts, the most specific ones."""
        scope: list[Router] = [self]
        # What is no text was no route's, but it may lie under a mount's prefix all the same.
        texts = [unquote(text) for text in path[1:].split("/")] if path[:1] == "/" else []
        while True:
            prefixes = [mount for mount in scope[-1].mounts if mount.prefix.segments and mount.prefix.leads_to(texts)]
            if not prefixes:
                return tuple(scope)
            mount = min(prefixes, key=Mount.specificity)
            scope.append(mount.router)
            texts = texts[len(mount.prefix.segments) :]

    def _refusal(self, scope: tuple[Router, ...]) -> Answering:
        """Return ``Request._conclude`` behind the middleware of ``scope``, composed once."""
        answering = self._refusals.get(scope)
        if answering is None:
            around = [middleware for router in scope for middleware in router._layers(outermost=router is self)]
            answering = self._refusals[scope] = compose(around, Request._conclude, Request._conclude)
        return answering

    # -- errors --------------------------------------------------------------------------------------------------------

    async def _recover(self, request: Request, error: BaseException, raised: BaseException) -> None:
        """Answer for an error, or cut; raises nothing but cancellations and requests to exit."""
        exchange = request.exchange
        expected = is_expected(error, request)
        if exchange.state not in NOT_BEGUN:
            if exchange.state is AnswerState.BEGUN:
                exchange.cut()
            if isinstance(error, HTTPException):
                mention(error, request, "came too late, its answer had begun")
            elif not expected:
                report(raised, request, "failed after its answer had begun")
            return
        status = status_of(error, request)
        if status is None:
            exchange.cut()
            return
        request._start_over()
        if breaks_message(error, request):
            exchange.close_after()
        function = self._error_handler_for(error, status)
        if not expected and not self._handles(error):
            report(raised, request, "failed")
        try:
            if function is not None:
                assert isinstance(error, Exception)
                response = await _call_error_handler(function, request, error)
            elif isinstance(error, HTTPException):
                response = error.to_response()
            elif not expected and self.debug and is_local(request):
                response = debug_page(request, raised)
            else:
                response = plain_page(status)
            await send_response(request, response)
        except BaseException as exc:  # split() says what passes
            passing, second, _ = split(exc, request)
            if second is not None:
                await self._last_resort(request, second)
            if passing is exc:
                raise
            if passing is not None:
                raise passing from None
        finally:
            _forget(error)

    async def _last_resort(self, request: Request, error: BaseException) -> None:
        """Answer for an error of an error handler or of a hook: the plain page, without either of them."""
        exchange = request.exchange
        if not is_expected(error, request):
            report(error, request, "failed while an error was answered")
        if exchange.state not in NOT_BEGUN or status_of(error, request) is None:
            exchange.cut()
            return
        page = plain_page(500)
        try:
            await exchange.respond(page.head, page.content)
        except Exception:  # noqa: BLE001  # there is nothing left to try, and nobody to raise it to
            exchange.cut()

    def _handles(self, error: BaseException) -> bool:
        """Tell whether the program registered a handler for an error by a class more precise than Exception."""
        return any(cls in self._handlers_by_class for cls in type(error).__mro__ if cls is not Exception)

    def _error_handler_for(self, error: BaseException, status: int) -> ErrorHandler[Exception] | None:
        if not isinstance(error, Exception):
            return None
        for cls in type(error).__mro__:
            if cls is Exception:
                break
            function = self._handlers_by_class.get(cls)
            if function is not None:
                return function
        return self._handlers_by_status.get(status) or self._handlers_by_class.get(Exception)

    async def _boundary(self, request: Request, handler: Handler) -> Response:
        """The middleware that makes the error handlers of a mounted app count for its own routes."""
        try:
            return await handler(request)
        except Exception as exc:
            passing, error, raised = split(exc, request)
            if passing is not None or error is None or raised is None:
                raise
            status = status_of(error, request)
            if status is None or request.exchange.state not in NOT_BEGUN:
                raise
            function = self._error_handler_for(error, status)
            if function is None:
                raise
            if not is_expected(error, request) and not self._handles(error):
                report(raised, request, "failed")
            if breaks_message(error, request):
                request.exchange.close_after()
            assert isinstance(error, Exception)
            try:
                return await _call_error_handler(function, request, error)
            finally:
                _forget(error)


async def _call_error_handler(function: ErrorHandler[Exception], request: Request, error: Exception) -> Response:
    result: object = function(request, error)
    if inspect.isawaitable(result):
        result = await result
    if isinstance(result, HTTPException):
        return result.to_response()
    return settle(result, request, function)


def _forget(error: BaseException) -> None:
    """Take the traceback off an HTTP exception: it may be a constant that is raised for ever, and they would add up."""
    if isinstance(error, HTTPException):
        error.__traceback__ = error.__context__ = None


def _may_be_answered(target: object) -> bool:
    """Tell whether an error handler can be for ``target``: a class of exceptions, or a status from 300."""
    if isinstance(target, type):
        return issubclass(target, Exception)
    return isinstance(target, int) and 300 <= target <= 599
