"""The client against httpbin, a server that this project did not write and many others test with."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from httpbin_server import open_httpbin

from triohttp import Client, ClientLimits, ClientTimeouts
from triohttp.errors import HeadTimeout, ReadTimeout, RedirectError, StatusError, TooManyRedirectsError, TotalTimeout

pytestmark = pytest.mark.interop


@pytest.fixture(scope="module")
def httpbin() -> Iterator[str]:
    """The URL of an httpbin."""
    with open_httpbin() as url:
        yield url


@pytest.mark.parametrize("kind", ["redirect", "relative-redirect", "absolute-redirect"])
async def test_redirects(httpbin: str, kind: str) -> None:
    """n of them are followed, and the history has each."""
    async with Client(httpbin) as client:
        response = await client.get(f"/{kind}/4")
        assert (response.status, response.url.path, len(response.history)) == (200, "/get", 4)
        assert client.pool.statistics().in_use == 0


async def test_too_many_redirects(httpbin: str) -> None:
    """One more than the bound is an error; the client goes on."""
    async with Client(httpbin, limits=ClientLimits(max_redirects=3)) as client:
        with pytest.raises(TooManyRedirectsError):
            await client.get("/redirect/4")
        assert (await client.get("/redirect/3")).status == 200


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_content_over_redirects(httpbin: str, status: int) -> None:
    """It goes along with 307 and 308 alone."""
    async with Client(httpbin) as client:
        response = await client.post("/redirect-to", params={"url": "/anything", "status_code": status}, content=b"abc")
        expected = ("POST", "abc") if status in (307, 308) else ("GET", "")
        said = response.json()
        assert isinstance(said, dict)
        assert (said["method"], said["data"]) == expected


async def test_a_redirect_to_nowhere(httpbin: str) -> None:
    """It is an error that says so."""
    async with Client(httpbin) as client:
        with pytest.raises(RedirectError):
            await client.get("/redirect-to", params={"url": "file:///etc/passwd"})


async def test_cookies(httpbin: str) -> None:
    """What is set by a redirect is sent from then on, until it is deleted; those of one call are not kept."""
    async with Client(httpbin) as client:
        assert (await client.get("/cookies/set", params={"a": "1", "b": "2"})).json() == {
            "cookies": {"a": "1", "b": "2"}
        }
        assert (await client.get("/cookies", cookies={"own": "3"})).json() == {
            "cookies": {"a": "1", "b": "2", "own": "3"}
        }
        assert (await client.get("/cookies/delete", params={"a": ""})).json() == {"cookies": {"b": "2"}}
        assert (await client.derive(cookies=None).get("/cookies")).json() == {"cookies": {}}


@pytest.mark.parametrize(("path", "flag"), [("gzip", "gzipped"), ("deflate", "deflated"), ("brotli", "brotli")])
async def test_codings(httpbin: str, path: str, flag: str) -> None:
    """They are undone, at once and in a stream, unless the call says otherwise."""
    async with Client(httpbin) as client:
        response = await client.get(f"/{path}")
        said = response.json()
        assert isinstance(said, dict)
        assert said[flag] is True
        async with client.stream("GET", f"/{path}") as stream:
            streamed = await stream.json()
            assert isinstance(streamed, dict)
            assert streamed[flag] is True
        raw = await client.get(f"/{path}", decode=False)
        assert raw.codings == ({"brotli": "br"}.get(path, path),)
        assert raw.content != response.content


async def test_streams(httpbin: str) -> None:
    """Lines of JSON come one by one; bytes in chunks are as many as were asked for."""
    async with Client(httpbin) as client:
        async with client.stream("GET", "/stream/5") as response:
            assert [json.loads(line)["id"] async for line in response.lines()] == [0, 1, 2, 3, 4]
        async with client.stream("GET", "/stream-bytes/50000", params={"chunk_size": 1000}) as response:
            assert sum([len(piece) async for piece in response.body]) == 50000
        assert client.pool.statistics().in_use == 0


async def test_what_drips(httpbin: str) -> None:
    """Slow content is waited for."""
    async with Client(httpbin) as client:
        response = await client.get("/drip", params={"numbytes": 5, "duration": 0.2, "delay": 0})
        assert response.content == b"*" * 5


async def test_ranges(httpbin: str) -> None:
    """A part is a part."""
    async with Client(httpbin) as client:
        response = await client.get("/range/26", headers={"Range": "bytes=2-5"})
        assert (response.status, response.text) == (206, "cdef")
        assert response.headers["content-range"] == "bytes 2-5/26"
        assert (await client.get("/range/26", headers={"Range": "bytes=50-60"})).status == 416


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"])
@pytest.mark.parametrize("status", [200, 204, 304, 400, 404, 418, 429, 500, 503])
async def test_statuses(httpbin: str, method: str, status: int) -> None:
    """Each is an answer; those of 400 and above are errors to who asks for that."""
    async with Client(httpbin) as client:
        response = await client.request(method, f"/status/{status}")
        assert response.status == status
        if status >= 400:
            with pytest.raises(StatusError) as caught:
                response.raise_for_status()
            assert caught.value.code == status
        else:
            assert response.raise_for_status() is response


async def test_forms_and_files(httpbin: str, tmp_path: Path) -> None:
    """They arrive as another parser reads them."""
    file = tmp_path / "ä b.txt"
    file.write_bytes(b"\x00content\r\n" * 1000)
    async with Client(httpbin) as client:
        form = [("a", "1"), ("a", "2"), ("ü", "ö & =")]
        said: Any = (await client.post("/post", form=form)).json()
        assert said["form"] == {"a": ["1", "2"], "ü": "ö & ="}
        said = (await client.post("/post", form=form, files={"file": file})).json()
        assert said["form"] == {"a": ["1", "2"], "ü": "ö & ="}
        assert said["files"] == {"file": "\x00content\r\n" * 1000}
        said = (await client.put("/put", content=file, headers={"Content-Type": "text/plain"})).json()
        assert said["data"] == "\x00content\r\n" * 1000
        said = (await client.patch("/patch", json={"a": [1, None, "ü"]})).json()
        assert said["json"] == {"a": [1, None, "ü"]}


@pytest.mark.parametrize(
    ("timeouts", "error"),
    [
        (ClientTimeouts(head_seconds=0.1), HeadTimeout),
        (ClientTimeouts(total_seconds=0.1), TotalTimeout),
    ],
    ids=["head", "total"],
)
async def test_a_delay_passes_its_bound(httpbin: str, timeouts: ClientTimeouts, error: type[Exception]) -> None:
    """The error is that of the phase; the client goes on, on another connection."""
    async with Client(httpbin) as client:
        with pytest.raises(error):
            await client.get("/delay/2", timeouts=timeouts)
        assert client.pool.statistics().connections == 0
        assert (await client.get("/get")).status == 200


async def test_a_pause_in_content_passes_its_bound(httpbin: str) -> None:
    """The head came in time, the content did not."""
    async with Client(httpbin) as client:
        with pytest.raises(ReadTimeout):
            await client.get(
                "/drip",
                params={"numbytes": 2, "duration": 4, "delay": 0},
                timeouts=ClientTimeouts(read_idle_seconds=0.1),
            )
        assert client.pool.statistics().connections == 0
