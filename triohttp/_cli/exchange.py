"""The commands that make one request: what is printed, where it goes, and which status the command ends with.

Rule 1: standard output has what was asked for and nothing else; everything about it goes to standard error.
Rule 2: colour and bars are for terminals: what goes into a file or a pipe is bytes as they came.
Rule 3: no traceback for what servers, networks and arguments do; each kind of failure has its own exit status.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import trio

from triohttp import Client, ClientAnswer, ClientObserver, ClientRequest, ClientResponseStream, Headers
from triohttp.errors import (
    ConnectError,
    ContentError,
    HandshakeError,
    InactivityError,
    RedirectError,
    RemoteProtocolError,
    StatusError,
    TooManyRedirectsError,
    TotalTimeout,
    TransportError,
    TrioHTTPError,
)

from .download import download
from .options import client_options, request_options

__all__ = ["run_exchange", "run_safely"]

EXIT_USAGE = 2
EXIT_BY_CLASS = {3: 3, 4: 4, 5: 5}
EXIT_UNREACHABLE = 6
EXIT_BROKEN = 7
EXIT_TIMEOUT = 8
EXIT_INTERRUPTED = 130
SECRETS = frozenset({"authorization", "cookie", "proxy-authorization", "set-cookie"})


def run_exchange(arguments: argparse.Namespace) -> int:
    """Make the request that the arguments describe; return the exit status."""
    return run_safely(_exchange, arguments)


def run_safely(function: Callable[[argparse.Namespace], Awaitable[int]], arguments: argparse.Namespace) -> int:
    """Run a command's function in trio and return its exit status, or the one for how it failed."""

    async def main() -> int:
        try:
            return await function(arguments)
        except BaseExceptionGroup as group:  # of a command's own nursery
            raise _first(group) from None

    try:
        return trio.run(main)
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        sys.stderr.close()  # whoever read our output has left: there is nobody to tell
        return 1
    except ContentError as exc:
        return _failed(exc, EXIT_BROKEN)
    except (ValueError, ImportError) as exc:
        return _failed(exc, EXIT_USAGE)
    except InactivityError as exc:
        return _failed(exc, EXIT_TIMEOUT)
    except ConnectError as exc:
        return _failed(exc, EXIT_UNREACHABLE)
    except (TransportError, RemoteProtocolError, RedirectError, TooManyRedirectsError) as exc:
        return _failed(exc, EXIT_BROKEN)
    except (StatusError, HandshakeError) as exc:
        return _failed(exc, EXIT_BY_CLASS.get((exc.code or 0) // 100, EXIT_BROKEN))
    except (TrioHTTPError, OSError) as exc:
        return _failed(exc, 1)


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    inner = [one for one in group.exceptions if not isinstance(one, trio.Cancelled)] or group.exceptions
    return _first(inner[0]) if isinstance(inner[0], BaseExceptionGroup) else inner[0]


def _failed(exc: BaseException, status: int) -> int:
    print(f"triohttp: {exc}", file=sys.stderr)
    return status


class _Narrator(ClientObserver):
    """Tells on standard error what goes over the wire, secrets aside."""

    def dial_started(self, request: ClientRequest, destination: str) -> None:
        print(f"* connecting to {destination}", file=sys.stderr)

    def request_sent(self, request: ClientRequest) -> None:
        print(f"> {request.method} {request.url.target}", file=sys.stderr)
        _tell("> ", request.headers)

    def head_received(self, request: ClientRequest, status: int, headers: Headers) -> None:
        print(f"< {status}", file=sys.stderr)
        _tell("< ", headers)


def _tell(mark: str, headers: Headers) -> None:
    for name, value in headers.field_lines():
        print(f"{mark}{name}: {'***' if name.lower() in SECRETS else value}", file=sys.stderr)


async def _exchange(arguments: argparse.Namespace) -> int:
    options = client_options(arguments)
    if arguments.verbose:
        options["observers"] = [_Narrator()]
    request = request_options(arguments)
    url = arguments.url if "://" in arguments.url else f"http://{arguments.url}"
    method = arguments.method.upper()
    async with Client(**options) as client:
        if arguments.events:
            async with client.events(url, method=method, **request) as events:
                async for event in events:
                    line = {"event": event.type, "data": event.data, "id": event.id}
                    print(json.dumps(line, ensure_ascii=False), flush=True)
            return 0
        if arguments.download:
            with trio.move_on_after(arguments.timeout):  # all attempts together
                return await download(client, method, url, request, arguments.output)
            raise TotalTimeout(
                f"the download was not over in {arguments.timeout:g} s; call again for the rest",
                phase="content",
                seconds=arguments.timeout,
            )
        async with client.stream(method, url, **request) as response:
            if arguments.include:
                _print_head(response)
            if arguments.output is not None:
                await _write(response.body, arguments.output)
            elif arguments.raw or not sys.stdout.isatty():
                async for piece in response.body:
                    sys.stdout.buffer.write(piece)
                sys.stdout.buffer.flush()
            else:
                await _show(response)
            return EXIT_BY_CLASS.get(response.status // 100, 0)


def _print_head(answer: ClientAnswer) -> None:
    print(f"HTTP/{answer.http_version} {answer.status} {answer.reason}")
    for name, value in answer.headers.field_lines():
        print(f"{name}: {value}")
    print(flush=True)


async def _write(body: trio.abc.ReceiveStream, path: Path) -> None:
    async with await trio.open_file(path, "wb") as file:
        async for piece in body:
            await file.write(piece)


async def _show(response: ClientResponseStream) -> None:
    """Show content on a terminal: JSON indented, text as text, and of anything else its size."""
    media_type = response.media_type
    content = await response.read()
    if media_type is not None and (media_type.essence.endswith(("/json", "+json"))):
        try:
            print(json.dumps(json.loads(content), indent=2, ensure_ascii=False))
        except ValueError:
            sys.stdout.buffer.write(content)
    elif b"\0" in content[:1024]:
        print(f"({len(content):,} bytes that are no text; -o FILE keeps them)")
    else:
        sys.stdout.buffer.write(content)
        if content and not content.endswith(b"\n"):
            print()
    sys.stdout.flush()
