"""An archive answers in the place of the servers that gave its answers, whoever wrote it."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from triohttp import App, Client, Headers, Request, Response
from triohttp.errors import ConnectError, ContentError, TransportError
from triohttp.har import HarReplay, NotRecordedError, record_har, replay_har
from triohttp.testing import MockAnswer, MockServer, SweepRun, cancel_sweep, open_in_process

API = "http://app.test"


def entry(method: str = "GET", url: str = f"{API}/", status: int = 200, **changes: Any) -> dict[str, Any]:
    """An entry as other tools write them; ``changes`` are put in by the names of its parts."""
    request: dict[str, Any] = {"method": method, "url": url, "headers": []}
    response: dict[str, Any] = {"status": status, "headers": [], "content": {}}
    for path, value in changes.items():
        part, name = path.split("_", 1)
        (request if part == "request" else response)[name] = value
    return {"request": request, "response": response}


def answering(text: str, **changes: Any) -> dict[str, Any]:
    return entry(response_content={"size": len(text), "mimeType": "text/plain", "text": text}, **changes)


def write(path: Path, *entries: Any, **log: Any) -> Path:
    path.write_text(json.dumps({"log": {"version": "1.2", "entries": list(entries), **log}}), encoding="utf-8")
    return path


def client_of(replay: HarReplay, **options: Any) -> Client:
    return Client(API, hop_middleware=[replay], **options)


# -- what was recorded here --------------------------------------------------------------------------------------------


def make_app(counter: Iterator[int]) -> App:
    app = App()

    @app.get("/old")
    async def old(request: Request) -> Response:
        return Response.redirect("/count?access_token=s3cr3t", status=302)

    @app.get("/count")
    async def count(request: Request) -> Response:
        return Response.json({"count": next(counter), "refresh_token": "s3cr3t"})

    @app.get("/gzip")
    async def coded(request: Request) -> Response:
        return Response(gzip.compress(b"x" * 500), headers={"Content-Encoding": "gzip", "Content-Type": "text/plain"})

    @app.get("/latin")
    async def latin(request: Request) -> Response:
        return Response("grüß".encode("latin-1"), headers={"Content-Type": "text/html; charset=iso-8859-1"})

    @app.post("/echo")
    async def echo(request: Request) -> Response:
        return Response(await request.read(), headers={"Content-Type": "application/octet-stream"})

    @app.get("/login")
    async def login(request: Request) -> Response:
        return Response.text("hello", headers={"Set-Cookie": "sid=s3cr3t; Path=/", "X-Latin": "gr\xfc\xdf"})

    return app


async def use(client: Client) -> list[object]:
    """A program: what it gets is the same from servers and from their archive."""
    seen: list[object] = []
    redirected = await client.get("/old")
    seen += [str(redirected.url.path), [one.status for one in redirected.history], dict(redirected.json())["count"]]  # type: ignore[call-overload]
    for _ in range(2):
        counted: Any = (await client.get("/count?access_token=s3cr3t")).json()
        seen.append(counted["count"])
    coded = await client.get("/gzip")
    left = await client.get("/gzip", decode=False)
    seen += [coded.text, coded.codings, gzip.decompress(left.content), left.codings]
    latin = await client.get("/latin")
    seen += [latin.text, latin.content, latin.headers["content-type"], latin.reason, latin.http_version]
    for content in (b"\x00\xff", b"abc"):
        seen.append((await client.post("/echo", content=content)).content)
    seen.append((await client.head("/latin")).content)
    logged_in = await client.get("/login")
    seen += [list(logged_in.cookies), logged_in.headers["x-latin"]]
    async with client.stream("POST", "/echo", content=[b"ab", b"c", b"d"]) as response:
        seen.append([piece async for piece in response.body])
    return seen


async def test_what_was_recorded_is_replayed(tmp_path: Path) -> None:
    """A program that is given its own recording gets what it got, with secrets masked, and no connection is opened."""
    path = tmp_path / "a.har"
    async with open_in_process(make_app(iter(range(10)))) as site, record_har(path) as recorder:
        async with Client(API, mounts={API: site}, hop_middleware=[recorder]) as client:
            seen = await use(client)
    assert "s3cr3t" not in path.read_text(encoding="utf-8")
    async with replay_har(path) as replay, client_of(replay) as client:
        assert await use(client) == seen
        assert client.pool.statistics().opened == 0
        assert replay.unused == []


async def test_trailers_and_event_streams(tmp_path: Path) -> None:
    """Trailers are replayed, and events of a stream that was left."""
    path = tmp_path / "a.har"
    with MockServer(API) as mock:
        mock.add("GET", "/trailers", MockAnswer(content="a", trailers={"X-Sum": "1"}))
        mock.add("GET", "/events", MockAnswer(200, {"Content-Type": "text/event-stream"}, "data: a\n\ndata: b\n\n"))
        async with record_har(path) as recorder, Client(API, hop_middleware=[recorder, mock]) as client:
            await client.get("/trailers")
            async with client.events("/events", reconnect=False) as events:
                assert (await anext(events)).data == "a"
    async with replay_har(path) as replay, client_of(replay) as client:
        assert (await client.get("/trailers")).trailers == Headers({"X-Sum": "1"})
        async with client.events("/events", reconnect=False) as events:
            assert (await anext(events)).data == "a"


async def test_failures_are_replayed(tmp_path: Path) -> None:
    """Where there was no answer there is none again."""
    path = tmp_path / "a.har"
    with MockServer(API) as mock:
        mock.add("GET", "/", ConnectError("no route"), MockAnswer())
        async with record_har(path) as recorder, Client(API, hop_middleware=[recorder, mock]) as client:
            with pytest.raises(ConnectError):
                await client.get("/")
            await client.get("/")
    async with replay_har(path) as replay, client_of(replay) as client:
        with pytest.raises(TransportError, match="failed: ConnectError: no route"):
            await client.get("/")
        assert (await client.get("/")).status == 200


async def test_content_that_was_not_kept_is_an_error(tmp_path: Path) -> None:
    """Half an answer is never passed off as a whole one."""
    path = tmp_path / "a.har"
    with MockServer(API) as mock:
        mock.add("GET", "/", MockAnswer(content="abcdef"))
        async with record_har(path, max_content_bytes=3) as recorder:
            async with Client(API, hop_middleware=[recorder, mock]) as client:
                await client.get("/")
    async with replay_har(path) as replay, client_of(replay) as client:
        with pytest.raises(ContentError, match=r"a\.har: log\.entries\[0\] has not all of its content"):
            await client.get("/")


# -- which answer ------------------------------------------------------------------------------------------------------


async def test_equal_requests_in_order(tmp_path: Path) -> None:
    """Each answer is given once; then the error says so, and the block's end too."""
    path = write(tmp_path / "a.har", answering("one"), answering("other", url=f"{API}/x"), answering("two"))
    with pytest.raises(NotRecordedError, match="all 2 have been given"):
        async with replay_har(path) as replay, client_of(replay) as client:
            assert [(await client.get("/")).text for _ in range(2)] == ["one", "two"]
            with pytest.raises(NotRecordedError) as caught:
                await client.get("/")
            assert replay.unused == [f"GET URL('{API}/x')"]
    assert str(caught.value) == f"a.har has no answer for GET URL('{API}/'): all 2 have been given"


async def test_equal_requests_without_end(tmp_path: Path) -> None:
    """When it is not strict the last answer goes on, and what is missing is an error of its call alone."""
    path = write(tmp_path / "a.har", answering("one"), answering("two"))
    async with replay_har(path, strict=False) as replay, client_of(replay) as client:
        assert [(await client.get("/")).text for _ in range(3)] == ["one", "two", "two"]
        with pytest.raises(NotRecordedError):
            await client.get("/x")
    assert len(replay.missing) == 1


@pytest.mark.parametrize(("method", "url"), [("POST", "/a?b=1"), ("GET", "/a"), ("GET", "/a?b=2"), ("GET", "/A?b=1"),
                                             ("GET", "/a?b=1&c=2"), ("GET", "/a?c=1")])  # fmt: skip
async def test_what_is_missing_is_named(tmp_path: Path, method: str, url: str) -> None:
    """Method, URL and query have to be those that were recorded; the error lists what there is."""
    path = write(tmp_path / "a.har", entry(url=f"{API}/a?b=1"), *[entry(url=f"{API}/{n}") for n in range(12)])
    async with replay_har(path, strict=False) as replay, client_of(replay) as client:
        with pytest.raises(NotRecordedError) as caught:
            await client.request(method, url)
        assert (await client.get("/a?b=1#part")).status == 200
    lines = str(caught.value).splitlines()
    assert lines[0] == f"a.har has no answer for {method} URL('{API}{url}'): left are"
    assert lines[1] == f"  GET URL('{API}/a?b=1')"
    assert (len(lines), lines[-1]) == (12, "  and 3 more")


async def test_an_empty_archive(tmp_path: Path) -> None:
    """Nothing is in it: that is what the error says."""
    async with replay_har(write(tmp_path / "a.har"), strict=False) as replay, client_of(replay) as client:
        with pytest.raises(NotRecordedError, match="none of its answers is left"):
            await client.get("/")


def posting(text: str | None, answer: str, **more: Any) -> dict[str, Any]:
    data = {"mimeType": "text/plain", **more} | ({} if text is None else {"text": text})
    return answering(answer, method="POST", request_postData=data)


async def test_contents_tell_requests_apart(tmp_path: Path) -> None:
    """Where several contents were sent to one URL each has its answer, whatever the order, streamed or not."""
    path = write(tmp_path / "a.har", posting("a", "to a"), posting("Yg==", "to b", _encoding="base64"))
    with pytest.raises(NotRecordedError, match="with other content only"):
        async with replay_har(path) as replay, client_of(replay) as client:
            assert (await client.post("/", content=[b"b"])).text == "to b"
            assert (await client.post("/", content=b"a")).text == "to a"
            await client.post("/", content=b"c")


@pytest.mark.parametrize("posted", [[posting("a", "x")], [posting(None, "x"), posting("a", "y")],
                                    [posting("***", "x", _masked=True), posting("a", "y")]])  # fmt: skip
async def test_content_that_does_not_count(tmp_path: Path, posted: list[Any]) -> None:
    """A single answer is given whatever was sent; so is one to content that nobody knows."""
    async with replay_har(write(tmp_path / "a.har", *posted)) as replay, client_of(replay) as client:
        assert (await client.post("/", content=b"something else")).text == "x"


# -- archives of others ------------------------------------------------------------------------------------------------

CHROMIUM = {
    "log": {
        "version": "1.2",
        "creator": {"name": "WebInspector", "version": "537.36"},
        "pages": [
            {"startedDateTime": "2025-05-05T10:00:00.000Z", "id": "page_1", "title": f"{API}/",
             "pageTimings": {"onContentLoad": 101.5, "onLoad": 140.25}},
        ],
        "entries": [
            {
                "_connectionId": "1234", "_initiator": {"type": "other"}, "_priority": "VeryHigh",
                "_resourceType": "document", "cache": {}, "connection": "443", "pageref": "page_1",
                "request": {
                    "method": "GET", "url": f"{API}/page?x=%C3%A4", "httpVersion": "http/2.0",
                    "headers": [
                        {"name": ":authority", "value": "app.test"}, {"name": ":method", "value": "GET"},
                        {"name": "accept-encoding", "value": "gzip, deflate, br, zstd"},
                    ],
                    "queryString": [{"name": "x", "value": "%C3%A4"}], "cookies": [], "headersSize": -1, "bodySize": 0,
                },
                "response": {
                    "status": 200, "statusText": "", "httpVersion": "http/2.0",
                    "headers": [
                        {"name": "content-encoding", "value": "br"},
                        {"name": "content-type", "value": "text/html; charset=utf-8"},
                        {"name": "set-cookie", "value": "a=1; path=/\nb=2; path=/"},
                    ],
                    "cookies": [], "redirectURL": "", "headersSize": -1, "bodySize": -1, "_transferSize": 512,
                    "_error": None, "_fetchedViaServiceWorker": False,
                    "content": {"size": 9, "mimeType": "text/html", "text": "<p>ä</p>"},
                },
                "serverIPAddress": "[::1]", "startedDateTime": "2025-05-05T10:00:00.123Z", "time": 12.5,
                "timings": {"blocked": 1.5, "dns": -1, "ssl": -1, "connect": -1, "send": 0.1, "wait": 10.4,
                            "receive": 0.5, "_blocked_queueing": 1.1},
            },
            {
                "_resourceType": "image", "cache": {},
                "request": {"method": "GET", "url": f"{API}/dot.gif", "headers": [], "cookies": [],
                            "queryString": [], "headersSize": -1, "bodySize": 0, "httpVersion": "http/1.1"},
                "response": {
                    "status": 200, "statusText": "OK", "httpVersion": "http/1.1",
                    "headers": [{"name": "Content-Type", "value": "image/gif"}], "cookies": [], "redirectURL": "",
                    "headersSize": 100, "bodySize": 6, "_transferSize": 106,
                    "content": {"size": 6, "mimeType": "image/gif", "text": "R0lGODlh", "encoding": "base64"},
                },
                "startedDateTime": "2025-05-05T10:00:00.223Z", "time": 1,
                "timings": {"send": 0, "wait": 1, "receive": 0},
            },
            {
                "_resourceType": "fetch", "cache": {},
                "request": {
                    "method": "POST", "url": f"{API}/form", "headers": [], "cookies": [], "queryString": [],
                    "headersSize": -1, "bodySize": 3, "httpVersion": "http/2.0",
                    "postData": {"mimeType": "application/x-www-form-urlencoded", "text": "a=1",
                                 "params": [{"name": "a", "value": "1"}]},
                },
                "response": {
                    "status": 302, "statusText": "", "httpVersion": "http/2.0", "cookies": [],
                    "headers": [{"name": "location", "value": "/page?x=%C3%A4"}], "redirectURL": "/page?x=%C3%A4",
                    "headersSize": -1, "bodySize": 0, "content": {"size": 0, "mimeType": "x-unknown"},
                },
                "startedDateTime": "2025-05-05T10:00:00.323Z", "time": 1,
                "timings": {"send": 0, "wait": 1, "receive": 0},
            },
            {
                "_resourceType": "websocket", "_webSocketMessages": [], "cache": {},
                "request": {"method": "GET", "url": "ws://app.test/ws", "headers": [], "httpVersion": "HTTP/1.1"},
                "response": {"status": 101, "statusText": "Switching Protocols", "headers": [], "content": {}},
                "startedDateTime": "2025-05-05T10:00:00.423Z", "time": 1,
                "timings": {"send": 0, "wait": 1, "receive": 0},
            },
            {
                "_resourceType": "fetch", "cache": {},
                "request": {"method": "GET", "url": f"{API}/blocked", "headers": [], "httpVersion": ""},
                "response": {"status": 0, "statusText": "", "headers": [], "httpVersion": "", "redirectURL": "",
                             "content": {"size": 0, "mimeType": "x-unknown"}, "_error": "net::ERR_FAILED"},
                "startedDateTime": "2025-05-05T10:00:00.523Z", "time": 1,
                "timings": {"send": 0, "wait": 1, "receive": 0},
            },
        ],
    }
}  # fmt: skip


@pytest.mark.parametrize("mark", ["", "\ufeff"], ids=["plain", "with a byte order mark"])
async def test_an_archive_of_a_browser(tmp_path: Path, mark: str) -> None:
    """A file in the form that Chromium exports is replayed: decoded content, bytes, redirects, failures."""
    path = tmp_path / "a.har"
    path.write_text(mark + json.dumps(CHROMIUM, ensure_ascii=False), encoding="utf-8")
    async with replay_har(path) as replay, client_of(replay) as client:
        assert (await client.get("/dot.gif")).content == b"GIF89a"
        page = await client.post("/form", form={"a": 1})
        assert (page.text, page.url.path, [one.status for one in page.history]) == ("<p>ä</p>", "/page", [302])
        assert (page.codings, page.http_version, sorted(page.cookies)) == ((), "1.1", ["a", "b"])
        assert page.headers.get_all("set-cookie") == ["a=1; path=/", "b=2; path=/"]
        with pytest.raises(TransportError, match="ERR_FAILED"):
            await client.get("/blocked")
        assert replay.unused == []


@pytest.mark.parametrize(
    ("fields", "text", "content", "media_type"),
    [
        ([("Content-Type", "text/html; charset=shift_jis")], "日本", "日本".encode("shift_jis"), None),
        ([("Content-Type", "text/html; charset=iso-8859-1")], "日", "日".encode(), "text/html; charset=utf-8"),
        ([("Content-Type", "text/html; charset=nonsense")], "é", "é".encode(), "text/html; charset=utf-8"),
        ([("Content-Type", "nonsense")], "é", "é".encode(), None),
        ([], "é", "é".encode(), None),
    ],
)
async def test_charsets_of_others(
    tmp_path: Path, fields: list[tuple[str, str]], text: str, content: bytes, media_type: str | None
) -> None:
    """Text becomes bytes in the charset that its field names; in UTF-8, and the field says so, where that cannot be."""
    headers = [{"name": name, "value": value} for name, value in fields]
    path = write(tmp_path / "a.har", answering(text, response_headers=headers))
    async with replay_har(path) as replay, client_of(replay) as client:
        response = await client.get("/")
    assert response.content == content
    if media_type is not None:
        assert (response.headers["content-type"], response.text) == (media_type, text)


async def test_content_that_an_exporter_left_out(tmp_path: Path) -> None:
    """A size without content is an error when it is asked for; HEAD never had any."""
    missing = {"size": 10, "mimeType": "text/plain"}
    path = write(tmp_path / "a.har", entry(response_content=missing), entry("HEAD", response_content=missing))
    async with replay_har(path) as replay, client_of(replay) as client:
        with pytest.raises(ContentError, match="has not all of its content"):
            await client.get("/")
        assert (await client.head("/")).content == b""


def spoiled(**changes: Any) -> dict[str, Any]:
    return {"log": {"version": "1.2", "entries": [entry(), entry(**changes)]}}


@pytest.mark.parametrize(
    ("archive", "message"),
    [
        ([], r"the file must be an object, not \[\]"),
        ({}, "log is missing"),
        ({"log": 1}, "log must be an object, not 1"),
        ({"log": {}}, "log.entries is missing"),
        ({"log": {"version": "2.0", "entries": []}}, "log.version must be 1.2 or its like, not '2.0'"),
        ({"log": {"version": 1.2, "entries": []}}, "log.version must be a string, not 1.2"),
        ({"log": {"entries": {}}}, r"log.entries must be an array, not \{\}"),
        ({"log": {"entries": [7]}}, r"log.entries\[0\] must be an object, not 7"),
        ({"log": {"entries": [{}]}}, r"log.entries\[0\].request is missing"),
        (spoiled(request_method=1), r"log.entries\[1\].request.method must be a string, not 1"),
        (spoiled(request_url="http://"), r"log.entries\[1\].request.url is no URL to ask for: .* must have a host"),
        (spoiled(request_postData=[]), r"log.entries\[1\].request.postData must be an object, not \[\]"),
        (spoiled(request_postData={"text": 1}), r"log.entries\[1\].request.postData.text must be a string, not 1"),
        (spoiled(status="200"), r"log.entries\[1\].response.status must be an integer, not '200'"),
        (spoiled(status=True), r"log.entries\[1\].response.status must be an integer, not True"),
        (spoiled(status=99), r"log.entries\[1\].response.status must be a status code, not 99"),
        (spoiled(response_headers={}), r"log.entries\[1\].response.headers must be an array, not \{\}"),
        (spoiled(response_headers=[1]), r"log.entries\[1\].response.headers\[0\] must be an object, not 1"),
        (spoiled(response_headers=[{"name": "A"}]), r"log.entries\[1\].response.headers\[0\].value is missing"),
        (
            spoiled(response_headers=[{"name": "A", "value": "\0"}]),
            r"log.entries\[1\].response.headers\[0\] is no header field: .* must not hold",
        ),
        (spoiled(response_headers=[{"name": "A", "value": "\ud800"}]), r"response.headers\[0\] is no header field"),
        (spoiled(response_content=1), r"log.entries\[1\].response.content must be an object, not 1"),
        (spoiled(response_content={"text": 1}), r"log.entries\[1\].response.content.text must be a string, not 1"),
        (spoiled(response_content={"text": "\ud800"}), r"response.content.text must not hold half a surrogate pair"),
        (
            spoiled(response_content={"text": "!", "encoding": "base64"}),
            r"log.entries\[1\].response.content.text is no base64",
        ),
        (
            spoiled(response_content={"text": "é", "encoding": "base64"}),
            r"log.entries\[1\].response.content.text is no base64",
        ),
        (
            spoiled(response_content={"text": "x", "encoding": "rot13"}),
            r"log.entries\[1\].response.content.encoding must be base64, not 'rot13'",
        ),
    ],
)
async def test_an_archive_that_is_none(tmp_path: Path, archive: Any, message: str) -> None:
    """The error says in which file, at which place, what is wrong with it."""
    path = tmp_path / "a.har"
    path.write_text(json.dumps(archive), encoding="utf-8")
    with pytest.raises(ContentError, match=rf"^a\.har: .*{message}") as caught:
        async with replay_har(path):
            raise AssertionError("never entered")
    assert caught.value.reason == "har"


@pytest.mark.parametrize("data", [b"", b"{", b"\xff", b"[" * 100_000, "{}".encode("utf-16")])
async def test_a_file_that_is_no_json(tmp_path: Path, data: bytes) -> None:
    """What cannot be read is no archive, however deep it is."""
    path = tmp_path / "a.har"
    path.write_bytes(data)
    with pytest.raises(ContentError, match=r"^a\.har: not JSON in UTF-8"):
        async with replay_har(path):
            raise AssertionError("never entered")


async def test_a_file_is_bounded(tmp_path: Path) -> None:
    """One that is larger than it may be is not read on."""
    path = write(tmp_path / "a.har")
    with pytest.raises(ContentError, match="passes max_file_bytes=10"):
        async with replay_har(path, max_file_bytes=10):
            raise AssertionError("never entered")
    with pytest.raises(FileNotFoundError):
        async with replay_har(tmp_path / "b.har"):
            raise AssertionError("never entered")


async def test_a_replay_works_inside_of_its_block(tmp_path: Path) -> None:
    """Before it nothing has been read, which is an error of its own."""
    async with client_of(replay_har(write(tmp_path / "a.har"))) as client:
        with pytest.raises(RuntimeError, match="inside of a block"):
            await client.get("/")


def test_cancelling_anywhere(tmp_path: Path) -> None:
    """A recording is written whole wherever the program is cancelled, and nothing is left of it or of a replay."""
    source = write(tmp_path / "source.har", posting(None, "x"), answering("y"))
    target = tmp_path / "target.har"

    async def scenario(sweep: SweepRun) -> None:
        target.unlink(missing_ok=True)
        entered = False
        with sweep.block():
            async with replay_har(source) as replay, record_har(target) as recorder:
                entered = True
                async with Client(API, hop_middleware=[recorder, replay]) as client:
                    await client.post("/", content=[b"a", b"b"])
                    async with client.stream("GET", "/") as response:
                        await response.read()
        assert target.exists() == entered
        assert sorted(one.name for one in tmp_path.iterdir()) == ["source.har", "target.har"][: 1 + entered]
        if entered:
            json.loads(target.read_text(encoding="utf-8"))

    # Threads read and write the files: on a virtual clock the time limits of the sweep itself would pass meanwhile.
    assert cancel_sweep(scenario, virtual_time=False).cancelled > 5
