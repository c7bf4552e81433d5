"""NO_PROXY: a corpus of values, and that none of them ever raises."""

from __future__ import annotations

import logging
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from triohttp import URL
from triohttp._client.no_proxy import NoProxy

CASES: list[dict[str, Any]] = tomllib.loads((Path(__file__).parent / "no_proxy.toml").read_text("utf-8"))["case"]


@pytest.mark.corpus
@pytest.mark.parametrize("case", CASES, ids=[repr(case["value"]) for case in CASES])
def test_the_corpus(case: dict[str, Any], caplog: pytest.LogCaptureFixture) -> None:
    """Each value covers what it says and nothing else; each entry without a meaning is one warning."""
    with caplog.at_level(logging.WARNING, "triohttp.client"):
        no_proxy = NoProxy(case["value"])
    assert len(caplog.records) == case.get("bad", 0)
    covered = {url: no_proxy.covers(URL(url).host, URL(url).port) for url in (*case["direct"], *case["proxied"])}
    assert covered == {**dict.fromkeys(case["direct"], True), **dict.fromkeys(case["proxied"], False)}


@given(st.text(st.sampled_from("a0.*:[]/%-,1f \t") | st.characters(), max_size=40))
def test_nothing_raises(value: str) -> None:
    """A variable of somebody else's never keeps a program from starting or asking."""
    no_proxy = NoProxy(value)
    for host in ("a", "a.a", "0.0.0.0", "::1", "10.0.0.1"):
        assert no_proxy.covers(host, 80) in (True, False)
