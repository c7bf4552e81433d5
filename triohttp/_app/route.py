"""A route: a pattern, methods and a handler, as one router sees it.

A route that a mounted router declares is there once for each router above it, each time with a longer pattern and more
middleware around it; ``declaration`` is what they have in common.

Rule 1: everything a request needs of its route is worked out when the route is added: the chain, the overrides.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, TypeAlias, TypedDict

from triohttp._values.limits import Limits, RouteLimits, RouteTimeouts, Timeouts
from triohttp._values.service import OnDisconnect
from triohttp.errors import clip

from .handlers import Answering, callable_name
from .middleware import Middleware, check_middleware, compose
from .pattern import Pattern
from .tree import ANY_METHOD

if TYPE_CHECKING:
    from .app import App
    from .router import Router

__all__ = ["Declaration", "Route", "RouteOptions", "Settings", "check_level"]


class RouteOptions(TypedDict, total=False):
    """What a route may say about itself; what it does not say is its router's, and then the server's."""

    name: str
    """For ``url_for``."""
    limits: RouteLimits
    timeouts: RouteTimeouts
    on_disconnect: OnDisconnect
    """``cancel`` (the default) or ``finish``: what the client's leaving does to the handler."""
    middleware: Sequence[Middleware]
    """Around this route only, inside that of its routers."""


Level: TypeAlias = "tuple[RouteLimits, RouteTimeouts, OnDisconnect | None]"
"""What one router, or a route itself, says about limits, timeouts and the client's leaving."""


def check_level(
    limits: RouteLimits | None, timeouts: RouteTimeouts | None, on_disconnect: OnDisconnect | None
) -> Level:
    """Return the three as one value, empty where they are None.

    Raises:
        TypeError: a limit or timeout is unknown, or holds for a whole server only.
        ValueError: one has a value that it cannot have.
    """
    limits = limits if limits is not None else {}
    timeouts = timeouts if timeouts is not None else {}
    for what, given, known in (("limit", limits, RouteLimits), ("timeout", timeouts, RouteTimeouts)):
        _check_names(what, given, known)
    Limits().replace(**limits)
    Timeouts().replace(**timeouts)
    if on_disconnect not in (None, "cancel", "finish"):
        raise ValueError(f"on_disconnect must be 'cancel' or 'finish', not {clip(on_disconnect)}")
    return limits, timeouts, on_disconnect


def _check_names(what: str, given: Mapping[str, object], known: type) -> None:
    if not isinstance(given, Mapping):
        raise TypeError(f"{what}s= takes a dict with some of {sorted(known.__annotations__)}, not {clip(given)}")
    for name in given:
        if name not in known.__annotations__:
            raise TypeError(f"no {what} of a route is called {clip(name)}; there are {sorted(known.__annotations__)}")


class Settings:
    """Limits, timeouts and policy of a route with those of its routers, the innermost word counting.

    ``limits_over`` and ``timeouts_over`` remember their last result: a server passes the same value every time.
    """

    __slots__ = ("_last_limits", "_last_timeouts", "any", "limits", "on_disconnect", "timeouts")

    def __init__(self, levels: Sequence[Level]) -> None:
        self.limits: RouteLimits = {}
        self.timeouts: RouteTimeouts = {}
        self.on_disconnect: OnDisconnect | None = None
        for limits, timeouts, on_disconnect in levels:
            self.limits.update(limits)
            self.timeouts.update(timeouts)
            self.on_disconnect = on_disconnect or self.on_disconnect
        self.any = bool(self.limits or self.timeouts or self.on_disconnect)
        self._last_limits: tuple[Limits, Limits] | None = None
        self._last_timeouts: tuple[Timeouts, Timeouts] | None = None

    def limits_over(self, base: Limits) -> Limits:
        last = self._last_limits
        if last is None or last[0] is not base:
            self._last_limits = last = (base, base.replace(**self.limits))
        return last[1]

    def timeouts_over(self, base: Timeouts) -> Timeouts:
        last = self._last_timeouts
        if last is None or last[0] is not base:
            self._last_timeouts = last = (base, base.replace(**self.timeouts))
        return last[1]


class Declaration:
    """What the program said when it added a route.

    Raises:
        TypeError, ValueError: an option is unknown, or has a value that it cannot have.
    """

    __slots__ = ("answering", "handler", "level", "methods", "middleware", "name", "pattern")

    def __init__(
        self,
        pattern: Pattern,
        methods: tuple[str, ...],
        handler: object,
        answering: Answering,
        options: RouteOptions,
    ) -> None:
        self.pattern = pattern
        self.methods = methods
        self.handler = handler
        self.answering = answering
        _check_names("option", options, RouteOptions)
        self.name = options.get("name")
        if not isinstance(self.name, str | None):
            raise TypeError(f"the name of a route must be a str, not {clip(self.name)}")
        self.middleware = check_middleware(options.get("middleware", ()))
        self.level = check_level(options.get("limits"), options.get("timeouts"), options.get("on_disconnect"))


class Route:
    """A route of a router, mounted ones included.

    Attributes:
        pattern: what it matches, prefixes of mounts in front.
        methods: the methods it was added for, sorted; empty for a route that takes any.
        name: what ``url_for`` calls it, namespaces of mounts in front; None for a nameless one.
        handler: the handler as it was given.
        routers: the routers it lies in, the outermost first.
        app: the innermost of them that is an App; None where none is.
        namespaces: the names of the mounts it lies in, the outermost first.
    """

    __slots__ = (
        "answering",
        "app",
        "declaration",
        "handler",
        "method_keys",
        "methods",
        "name",
        "namespaces",
        "pattern",
        "routers",
        "settings",
    )

    answering: Answering

    def __init__(
        self,
        declaration: Declaration,
        pattern: Pattern,
        name: str | None,
        routers: tuple[Router, ...],
        namespaces: tuple[str, ...] = (),
    ) -> None:
        self.declaration = declaration
        self.pattern = pattern
        self.name = name
        self.routers = routers
        self.namespaces = namespaces
        self.handler = declaration.handler
        self.methods = declaration.methods
        self.method_keys = declaration.methods or (ANY_METHOD,)
        self.app: App | None = next(filter(None, (router._as_app() for router in reversed(routers))), None)
        self.settings = Settings([*(router._settings_level for router in routers), declaration.level])
        self._compose()

    def _compose(self) -> None:
        """Work out the chain of middleware around the handler."""
        declaration, routers = self.declaration, self.routers
        around = [middleware for router in routers for middleware in router._layers(outermost=router is routers[0])]
        self.answering = compose([*around, *declaration.middleware], declaration.answering, declaration.handler)

    def __repr__(self) -> str:
        methods = ", ".join(self.methods) or "any method"
        return f"<Route {methods} {self.pattern.text!r} {callable_name(self.handler)}>"
