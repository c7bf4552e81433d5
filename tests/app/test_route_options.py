"""What routes, routers and middleware may be told, and that a typing error is told when it is made."""

from __future__ import annotations

import pytest

from triohttp import App, MethodNotAllowed, Request, Response, Router
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
        ({"timeouts": {"keep_alive_seconds": 1}}, TypeError, "no timeout of a route"),
        ({"timeouts": {"handler_seconds": "1"}}, ValueError, "handler_seconds"),
        ({"middleware": [5]}, TypeError, "middleware must be callable, not 5"),
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


def test_any_method_is_said_by_naming_none() -> None:
    """``*`` is a token and so could be a method; here it would be a second way to say any."""
    with pytest.raises(RoutingError, match="leave methods= out"):
        Router().add_route("/", answer, methods="*")


def test_one_allowed_method_may_be_said_without_a_list() -> None:
    """As for a route's methods; its letters are no methods."""
    assert MethodNotAllowed(allowed="GET").headers["allow"] == "GET"
