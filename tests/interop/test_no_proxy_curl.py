"""The corpus of NO_PROXY values, as curl reads them; what curl reads otherwise is marked there."""

from __future__ import annotations

import tomllib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import trio

from triohttp.errors import DisconnectedError
from triohttp.testing import RawConnection

if TYPE_CHECKING:
    from conftest import Programs

CORPUS = Path(__file__).parents[1] / "client" / "no_proxy.toml"
CASES: list[dict[str, Any]] = [
    case for case in tomllib.loads(CORPUS.read_text("utf-8"))["case"] if case.get("curl", True)
]

pytestmark = pytest.mark.interop


@asynccontextmanager
async def open_teller() -> AsyncIterator[int]:
    """Answer every request with whether it was asked as a proxy, on a port which is the value of the block."""

    async def tell(stream: trio.abc.Stream) -> None:
        said = b"direct \n"
        async with RawConnection(stream) as connection:
            try:
                while True:
                    request = await connection.read_request()
                    if request.method == "CONNECT":  # as curl does for whatever --connect-to leads elsewhere
                        said = b"proxied\n"
                        await connection.send_all(b"HTTP/1.1 200 OK\r\n\r\n")
                    else:
                        await connection.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\n" + said)
            except (DisconnectedError, trio.BrokenResourceError):
                pass

    async with trio.open_nursery() as nursery:
        [listener] = await nursery.start(partial(trio.serve_tcp, tell, 0, host="127.0.0.1"))
        yield listener.socket.getsockname()[1]
        nursery.cancel_scope.cancel()


@pytest.mark.corpus
@pytest.mark.parametrize("case", CASES, ids=[repr(case["value"]) for case in CASES])
async def test_curl_agrees(programs: Programs, case: dict[str, Any]) -> None:
    """curl reaches directly what the corpus says is reached directly, and the rest through the proxy."""
    urls = [url for url in (*case["direct"], *case["proxied"]) if url.startswith("http://")]
    async with open_teller() as port:
        at = f"127.0.0.1:{port}"
        way = ("-x", f"http://{at}", "--connect-to", f"::{at}", "--noproxy", case["value"])
        told = (await programs.curl("--globoff", *way, *urls)).text.split()
    expected = ["direct" if url in case["direct"] else "proxied" for url in urls]
    assert dict(zip(urls, told, strict=True)) == dict(zip(urls, expected, strict=True))
