"""The tree that finds routes: immutable nodes, changed by copying the path to the root.

A node stands for the segments that lead to it. Finding walks it with backtracking; as it is a tree, no node is visited
twice for one path, so a request costs at most one match for each node, and a path of literals one dict lookup.

Rule 1: nothing reachable from a published ``Table`` ever changes; a change makes a new one that shares what it can.
Rule 2: the walk never awaits, so a request sees one table from beginning to end.
Rule 3: the more specific path wins, and only then the method; a path that matches without the method adds to Allow.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote

from triohttp.errors import RoutingError

from .segments import Literal, Segment

if TYPE_CHECKING:
    from .route import Route

__all__ = ["ANY_METHOD", "NOT_BY_ANY", "NO_VALUES", "Table"]

ANY_METHOD: Final = "*"
"""The key of a route for any method."""
NOT_BY_ANY: Final = frozenset({"CONNECT", "TRACE"})
"""Methods that only a route which names them answers."""
NO_VALUES: Final[Mapping[str, object]] = MappingProxyType({})


class Edge:
    """A segment that is no literal, and the node behind it; nodes behind segments that span are ends."""

    __slots__ = ("node", "segment")

    def __init__(self, segment: Segment, node: Node) -> None:
        self.segment = segment
        self.node = node


class Node:
    """What is known after some segments: the routes that end here, and the ways on."""

    __slots__ = ("edges", "literals", "routes")

    def __init__(self, literals: dict[str, Node], edges: tuple[Edge, ...], routes: dict[str, Route]) -> None:
        self.literals = literals
        self.edges = edges
        self.routes = routes

    @property
    def empty(self) -> bool:
        return not (self.literals or self.edges or self.routes)


_EMPTY_NODE = Node({}, (), {})


class Table:
    """All routes of a router, mounts included, as one immutable value.

    Attributes:
        literals: the routes of each raw path without variables, by method: the fast way.
        routes: all routes in order of their addition.
        names: the named ones.
    """

    __slots__ = ("literals", "names", "root", "routes")

    def __init__(
        self,
        root: Node = _EMPTY_NODE,
        literals: dict[str, dict[str, Route]] | None = None,
        routes: tuple[Route, ...] = (),
        names: dict[str, Route] | None = None,
    ) -> None:
        self.root = root
        self.literals = {} if literals is None else literals
        self.routes = routes
        self.names = {} if names is None else names

    def with_routes(self, added: Iterable[Route]) -> Table:
        """Return a table that has ``added`` too.

        Raises:
            RoutingError: a route could not be told from one that is there, or its name is taken.
        """
        root, literals, routes, names = self.root, dict(self.literals), [*self.routes], dict(self.names)
        for route in added:
            if route.name is not None:
                if route.name in names:
                    raise RoutingError(f"the name {route.name!r} of {route!r} is taken by {names[route.name]!r}")
                names[route.name] = route
            literal = route.pattern.literal
            if literal != "*":
                root = _insert(root, route.pattern.segments, 0, route)
            if literal is not None:
                known = literals.get(literal, {})
                for method in route.method_keys:  # "*" stands outside the tree, so ambiguity is looked for here too
                    _refuse_equal(known, method, route)
                literals[literal] = {**known, **dict.fromkeys(route.method_keys, route)}
            routes.append(route)
        return Table(root, literals, tuple(routes), names)

    def without_routes(self, removed: set[Route]) -> Table:
        """Return a table that has none of ``removed``."""
        root, literals = self.root, dict(self.literals)
        for route in removed:
            root = _remove(root, route.pattern.segments, 0, route)
            literal = route.pattern.literal
            if literal is not None:
                left = {method: other for method, other in literals[literal].items() if other is not route}
                if left:
                    literals[literal] = left
                else:
                    del literals[literal]
        return Table(
            root,
            literals,
            tuple(route for route in self.routes if route not in removed),
            {name: route for name, route in self.names.items() if route not in removed},
        )

    def find(self, raw_path: str, method: str, allowed: set[str]) -> tuple[Route, Mapping[str, object]] | None:
        """Return the most specific route for a raw path and a method, with its variables.

        ``allowed`` gets the methods of the routes that match the path only.
        """
        literal = self.literals.get(raw_path)
        if literal is not None:
            route = _choose(literal, method, allowed)
            if route is not None:
                return route, NO_VALUES
        if raw_path[:1] != "/":
            return None
        texts = raw_path[1:].split("/")
        if "%" in raw_path:
            try:
                texts = [unquote(text, errors="strict") for text in texts]
            except UnicodeDecodeError:
                return None  # no text stands for these octets, and two paths must not become one
        return _search(self.root, texts, 0, (), method, allowed)

    def methods(self) -> set[str]:
        """Return every method that some route names."""
        return {method for route in self.routes for method in route.method_keys}


def _choose(routes: dict[str, Route], method: str, allowed: set[str]) -> Route | None:
    route = routes.get(method)
    if route is None and method == "HEAD":
        route = routes.get("GET")
    if route is None and method not in NOT_BY_ANY:
        route = routes.get(ANY_METHOD)
    if route is None:
        allowed.update(routes)
    return route


def _search(
    node: Node, texts: list[str], index: int, values: tuple[object, ...], method: str, allowed: set[str]
) -> tuple[Route, Mapping[str, object]] | None:
    """Return the most specific route below ``node`` for the rest of a path, with all variables."""
    while index < len(texts):
        child = node.literals.get(texts[index])
        edges = node.edges
        index += 1
        if child is None or edges:
            if child is not None:
                found = _search(child, texts, index, values, method, allowed)
                if found is not None:
                    return found
            for edge in edges:
                more = edge.segment.match(texts, index - 1)
                if more is not None:
                    after = len(texts) if edge.segment.spans else index
                    found = _search(edge.node, texts, after, values + more, method, allowed)
                    if found is not None:
                        return found
            return None
        node = child  # the only way on
    if node.routes:
        route = _choose(node.routes, method, allowed)
        if route is not None:
            return route, dict(zip(route.pattern.names, values, strict=True))
    return None


def _refuse_equal(routes: dict[str, Route], method: str, route: Route) -> None:
    other = routes.get(method)
    if other is not None:
        what = "any method" if method == ANY_METHOD else method
        raise RoutingError(f"{route!r} cannot be told from {other!r} for {what}")


def _insert(node: Node, segments: tuple[Segment, ...], index: int, route: Route) -> Node:
    if index == len(segments):  # the root itself for "", which no search ends at: a path has a segment at least
        for method in route.method_keys:
            _refuse_equal(node.routes, method, route)
        return Node(node.literals, node.edges, {**node.routes, **dict.fromkeys(route.method_keys, route)})
    segment = segments[index]
    if isinstance(segment, Literal):
        child = _insert(node.literals.get(segment.text, _EMPTY_NODE), segments, index + 1, route)
        return Node({**node.literals, segment.text: child}, node.edges, node.routes)
    position = _position(node, segment.key)
    if position is not None:
        old = node.edges[position]
        child = _insert(old.node, segments, index + 1, route)
        edges = (*node.edges[:position], Edge(old.segment, child), *node.edges[position + 1 :])
    else:
        edge = Edge(segment, _insert(_EMPTY_NODE, segments, index + 1, route))
        edges = tuple(sorted((*node.edges, edge), key=lambda edge: edge.segment.rank))  # stable: order of addition
    return Node(node.literals, edges, node.routes)


def _remove(node: Node, segments: tuple[Segment, ...], index: int, route: Route) -> Node:
    if index == len(segments):
        return Node(node.literals, node.edges, {m: other for m, other in node.routes.items() if other is not route})
    segment = segments[index]
    if isinstance(segment, Literal):
        literals = dict(node.literals)
        child = _remove(literals.pop(segment.text), segments, index + 1, route)
        if not child.empty:
            literals[segment.text] = child
        return Node(literals, node.edges, node.routes)
    position = _position(node, segment.key)
    assert position is not None, "a route of the table is in its tree"
    old = node.edges[position]
    child = _remove(old.node, segments, index + 1, route)
    kept = () if child.empty else (Edge(old.segment, child),)
    return Node(node.literals, (*node.edges[:position], *kept, *node.edges[position + 1 :]), node.routes)


def _position(node: Node, key: Hashable) -> int | None:
    for position, edge in enumerate(node.edges):
        if edge.segment.key == key:
            return position
    return None
