"""What routes, routers and middleware may be told, and that a typing error is told when it is made."""

from __future__ import annotations

import pytest

from triohttp import App, Limits, MethodNotAllowed, Request, Response, Router
from triohttp.errors import RoutingError


async def answer(request: Request) -> Response:
    return Response.text("")


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"nmae": "x"}, TypeError, r"no option of a route is called 'nmae'.*'name'"),
        ({"name": 5}, TypeError, "name of a route"),
        ({"on_disconnect": "finsh"}, ValueError, "'cancel' or 'finish', not 'finsh'"),
        (
            {"limits": {"max_bdy_bytes": 1}},
            TypeError,
            r"no limit of a route is called 'max_bdy_bytes'.*'max_body_bytes'",
        ),
        ({"limits": {"max_line_bytes": 1}}, TypeError, "no limit of a route"),
        ({"limits": {"max_body_bytes": -1}}, ValueError, "max_body_bytes"),
        ({"limits": Limits()}, TypeError, r"limits= takes a dict with some of .*'max_body_bytes'.*, not Limits"),
        ({"timeouts": 5}, TypeError, r"timeouts= takes a dict with some of .*'handler_seconds'.*, not 5"),
        ({"timeouts": {"keep_alive_seconds": 1}}, TypeError, "no timeout of a route"),
        ({"timeouts": {"handler_seconds": "1"}}, ValueError, "handler_seconds"),
        ({"middleware": [5]}, TypeError, "middleware must be callable, not 5"),
        ({"middleware": [answer]}, TypeError, "middleware .*answer must take two arguments: request and handler"),
        ({"middleware": answer}, TypeError, "takes a sequence, not .*answer alone"),
    ],
)
def test_a_wrong_option_is_told_at_once(options: dict[str, object], error: type[Exception], message: str) -> None:
    """A route, a router and an app refuse it alike, and a router stays as it was."""
    router = Router()
    with pytest.raises(error, match=message):
        router.add_route("/", answer, **options)  # type: ignore[arg-type]
    assert router.routes == ()
    if not options.keys() & {"name", "nmae"}:
        for kind in (Router, App):
            with pytest.raises(error, match=message):
                kind(**options)  # type: ignore[arg-type]


@pytest.mark.parametrize("lifespan", [5, "lifespan", lambda: None])
def test_a_lifespan_that_cannot_be_called_with_the_app_is_told_at_once(lifespan: object) -> None:
    """Not when the app is served."""
    with pytest.raises(TypeError, match="lifespan must be a callable that takes the app"):
        App(lifespan=lifespan)  # type: ignore[arg-type]


def test_a_decorator_without_its_path_is_told_at_once() -> None:
    """``@app.get`` without parentheses would add nothing, and every request would be a 404."""
    for decorator in (Router().get, Router().route):
        with pytest.raises(RoutingError, match=r"a route needs a path: .*answer"):
            decorator(answer)  # type: ignore[arg-type]


def test_any_method_is_said_by_naming_none() -> None:
    """``*`` is a token and so could be a method; here it would be a second way to say any."""
    with pytest.raises(RoutingError, match="leave methods= out"):
        Router().add_route("/", answer, methods="*")


def test_one_allowed_method_may_be_said_without_a_list() -> None:
    """As for a route's methods; its letters are no methods."""
    assert MethodNotAllowed(allowed="GET").headers["allow"] == "GET"
