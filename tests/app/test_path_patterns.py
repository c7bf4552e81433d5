"""Path patterns: what they match, what they refuse, and that what they build matches again."""

from __future__ import annotations

import uuid
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from triohttp import App, Request, Response, Router
from triohttp._app.converters import BUILTIN_CONVERTERS
from triohttp._app.pattern import parse_pattern
from triohttp.errors import RoutingError


async def answer(request: Request) -> Response:
    return Response.text("")


def match(pattern: str, path: str) -> dict[str, object] | None:
    """Return the variables that a router with this one route finds in a raw path."""
    router = Router()
    router.add_route(pattern, answer)
    found = router._table.find(path, "GET", set())
    return None if found is None else dict(found[1])


@pytest.mark.parametrize(
    ("pattern", "path", "values"),
    [
        ("/a/{name}/c", "/a/b/c", {"name": "b"}),
        ("/a/{name}/c", "/a/1/c", {"name": "1"}),
        ("/a/{name}/c", "/a//c", None),
        ("/a/{name}/c", "/a/b/c/", None),
        ("/a/{name}/c", "/a/b/d/c", None),
        (r"/{name:\d+}", "/123", {"name": "123"}),
        (r"/{name:\d+}", "/abc", None),
        (r"/{n:\d{2}}", "/12", {"n": "12"}),
        (r"/{n:\d{2}}", "/123", None),
        (r"/{num:^\d+}", "/1", {"num": "1"}),
        ("/{name}.html", "/a.html", {"name": "a"}),
        ("/{name}.html", "/.html", None),
        ("/{name}.{ext}", "/file.ext", {"name": "file", "ext": "ext"}),
        ("/{name}.{ext}", "/archive.tar.gz", {"name": "archive.tar", "ext": "gz"}),
        ("/{name}.{ext}", "/noext", None),
        ("/v{major:int}.{minor:int}", "/v1.20", {"major": 1, "minor": 20}),
        ("/v{major:int}.{minor:int}", "/v1.x", None),
        ("/{id:int}-{title}", "/7-a-b-c", {"id": 7, "title": "a-b-c"}),
        ("/{to:.+}/tail", "/another/tail", {"to": "another"}),
        ("/{to:.+}/tail", "/tail", None),
        ("/{rest:path}", "/", {"rest": ""}),
        ("/{rest:path}", "/a/b/c", {"rest": "a/b/c"}),
        ("/files/{rest:path}", "/files/", {"rest": ""}),
        ("/files/{rest:path}", "/files", None),
        ("/handler/{to:[^/]+/?}", "/handler/1234/", {"to": "1234/"}),
        ("/handler/{to:[^/]+/?}", "/handler/1234", {"to": "1234"}),
        ("/{day:[0-9]+/[0-9]+}/log", "/11/20/log", {"day": "11/20"}),
        ("/{day:[0-9]+/[0-9]+}/log", "/11%2F20/log", None),
        ("/{day:[0-9]+/[0-9]+}/log", "/%311/20/l%6Fg", {"day": "11/20"}),
        ("/{a:[0-9]+/x}/{n:int}/{s}", "/1/x/5/b%20c", {"a": "1/x", "n": 5, "s": "b c"}),
        ("/{a:[0-9]+/x}/{n:int}", "/1/x/y", None),
        ("/{n:int}", "/-7", {"n": -7}),
        ("/{n:int}", "/1.5", None),
        ("/{n:int}", "/" + "9" * 19, None),
        ("/{n:int}", "/%31%32", {"n": 12}),
        ("/{n:int}", "/\u0661".encode().decode("latin-1"), None),
        ("/{x:float}", "/1.5", {"x": 1.5}),
        ("/{x:float}", "/nan", None),
        ("/{x:float}", "/1e5", None),
        (
            "/{u:uuid}",
            "/12345678-1234-5678-1234-567812345678",
            {"u": uuid.UUID("12345678-1234-5678-1234-567812345678")},
        ),
        ("/{u:uuid}", "/12345678123456781234567812345678", None),
        ("/+$", "/+$", {}),
        ("/+$", "/$", None),
        ("/a.b", "/axb", None),
        ("/café au lait", "/caf%C3%A9%20au%20lait", {}),
        ("/café au lait", "/caf%c3%a9%20au%20lait", {}),
        ("/a/", "/a/", {}),
        ("/a/", "/a", None),
    ],
)
def test_what_a_pattern_matches(pattern: str, path: str, values: dict[str, object] | None) -> None:
    """A pattern matches whole paths, segment by segment, and converts what stands for its variables."""
    assert match(pattern, path) == values


@pytest.mark.parametrize(
    ("path", "values"),
    [
        ("/path/my%2Fpath%7Cwith", {"a": "path", "b": "my/path|with"}),
        ("/%25/%2525", {"a": "%", "b": "%25"}),
        ("/a+b/%D1%80%D1%83%D1%81", {"a": "a+b", "b": "рус"}),
        ("/x%7By/z", {"a": "x{y", "b": "z"}),
        ("/a%2fb", None),
        ("/%ff/x", None),
        ("/%c0%ae/x", None),
    ],
)
def test_each_segment_is_decoded_once(path: str, values: dict[str, object] | None) -> None:
    """``%2F`` stays in its segment, nothing is decoded twice, and what is not UTF-8 matches no text."""
    assert match("/{a}/{b}", path) == values


@pytest.mark.parametrize(
    "pattern",
    [
        "no/slash",
        "/post/{id",
        "/post/{id{}}",
        "/post/{id{}",
        '/post/{id"}',
        "/post/id}",
        "/{}",
        "/{1a}",
        "/{a:}",
        "/{a:(}",
        "/{a:nothing_called_so}",
        "/{a:(?P<b>x)}",
        "/{a}{b}",
        "/{a}/{a}",
        "/{a:(?i)[a-z]+}-{b}",
        r"/{a:(x)\1}-{b}",
        "/{a:path}/b",
        "/x{a:path}",
        "/{a:path}/{b:[0-9]+/[0-9]+}",
        "/{b:[0-9]+/[0-9]+}/{a:path}",
        "/a//b",
        "/a/../b",
        "/a/.",
        "/a%20b",
        "/a?b=1",
        "/a#b",
        "/a\nb",
        "/users/<name>",
        "/users/<int:id>.{kind}",
        "/users/:id",
    ],
)
def test_a_malformed_pattern_is_refused_and_changes_nothing(pattern: str) -> None:
    """Whatever is wrong with a pattern is told when the route is added, and the router stays as it was."""
    router = Router()
    with pytest.raises(RoutingError):
        router.add_route(pattern, answer)
    assert router.routes == ()


def test_a_pattern_that_is_no_text_is_refused() -> None:
    """The error names what was given."""
    with pytest.raises(RoutingError, match="not 5"):
        App().add_route(5, answer)  # type: ignore[arg-type]


def test_an_unknown_converter_is_told_from_an_expression() -> None:
    """A word in the place of a converter is a typing error, and the message lists the converters that there are."""
    for word in ("itn", " int"):
        with pytest.raises(RoutingError, match=rf"no converter '{word}'.*'int'"):
            App().add_route(f"/{{n:{word}}}", answer)


def test_a_pattern_as_text_is_what_was_written() -> None:
    """``str`` of a route's pattern is what a program prints or compares."""
    router = Router()
    router.add_route("/{n:int}", answer)
    outer = App()
    outer.mount("/notes", router)
    assert [str(route.pattern) for route in outer.routes] == ["/notes/{n:int}"]


class Hexadecimal:
    regex = "[0-9a-f]+"

    def parse(self, text: str) -> int:
        return int(text, 16)

    def format(self, value: object) -> str:
        return f"{value:x}"


def test_a_program_may_bring_its_own_converter() -> None:
    """A converter is an object with an expression and two methods; ValueError from it means no match."""
    router = Router(converters={"hex": Hexadecimal()})
    route = router.add_route("/c/{colour:hex}", answer, name="colour")
    router.add_route("/m/x{colour:hex}y", answer)
    assert router._table.find("/c/ff", "GET", set()) == (route, {"colour": 255})
    assert router._table.find("/c/gg", "GET", set()) is None
    found = router._table.find("/m/xffy", "GET", set())
    assert found is not None
    assert found[1] == {"colour": 255}
    assert router.url_for("colour", {"colour": 4095}) == "/c/fff"


@pytest.mark.parametrize(
    ("pattern", "values", "path"),
    [
        ("/{user}/info", {"user": "john_doe"}, "/john_doe/info"),
        ("/{user}", {"user": "a/b c?ü"}, "/a%2Fb%20c%3F%C3%BC"),
        ("/{n:int}", {"n": 5}, "/5"),
        ("/{x:float}", {"x": 1e17}, "/100000000000000000"),
        ("/{x:float}", {"x": 0.25}, "/0.25"),
        ("/files/{rest:path}", {"rest": "a b/c%"}, "/files/a%20b/c%25"),
        ("/files/{rest:path}", {"rest": ""}, "/files/"),
        ("/{name}.{ext}", {"name": "a.b", "ext": "c"}, "/a.b.c"),
        ("/{day:[0-9]+/[0-9]+}/log", {"day": "11/20"}, "/11/20/log"),
        ("/{day:[0-9]+/[0-9]+}/{x}", {"day": "11/20", "x": "a/b"}, "/11/20/a%2Fb"),
        ("/café/{x}", {"x": "1"}, "/caf%C3%A9/1"),
    ],
)
def test_what_a_pattern_builds(pattern: str, values: dict[str, object], path: str) -> None:
    """Values are encoded as their place in the path needs it."""
    parsed = parse_pattern(pattern, BUILTIN_CONVERTERS)
    assert parsed.build(values) == path


@pytest.mark.parametrize(
    ("pattern", "values"),
    [
        ("/{a}", {}),
        ("/{a}", {"a": "x", "b": "y"}),
        ("/{a}", {"a": ""}),
        ("/{a}", {"a": ".."}),
        ("/{n:int}", {"n": "x"}),
        ("/{n:int}", {"n": True}),
        ("/{n:int}", {"n": 10**18}),
        ("/{x:float}", {"x": float("inf")}),
        ("/{x:float}", {"x": 1e-300}),
        ("/{x:float}", {"x": 10**400}),
        ("/{a}", {"a": None}),
        ("/{a}", {"a": b"x"}),
        ("/{a}", {"a": "x\0"}),
        ("/files/{rest:path}", {"rest": None}),
        ("/{a:[0-9/]+}/{b:[0-9/]+}", {"a": "1", "b": "2/3"}),
        ("", {}),
        ("/{u:uuid}", {"u": "no"}),
        (r"/{n:\d+}", {"n": "x"}),
        ("/{name}.{ext}", {"name": "a", "ext": "b.c"}),
        ("/files/{rest:path}", {"rest": "../etc"}),
        ("/{rest:path}", {"rest": "/evil.example/"}),
        ("/{day:[0-9]+/[0-9]+}", {"day": "11"}),
    ],
)
def test_a_value_that_would_not_route_back_is_refused(pattern: str, values: dict[str, object]) -> None:
    """A reverse URL is right or an error, never a path to somewhere else."""
    with pytest.raises(RoutingError):
        parse_pattern(pattern, BUILTIN_CONVERTERS).build(values)


@given(st.text(min_size=1, max_size=30), st.text(max_size=30), st.integers(-(10**17), 10**17))
def test_reverse_urls_route_back(first: str, rest: str, number: int) -> None:
    """Whatever values a path can hold, the handler gets them back."""
    router = Router()
    route = router.add_route("/x/{a}/{n:int}/{rest:path}", answer, name="it")
    values = {"a": first, "n": number, "rest": rest}
    try:
        path = router.url_for("it", values)
    except RoutingError:
        assert "\0" in first + rest or first in (".", "..") or not {".", ".."}.isdisjoint(rest.split("/"))
        return
    assert path.isascii()
    assert router._table.find(path, "GET", set()) == (route, values)


@given(st.text(alphabet="ab.-/%", max_size=40))
def test_finding_never_fails(path: str) -> None:
    """Any text after the slash is found or not found; nothing about it raises."""
    router = Router()
    for pattern in ("/{a}.{b}-{c}", "/{n:int}", "/{a:[ab]+}/{b:path}", "/{day:[ab]+/[ab]+}", "/{a}/{b}"):
        router.add_route(pattern, answer)
    found = router._table.find("/" + path, "GET", set())
    assert found is None or unquote(path) is not None


def test_a_hostile_segment_costs_linear_time() -> None:
    """Separators without end in a segment of several variables: quadratic time would pass what any test may take."""
    for separator in ".-":
        assert match("/{a}.{b}-{c}.{d}", "/" + separator * 300_000) is None
