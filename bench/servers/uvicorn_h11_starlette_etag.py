"""As uvicorn_h11_starlette, but no two answers have the same head: an ETag counts them."""

from __future__ import annotations

import itertools
import sys

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

number = itertools.count()


async def hello(request: Request) -> Response:
    """Greet whoever the path names."""
    return PlainTextResponse(f"Hello, {request.path_params['name']}!", headers={"etag": f'"{next(number)}"'})


app = Starlette(routes=[Route("/hello/{name}", hello)])

if __name__ == "__main__":
    uvicorn.run(app, port=int(sys.argv[1]), http="h11", loop="asyncio", access_log=False, log_level="warning")
