"""Random tables against a slow model: which route wins, what Allow says, and that reverse URLs route back."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import quote, unquote

from hypothesis import given
from hypothesis import strategies as st

from triohttp import Request, Response, Route, Router
from triohttp.errors import RoutingError

NOTHING: st.SearchStrategy[object] = st.none()
METHODS = ["GET", "HEAD", "PUT", "OPTIONS", "TRACE"]


async def answer(request: Request) -> Response:
    return Response.text("")


@dataclass(frozen=True)
class Kind:
    """One way to write a segment: its template, how specific it is, and what it reads from a text."""

    template: str
    rank: tuple[int, ...]
    read: Callable[[str], object]
    values: st.SearchStrategy[object] = NOTHING

    @property
    def variable(self) -> bool:
        return "{" in self.template


def by_expression(expression: str, convert: Callable[[str], object] = str) -> Callable[[str], object]:
    def read(text: str) -> object:
        found = re.fullmatch(expression, text, re.DOTALL)
        return None if found is None else convert(found[1])

    return read


ANY_TEXT = st.text(alphabet=st.sampled_from("ab1.-/%é\0 "), min_size=1, max_size=4)
KINDS = [
    Kind("a", (0,), lambda text: "" if text == "a" else None),
    Kind("b.1", (0,), lambda text: "" if text == "b.1" else None),
    Kind("é b", (0,), lambda text: "" if text == "é b" else None),
    Kind("b.{v}", (1, -2, 0), by_expression(r"b\.(.+)"), ANY_TEXT),
    Kind("{v}.1", (1, -2, 1), by_expression(r"(.+)\.1"), ANY_TEXT),
    Kind("{v}b", (1, -1), by_expression("(.+)b"), ANY_TEXT),
    Kind("{v:int}", (2, 0), by_expression("(-?[0-9]{1,18})", int), st.integers(-20, 20)),
    Kind("{v:float}", (2, 1), by_expression(r"(-?[0-9]{1,18}(?:\.[0-9]{1,18})?)", float), st.sampled_from([1.0, 0.5])),
    Kind("{v:[ab]+}", (3,), by_expression("([ab]+)"), st.text(alphabet="abc", max_size=3)),
    Kind("{v}", (4,), by_expression("(.+)"), ANY_TEXT),
]
TAIL = Kind("{v:path}", (6,), by_expression("(.*)"), st.text(alphabet="ab./%é", max_size=6))


@dataclass(frozen=True)
class Declared:
    """What a test added: the segments of the whole pattern, and the methods, none for any."""

    kinds: tuple[Kind, ...]
    methods: tuple[str, ...]

    def read(self, texts: Sequence[str]) -> list[object] | None:
        values: list[object] = []
        for index, kind in enumerate(self.kinds):
            if index >= len(texts):
                return None
            value = kind.read("/".join(texts[index:]) if kind is TAIL else texts[index])
            if value is None:
                return None
            if kind.variable:
                values.append(value)
        return values if len(texts) == len(self.kinds) or TAIL in self.kinds else None


def pattern_of(kinds: Sequence[Kind], first: int) -> str:
    """Return the pattern for some segments, with variables called by the place of their segment."""
    return "".join("/" + kind.template.replace("{v", f"{{v{first + index}") for index, kind in enumerate(kinds))


def expected(table: Mapping[Route, Declared], path: str, method: str) -> tuple[Route | None, list[object], set[str]]:
    """Return what the slow model finds: every route is tried, and those that match are sorted."""
    texts = [unquote(text) for text in path[1:].split("/")]
    matching = []
    for route, declared in table.items():
        values = declared.read(texts)
        if values is not None:
            matching.append(([kind.rank for kind in declared.kinds], route, values))
    matching.sort(key=lambda found: found[0])
    allowed: set[str] = set()
    while matching:
        ranks = matching[0][0]
        place = [found for found in matching if found[0] == ranks]
        matching = matching[len(place) :]
        wanted = [method, *(["GET"] if method == "HEAD" else []), *(["*"] if method != "TRACE" else [])]
        for want in wanted:
            for _, route, values in place:
                if want in (table[route].methods or ("*",)):
                    return route, values, set()
        for _, route, _ in place:
            allowed |= set(table[route].methods or ("*",))
    return None, [], allowed


segments = st.lists(st.sampled_from(KINDS), min_size=0, max_size=2)
additions = st.tuples(
    st.booleans(),
    segments,
    st.sampled_from([None, TAIL, None]),
    st.lists(st.sampled_from(METHODS), max_size=2, unique=True),
)
PIECES = ["a", "%61", "b.1", "b%2E1", "%C3%A9%20b", "1", "0.5", "ab", "bab", "xb", "a%2Fb", "é", ".1", "", "-1"]
paths = st.lists(st.sampled_from([quote(piece, safe="%") for piece in PIECES]), min_size=1, max_size=4).map(
    lambda pieces: "/" + "/".join(pieces)
)


def build(
    steps: Sequence[tuple[bool, list[Kind], Kind | None, list[str]]], prefix: list[Kind]
) -> tuple[Router, dict[Route, Declared]]:
    """Return a router with one mounted below it, and what was added to either by where the root has it."""
    root, below = Router(), Router()
    root.mount(pattern_of(prefix, 0), below, name="below")
    table: dict[Route, Declared] = {}
    for number, (mounted, kinds, tail, methods) in enumerate(steps):
        own = [*kinds, *([tail] if tail is not None else [])]
        whole = tuple([*prefix, *own] if mounted else own)
        if not whole:
            continue
        router = below if mounted else root
        declared = Declared(whole, tuple(methods))
        taken = {
            method
            for other in table.values()
            if [kind.template for kind in other.kinds] == [kind.template for kind in whole]
            for method in other.methods or ("*",)
        }
        pattern = pattern_of(own, len(prefix) if mounted else 0)
        try:
            router.add_route(pattern, answer, methods=methods or None, name=f"r{number}")
        except RoutingError:
            assert not taken.isdisjoint(methods or ["*"])
            continue
        assert taken.isdisjoint(methods or ["*"])
        table[root.routes[-1]] = declared
    return root, table


@given(st.lists(additions, max_size=8), st.lists(st.sampled_from(KINDS), min_size=1, max_size=2), st.data())
def test_any_table_finds_what_a_slow_model_finds(
    steps: list[tuple[bool, list[Kind], Kind | None, list[str]]], prefix: list[Kind], data: st.DataObject
) -> None:
    """The most specific route with the method, its values, and the union of methods; after removals too."""
    root, table = build(steps, prefix)
    while True:
        for path in data.draw(st.lists(paths, min_size=1, max_size=6)):
            for method in METHODS:
                allowed: set[str] = set()
                found = root._table.find(path, method, allowed)
                route, values, methods = expected(table, path, method)
                assert (None if found is None else found[0]) is route
                if found is None:
                    assert allowed == methods
                else:
                    assert list(found[1].values()) == values
        own = [route for route in table if len(route.routers) == 1]
        if not own:
            return
        gone = data.draw(st.sampled_from(own))
        root.remove_route(gone)
        del table[gone]


@given(st.lists(additions, min_size=1, max_size=6), st.lists(st.sampled_from(KINDS), min_size=1, max_size=2), st.data())
def test_a_reverse_url_leads_to_its_route_with_its_values_or_is_refused(
    steps: list[tuple[bool, list[Kind], Kind | None, list[str]]], prefix: list[Kind], data: st.DataObject
) -> None:
    """Slashes, dots, percent signs, other letters and NULs in values; neighbours that are more specific."""
    root, table = build(steps, prefix)
    for route, declared in table.items():
        params = dict(zip(route.pattern.names, _draw(declared, data), strict=True))
        assert route.name is not None
        try:
            path = root.url_for(route.name, params)
        except RoutingError:
            texts = [str(params[f"v{i}"]) if kind.variable else kind.template for i, kind in enumerate(declared.kinds)]
            assert not _reachable(table, route, declared, params, texts)
            continue
        for method in declared.methods or ("PROPFIND",):
            assert root._table.find(path, method, set()) == (route, params)


def _draw(declared: Declared, data: st.DataObject) -> list[object]:
    return [data.draw(kind.values) for kind in declared.kinds if kind.variable]


def _reachable(
    table: Mapping[Route, Declared], route: Route, declared: Declared, params: Mapping[str, object], texts: list[str]
) -> bool:
    """Tell whether the plain way to write the path would have been a good one after all."""
    written = []
    for index, (kind, text) in enumerate(zip(declared.kinds, texts, strict=True)):
        whole = kind.template.replace("{v}", text) if kind.variable and ":" not in kind.template else text
        written.append(quote(whole, safe="/" if index == len(texts) - 1 and kind is TAIL else ""))
    path = "/" + "/".join(written)
    pieces = path.split("/")
    if path.startswith("//") or "%00" in path or not {".", ".."}.isdisjoint(pieces):
        return False
    methods = declared.methods or ("*",)
    return all(
        expected(table, path, method)[:2] == (route, [params[name] for name in route.pattern.names])
        for method in methods
    )
