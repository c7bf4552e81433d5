"""What a client does is recorded to an archive that keeps to HAR 1.2, and changes nothing for the program."""

from __future__ import annotations

import base64
import gzip
import json
import re
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trio

from triohttp import App, Client, ClientResponseStream, Request, Response
from triohttp.errors import BodyTruncatedError, ConnectError, TransportError
from triohttp.har import HarRecorder, record_har
from triohttp.testing import MockAnswer, MockServer, RawConnection, open_in_process, open_scripted

API = "http://app.test"

# -- the format, as its specification has it: name -> (type, required) -------------------------------------------------

NUMBER = (int, float)
FIELD = {"name": (str, True), "value": (str, True), "comment": (str, False)}
COOKIE = {
    **FIELD, "path": (str, False), "domain": (str, False), "expires": (str, False), "httpOnly": (bool, False),
    "secure": (bool, False),
}  # fmt: skip
ENTRY: dict[str, Any] = {
    "pageref": (str, False),
    "startedDateTime": (str, True),
    "time": (NUMBER, True),
    "request": (
        {
            "method": (str, True), "url": (str, True), "httpVersion": (str, True), "cookies": ([COOKIE], True),
            "headers": ([FIELD], True), "queryString": ([FIELD], True), "headersSize": (int, True),
            "bodySize": (int, True), "comment": (str, False),
            "postData": ({"mimeType": (str, True), "params": ([FIELD], True), "text": (str, False),
                          "comment": (str, False)}, False),
        },
        True,
    ),
    "response": (
        {
            "status": (int, True), "statusText": (str, True), "httpVersion": (str, True), "cookies": ([COOKIE], True),
            "headers": ([FIELD], True), "redirectURL": (str, True), "headersSize": (int, True),
            "bodySize": (int, True), "comment": (str, False),
            "content": ({"size": (int, True), "compression": (int, False), "mimeType": (str, True),
                         "text": (str, False), "encoding": (str, False), "comment": (str, False)}, True),
        },
        True,
    ),
    "cache": ({}, True),
    "timings": ({name: (NUMBER, name in {"send", "wait", "receive"}) for name in
                 ("blocked", "dns", "connect", "send", "wait", "receive", "ssl")}, True),
    "serverIPAddress": (str, False),
    "connection": (str, False),
    "comment": (str, False),
}  # fmt: skip
CREATOR = {"name": (str, True), "version": (str, True), "comment": (str, False)}
ARCHIVE = {
    "log": ({"version": (str, True), "creator": (CREATOR, True), "entries": ([ENTRY], True), "comment": (str, False)},
            True),
}  # fmt: skip


def check(value: Any, form: Any, where: str = "archive") -> None:
    """Fail unless ``value`` has the form that the table says."""
    if isinstance(form, list):
        assert isinstance(value, list), where
        for place, item in enumerate(value):
            check(item, form[0], f"{where}[{place}]")
    elif isinstance(form, dict):
        assert isinstance(value, dict), where
        assert {name for name, (_, required) in form.items() if required} <= set(value), where
        for name, member in value.items():
            if not name.startswith("_"):
                assert name in form, f"{where}.{name} is not in the format"
                check(member, form[name][0], f"{where}.{name}")
    else:
        assert isinstance(value, form), where


def entries_of(path: Path) -> list[dict[str, Any]]:
    """The entries of a file that keeps to the format."""
    archive = json.loads(path.read_text(encoding="utf-8"))
    check(archive, ARCHIVE)
    assert archive["log"]["version"] == "1.2"
    entries: list[dict[str, Any]] = archive["log"]["entries"]
    for entry in entries:
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", entry["startedDateTime"])
        timings = entry["timings"]
        assert min(timings["send"], timings["wait"], timings["receive"]) >= 0
        assert entry["time"] == pytest.approx(sum(value for value in timings.values() if value >= 0))
    return entries


def fields(part: dict[str, Any]) -> dict[str, str]:
    return {field["name"].lower(): field["value"] for field in part["headers"]}


def make_app() -> App:
    app = App()

    @app.get("/hello")
    async def hello(request: Request) -> Response:
        return Response.text("grüß dich")

    @app.get("/old")
    async def old(request: Request) -> Response:
        return Response.redirect("/hello?access_token=t0p&page=1", status=302)

    @app.get("/gzip")
    async def coded(request: Request) -> Response:
        content = gzip.compress(b"x" * 5000)
        return Response(content, headers={"Content-Encoding": "gzip", "Content-Type": "text/plain"})

    @app.get("/binary")
    async def binary(request: Request) -> Response:
        return Response(bytes(range(256)), headers={"Content-Type": "image/png"})

    @app.post("/echo")
    async def echo(request: Request) -> Response:
        content = await request.read()
        return Response(content, headers={"Content-Type": request.headers.get("content-type", "")})

    @app.get("/login")
    async def login(request: Request) -> Response:
        response = Response.json({"access_token": "s3cr3t", "scope": "all", "password": 1234})
        response.headers.add("Set-Cookie", "sid=s3cr3t; Path=/; HttpOnly")
        response.headers.add("X-Session", "s3cr3t")
        return response

    return app


async def record(
    path: Path, use: Callable[[Client], Any], *, observed: bool = True, **options: Any
) -> list[dict[str, Any]]:
    """Record what ``use`` does with a client of the app."""
    async with open_in_process(make_app()) as site, record_har(path, **options) as recorder:
        observers = [recorder] if observed else []
        async with Client(API, mounts={API: site}, hop_middleware=[recorder], observers=observers) as client:
            await use(client)
    return entries_of(path)


@pytest.mark.parametrize("observed", [True, False])
async def test_a_request_and_its_answer(tmp_path: Path, observed: bool) -> None:
    """An entry has what was asked and what came back, whether or not the recorder is an observer too."""

    async def use(client: Client) -> None:
        assert (await client.get("/hello", params={"q": "a b", "n": 1}, cookies={"c": "1"})).text == "grüß dich"

    [entry] = await record(tmp_path / "a.har", use, observed=observed)
    request, response = entry["request"], entry["response"]
    assert (request["method"], request["url"], request["bodySize"]) == ("GET", f"{API}/hello?q=a%20b&n=1", 0)
    assert request["queryString"] == [{"name": "q", "value": "a b"}, {"name": "n", "value": "1"}]
    assert request["cookies"] == [{"name": "c", "value": "***"}]
    assert fields(request)["user-agent"] == "triohttp"
    assert (response["status"], response["statusText"], response["httpVersion"]) == (200, "OK", "HTTP/1.1")
    assert response["content"] == {"size": 11, "mimeType": "text/plain; charset=utf-8", "text": "grüß dich"}
    assert response["bodySize"] == 11
    assert ("connection" in entry) is observed
    assert (entry["timings"]["connect"] >= 0) is observed


async def test_each_hop_is_an_entry(tmp_path: Path) -> None:
    """A redirect is recorded with where it led, in the order in which requests went out."""

    async def use(client: Client) -> None:
        assert (await client.get("/old#part")).status == 200

    first, second = await record(tmp_path / "a.har", use)
    assert (first["request"]["url"], first["response"]["status"]) == (f"{API}/old", 302)
    assert first["response"]["redirectURL"] == "/hello?access_token=***&page=1"
    assert fields(first["response"])["location"] == "/hello?access_token=***&page=1"
    assert second["request"]["url"] == f"{API}/hello?access_token=***&page=1"
    assert second["request"]["queryString"][0] == {"name": "access_token", "value": "***"}


async def test_content_is_what_the_program_got(tmp_path: Path) -> None:
    """Codings are undone, bytes that are no text are base64; what was left coded is marked so."""

    async def use(client: Client) -> None:
        await client.get("/gzip")
        await client.get("/binary")
        await client.get("/gzip", decode=False)

    coded, binary, left = [entry["response"] for entry in await record(tmp_path / "a.har", use)]
    assert (coded["content"]["size"], coded["content"]["text"], coded["bodySize"]) == (5000, "x" * 5000, -1)
    assert base64.b64decode(binary["content"]["text"]) == bytes(range(256))
    assert binary["content"]["encoding"] == "base64"
    assert left["content"]["_codings"] == ["gzip"]
    assert gzip.decompress(base64.b64decode(left["content"]["text"])) == b"x" * 5000


@pytest.mark.parametrize(
    ("options", "posted"),
    [
        ({"json": {"a": 1}}, {"mimeType": "application/json", "params": [], "text": '{"a":1}'}),
        (
            {"form": {"a": "1 2", "password": "x"}},
            {"mimeType": "application/x-www-form-urlencoded", "text": "a=1%202&password=***", "_masked": True,
             "params": [{"name": "a", "value": "1 2"}, {"name": "password", "value": "***"}]},
        ),
        ({"content": b"\xff\x00"}, {"mimeType": "", "params": [], "text": "/wA=", "_encoding": "base64"}),
        (
            {"content": "é", "headers": {"Content-Type": "text/plain; charset=utf-16"}},
            {"mimeType": "text/plain; charset=utf-16", "params": [], "text": "w6k=", "_encoding": "base64"},
        ),
        (
            {"content": "a" * 200},
            {"mimeType": "text/plain; charset=utf-8", "params": [], "text": "a" * 100, "_truncated": True,
             "comment": "the first 100 bytes"},
        ),
    ],
    ids=["json", "form", "bytes", "charset", "long"],
)  # fmt: skip
async def test_content_of_requests(tmp_path: Path, options: Any, posted: dict[str, Any]) -> None:
    """What was sent is recorded too, as text where it is text."""

    async def use(client: Client) -> None:
        await client.post("/echo", **options)

    [entry] = await record(tmp_path / "a.har", use, max_content_bytes=100)
    assert entry["request"]["postData"] == posted


async def test_streamed_uploads_go_out_unrecorded(tmp_path: Path) -> None:
    """Content that comes piece by piece goes on as it comes; the archive says how much it was."""
    told: list[tuple[int, int | None]] = []

    async def use(client: Client) -> None:
        response = await client.post("/echo", content=[b"ab", b"c"], on_upload=lambda *counts: told.append(counts))
        assert (response.content, told[-1]) == (b"abc", (3, 3))

    [entry] = await record(tmp_path / "a.har", use)
    assert entry["request"]["postData"]["comment"] == "streamed content is not recorded"
    assert "text" not in entry["request"]["postData"]
    assert entry["request"]["bodySize"] == 3


async def test_secrets_are_masked(tmp_path: Path) -> None:
    """No secret is in the file: not in fields, cookies, URLs, forms or JSON; what they were called stays readable."""

    async def use(client: Client) -> None:
        await client.get(
            "/login?api_key=s3cr3t&token=s3cr3t&page=2",
            auth=("me", "s3cr3t"),
            cookies={"sid": "s3cr3t"},
            headers={"X-Api-Key": "s3cr3t", "X-Mine": "s3cr3t"},
        )
        await client.post("/echo", json={"client_secret": 's3\\"cr3t', "user": "me"})

    path = tmp_path / "a.har"
    options = {"secret_headers": ["x-mine", "X-Session"], "secret_params": ["token"]}
    login, echo = await record(path, use, **options)
    assert "s3" not in path.read_text()
    assert base64.b64encode(b"me:s3cr3t").decode() not in path.read_text()
    assert login["request"]["url"] == f"{API}/login?api_key=***&token=***&page=2"
    assert login["request"]["cookies"] == [{"name": "sid", "value": "***"}]
    assert fields(login["request"])["cookie"] == "sid=***"
    assert fields(login["response"])["set-cookie"] == "sid=***; Path=/; HttpOnly"
    [cookie] = login["response"]["cookies"]
    assert cookie == {"name": "sid", "value": "***", "path": "/", "httpOnly": True, "secure": False}
    assert login["response"]["content"]["text"] == '{"access_token":"***","scope":"all","password":"***"}'
    assert echo["request"]["postData"]["text"] == '{"client_secret":"***","user":"me"}'


async def test_secrets_are_kept_when_asked(tmp_path: Path) -> None:
    """``secrets=True`` leaves everything as it was."""

    async def use(client: Client) -> None:
        await client.get("/login?api_key=s3cr3t", auth=("me", "s3cr3t"), cookies={"sid": "s3cr3t"})

    [entry] = await record(tmp_path / "a.har", use, secrets=True)
    assert entry["request"]["url"].endswith("api_key=s3cr3t")
    assert fields(entry["request"])["cookie"] == "sid=s3cr3t"
    assert fields(entry["request"])["authorization"].startswith("Basic ")
    assert fields(entry["response"])["set-cookie"] == "sid=s3cr3t; Path=/; HttpOnly"
    assert "s3cr3t" in entry["response"]["content"]["text"]


@pytest.mark.parametrize("cut", range(1, 40))
async def test_no_cut_bares_a_secret(tmp_path: Path, cut: int) -> None:
    """Wherever the bound cuts JSON off, nothing of a secret is left."""
    with MockServer(API) as mock:
        mock.add("GET", "/", MockAnswer(json={"password": 'QQ\\QQ"QQ\\', "other": 1}))
        async with record_har(tmp_path / "a.har", max_content_bytes=cut) as recorder:
            async with Client(API, hop_middleware=[recorder, mock]) as client:
                await client.get("/")
    assert "Q" not in (tmp_path / "a.har").read_text()


async def test_streams_are_recorded_as_they_pass(tmp_path: Path, autojump_clock: object) -> None:
    """The program gets each piece when it comes; what it did not want is not in the archive, which says so."""

    async def script(raw: RawConnection) -> None:
        while True:
            await raw.read_request()
            await raw.send_all(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n")
            await raw.send_all(b"2\r\nab\r\n")
            await trio.sleep(1)
            await raw.send_all(b"3\r\ncde\r\n")
            await trio.sleep(1)
            await raw.send_all(b"0\r\nX-Sum: 5\r\n\r\n")

    path = tmp_path / "a.har"
    async with open_scripted(script) as server, record_har(path) as recorder:
        options: Any = {"mounts": {server.url: server}, "hop_middleware": [recorder], "observers": [recorder]}
        async with Client(server.url, **options) as client:
            async with client.stream("GET", "/all") as response:
                assert [piece async for piece in response.body] == [b"ab", b"cde"]
                assert response.trailers is not None
            async with client.stream("GET", "/some") as response:
                assert await response.body.receive_some(1) == b"a"
                assert await response.body.receive_some() == b"b"
    every, some = [entry["response"] for entry in entries_of(path)]
    assert (every["content"], every["bodySize"]) == ({"size": 5, "mimeType": "text/plain", "text": "abcde"}, 5)
    assert every["_trailers"] == [{"name": "X-Sum", "value": "5"}]
    assert some["content"] == {"size": 2, "mimeType": "text/plain", "text": "ab", "_incomplete": True}


async def test_timings_add_up(tmp_path: Path, autojump_clock: object) -> None:
    """An observer knows when it connected, sent, and was answered; a connection that is used again is not dialled."""

    class SlowOrigin:
        async def connect(self) -> trio.abc.Stream:
            await trio.sleep(0.5)
            return await server.connect()

    async def script(raw: RawConnection) -> None:
        for _ in range(2):
            await raw.read_request()
            await trio.sleep(2)
            await raw.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\na")
            await trio.sleep(1)
            await raw.send_all(b"b")

    path = tmp_path / "a.har"
    async with open_scripted(script) as server, record_har(path) as recorder:
        mounts = {server.url: SlowOrigin()}
        async with Client(server.url, mounts=mounts, hop_middleware=[recorder], observers=[recorder]) as client:
            await client.get("/")
            async with client.stream("GET", "/") as response:
                assert await response.read() == b"ab"
    first, second = [entry["timings"] for entry in entries_of(path)]
    assert first == pytest.approx(
        {"blocked": 0, "dns": -1, "connect": 500, "ssl": -1, "send": 0, "wait": 2000, "receive": 1000}
    )
    assert second == pytest.approx(
        {"blocked": -1, "dns": -1, "connect": -1, "ssl": -1, "send": 0, "wait": 2000, "receive": 1000}
    )


async def test_content_is_bounded(tmp_path: Path) -> None:
    """Of more than the bound the first bytes are kept, whole characters of them; the program gets everything."""

    async def use(client: Client) -> None:
        assert len((await client.get("/hello")).content) == 11
        async with client.stream("GET", "/hello") as response:
            assert len(await response.read()) == 11

    for entry in await record(tmp_path / "a.har", use, max_content_bytes=3):
        content = entry["response"]["content"]
        assert (content["size"], content["text"], content["_truncated"]) == (11, "gr", True)


async def test_no_content_at_all(tmp_path: Path) -> None:
    """``max_content_bytes=0`` records heads alone."""

    async def use(client: Client) -> None:
        await client.post("/echo", content="abc")

    [entry] = await record(tmp_path / "a.har", use, max_content_bytes=0)
    assert "text" not in entry["response"]["content"]
    assert entry["request"]["postData"]["text"] == ""


async def test_entries_are_bounded(tmp_path: Path) -> None:
    """Requests beyond ``max_entries`` go on unrecorded, and are counted."""

    async def use(client: Client) -> None:
        for _ in range(3):
            assert (await client.get("/hello")).status == 200

    assert len(await record(tmp_path / "a.har", use, max_entries=1)) == 1
    assert json.loads((tmp_path / "a.har").read_text())["log"]["comment"] == "2 more requests were not recorded"


@pytest.mark.parametrize("secrets", [True, False])
async def test_the_file_is_for_its_owner(tmp_path: Path, secrets: bool) -> None:
    """Nobody else can read it, be it one that was readable before; nothing lies beside it."""
    path = tmp_path / "a.har"
    path.write_text("old")
    path.chmod(0o644)
    async with record_har(path, secrets=secrets):
        assert path.read_text() == "old"
    assert entries_of(path) == []
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [path]


async def test_failures_are_recorded(tmp_path: Path) -> None:
    """A request without an answer is an entry without a status, with what happened; the error is the program's own."""
    path = tmp_path / "a.har"
    with MockServer(API) as mock:
        mock.add("GET", "/", ConnectError(f"no route for GET {API}/?api_key=s3cr3t"))
        async with record_har(path) as recorder, Client(API, hop_middleware=[recorder, mock]) as client:
            with pytest.raises(ConnectError):
                await client.get("/")
    [entry] = entries_of(path)
    assert (entry["response"]["status"], entry["response"]["content"]["size"]) == (0, 0)
    assert entry["response"]["_error"] == f"ConnectError: no route for GET {API}/?api_key=***"


async def test_an_answer_that_breaks_off_is_recorded(tmp_path: Path) -> None:
    """What came is there, with what happened then."""

    async def script(raw: RawConnection) -> None:
        await raw.read_request()
        await raw.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc")

    path = tmp_path / "a.har"
    async with open_scripted(script) as server, record_har(path) as recorder:
        async with Client(server.url, mounts={server.url: server}, hop_middleware=[recorder]) as client:
            async with client.stream("GET", "/") as response:
                with pytest.raises(BodyTruncatedError):
                    await response.read()
            with pytest.raises(TransportError):
                await client.get("/")
    streamed, whole = [entry["response"] for entry in entries_of(path)]
    assert (streamed["status"], streamed["content"]["text"]) == (200, "abc")
    assert (streamed["_error"][:18], whole["status"]) == ("BodyTruncatedError", 0)


async def test_a_cancelled_block_is_written(tmp_path: Path, autojump_clock: object) -> None:
    """What was recorded is written when the program is cancelled, with the request that was on its way."""
    path = tmp_path / "a.har"
    with MockServer(API) as mock:
        mock.add("GET", "/quick")
        mock.add("GET", "/slow", MockAnswer(delay_seconds=10))
        with trio.CancelScope() as scope:
            async with record_har(path) as recorder, Client(API, hop_middleware=[recorder, mock]) as client:
                await client.get("/quick")
                scope.deadline = trio.current_time() + 5
                await client.get("/slow")
    assert scope.cancelled_caught
    assert [entry["response"].get("_error") for entry in entries_of(path)] == [None, "Cancelled"]


async def test_a_block_that_fails_is_written(tmp_path: Path) -> None:
    """The recording of what went wrong is there, and the error goes on."""

    async def use(client: Client) -> None:
        await client.get("/hello")
        raise KeyError("mine")

    with pytest.raises(KeyError):
        await record(tmp_path / "a.har", use)
    assert len(entries_of(tmp_path / "a.har")) == 1


async def test_a_file_that_cannot_be_written(tmp_path: Path) -> None:
    """A missing directory is an error at once; a later one is at the end, or a note of the block's own."""
    with pytest.raises(FileNotFoundError):
        async with record_har(tmp_path / "missing" / "a.har"):
            raise AssertionError("never entered")
    directory = tmp_path / "a.har"
    directory.mkdir()
    with pytest.raises(IsADirectoryError):
        async with record_har(directory):
            pass
    with pytest.raises(KeyError) as caught:
        async with record_har(directory):
            raise KeyError
    assert "the recording was not written" in caught.value.__notes__[0]
    assert list(tmp_path.iterdir()) == [directory]


async def test_a_recorder_works_inside_of_its_block(tmp_path: Path) -> None:
    """Before and after it, recording is an error rather than nothing."""
    recorder = record_har(tmp_path / "a.har")
    assert isinstance(recorder, HarRecorder)
    with MockServer(API) as mock:
        mock.add("GET", "/")
        async with Client(API, hop_middleware=[recorder, mock]) as client:
            with pytest.raises(RuntimeError, match="inside of its block"):
                await client.get("/")
            async with recorder:
                await client.get("/")
            with pytest.raises(RuntimeError, match="inside of its block"):
                await client.get("/")
    with pytest.raises(RuntimeError, match="entered once"):
        async with recorder:
            pass


async def test_a_stream_goes_on_through_a_cancellation(tmp_path: Path, autojump_clock: object) -> None:
    """A receive that is cancelled loses nothing, under a recorder too."""

    async def script(raw: RawConnection) -> None:
        await raw.read_request()
        await raw.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n")
        await trio.sleep(2)
        await raw.send_all(b"ab")

    path = tmp_path / "a.har"
    async with open_scripted(script) as server, record_har(path) as recorder:
        async with Client(server.url, mounts={server.url: server}, hop_middleware=[recorder]) as client:
            async with client.stream("GET", "/") as response:
                assert isinstance(response, ClientResponseStream)
                with trio.move_on_after(1) as scope:
                    await response.body.receive_some()
                assert scope.cancelled_caught
                assert await response.read() == b"ab"
                await response.body.aclose()
    [entry] = entries_of(path)
    assert (entry["response"]["content"]["size"], "_error" in entry["response"]) == (2, False)


@pytest.mark.parametrize(
    "options", [{"max_content_bytes": -1}, {"max_entries": 0}, {"max_entries": True}], ids=str
)
def test_bounds_that_make_no_sense(options: dict[str, Any]) -> None:
    """A bound that is none is refused."""
    with pytest.raises(ValueError, match="must be an integer"):
        record_har("a.har", **options)


@pytest.mark.parametrize("name", ["secret_headers", "secret_params"])
def test_names_are_a_collection(name: str) -> None:
    """One text would be its letters."""
    options: Any = {name: "x-mine"}
    with pytest.raises(TypeError, match="must be a collection of names"):
        record_har("a.har", **options)
