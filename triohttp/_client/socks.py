"""Where SOCKS comes from: an integration, found by name when a proxy of that kind is first made.

Rule 1: nothing of it is imported by a program that uses none.
"""

from __future__ import annotations

import importlib
from collections.abc import Awaitable, Callable
from typing import TypeAlias

import trio

__all__ = ["Negotiate", "load_socks"]

Negotiate: TypeAlias = "Callable[[trio.abc.Stream, str, int, str, str], Awaitable[None]]"
"""``negotiate(stream, host, port, username, password)``: after it ``stream`` leads to ``host``."""


def load_socks() -> Negotiate:
    """Return what speaks SOCKS5.

    Raises:
        ImportError: the extra ``socks`` is not installed.
    """
    negotiate: Negotiate = importlib.import_module("triohttp.integrations.socks").negotiate
    return negotiate
