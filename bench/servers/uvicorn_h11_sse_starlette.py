"""uvicorn with the h11 parser on asyncio's own loop, serving sse-starlette; no access log."""

from __future__ import annotations

import sys

import uvicorn
from asgi_sse_starlette import app

if __name__ == "__main__":
    uvicorn.run(app, port=int(sys.argv[1]), http="h11", loop="asyncio", access_log=False, log_level="warning")
