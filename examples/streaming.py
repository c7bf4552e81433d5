"""Upload and download of any size in constant memory, both ends in one program.

The server hashes an upload while it comes in, and makes up a download while it goes out. The client does the same from
the other side. Whoever is slower slows the other one down.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator

import trio

from triohttp import App, Client, Request, Response, open_server

MIB = 1024 * 1024
app = App()


@app.put("/hash", limits={"max_body_bytes": None})
async def hash_upload(request: Request) -> Response:
    digest = hashlib.sha256()
    async for chunk in request.body:
        digest.update(chunk)
    return Response.text(digest.hexdigest())


@app.get("/zeros/{mebibytes:int}")
async def zeros(request: Request) -> None:
    async with request.respond(200, {"content-type": "application/octet-stream"}) as body:
        for _ in range(request.path_params["mebibytes"]):
            await body.send_all(bytes(MIB))


async def pieces(count: int) -> AsyncIterator[bytes]:
    for _ in range(count):
        yield bytes(MIB)


async def main(mebibytes: int = 100) -> tuple[str, str]:
    """Return the server's hash of what was uploaded, and ours of what was downloaded."""
    async with open_server(app) as server, Client(base_url=server.urls[0]) as client:
        uploaded = (await client.put("/hash", content=pieces(mebibytes))).text
        downloaded = hashlib.sha256()
        async with client.stream("GET", f"/zeros/{mebibytes}") as response:
            async for chunk in response.body:
                downloaded.update(chunk)
    return uploaded, downloaded.hexdigest()


if __name__ == "__main__":
    print(*trio.run(main), sep="\n")
