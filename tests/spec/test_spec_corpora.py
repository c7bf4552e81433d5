"""Every message of the corpora ends as its case says, however its bytes are cut into reads."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from triohttp._values.limits import ClientLimits, Limits
from triohttp._values.message import RequestHead, ResponseHead
from triohttp._wire.events import EndOfContent, Role, Signal
from triohttp._wire.h1 import H1Wire
from triohttp.errors import BodyTruncatedError, RemoteProtocolError

HERE = Path(__file__).parent


def load(folder: str) -> list[Any]:
    return [
        pytest.param(case, id=f"{path.stem}: {case['name']}")
        for path in sorted((HERE / folder).glob("*.json"))
        for case in json.loads(path.read_text("ascii"))
    ]


def expand(parts: Any) -> bytes:
    if isinstance(parts, (str, dict)):
        parts = [parts]
    return b"".join(
        (part if isinstance(part, str) else part["repeat"] * part["times"]).encode("latin-1") for part in parts
    )


@dataclass
class Outcome:
    """What became of an input; two of them are compared whole."""

    messages: list[dict[str, Any]] = field(default_factory=list)
    error: dict[str, Any] | None = None
    sent: bytes = b""
    answers: int = 0
    expects_continue: bool = False
    then: str = "wait"


def describe(role: Role, exc: RemoteProtocolError | BodyTruncatedError) -> dict[str, Any]:
    if isinstance(exc, BodyTruncatedError):
        status = 400 if role is Role.SERVER else None
        return {"slug": "body-truncated", "status": status, "at": "content", "received": exc.received}
    assert len(exc.detail) <= 80
    return {
        "slug": exc.slug,
        "status": exc.suggested_status,
        "at": exc.at,
        "received": exc.received,
        "detail": exc.detail,
    }


def fields_of(headers: Any) -> list[list[str]]:
    return [] if headers is None else [list(line) for line in headers.field_lines()]


def feed(wire: H1Wire, pieces: Iterable[bytes], end: bool) -> Iterator[object]:
    """Give the wire one piece after the other and yield its events; the caller may start the next cycle in between."""
    for piece in [*pieces, *([b""] if end else [])]:
        wire.receive(piece)
        while (event := wire.next_event()) not in (Signal.NEED_DATA, Signal.PAUSED, Signal.ENDED):
            yield event
        if event is Signal.ENDED:
            yield event


def serve(pieces: Iterable[bytes], end: bool) -> Outcome:
    """Be a server that answers 200 to everything."""
    wire = H1Wire(Role.SERVER, Limits())
    outcome = Outcome()
    try:
        for event in feed(wire, pieces, end):
            outcome.then = "wait"
            if isinstance(event, RequestHead):
                message = {"method": event.method, "target": event.target, "authority": event.authority}
                message |= {"version": event.version, "body": b"", "trailers": [], "incomplete": True}
                outcome.messages.append(message)
            elif isinstance(event, bytes):
                outcome.messages[-1]["body"] += event
            elif isinstance(event, EndOfContent):
                message = outcome.messages[-1]
                message["trailers"] = fields_of(event.trailers)
                del message["incomplete"]
                refused = message["method"] == "CONNECT"
                head = wire.send_response(405 if refused else 200, [], 2)
                outcome.sent += head + wire.send_content(b"ok") + wire.send_end()
                outcome.answers += 1
                assert (b"\r\nConnection: close\r\n" in head) is not wire.keep_alive
                if not wire.at_cycle_end:
                    outcome.then = "close"
                    break
                wire.start_next_cycle()
                outcome.then = "keep"
            else:
                assert event is Signal.ENDED
                outcome.then = "ended"
        if wire.head_started and outcome.then != "ended":
            outcome.then = "wait"
        outcome.expects_continue = wire.expects_continue
    except (RemoteProtocolError, BodyTruncatedError) as exc:
        outcome.error = describe(wire.role, exc)
    if outcome.error is not None:
        assert not wire.keep_alive
        answer = wire.send_response(outcome.error["status"], [], 0) + wire.send_end()
        assert b"\r\nConnection: close\r\n" in answer
        outcome.sent += answer
        outcome.answers += 1
        outcome.then = "close"
    return outcome


def ask(case: dict[str, Any], pieces: Iterable[bytes]) -> Outcome:
    """Be a client that sends one request and reads what comes."""
    wire = H1Wire(Role.CLIENT, ClientLimits())
    method = case["request"]
    fields = [(b"Host", b"a"), *([(b"Upgrade", b"foo"), (b"Connection", b"Upgrade")] if case.get("upgrade") else [])]
    wire.send_request(method, "a:443" if method == "CONNECT" else "/", fields, 0)
    wire.send_end()
    outcome = Outcome()
    message: dict[str, Any] = {"interim": [], "status": None, "body": b"", "trailers": []}
    outcome.messages.append(message)
    complete = False
    try:
        for event in feed(wire, pieces, case.get("end", False)):
            if isinstance(event, ResponseHead) and event.status < 200:
                message["interim"].append(event.status)
            elif isinstance(event, ResponseHead):
                message["status"] = event.status
            elif isinstance(event, bytes):
                message["body"] += event
            elif isinstance(event, EndOfContent):
                message["trailers"] = fields_of(event.trailers)
                complete = True
            else:
                assert event is Signal.ENDED
                outcome.then = "close" if complete else "ended"
        if complete:
            outcome.then = "keep" if wire.at_cycle_end else "close"
        elif 101 in message["interim"] or (method == "CONNECT" and message["status"] == 200):
            outcome.then = "switched"
            assert wire.take_over() == b"X"
    except (RemoteProtocolError, BodyTruncatedError) as exc:
        outcome.error = describe(wire.role, exc)
        outcome.then = "close"
    assert outcome.error is None or (outcome.error["status"] is None and not wire.keep_alive)
    return outcome


def cuts(data: bytes) -> Iterator[list[bytes]]:
    """Yield the ways to cut the input: byte by byte and in two, at every place of it or of its ends if it is long."""
    yield [data[i : i + 1] for i in range(len(data))]
    places = range(1, len(data)) if len(data) <= 400 else [*range(1, 40), *range(len(data) - 40, len(data))]
    for place in places:
        yield [data[:place], data[place:]]
    if len(data) > 400:
        for size in (97, 1024, 8192):
            yield [data[i : i + size] for i in range(0, len(data), size)]


@pytest.mark.parametrize("case", load("requests"))
def test_request_ends_as_the_corpus_says(case: dict[str, Any]) -> None:
    """A server understands, answers and keeps or closes as the case says, at every split."""
    data = expand(case["input"])
    end = case.get("end", False)
    whole = serve([data], end)
    expected = [
        {**message, "target": expand(message["target"]).decode(), "body": expand(message["body"])}
        for message in case["messages"]
    ]
    assert whole.messages == expected
    assert (whole.error and {key: whole.error[key] for key in ("slug", "status", "at")}) == case["error"]
    assert (whole.answers, whole.then) == (case["answers"], case["then"])
    assert whole.expects_continue is case.get("continue", False)
    for pieces in cuts(data):
        assert serve(pieces, end) == whole


@pytest.mark.parametrize("case", load("responses"))
def test_response_ends_as_the_corpus_says(case: dict[str, Any]) -> None:
    """A client understands the response, and reuses the connection or not, as the case says, at every split."""
    data = expand(case["input"])
    whole = ask(case, [data])
    assert whole.messages == [
        {
            "interim": case["interim"],
            "status": case["status"],
            "body": expand(case["body"]),
            "trailers": case["trailers"],
        }
    ]
    assert (whole.error and {key: whole.error[key] for key in ("slug", "at")}) == case["error"]
    assert whole.then == case["then"]
    for pieces in cuts(data):
        assert ask(case, pieces) == whole
