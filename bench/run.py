"""Measure triohttp and its peers side by side: ``uv run --no-project python bench/run.py`` (all of it, or one part).

Needs Linux, uv, wrk and (for ``client`` and ``download``) nginx; the Python peers are installed from PyPI into
``bench/.venv``. Tables go to standard output, progress to standard error, and both tables and single readings to
``bench/results/``.
What the figures mean stands in docs/explanation/performance.md.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path

from harness.bursts import measure_bursts
from harness.client import measure_clients
from harness.download import measure_downloads
from harness.environment import BENCH, environment_python, installed_versions
from harness.fan_out import measure_fan_out
from harness.hostile_head import measure_hostile_heads
from harness.instructions import measure_instructions
from harness.parts import measure_parts
from harness.peers import CLIENTS, DOWNLOADS, FAN_OUT, NEW_HEADS, OWN_SERVER, SERVERS, WEBSOCKETS, chosen
from harness.report import Report, progress
from harness.server import measure_servers
from harness.websocket import measure_idle_websockets, measure_websockets

_SHOWN_VERSIONS = (
    *("triohttp", "trio", "h11", "wsproto", "uvicorn", "httptools", "uvloop", "starlette", "sse-starlette"),
    *("hypercorn", "quart-trio", "aiohttp", "aiohttp-sse", "websockets", "trio-websocket", "httpx", "httpx2"),
)
_CONNECTIONS = {"websocket": 20, "idle-websockets": 2000, "fan-out": 1000}
_BURST_SERVERS = "triohttp_app,uvicorn_h11_starlette,hypercorn_trio_starlette,aiohttp_web"
_COUNTED_SERVERS = "triohttp_app,uvicorn_h11_starlette"
_HOSTILE_SERVERS = "triohttp_app,aiohttp_web,uvicorn_h11_starlette,hypercorn_trio_starlette"
_IDLE_SERVERS = "triohttp_websocket,websockets_trio,trio_websocket_echo,websockets_asyncio,aiohttp_websocket"
_PEERS = {
    "client": CLIENTS,
    "download": DOWNLOADS,
    "websocket": WEBSOCKETS,
    "idle-websockets": WEBSOCKETS,
    "fan-out": FAN_OUT,
}


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench/run.py", description="Measure triohttp and its peers side by side.")
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--quick", action="store_true", help="short and few runs: to see that it works, not to quote")
    common.add_argument("--rounds", type=int, default=None, help="how often each peer has its turn (5; quick 1)")
    common.add_argument(
        "--seconds", type=float, default=None, help="length of one measured run in seconds (1; client 2)"
    )
    common.add_argument(
        "--connections",
        type=int,
        default=None,
        help=", ".join(["connections to a server (64", *(f"{name} {n}" for name, n in _CONNECTIONS.items())]) + ")",
    )
    common.add_argument("--output", type=Path, default=BENCH / "results", help="folder for the report (%(default)s)")
    subcommands = parser.add_subparsers(dest="subcommand", required=True)
    for name, text in (
        ("server", "CPU of the server process a request, with 3 and 11 header fields"),
        ("new-heads", "the same, for answers of which no two have the same head"),
        ("bursts", "first answers of 64 connections opened at once under load"),
        ("hostile-head", "an innocent request beside heads of 64 KiB of spaces"),
        ("client", "CPU of the client process a request, 1 and 50 at once, against nginx"),
        ("download", "MB/s and memory of a client process that streams 100 MB from nginx"),
        ("websocket", "CPU of the server process an echoed message, of 64 B and of 16 KiB"),
        ("idle-websockets", "memory of the server process an idle WebSocket connection"),
        ("fan-out", "CPU of the server process a delivered event, one event to many subscribers"),
        ("micro", "CPU of single parts in memory: wire, header fields, URL"),
        ("all", "everything above"),
        ("instructions", "instructions of the server process a request, under valgrind; not part of all"),
    ):
        sub = subcommands.add_parser(name, help=text, description=text, parents=[common])
        if name not in ("new-heads", "micro", "all"):
            known = _PEERS.get(name, SERVERS)
            sub.add_argument("--peers", help=f"only these, comma-separated: {', '.join(peer.key for peer in known)}")
    return parser.parse_args(sys.argv[1:] or ["all"])


def measure(report: Report, python: Path, arguments: argparse.Namespace) -> None:
    """Measure what is asked for, one table after the other."""
    wanted = arguments.subcommand
    peers: str | None = getattr(arguments, "peers", None)
    rounds = arguments.rounds or (1 if arguments.quick else 5)
    seconds: float = arguments.seconds or 1.0
    connections: int = arguments.connections or 64
    if wanted in ("server", "all"):
        report.add(
            measure_servers(
                python, chosen(SERVERS, peers), OWN_SERVER, rounds=rounds, seconds=seconds, connections=connections
            )
        )
    if wanted in ("new-heads", "all"):
        report.add(
            measure_servers(python, NEW_HEADS, NEW_HEADS[0], rounds=rounds, seconds=seconds, connections=connections)
        )
    if wanted in ("bursts", "all"):
        bursts = 5 if arguments.quick else 20
        report.add(
            measure_bursts(python, chosen(SERVERS, peers or _BURST_SERVERS), bursts=bursts, connections=connections)
        )
    if wanted in ("hostile-head", "all"):
        report.add(
            measure_hostile_heads(python, chosen(SERVERS, peers or _HOSTILE_SERVERS), seconds=arguments.seconds or 3.0)
        )
    if wanted in ("client", "all"):
        report.add(measure_clients(python, chosen(CLIENTS, peers), rounds=rounds, seconds=arguments.seconds or 2.0))
    if wanted in ("download", "all"):
        downloads = 1 if arguments.quick else 5
        report.add(measure_downloads(python, chosen(DOWNLOADS, peers), rounds=rounds, downloads=downloads))
    if wanted in ("websocket", "all"):
        count = arguments.connections or _CONNECTIONS["websocket"]
        servers = chosen(WEBSOCKETS, peers)
        report.add(measure_websockets(python, servers, rounds=rounds, seconds=seconds, connections=count))
    if wanted in ("idle-websockets", "all"):
        count = arguments.connections or _CONNECTIONS["idle-websockets"]
        servers = chosen(WEBSOCKETS, peers or _IDLE_SERVERS)
        report.add(measure_idle_websockets(python, servers, rounds=min(rounds, 3), connections=count))
    if wanted in ("fan-out", "all"):
        count = arguments.connections or _CONNECTIONS["fan-out"]
        report.add(
            measure_fan_out(python, chosen(FAN_OUT, peers), rounds=rounds, seconds=seconds, subscribers=count)
        )
    if wanted in ("micro", "all"):
        report.add(measure_parts(python, repeats=3 if arguments.quick else 7))
    if wanted == "instructions":
        servers = chosen(SERVERS, peers or _COUNTED_SERVERS)
        seconds = arguments.seconds or (5.0 if arguments.quick else 15.0)
        report.add(measure_instructions(python, servers, seconds=seconds, connections=connections))


def main() -> None:
    arguments = _arguments()
    python = environment_python()
    versions = {name: text for name, text in installed_versions(python).items() if name in _SHOWN_VERSIONS}
    report = Report(shlex.join(["bench/run.py", *sys.argv[1:]]), versions)
    try:
        measure(report, python, arguments)
    finally:  # what one part found out is not lost with the next
        if report.tables:
            progress(f"written to {report.write(arguments.output)}")


if __name__ == "__main__":
    main()
