"""The command ``triohttp``: which subcommands there are, and what their arguments mean.

Rule 1: a subcommand's module is imported when it runs, so that ``--version`` and ``--help`` start at once.
Rule 2: exit status 0 is success, 1 is a failure told on standard error, 2 is argparse's, for wrong arguments.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from importlib.metadata import version

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit status.

    Args:
        arguments: what follows the command's name; None means those of this process.
    """
    options = _parser().parse_args(arguments)
    run: Callable[[argparse.Namespace], int] = options.run
    return run(options)


def _demo(options: argparse.Namespace) -> int:
    from .demo import run_demo

    return run_demo(options.host, options.port, once=options.once)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="triohttp", description="The HTTP stack for trio.")
    parser.add_argument("--version", action="version", version=f"triohttp {version('triohttp')}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    demo = commands.add_parser(
        "demo",
        help="serve a small app, call it with the client, and stay up for a browser",
        description="Serve a small app, call it with the client, print what it saw, and stay up until Ctrl-C.",
    )
    demo.set_defaults(run=_demo)
    demo.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    demo.add_argument("--port", type=_port, default=8080, help="port, 0 for a free one (default: %(default)s)")
    demo.add_argument("--once", action="store_true", help="end after the client's calls")
    return parser


def _port(text: str) -> int:
    """A TCP port; argparse turns the ValueError into its own message."""
    number = int(text)
    if not 0 <= number <= 65535:
        raise argparse.ArgumentTypeError(f"a port is a number from 0 to 65535, not {text!r}")
    return number
