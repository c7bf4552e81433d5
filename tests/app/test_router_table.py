"""The router: which route wins, what is refused, and how the table changes while it is used."""

from __future__ import annotations

import itertools

import pytest

from triohttp import App, Query, Request, Response, Route, Router
from triohttp.errors import RoutingError


async def answer(request: Request) -> Response:
    return Response.text("")


async def other(request: Request) -> Response:
    return Response.text("other")


def pattern_for(router: Router, path: str, method: str = "GET") -> str | None:
    found = router._table.find(path, method, set())
    return None if found is None else found[0].pattern.text


RANKED = ["/files/a.txt", "/files/{n}.txt", "/files/{x:float}", "/files/{r:[0-9a.]+}", "/files/{p}", "/files/{t:path}"]


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_the_most_specific_route_wins_in_any_order_of_addition(order: tuple[int, ...]) -> None:
    """Literal > mixed > converter > regex > plain > tail, however the table was put together."""
    router = Router()
    for third in order:
        for pattern in RANKED[third * 2 : third * 2 + 2]:
            router.add_route(pattern, answer, methods="GET")
    paths = ["/files/a.txt", "/files/b.txt", "/files/1.5", "/files/1.a", "/files/zzz", "/files/x/y"]
    assert [pattern_for(router, path) for path in paths] == RANKED


def test_whole_numbers_are_tried_before_decimal_ones() -> None:
    """5 is an int where both converters stand at one place."""
    router = Router()
    router.add_route("/{x:float}", answer)
    router.add_route("/{x:int}", answer)
    assert pattern_for(router, "/5") == "/{x:int}"
    assert pattern_for(router, "/5.5") == "/{x:float}"


def test_two_expressions_are_tried_in_order_of_addition() -> None:
    """Nobody can tell which of two regular expressions is the narrower, so the first one added is asked first."""
    for first, second in itertools.permutations(["/{a:[a-z]+}", "/{a:[a-m]+}"]):
        router = Router()
        router.add_route(first, answer)
        router.add_route(second, answer)
        assert pattern_for(router, "/abc") == first


def test_more_literal_text_is_more_specific() -> None:
    """``{a}.tar.gz`` goes before ``{a}.{b}``."""
    router = Router()
    router.add_route("/{a}.{b}", answer)
    router.add_route("/{a}.tar.gz", answer)
    assert pattern_for(router, "/x.tar.gz") == "/{a}.tar.gz"


@pytest.mark.parametrize("patterns", list(itertools.permutations(["/{a}-x", "/y-{b}", "/{a:int}-x"])))
def test_the_order_of_mixed_segments_does_not_depend_on_addition(patterns: tuple[str, ...]) -> None:
    """Of two with as much literal text the same one wins, however modules were imported."""
    router = Router()
    for pattern in patterns:
        router.add_route(pattern, answer)
    assert pattern_for(router, "/y-x") == "/y-{b}"
    assert pattern_for(router, "/5-x") == "/{a:int}-x"
    assert pattern_for(router, "/z-x") == "/{a}-x"


def test_a_branch_without_an_end_does_not_hide_another() -> None:
    """The walk comes back from a literal that leads nowhere."""
    router = Router()
    router.add_route("/a/b/c", answer)
    router.add_route("/{x}/b/d", answer)
    router.add_route("/{rest:path}", answer)
    assert pattern_for(router, "/a/b/c") == "/a/b/c"
    assert pattern_for(router, "/a/b/d") == "/{x}/b/d"
    assert pattern_for(router, "/a/b") == "/{rest:path}"


def test_a_less_specific_route_answers_for_a_method_that_the_other_lacks() -> None:
    """The path decides first, then the method; what is missed on the way is in Allow."""
    router = Router()
    router.add_route("/users/me", answer, methods=["GET", "PUT"])
    router.add_route("/users/{name}", other, methods="DELETE")
    assert pattern_for(router, "/users/me", "DELETE") == "/users/{name}"
    allowed: set[str] = set()
    assert router._table.find("/users/me", "POST", allowed) is None
    assert allowed == {"GET", "PUT", "DELETE"}


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("/a", "/a"),
        ("/{a}", "/{b}"),
        ("/{a:int}/x", "/{b:int}/x"),
        ("/{a:[0-9]+}", "/{b:[0-9]+}"),
        ("/{a}.{b}", "/{x}.{y}"),
        ("/{a:path}", "/{b:path}"),
        ("/{a:[0-9]+/x}", "/{b:[0-9]+/x}"),
        ("*", "*"),
    ],
)
def test_two_routes_that_cannot_be_told_apart_are_refused(first: str, second: str) -> None:
    """The error names both, the router stays as it was, and another method is no conflict."""
    router = Router()
    router.add_route(first, answer, methods="GET")
    with pytest.raises(RoutingError) as caught:
        router.add_route(second, other, methods=["POST", "GET"])
    assert "answer>" in str(caught.value)
    assert "other>" in str(caught.value)
    assert len(router.routes) == 1
    router.add_route(second, other, methods="POST")


def test_a_route_for_any_method_stands_beside_one_that_names_it() -> None:
    """The named method goes first; CONNECT and TRACE must be named."""
    router = Router()
    everything = router.add_route("/x", answer)
    put = router.add_route("/x", other, methods="put")
    assert put.methods == ("PUT",)
    assert everything.methods == ()
    found = {method: router._table.find("/x", method, set()) for method in ("GET", "PUT", "PROPFIND", "TRACE")}
    assert {method: found and found[0] for method, found in found.items()} == {
        "GET": everything,
        "PUT": put,
        "PROPFIND": everything,
        "TRACE": None,
    }


@pytest.mark.parametrize("methods", [[], "GET POST", "", ["GÉT"], [5]])
def test_a_method_that_is_none_is_refused(methods: object) -> None:
    """Methods are tokens, and a route has at least one."""
    with pytest.raises(RoutingError):
        Router().add_route("/", answer, methods=methods)  # type: ignore[arg-type]


def test_a_path_of_its_own_and_no_path_stand_side_by_side() -> None:
    """``""`` is the place where a router is mounted, ``*`` the request without a path; neither is the other."""
    app, router = App(), Router()
    here = router.add_route("", answer, name="here")
    star = router.add_route("*", answer)
    assert router.routes == (here, star)
    app.mount("/in", router, name="in")
    assert app.url_for("in:here") == "/in"
    assert pattern_for(app, "/in") == "/in"
    assert pattern_for(app, "*") == "*"
    with pytest.raises(RoutingError, match="empty pattern"):
        router.url_for("here")


def test_a_reverse_url_never_leads_to_a_more_specific_route() -> None:
    """A user called "me" has no URL where "/users/me" is something else; the error says what is there."""
    router = Router()
    router.add_route("/users/{name}", answer, methods="GET", name="user")
    router.add_route("/users/me", other, methods="GET")
    assert router.url_for("user", {"name": "ada"}) == "/users/ada"
    with pytest.raises(RoutingError, match="'/users/me' for 'user' leads to <Route GET '/users/me'"):
        router.url_for("user", {"name": "me"})


# -- names -------------------------------------------------------------------------------------------------------------


def test_names_make_urls_with_queries() -> None:
    """``url_for`` takes the variables and a query in every form that a query has."""
    router = Router()
    router.add_route("/root", answer, name="root")
    router.add_route("/{user}/info", answer, name="info")
    assert router.url_for("root") == "/root"
    assert router.url_for("root", query={"a": "b"}) == "/root?a=b"
    assert router.url_for("root", query=[("a", "b"), ("c", 1)]) == "/root?a=b&c=1"
    assert router.url_for("root", query=Query.parse("a=b&c=d")) == "/root?a=b&c=d"
    assert router.url_for("info", {"user": "john_doe"}, query={"a": "b"}) == "/john_doe/info?a=b"


def test_a_name_is_used_once() -> None:
    """The error names the route that has it."""
    router = Router()
    router.add_route("/a", answer, name="it")
    with pytest.raises(RoutingError, match=r"'it'.*'/a'"):
        router.add_route("/b", answer, name="it")
    with pytest.raises(RoutingError, match="nobody"):
        router.url_for("nobody")


def test_routes_are_listed_in_order_with_what_they_say() -> None:
    """A listing has pattern, methods, name and handler of each route, and of each mounted one."""
    app, inner = App(), Router()
    app.add_route("/a", answer, methods="GET", name="a")
    app.mount("/in", inner, name="inner")
    inner.add_route("/b", other, name="b")
    assert [(route.pattern.text, route.methods, route.name, route.handler) for route in app.routes] == [
        ("/a", ("GET",), "a", answer),
        ("/in/b", (), "inner:b", other),
    ]
    assert repr(app.routes[1]).startswith("<Route any method '/in/b' ")
    assert [mount.prefix.text for mount in app.mounts] == ["/in"]


# -- mounts ------------------------------------------------------------------------------------------------------------


def test_routes_of_a_mounted_router_lie_under_its_prefix() -> None:
    """Those it has and those that it gets later, at any depth, variables of the prefix included."""
    app, users, posts = App(), Router(), Router()
    posts.add_route("/{post:int}", answer, name="post")
    users.mount("/posts", posts, name="posts")
    app.mount("/users/{user}", users, name="user")
    posts.add_route("", other, name="all")
    assert pattern_for(app, "/users/ada/posts/3") == "/users/{user}/posts/{post:int}"
    assert pattern_for(app, "/users/ada/posts") == "/users/{user}/posts"
    found = app._table.find("/users/ada/posts/3", "GET", set())
    assert found is not None
    assert found[1] == {"user": "ada", "post": 3}
    assert app.url_for("user:posts:post", {"user": "ada", "post": 3}) == "/users/ada/posts/3"
    assert users.url_for("posts:all") == "/posts"


def test_one_router_may_be_mounted_twice() -> None:
    """Each mount has its own namespace, and a later route shows up in both."""
    app, inner = App(), Router()
    app.mount("/one", inner, name="one")
    app.mount("/two", inner, name="two")
    inner.add_route("/x", answer, name="x")
    assert (app.url_for("one:x"), app.url_for("two:x")) == ("/one/x", "/two/x")


def test_specificity_reaches_across_mounts() -> None:
    """A literal route of the parent and a variable of the mounted router are compared as if in one table."""
    app, inner = App(), Router()
    inner.add_route("/{name}", answer)
    app.mount("/a", inner)
    app.add_route("/a/b", other)
    assert pattern_for(app, "/a/b") == "/a/b"
    assert pattern_for(app, "/a/c") == "/a/{name}"


def test_an_ambiguity_anywhere_above_is_refused_and_changes_nothing() -> None:
    """A route that only collides in a grandparent is in none of the routers afterwards."""
    app, middle, inner = App(), Router(), Router()
    app.add_route("/m/i/x", answer, methods="GET")
    app.mount("/m", middle)
    middle.mount("/i", inner)
    with pytest.raises(RoutingError, match="/m/i/x"):
        inner.add_route("/x", other, methods="GET")
    assert (inner.routes, middle.routes, len(app.routes)) == ((), (), 1)
    inner.add_route("/x", other, methods="PUT")
    assert len(app.routes) == 2


def test_a_mount_that_collides_is_refused() -> None:
    """Nothing of the router is there afterwards, and routes that it gets later do not show up."""
    app, inner = App(), Router()
    app.add_route("/i/x", answer)
    inner.add_route("/x", answer)
    inner.add_route("/y", answer)
    with pytest.raises(RoutingError):
        app.mount("/i", inner)
    inner.add_route("/z", answer)
    assert len(app.routes) == 1
    assert app.mounts == ()


@pytest.mark.parametrize("prefix", ["no-slash", "/a/", "*", "/{rest:path}", "/{a:[0-9]+/b}", "/a//b"])
def test_a_prefix_is_whole_segments(prefix: str) -> None:
    """What would make mounted patterns mean something else is refused."""
    with pytest.raises(RoutingError):
        App().mount(prefix, Router())


def test_a_router_cannot_lie_inside_itself() -> None:
    """Neither directly nor by way of others; and only routers can be mounted."""
    app, inner = App(), Router()
    app.mount("/a", inner)
    with pytest.raises(RoutingError):
        inner.mount("/b", app)
    with pytest.raises(RoutingError):
        app.mount("/c", app)
    with pytest.raises(RoutingError, match="only a Router"):
        app.mount("/d", answer)  # type: ignore[arg-type]


def test_a_router_at_the_root() -> None:
    """``""`` and ``"/"`` both mount without a prefix."""
    app = App()
    for prefix, path in (("", "/a"), ("/", "/b")):
        inner = Router()
        inner.add_route(path, answer)
        app.mount(prefix, inner)
    assert [route.pattern.text for route in app.routes] == ["/a", "/b"]


# -- removing ----------------------------------------------------------------------------------------------------------


def test_a_removed_route_is_gone_everywhere_and_others_stay() -> None:
    """Also from routers that it is mounted in; its path, name and methods are free again."""
    app, inner = App(), Router()
    app.mount("/i", inner)
    kept = inner.add_route("/x", answer, methods="PUT")
    route = inner.add_route("/x", other, methods="GET", name="x")
    variable = inner.add_route("/{a}/{b:int}", other, name="v")
    inner.remove_route(route)
    inner.remove_route(variable)
    assert inner.routes == (kept,)
    assert [route.pattern.text for route in app.routes] == ["/i/x"]
    assert pattern_for(app, "/i/x") is None
    assert pattern_for(app, "/i/x", "PUT") == "/i/x"
    assert pattern_for(app, "/i/1/2") is None
    inner.add_route("/x", other, methods="GET", name="x")
    inner.add_route("/{c}/{d:int}", other, name="v")
    assert app._table.root.edges == ()
    assert len(app.routes) == 3


def test_only_own_routes_can_be_removed() -> None:
    """A route is removed where it was added, once."""
    app, inner = App(), Router()
    app.mount("/i", inner)
    route = inner.add_route("/x", answer)
    with pytest.raises(RoutingError):
        app.remove_route(app.routes[0])
    inner.remove_route(route)
    with pytest.raises(RoutingError):
        inner.remove_route(route)


def test_a_table_that_is_in_use_does_not_change() -> None:
    """Adding and removing make a new table; one that a request holds stays what it was."""
    router = Router()
    route = router.add_route("/{a}", answer)
    before = router._table
    router.add_route("/x", answer)
    router.remove_route(route)
    assert [route.pattern.text for route in before.routes] == ["/{a}"]
    assert before.find("/x", "GET", set()) == (route, {"a": "x"})


def test_a_thousand_routes_keep_their_results() -> None:
    """Many routes at one place change nothing about who wins."""
    router = Router()
    for number in range(1000):
        router.add_route(f"/r{number}/{{x}}", answer)
        router.add_route(f"/literal{number}", answer)
    router.add_route("/{a}/{b}", other)
    assert pattern_for(router, "/r999/y") == "/r999/{x}"
    assert pattern_for(router, "/literal500") == "/literal500"
    assert pattern_for(router, "/s/y") == "/{a}/{b}"


def test_bounds_of_a_route_are_checked_when_it_is_added() -> None:
    """An unknown name or an impossible value is the programmer's, and told at once."""
    with pytest.raises(ValueError, match="max_body_bytes"):
        Router().add_route("/", answer, limits={"max_body_bytes": -1})
    with pytest.raises(TypeError):
        Router().add_route("/", answer, timeouts={"no_such": 1})  # type: ignore[typeddict-unknown-key]
    with pytest.raises(TypeError, match="middleware"):
        Router(middleware=["no function"])  # type: ignore[list-item]


def test_a_route_keeps_its_declaration() -> None:
    """Decorators return the handler itself, so that it can be called and decorated again."""
    router = Router()
    assert router.get("/a")(answer) is answer
    assert isinstance(router.routes[0], Route)
    assert router.routes[0].handler is answer
