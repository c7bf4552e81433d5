"""Challenges of servers: what is understood, and what is left out."""

from __future__ import annotations

import sys
from types import FrameType

import pytest

from triohttp._client.challenges import Challenge, parse_challenges, parse_parameters, quote


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        (['Basic realm="a"'], [Challenge("basic", {"realm": "a"})]),
        (['BASIC REALM = "a"'], [Challenge("basic", {"realm": "a"})]),
        (["Negotiate"], [Challenge("negotiate")]),
        (["Negotiate YII+/a=="], [Challenge("negotiate", {}, "YII+/a==")]),
        (
            ["Negotiate, NTLM abc=, Basic realm=x"],
            [Challenge("negotiate"), Challenge("ntlm", {}, "abc="), Challenge("basic", {"realm": "x"})],
        ),
        (  # RFC 9110 §11.6.1
            ['Basic realm="simple", Newauth realm="apps", type=1, title="Login to \\"apps\\""'],
            [
                Challenge("basic", {"realm": "simple"}),
                Challenge("newauth", {"realm": "apps", "type": "1", "title": 'Login to "apps"'}),
            ],
        ),
        (['Digest qop="auth, auth-int", x=y'], [Challenge("digest", {"qop": "auth, auth-int", "x": "y"})]),
        (['A x="1,B y=2"', "B y=2"], [Challenge("a", {"x": "1,B y=2"}), Challenge("b", {"y": "2"})]),
        ([", ,A x=1,,y=2 ,"], [Challenge("a", {"x": "1", "y": "2"})]),
        (['A x="\\\\"'], [Challenge("a", {"x": "\\"})]),
        (['A x=""'], [Challenge("a", {"x": ""})]),
        ([], []),
        ([""], []),
    ],
)
def test_what_is_understood(fields: list[str], expected: list[Challenge]) -> None:
    """Several in one field, several fields, token68, quotes and odd spacing."""
    assert parse_challenges(fields) == expected


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        ('x=1, Basic realm="a"', [Challenge("basic", {"realm": "a"})]),
        ("A x=1, x=2, B y=1", [Challenge("b", {"y": "1"})]),
        ("A x=1, ?, B y=1", [Challenge("a", {"x": "1"}), Challenge("b", {"y": "1"})][1:]),
        ("A abc=, x=1, B y=1", [Challenge("b", {"y": "1"})]),
        ("A x=1 y=2, B y=1", [Challenge("b", {"y": "1"})]),
        ('A x="never closed, B y=1', []),
        ('A "x", B y=1', [Challenge("b", {"y": "1"})]),
    ],
)
def test_what_is_left_out(field: str, expected: list[Challenge]) -> None:
    """Half a challenge is none; the others of the field count."""
    assert parse_challenges([field]) == expected


def test_a_broken_field_spoils_no_other() -> None:
    """A quote that is never closed ends with its field line."""
    assert parse_challenges(['A x="', "B y=1"]) == [Challenge("b", {"y": "1"})]


def test_parameters_alone() -> None:
    """Authentication-Info has no scheme in front."""
    assert parse_parameters('nextnonce="a,b", qop=auth, ?, nc=00000001') == {
        "nextnonce": "a,b",
        "qop": "auth",
        "nc": "00000001",
    }


@pytest.mark.parametrize("text", ["", "a", 'a"b', "a\\", '\\"', "ü"])
def test_what_is_quoted_is_read_back(text: str) -> None:
    """Quoting and reading are each other's opposite."""
    assert parse_challenges([f"A x={quote(text)}"]) == [Challenge("a", {"x": text})]


def lines_run(text: str) -> int:
    """How many lines of Python run when ``text`` is read."""
    count = 0

    def trace(_frame: FrameType, event: str, _argument: object) -> object:
        nonlocal count
        count += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        parse_challenges([text])
    finally:
        sys.settrace(before)
    return count


@pytest.mark.parametrize(
    "shape", ["a", "a,", "a=b,", '"', '\\"', '="\\"', 'a="b",', " ", "a b,", "\t,", ",", "a=,", '"a",']
)
def test_twice_the_text_runs_twice_the_lines(shape: str) -> None:
    """No shape of a field takes more than its share of time."""
    once, twice = (lines_run("A x=1, " + shape * count) for count in (400, 800))
    assert twice <= 2.2 * once + 50
