"""The pytest plugin: ``triohttp_server``, ``triohttp_client`` and ``triohttp_mock``.

Rule 1: it is loaded into every run of pytest where triohttp is installed, so it does nothing until a fixture is used.
Rule 2: pytest-trio runs the fixtures; without it nothing here breaks, and only a test that asks for them fails.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from .factories import ClientFactory, ServerFactory
    from .mock import MockServer

__all__ = ["triohttp_client", "triohttp_mock", "triohttp_server"]


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


@pytest.fixture
def triohttp_mock() -> Iterator[MockServer]:
    """Answer in the place of all servers: ``Client(hop_middleware=[triohttp_mock])``; pytest-trio is not needed."""
    from .mock import MockServer

    with MockServer() as mock:
        yield mock
