"""What the corpus says of a request holds for an app on a server, on every network, however its bytes arrive.

Each way of arriving has a connection of its own; a connection that is to live on is asked once more, and one that is
to end must end there, so that an answer too many is always seen.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import pytest
import trio

from triohttp import App, Request, Response
from triohttp._values.status import reason_phrase
from triohttp.errors import DisconnectedError
from triohttp.testing import RawConnection, RawResponse

if TYPE_CHECKING:
    from conftest import Network

LONG_BYTES = 400
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
NEXT = b"GET /next HTTP/1.1\r\nHost: next\r\n\r\n"
HTTP_ON_HTTPS = b"Client sent an HTTPS request to an HTTP server\n"


def make_app(seen: list[dict[str, Any]]) -> App:
    """Return an app that notes what its handler sees of a request, as the corpus puts it, and takes any content."""
    app = App(limits={"max_body_bytes": None})

    @app.get("/next")
    async def following(request: Request) -> Response:
        return Response.text("next")

    @app.route("/{rest:path}", methods=None)
    async def note(request: Request) -> Response:
        head = request.head
        message: dict[str, Any] = {"method": head.method, "target": head.target, "authority": head.authority}
        message |= {"version": head.version, "body": b"", "trailers": [], "incomplete": True}
        seen.append(message)
        async for piece in request.body:
            message["body"] += piece
        if request.trailers is not None:
            message["trailers"] = [list(line) for line in request.trailers.field_lines()]
        del message["incomplete"]
        return Response.text("noted")

    return app


def answer_of_the_app(message: dict[str, Any]) -> int | None:
    """Return the status that the app itself has for a request; None where its handler answers."""
    if message["method"] in ("CONNECT", "TRACE"):
        return 405
    return 200 if message["target"] == "*" else None


def cuts(data: bytes, kind: str) -> Iterator[tuple[str, list[bytes]]]:
    """Yield ways for an input to arrive, each with its name: whole, in two, and byte by byte where that is cheap."""
    yield "whole", [data]
    if len(data) > LONG_BYTES:
        yield "in pieces", [data[:1], data[1:40], data[40:-3], data[-3:]]
        return
    if not kind.startswith("tls"):
        yield "byte by byte", [data[i : i + 1] for i in range(len(data))]
    if kind != "tcp":
        head = data.find(b"\r\n\r\n")
        for place in sorted({len(data) // 3, head + 3, len(data) - 1} & set(range(1, len(data)))):
            yield f"cut at {place}", [data[:place], data[place:]]
            if kind != "memory":
                return


class Rejects(logging.Handler):
    """Keeps the reject records of a block."""

    def __init__(self) -> None:
        super().__init__()
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(record.getMessage())


@pytest.fixture
def rejects() -> Iterator[list[str]]:
    """The reject records of the test so far."""
    handler = Rejects()
    logger = logging.getLogger("triohttp.reject")
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    logger.propagate = False
    yield handler.messages
    logger.propagate = True
    logger.setLevel(logging.NOTSET)
    logger.removeHandler(handler)


@contextmanager
def named(*names: object) -> Iterator[None]:
    """Say in an error of the block what it was about."""
    try:
        yield
    except Exception as exc:
        exc.add_note(f"in {', '.join(map(str, names))}")
        raise


async def send(raw: RawConnection, pieces: Sequence[bytes], end: bool) -> None:
    """Send an input as far as the server takes it."""
    try:
        for piece in pieces:
            await raw.send_all(piece)
        if end:
            await raw.send_eof()
    except trio.BrokenResourceError:
        pass  # it was refused in the middle


def check_refusal(response: RawResponse, error: dict[str, Any]) -> None:
    """See that a refusal has its status and nothing that the peer sent."""
    status = error["status"]
    assert (response.status, response.reason) == (status, reason_phrase(status))
    assert response.headers["connection"] == "close"
    assert {name.lower() for name in response.headers} <= {
        "connection",
        "content-length",
        "content-type",
        "date",
        "server",
        "x-content-type-options",
    }
    text = HTTP_ON_HTTPS if error["slug"] == "tls-on-http" else f"{reason_phrase(status)}\n".encode()
    assert response.content == text


def outcome_of_the_end(case: dict[str, Any]) -> dict[str, Any]:
    """Return what becomes of a case that waits for more once its stream ends instead."""
    case = case | {"end": True, "then": "ended"}
    if not case["input"].strip(b"\r\n"):
        return case
    slug, at = ("body-truncated", "content") if case["messages"] else ("head-truncated", "head")
    return case | {"answers": 1, "error": {"slug": slug, "status": 400, "at": at}, "then": "close"}


async def converse(raw: RawConnection, case: dict[str, Any], pieces: Sequence[bytes]) -> list[RawResponse]:
    """Send an input and return its answers; the connection must go on, or end, as the case says, and say no more."""
    methods = [message["method"] for message in case["messages"]] + ["GET"]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(send, raw, pieces, case.get("end", False))
        answers = [await raw.read_response(methods[number]) for number in range(case["answers"])]
        if case["then"] != "keep":
            assert await raw.read_until_closed() == b""
    if case["then"] == "keep":
        await raw.send_all(NEXT)
        assert (await raw.read_response()).content == b"next"
    return answers


async def break_off(raw: RawConnection, case: dict[str, Any], pieces: Sequence[bytes]) -> list[RawResponse]:
    """Send an input that ends too early, to a server that may be unable to answer it, and return the answer or none."""
    await send(raw, pieces, end=True)
    answers = []
    with suppress(trio.BrokenResourceError, DisconnectedError):
        answers.append(await raw.read_response())
        assert await raw.read_until_closed() == b""
    return answers


@pytest.mark.corpus
async def test_requests_end_as_the_corpus_says(
    network: Network, request_corpus: list[dict[str, Any]], rejects: list[str]
) -> None:
    """Understood requests reach the handler and are answered, others are refused once, without it, and on record."""
    for case in request_corpus:
        if case["then"] == "wait":
            case = outcome_of_the_end(case)
        error = case["error"]
        # Once the stream under it has ended, a TLS stream may send nothing more; that is up to Python's version.
        unanswerable = case.get("end") and error is not None and network.tls is not None
        own_answers = [answer_of_the_app(message) for message in case["messages"]]
        handled = [message for message, status in zip(case["messages"], own_answers, strict=True) if status is None]
        statuses = [status or 200 for status in own_answers][: case["answers"] - (error is not None)]
        seen: list[dict[str, Any]] = []
        async with network.new_site(make_app(seen)) as site:
            for way, pieces in cuts(case["input"], network.kind):
                seen.clear()
                rejects.clear()
                with named(repr(case["name"]), way):
                    async with await site.open_raw() as raw:
                        answers = await (break_off if unanswerable else converse)(raw, case, pieces)
                    if error is None:
                        assert rejects == []
                        assert [answer.status for answer in answers] == statuses
                    else:
                        if answers or not unanswerable:
                            check_refusal(answers.pop(), error)
                        assert [answer.status for answer in answers] == statuses
                        [record] = rejects
                        assert f"slug={error['slug']} status={error['status']} " in record
                        assert f" at={error['at']} " in record
                    assert seen == handled
                    if way == "whole":
                        assert raw.received.count(CONTINUE) == case.get("continue", False)
