"""Forms with files: what ``files=`` takes, how the parts come out, and what can be sent again."""

from __future__ import annotations

import io
import re
from collections.abc import AsyncGenerator, Iterator
from pathlib import Path
from typing import Any

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from multipart import MultipartParser
from recorder import Recorder

from triohttp import Client, ClientLimits
from triohttp._client.body import WHOLE_BYTES, StreamedContent
from triohttp._client.multipart_content import FilePart
from triohttp._client.request import DEFAULT_HEADERS, ClientRequest, Defaults, RequestOptions, build_request
from triohttp.errors import BodyStateError, InvalidHeaderError, LocalProtocolError, RedirectError
from triohttp.testing import SweepRun, cancel_sweep, open_scripted

PLAIN = Defaults(None, DEFAULT_HEADERS)
LONG = b"long" * 100_000


def build(options: RequestOptions) -> ClientRequest:
    return build_request(PLAIN, "POST", "http://h.test/", options)


def boundary_of(content_type: str) -> str:
    found = re.fullmatch(r"multipart/form-data; boundary=([0-9a-f]{32})", content_type)
    assert found
    return found[1]


def parse(content: bytes, content_type: str) -> list[tuple[str, str | None, str | None, bytes]]:
    """The parts as (name, filename, media type, content), read by a parser that is not ours."""
    parser = MultipartParser(io.BytesIO(content), content_type.partition("boundary=")[2], len(content), strict=True)
    parts = [(part.name, part.filename, dict(part.headers).get("Content-Type"), part.raw) for part in parser.parts()]
    for part in parser.parts():
        part.close()
    return parts


async def once(*pieces: bytes) -> AsyncGenerator[bytes, None]:
    for piece in pieces:
        await trio.lowlevel.checkpoint()
        yield piece


def test_a_small_form_is_bytes() -> None:
    """Fields come before files; each part has its name, and files have a filename and a media type."""
    request = build({"form": {"a": "1", "n": 2, "gone": None}, "files": {"f": ("x.txt", "text")}})
    boundary = boundary_of(request.headers["content-type"])
    expected = (
        '--B\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n'
        '--B\r\nContent-Disposition: form-data; name="n"\r\n\r\n2\r\n'
        '--B\r\nContent-Disposition: form-data; name="f"; filename="x.txt"\r\nContent-Type: text/plain\r\n\r\ntext\r\n'
        "--B--\r\n"
    )
    assert request.content == expected.replace("B", boundary).encode()
    assert build({"files": {}}).content != build({"files": {}}).content  # each has a boundary of its own


def test_a_form_without_parts_is_one() -> None:
    """Nothing to send is still a form."""
    request = build({"files": []})
    assert request.content == f"--{boundary_of(request.headers['content-type'])}--\r\n".encode()


def named(name: Any) -> io.BytesIO:
    """A file in memory that has a name."""
    file = io.BytesIO(b"data")
    file.name = name  # type: ignore[attr-defined]  # as many libraries do
    return file


@pytest.mark.parametrize(
    ("file", "filename", "media_type", "content"),
    [
        (b"data", "f", "application/octet-stream", b"data"),
        (bytearray(b"data"), "f", "application/octet-stream", b"data"),
        ("grün", "f", "application/octet-stream", "grün".encode()),
        (["da", "ta"], None, None, None),
        ([b"da", b"ta"], "f", "application/octet-stream", b"data"),
        (named("dir/report.csv"), "report.csv", "text/csv", b"data"),
        (named("<stdin>"), "f", "application/octet-stream", b"data"),
        (named(3), "f", "application/octet-stream", b"data"),
        (named(b"x.css"), "x.css", "text/css", b"data"),
        (trio.wrap_file(named("a.png")), "a.png", "image/png", b"data"),
        (("a.html", b"data"), "a.html", "text/html", b"data"),
        (("a.html", b"data", "text/x"), "a.html", "text/x", b"data"),
        (("a.html", b"data", None), "a.html", "text/html", b"data"),
        (("up/a.html", b"data"), "up/a.html", "text/html", b"data"),
        ((None, b"data"), None, None, b"data"),
        ((None, b"data", "application/json"), None, "application/json", b"data"),
        (FilePart(b"data"), "f", "application/octet-stream", b"data"),
        (FilePart(b"data", filename=""), "", "application/octet-stream", b"data"),
        (FilePart(named("a.txt"), filename="b.json"), "b.json", "application/json", b"data"),
        (FilePart(named("a.txt"), media_type="text/x; y=z"), "a.txt", "text/x; y=z", b"data"),
        (FilePart(named("a.txt"), filename=None), None, None, b"data"),
    ],
)
async def test_what_a_file_can_be(file: Any, filename: str | None, media_type: str | None, content: bytes) -> None:
    """Names are the file's own unless given, and the media type is what the name says."""
    if content is None:
        with pytest.raises(TypeError, match="pairs, each with the name"):
            build({"files": {"f": file}})
        return
    site = Recorder()
    async with open_scripted(site) as server, Client(mounts={server.url: server}) as client:
        await client.post(server.url, files={"f": file})
    request = site.requests[0]
    assert parse(request.content, request.headers["content-type"]) == [("f", filename, media_type, content)]


async def test_a_path_is_a_file(tmp_path: Path) -> None:
    """Streamed, with its last segment for a name, and with the length of everything announced."""
    path = tmp_path / "grün.json"
    path.write_bytes(LONG)
    site = Recorder()
    async with open_scripted(site) as server, Client(mounts={server.url: server}) as client:
        await client.post(f"{server.url}/first", form={"a": "b"}, files=[("f", path), ("f", path), ("g", b"")])
        assert client.pool.statistics().idle == 1
    first, second = site.requests
    assert first.content == second.content
    assert first.headers["content-type"] == second.headers["content-type"]
    assert first.headers["content-length"] == str(len(first.content))
    part = ("f", "grün.json", "application/json", LONG)
    assert parse(first.content, first.headers["content-type"]) == [
        ("a", None, None, b"b"),
        part,
        part,
        ("g", "g", "application/octet-stream", b""),
    ]


@pytest.mark.parametrize("size", [WHOLE_BYTES - 1000, WHOLE_BYTES, WHOLE_BYTES + 1, 10 * WHOLE_BYTES])
async def test_bytes_of_any_size_are_files(size: int) -> None:
    """In one piece or in several, with a length."""
    site = Recorder()
    content = LONG[:size]
    async with open_scripted(site) as server, Client(mounts={server.url: server}) as client:
        await client.post(server.url, files=[("a", content), ("b", content)])
    request = site.requests[0]
    assert request.headers["content-length"] == str(len(request.content))
    assert [part[3] for part in parse(request.content, request.headers["content-type"])] == [content, content]


async def test_a_part_of_unknown_length_is_sent_in_chunks() -> None:
    """One part that does not know its length is enough; its source is read once, so the form is."""
    site = Recorder()
    async with open_scripted(site) as server, Client(mounts={server.url: server}) as client:
        await client.post(server.url, files={"a": once(b"one", b"two"), "b": io.BytesIO(b"three")})
        with pytest.raises(RedirectError) as caught:
            await client.post(f"{server.url}/first", files={"a": once(b"one")})
        assert caught.value.reason == "replay"
    request = site.requests[0]
    assert request.headers["transfer-encoding"] == "chunked"
    assert [part[3] for part in parse(request.content, request.headers["content-type"])] == [b"onetwo", b"three"]


@settings(deadline=None, max_examples=50)
@given(
    st.lists(
        st.tuples(
            st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\\%"), min_size=1, max_size=20),
            st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\\%"), max_size=20),
            st.binary(max_size=50),
        ),
        max_size=5,
    )
)
def test_names_and_contents_come_back(parts: list[tuple[str, str, bytes]]) -> None:
    """Whatever fields and files are called, and whatever is in them, a parser finds it again."""
    request = build({"files": [(name, (filename, content)) for name, filename, content in parts]})
    assert isinstance(request.content, bytes)
    found = parse(request.content, request.headers["content-type"])
    assert [(name, filename, content) for name, filename, _, content in found] == parts


def test_header_fields_of_a_part() -> None:
    """They come after those that a part has by itself."""
    part = FilePart(b"", media_type="text/x", headers={"X-One": "1", "Content-Language": "de"})
    request = build({"files": {"f": part}})
    assert isinstance(request.content, bytes)
    assert b"X-One: 1\r\nContent-Language: de\r\nContent-Type: text/x\r\n\r\n" in request.content


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"media_type": "a\r\nX: y"}, InvalidHeaderError),
        ({"headers": {"X": "a\r\nY: b"}}, InvalidHeaderError),
        ({"headers": {"Content-Type": "text/x"}}, ValueError),
        ({"headers": {"content-disposition": "form-data"}}, ValueError),
        ({"filename": 3}, TypeError),
        ({"media_type": 3}, TypeError),
    ],
)
def test_nothing_is_injected_by_a_part(arguments: dict[str, Any], error: type[Exception]) -> None:
    """What would end a line, or is said elsewhere, is refused when the part is made."""
    with pytest.raises(error):
        FilePart(b"", **arguments)


@pytest.mark.parametrize(
    ("content_type", "boundary"),
    [
        ("multipart/form-data; boundary=mine", "mine"),
        ('Multipart/Form-Data; charset=utf-8; BOUNDARY="my own"', "my own"),
    ],
)
@pytest.mark.parametrize("options", [{"files": {"f": b"x"}}, {"form": {"f": "x"}}])
def test_a_boundary_of_the_callers_is_kept(content_type: str, boundary: str, options: RequestOptions) -> None:
    """The field goes out as it was given, the content follows it; a form that says so needs no files."""
    request = build({**options, "headers": {"Content-Type": content_type}})
    assert isinstance(request.content, bytes)
    assert request.content.startswith(b"--" + boundary.encode() + b"\r\n")
    assert request.headers.get_all("content-type") == [content_type]


def test_a_form_that_names_no_boundary_gets_one() -> None:
    """Whoever writes only the type means it."""
    request = build({"files": {"f": b"x"}, "headers": {"Content-Type": "multipart/form-data"}})
    boundary = boundary_of(request.headers["content-type"])
    assert isinstance(request.content, bytes)
    assert request.content.startswith(f"--{boundary}\r\n".encode())


@pytest.mark.parametrize("content_type", ["application/json", "multipart/mixed; boundary=x", "nonsense"])
def test_another_content_type_is_refused(content_type: str) -> None:
    """A form with files under another name would be read by nobody."""
    with pytest.raises(LocalProtocolError) as caught:
        build({"files": {"f": b"x"}, "headers": {"Content-Type": content_type}})
    assert caught.value.slug == "content-type"


@pytest.mark.parametrize("options", [{"content": b""}, {"json": None}, {"content": b"", "form": {}}])
def test_a_form_is_the_only_content(options: RequestOptions) -> None:
    """Files go with ``form`` and nothing else."""
    with pytest.raises(TypeError, match="one content"):
        build({"files": {}, **options})


@pytest.mark.parametrize(
    "files",
    [3, "f", b"f", [b"f"], ["ab"], {3: b"x"}, [("f", b"x", b"y")], {"f": 3}, {"f": None}, {"f": {"a": b""}},
     {"f": ("x",)}, {"f": (b"a", b"b")}, {"f": ("x", b"", "t", {})}, {"f": [io.BytesIO()]}, {"f": io.StringIO()}],
)  # fmt: skip
def test_what_is_no_file_is_refused(files: Any) -> None:
    """At once, with a word about what it is instead."""
    with pytest.raises(TypeError, match=r"file|filename|pairs"):
        build({"files": files})


def test_an_announced_length_has_to_be_right() -> None:
    """As for any content."""
    with pytest.raises(LocalProtocolError) as caught:
        build({"files": {"f": b"x"}, "headers": {"Content-Length": "3"}})
    assert caught.value.slug == "content-length"


# -- passes ------------------------------------------------------------------------------------------------------------


class Part:
    """Content that notes whether it was closed."""

    def __init__(self, *, fails: bool = False) -> None:
        self.closed = 0
        self.fails = fails
        self.pieces = iter([b"x" * 10, b"y" * 10])

    def __iter__(self) -> Iterator[bytes]:
        return self.pieces

    def close(self) -> None:
        self.closed += 1
        if self.fails:
            raise ValueError("cleanup")


async def test_every_part_is_closed() -> None:
    """Those that were read, those that were begun, and those whose turn never came; whatever one of them raises."""
    parts = [Part(), Part(fails=True), Part()]
    content = build({"files": [("f", part) for part in parts]}).content
    assert isinstance(content, StreamedContent)
    assert not content.replayable
    while await content.next_piece() != b"x" * 10:
        pass
    with pytest.raises(ValueError, match="cleanup"):
        await content.aclose()
    assert [part.closed for part in parts] == [1, 1, 1]
    with pytest.raises(BodyStateError, match=r"a form with .*Part.* in it.* can be read only once"):
        content.rewind()


async def test_a_form_that_was_stopped_begins_anew(tmp_path: Path) -> None:
    """Wherever a pass was stopped, the next one gives everything."""
    path = tmp_path / "f"
    path.write_bytes(LONG)
    request = build({"files": {"a": path, "b": io.BytesIO(LONG), "c": [b"c"]}})
    content = request.content
    assert isinstance(content, StreamedContent)
    assert content.replayable
    for stop in (0, 1, 3, 9, 12):
        await content.measure()
        for _ in range(stop):
            assert await content.next_piece() is not None
        await content.aclose()
        content.rewind()
    pieces = []
    while (piece := await content.next_piece()) is not None:
        pieces.append(piece)
    await content.aclose()
    assert [part[3] for part in parse(b"".join(pieces), request.headers["content-type"])] == [LONG, LONG, b"c"]


async def test_a_missing_file_is_an_error_before_anything_is_sent(tmp_path: Path) -> None:
    """However many parts come before it."""
    async with open_scripted(Recorder()) as server, Client(mounts={server.url: server}) as client:
        with pytest.raises(FileNotFoundError):
            await client.post(server.url, files={"a": once(b"x"), "b": tmp_path / "missing"})
        assert not server.connections


@pytest.mark.sweep
def test_cancelling_a_form_anywhere_leaks_nothing(tmp_path: Path) -> None:
    """At every checkpoint: files are closed, generators too, the slot is back, and the same files can be sent again."""
    path = tmp_path / "f"
    path.write_bytes(LONG[:100_000])
    open_file = io.BytesIO(LONG[:100_000])

    async def scenario(sweep: SweepRun) -> None:
        site = Recorder()
        async with open_scripted(site) as server:
            async with Client(mounts={server.url: server}, limits=ClientLimits(connections=1)) as client:
                with sweep.block():
                    open_file.seek(0)
                    source = once(b"one", b"two")
                    await client.post(server.url, files={"a": path, "b": open_file, "c": source})
                assert source.ag_frame is None  # it has ended
                statistics = client.pool.statistics()
                assert (statistics.in_use, statistics.connecting, statistics.waiting) == (0, 0, 0)
                open_file.seek(0)
                await client.post(server.url, files={"a": path, "b": open_file})
                request = site.requests[-1]
                parts = parse(request.content, request.headers["content-type"])
                assert [part[3] for part in parts] == [LONG[:100_000]] * 2

    assert cancel_sweep(scenario, virtual_time=False).cancelled > 0


def test_secrets_stay_out_of_reprs() -> None:
    """Neither contents nor header fields of a part are shown."""
    part = FilePart(b"hidden", filename="f", headers={"X": "hidden"})
    assert repr(part) == "<FilePart 'f' of a bytes>"
