"""The router: routes, mounts and names; what is added to it is at once in every router that it is mounted in.

Rule 1: a change is worked out for all routers it reaches before the first of them shows it: an error changes nothing.
Rule 2: order does not matter: the most specific route wins, and two that could not be told apart are refused.
Rule 3: routes may come and go while requests are served; a request sees the routes of the moment it was routed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, TypeVar, Unpack

from triohttp._values.grammar import check_method
from triohttp._values.limits import RouteLimits, RouteTimeouts
from triohttp._values.query import QueryInit, encode_query
from triohttp._values.service import OnDisconnect
from triohttp.errors import RoutingError, clip

from .converters import BUILTIN_CONVERTERS, Converter
from .handlers import RouteHandler, callable_name, methods_of, prepare_handler
from .middleware import Middleware, check_middleware
from .pattern import Pattern, parse_pattern
from .route import Declaration, Route, RouteOptions, check_level
from .segments import Rank
from .tree import ANY_METHOD, Table

if TYPE_CHECKING:
    from .app import App

__all__ = ["Mount", "Router"]

H = TypeVar("H")
M = TypeVar("M", bound=Middleware)


class Mount:
    """A router inside another one.

    Attributes:
        router: the router that is mounted.
        prefix: what stands in front of its patterns.
        name: what stands in front of its routes' names, with a colon; None for nothing.
    """

    __slots__ = ("name", "parent", "prefix", "router")

    def __init__(self, parent: Router, prefix: Pattern, router: Router, name: str | None) -> None:
        self.parent = parent
        self.prefix = prefix
        self.router = router
        self.name = name

    def specificity(self) -> list[tuple[int, int, str]]:
        """Return what sorts the mounts that a path lies under, the most specific first."""
        return [*(segment.rank for segment in self.prefix.segments), (len(Rank), 0, "")]

    def lift(self, route: Route) -> Route:
        """Return ``route`` as the parent sees it."""
        name = route.name if route.name is None or self.name is None else f"{self.name}:{route.name}"
        namespaces = route.namespaces if self.name is None else (self.name, *route.namespaces)
        return Route(
            route.declaration, route.pattern.under(self.prefix), name, (self.parent, *route.routers), namespaces
        )


class Router:
    """A table of routes, to be served as part of an ``App`` or mounted in another router.

    Args:
        middleware: around every route of this router, the outermost first.
        limits: what its routes may take, where they do not say otherwise.
        timeouts: how long its routes wait, where they do not say otherwise.
        on_disconnect: what a client's leaving does to its handlers, where they do not say otherwise.
        converters: own converters by name, for its path patterns.
    Raises:
        ValueError: a limit or timeout has a value that it cannot have.
        TypeError: a limit or timeout is unknown.
    """

    def __init__(
        self,
        *,
        middleware: Sequence[Middleware] = (),
        limits: RouteLimits | None = None,
        timeouts: RouteTimeouts | None = None,
        on_disconnect: OnDisconnect | None = None,
        converters: Mapping[str, Converter] | None = None,
    ) -> None:
        self._middleware = check_middleware(middleware)
        self._settings_level = check_level(limits, timeouts, on_disconnect)
        self._converters: dict[str, Converter] = {**BUILTIN_CONVERTERS, **(converters or {})}
        self._table = Table()
        self._mounts: tuple[Mount, ...] = ()
        self._mounted_as: tuple[Mount, ...] = ()

    def _as_app(self) -> App | None:
        """Return this router as the App that it may be."""
        return None

    def middleware(self, function: M) -> M:
        """Add the decorated middleware, inside what this router has and around all its routes, those it has included.

        Requests that are being answered keep the middleware that they began with.
        """
        self._middleware = (*self._middleware, *check_middleware([function]))
        for router in [self, *self._ancestors()]:
            router._recompose()
        return function

    def _recompose(self) -> None:
        for route in self._table.routes:
            route._compose()

    def _layers(self, *, outermost: bool) -> Sequence[Middleware]:
        """Return what this router puts around its routes; ``outermost`` when nothing is around it."""
        return self._middleware

    # -- adding --------------------------------------------------------------------------------------------------------

    def add_route(
        self,
        path: str,
        handler: RouteHandler | object,
        *,
        methods: str | Iterable[str] | None = None,
        **options: Unpack[RouteOptions],
    ) -> Route:
        """Add a route and return it.

        Args:
            path: the pattern, such as ``/users/{id:int}``; ``*`` is for requests without a path.
            handler: an async function, a quick plain one, another callable, or a class or object with methods named
                after HTTP methods (a class is called once, without arguments).
            methods: one method or several; None means the methods that a class or object has, and any other handler
                answers all but CONNECT and TRACE. GET includes HEAD.
            options: as ``RouteOptions`` has them.
        Raises:
            RoutingError: the pattern is malformed, or the route cannot be told from one that is there; nothing changed.
            ValueError, TypeError: an option, a limit or a timeout is unknown, or has a value that it cannot have.
        """
        pattern = parse_pattern(path, self._converters)
        declaration = Declaration(pattern, _methods(handler, methods), handler, prepare_handler(handler), options)
        route = Route(declaration, pattern, declaration.name, (self,))
        self._publish(self._spread([route], {}))
        return route

    def route(
        self, path: str, *, methods: str | Iterable[str] | None = None, **options: Unpack[RouteOptions]
    ) -> Callable[[H], H]:
        """Return a decorator that adds its function, or class, by ``add_route`` and returns it unchanged."""
        if callable(path):  # used without its argument it would take the handler for the path, and nobody would notice
            raise RoutingError(f"a route needs a path: write it in parentheses before {callable_name(path)}")

        def decorate(handler: H) -> H:
            self.add_route(path, handler, methods=methods, **options)
            return handler

        return decorate

    def get(self, path: str, **options: Unpack[RouteOptions]) -> Callable[[H], H]:
        """Add the decorated handler for GET, and for HEAD where no route names it."""
        return self.route(path, methods="GET", **options)

    def head(self, path: str, **options: Unpack[RouteOptions]) -> Callable[[H], H]:
        """Add the decorated handler for HEAD."""
        return self.route(path, methods="HEAD", **options)

    def post(self, path: str, **options: Unpack[RouteOptions]) -> Callable[[H], H]:
        """Add the decorated handler for POST."""
        return self.route(path, methods="POST", **options)

    def put(self, path: str, **options: Unpack[RouteOptions]) -> Callable[[H], H]:
        """Add the decorated handler for PUT."""
        return self.route(path, methods="PUT", **options)

    def patch(self, path: str, **options: Unpack[RouteOptions]) -> Callable[[H], H]:
        """Add the decorated handler for PATCH."""
        return self.route(path, methods="PATCH", **options)

    def delete(self, path: str, **options: Unpack[RouteOptions]) -> Callable[[H], H]:
        """Add the decorated handler for DELETE."""
        return self.route(path, methods="DELETE", **options)

    def options(self, path: str, **options: Unpack[RouteOptions]) -> Callable[[H], H]:
        """Add the decorated handler for OPTIONS, in place of the answer that every path has."""
        return self.route(path, methods="OPTIONS", **options)

    def mount(self, prefix: str, router: Router, *, name: str | None = None) -> Mount:
        """Put the routes of ``router``, those it has and those it will have, under ``prefix``.

        Its middleware, limits and timeouts stay around its routes, inside those of this router. The lifespan of an App
        that is mounted becomes part of that of the App above it.

        Args:
            prefix: a pattern without a slash at its end; ``""`` for none.
            router: a Router or App; it may be mounted several times.
            name: puts ``name:`` in front of its routes' names.
        Raises:
            RoutingError: the prefix is malformed, a route cannot be told from one that is there, or a router would
                lie inside itself; nothing changed.
        """
        if not isinstance(router, Router):
            raise RoutingError(f"only a Router or an App can be mounted, not {clip(router)}")
        if router is self or self in router._descendants():
            raise RoutingError(f"a router cannot be mounted inside itself (at {clip(prefix)})")
        pattern = parse_pattern("" if prefix == "/" else prefix, self._converters)
        if prefix == "*" or any(segment.spans or segment.key == "" for segment in pattern.segments):
            raise RoutingError(f"the prefix of a mount must be one or more whole segments, not {clip(prefix)}")
        self._check_mountable(router)
        mount = Mount(self, pattern, router, name)
        tables = self._spread([mount.lift(route) for route in router._table.routes], {})
        self._mounts = (*self._mounts, mount)
        router._mounted_as = (*router._mounted_as, mount)
        self._publish(tables)
        return mount

    def _check_mountable(self, router: Router) -> None:
        for mount in self._mounted_as:
            mount.parent._check_mountable(router)

    # -- removing ------------------------------------------------------------------------------------------------------

    def remove_route(self, route: Route) -> None:
        """Remove a route that this router's ``add_route`` returned, here and wherever this router is mounted.

        Requests that are being answered go on.

        Raises:
            RoutingError: the route is not one of this router's own.
        """
        if route not in self._table.routes or len(route.routers) != 1:
            raise RoutingError(f"{route!r} was not added to this router")
        for router in [self, *self._ancestors()]:
            gone = {other for other in router._table.routes if other.declaration is route.declaration}
            router._table = router._table.without_routes(gone)

    # -- looking -------------------------------------------------------------------------------------------------------

    @property
    def routes(self) -> tuple[Route, ...]:
        """All routes, those of mounted routers included, in the order of their addition."""
        return self._table.routes

    def _has_route(self, name: str) -> bool:
        """Tell whether a route is called ``name``."""
        return name in self._table.names

    @property
    def mounts(self) -> tuple[Mount, ...]:
        """The routers that are mounted in this one."""
        return self._mounts

    def url_for(self, name: str, path_params: Mapping[str, object] | None = None, *, query: QueryInit = ()) -> str:
        """Return the path, and query, of the route called ``name``, as a relative reference that routes back to it.

        Args:
            name: the route's name, with the names of mounts in front: ``api:user``.
            path_params: a value for each variable of its pattern; encoded as a path needs it.
            query: a query to put behind it, as ``encode_query`` takes it.
        Raises:
            RoutingError: there is no such name, a variable is missing or unknown, or the path would not route back: a
                value cannot stand in it, or it is that of a more specific route.
        """
        table = self._table
        route = table.names.get(name)
        if route is None:
            raise RoutingError(f"no route is called {clip(name)}")
        path = route.pattern.build(path_params if path_params is not None else {})
        if path_params:
            for method in route.method_keys:
                found = table.find(path, method, set())
                if found is None or found[0] is not route:
                    other = "nothing" if found is None else repr(found[0])
                    raise RoutingError(f"the path {clip(path)} for {clip(name)} leads to {other}")
        text = encode_query(query)
        return f"{path}?{text}" if text else path

    # -- spreading changes ---------------------------------------------------------------------------------------------

    def _spread(self, routes: list[Route], tables: dict[Router, Table]) -> dict[Router, Table]:
        """Add ``routes`` to ``tables``: for this router, and lifted for each that it is mounted in."""
        if routes:
            tables[self] = tables.get(self, self._table).with_routes(routes)
            for mount in self._mounted_as:
                mount.parent._spread([mount.lift(route) for route in routes], tables)
        return tables

    @staticmethod
    def _publish(tables: dict[Router, Table]) -> None:
        for router, table in tables.items():
            router._table = table

    def _descendants(self) -> set[Router]:
        found: set[Router] = set()
        for mount in self._mounts:
            found |= {mount.router} | mount.router._descendants()
        return found

    def _ancestors(self) -> set[Router]:
        found: set[Router] = set()
        for mount in self._mounted_as:
            found |= {mount.parent} | mount.parent._ancestors()
        return found


def _methods(handler: object, methods: str | Iterable[str] | None) -> tuple[str, ...]:
    """Return the methods of a route, sorted; none for any."""
    by_handler = methods_of(handler)
    if by_handler:
        if methods is not None:
            raise RoutingError(f"{clip(handler)} says by its own methods what it answers; methods= must not")
        return tuple(sorted(by_handler))
    if methods is None:
        return ()
    names = [methods] if isinstance(methods, str) else list(methods)
    if not names:
        raise RoutingError("methods= must name a method, or be None for any")
    try:
        checked = {check_method(name).upper() for name in names}
    except (TypeError, ValueError) as exc:
        raise RoutingError(str(exc)) from exc
    if ANY_METHOD in checked:
        raise RoutingError(f"{ANY_METHOD!r} is no method; leave methods= out for any")
    return tuple(sorted(checked))
