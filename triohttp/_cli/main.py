"""The command ``triohttp``: which subcommands there are, and what their arguments mean.

Rule 1: a subcommand's module is imported when it runs, so that ``--version`` and ``--help`` start at once.
Rule 2: exit status 0 is success, 1 is a failure told on standard error, 2 is for wrong arguments. Commands that make
        requests have more of them: 3, 4 and 5 for the class of an answer, 6 when there was no connection, 7 when the
        answer was cut or is none, 8 when time was up, 130 after Ctrl-C.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from importlib.metadata import version

from .arguments import METHODS, add_client_arguments, add_request_arguments

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


def _exchange(options: argparse.Namespace) -> int:
    from .exchange import run_exchange

    return run_exchange(options)


def _talk(options: argparse.Namespace) -> int:
    from .talk import run_talk

    return run_talk(options)


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

    for method in (*METHODS, "request"):
        name = "any method" if method == "request" else method.upper()
        command = commands.add_parser(
            method, help=f"make a {name} request", description=f"Make a request with {name} and print the answer."
        )
        command.set_defaults(run=_exchange)
        if method == "request":
            command.add_argument("method", metavar="METHOD", help="such as PROPFIND")
        else:
            command.set_defaults(method=method)
        add_client_arguments(command)
        add_request_arguments(command)

    talk = commands.add_parser(
        "ws",
        help="talk over a WebSocket, a line a message",
        description="Open a WebSocket: each line of the input is a message, each message a line of the output.",
    )
    talk.set_defaults(run=_talk)
    add_client_arguments(talk)
    talk.add_argument("--subprotocol", action="append", default=[], metavar="NAME", help="one that may be chosen")
    talk.add_argument(
        "--linger",
        type=float,
        default=1.0,
        metavar="SECONDS",
        help="wait for messages after the input has ended (default: %(default)s)",
    )
    return parser


def _port(text: str) -> int:
    """A TCP port; argparse turns the ValueError into its own message."""
    number = int(text)
    if not 0 <= number <= 65535:
        raise argparse.ArgumentTypeError(f"a port is a number from 0 to 65535, not {text!r}")
    return number
