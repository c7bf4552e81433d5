"""The pytest plugin: ``triohttp_server`` and ``triohttp_client``.

Rule 1: it is loaded into every run of pytest where triohttp is installed, so it does nothing until a fixture is used.
Rule 2: pytest-trio runs the fixtures; without it nothing here breaks, and only a test that asks for them fails.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from .factories import ClientFactory, ServerFactory

__all__ = ["triohttp_client", "triohttp_server"]


@pytest.fixture
async def triohttp_server() -> AsyncIterator[ServerFactory]:
    """Serve an app in memory: ``server = await triohttp_server(app)``, then ``server.open_raw()``."""
    from .factories import open_server_factory

    async with open_server_factory() as factory:
        yield factory


@pytest.fixture
async def triohttp_client() -> AsyncIterator[ClientFactory]:
    """Open a client of an app without any socket: ``client = await triohttp_client(app)``."""
    from .factories import open_client_factory

    async with open_client_factory() as factory:
        yield factory
