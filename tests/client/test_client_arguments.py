"""Arguments of the wrong type: the error names the argument and the value, and comes before anything is tried."""

from __future__ import annotations

from typing import Any

import pytest

from triohttp import Client


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"timeouts": 5}, "timeouts must be of type ClientTimeouts, not 5"),
        ({"limits": 5}, "limits must be of type ClientLimits, not 5"),
        ({"tls": True}, "tls must be of type SSLContext, not True"),
        ({"base_url": 5}, "a URL must be a str, not 5"),
        ({"mounts": {"http://h.test": 5}}, "a mount must have a method connect, 5 has none"),
    ],
)
def test_a_client_names_the_argument(arguments: dict[str, Any], message: str) -> None:
    """What would fail at the first request fails when the client is made."""
    with pytest.raises(TypeError) as caught:
        Client(**arguments)
    assert str(caught.value) == message


@pytest.mark.parametrize("value", [5, None])
async def test_a_call_names_its_timeouts(value: Any) -> None:
    """A number of seconds is not a set of bounds; nor is None, which could mean either none or the client's."""
    async with Client(mounts_only=True) as client:
        with pytest.raises(TypeError, match=f"timeouts must be of type ClientTimeouts, not {value}"):
            await client.get("http://h.test/", timeouts=value)


def test_a_derived_client_names_its_timeouts() -> None:
    """Here None is the default: the timeouts of the client that it comes from."""
    assert isinstance(Client().derive(timeouts=None), Client)
    value: Any = 5
    with pytest.raises(TypeError, match="timeouts must be of type ClientTimeouts, not 5"):
        Client().derive(timeouts=value)
