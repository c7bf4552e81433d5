"""uvicorn at its fastest, with two C libraries (httptools, uvloop), serving sse-starlette; no access log."""

from __future__ import annotations

import sys

import uvicorn
from asgi_sse_starlette import app

if __name__ == "__main__":
    uvicorn.run(app, port=int(sys.argv[1]), http="httptools", loop="uvloop", access_log=False, log_level="warning")
