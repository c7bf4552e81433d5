"""The Starlette application of uvicorn and hypercorn: one route with a parameter, one short text."""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route


async def hello(request: Request) -> Response:
    """Greet whoever the path names."""
    return PlainTextResponse(f"Hello, {request.path_params['name']}!")


app = Starlette(routes=[Route("/hello/{name}", hello)])
