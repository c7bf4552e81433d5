"""Who is measured: one program a file in ``servers/`` and ``clients/``, each with the name that the tables show."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from .environment import BENCH
from .processes import Program, free_port, running

__all__ = [
    "CLIENTS",
    "DOWNLOADS",
    "FAN_OUT",
    "NEW_HEADS",
    "OWN_CLIENT",
    "OWN_DOWNLOAD",
    "OWN_FAN_OUT",
    "OWN_SERVER",
    "OWN_WEBSOCKET",
    "SERVERS",
    "WEBSOCKETS",
    "Peer",
    "chosen",
    "serving",
    "turned",
    "turns",
]


@dataclass(frozen=True)
class Peer:
    """One program that is measured."""

    key: str
    """Its file's name without ``.py``, and its name on the command line."""
    title: str
    """What the tables call it."""


OWN_SERVER = Peer("triohttp_app", "triohttp: App, router, Response.text")
OWN_CLIENT = Peer("triohttp_client", "triohttp")
SERVERS = (
    Peer("trio_floor", "trio, raw socket, fixed answer"),
    Peer("trio_h11", "trio, raw socket, bare h11 loop"),
    OWN_SERVER,
    Peer("triohttp_service", "triohttp: a bare service"),
    Peer("uvicorn_h11_bare", "uvicorn + h11, bare ASGI"),
    Peer("uvicorn_h11_starlette", "uvicorn + h11 + Starlette"),
    Peer("hypercorn_trio_starlette", "hypercorn on trio + Starlette"),
    Peer("aiohttp_web", "aiohttp (C parser, asyncio)"),
    Peer("uvicorn_httptools_starlette", "uvicorn + httptools + uvloop + Starlette"),
)
NEW_HEADS = (
    Peer("triohttp_app_etag", "triohttp, a new head each time"),
    Peer("uvicorn_h11_starlette_etag", "uvicorn + h11 + Starlette, a new head each time"),
)
"""Servers whose answers all have different heads; the first is ours."""
OWN_WEBSOCKET = Peer("triohttp_websocket", "triohttp")
WEBSOCKETS = (
    Peer("trio_wsproto", "trio, raw socket, bare wsproto loop"),
    OWN_WEBSOCKET,
    Peer("websockets_trio", "websockets on trio"),
    Peer("trio_websocket_echo", "trio-websocket"),
    Peer("websockets_asyncio", "websockets on asyncio"),
    Peer("aiohttp_websocket", "aiohttp (C reader, asyncio)"),
)
"""Servers that send back every WebSocket message."""
OWN_FAN_OUT = Peer("triohttp_events", "triohttp: events, Broadcast")
FAN_OUT = (
    OWN_FAN_OUT,
    Peer("hypercorn_quart_trio_events", "hypercorn on trio + Quart-Trio"),
    Peer("uvicorn_h11_sse_starlette", "uvicorn + h11 + sse-starlette"),
    Peer("uvicorn_httptools_sse_starlette", "uvicorn + httptools + uvloop + sse-starlette"),
    Peer("aiohttp_sse_events", "aiohttp + aiohttp-sse (asyncio)"),
)
"""Servers that hand every event that is POSTed to everybody who subscribed."""
CLIENTS = (
    Peer("trio_floor_client", "trio, raw socket, fixed request"),
    OWN_CLIENT,
    Peer("httpx_trio", "httpx on trio"),
    Peer("httpx2_trio", "httpx2 on trio"),
    Peer("aiohttp_client", "aiohttp (C parser, asyncio)"),
)
OWN_DOWNLOAD = Peer("triohttp_download", "triohttp")
DOWNLOADS = (
    OWN_DOWNLOAD,
    Peer("httpx_download", "httpx on trio"),
    Peer("aiohttp_download", "aiohttp (C parser, asyncio)"),
)
"""Clients that stream one large answer."""


def chosen(peers: Sequence[Peer], keys: str | None) -> list[Peer]:
    """Return the peers that a comma-separated list names, all of them for None."""
    if keys is None:
        return list(peers)
    known = {peer.key: peer for peer in peers}
    unknown = [key for key in keys.split(",") if key not in known]
    if unknown:
        raise SystemExit(f"bench: no such peer: {', '.join(unknown)}; there are {', '.join(known)}")
    return [known[key] for key in keys.split(",")]


@contextmanager
def serving(python: Path, peer: Peer) -> Iterator[Program]:
    """Run a server peer for the length of the block, in a fresh process."""
    port = free_port()
    with running([str(python), str(BENCH / "servers" / f"{peer.key}.py"), str(port)], port) as program:
        yield program


def turned(peers: Sequence[Peer], by: int) -> list[Peer]:
    """Return the peers beginning further on, so that nobody always comes first or after the same neighbour."""
    start = by % len(peers)
    return [*peers[start:], *peers[:start]]


def turns(peers: Sequence[Peer], rounds: int) -> Iterator[tuple[int, Peer]]:
    """Yield every peer once a round, each round beginning one peer further on.

    Interleaved, because a machine that is slow for half a minute must be slow for everybody.
    """
    for number in range(rounds):
        for peer in turned(peers, number):
            yield number, peer
