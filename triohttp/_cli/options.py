"""What a client makes of the arguments of a command.

Rule 1: arguments that contradict each other are told before anything is sent.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from triohttp import (
    Auth,
    BasicAuth,
    BearerAuth,
    Certificate,
    ClientLimits,
    ClientOptions,
    ClientTimeouts,
    DigestAuth,
    NetrcAuth,
    Proxies,
    RequestOptions,
)

__all__ = ["client_options", "request_options"]


def client_options(arguments: argparse.Namespace) -> ClientOptions:
    """Return the options of the client for these arguments.

    Raises:
        ValueError: two of them contradict each other.
    """
    options: ClientOptions = {
        "limits": ClientLimits(max_redirects=getattr(arguments, "max_redirects", 10)),
        "timeouts": ClientTimeouts(total_seconds=arguments.timeout),
        "verify": not arguments.insecure,
        "ca": arguments.ca,
    }
    if arguments.proxy is not None:
        options["proxies"] = arguments.proxy
    elif arguments.proxy_env:
        options["proxies"] = Proxies.from_environment(os.environ)
    if arguments.cert is not None:
        options["certificate"] = Certificate(arguments.cert, arguments.key)
    elif arguments.key is not None:
        raise ValueError("--key needs --cert")
    return options


def request_options(arguments: argparse.Namespace) -> RequestOptions:
    """Return the options of the request for these arguments.

    Raises:
        OSError: a file cannot be read.
        ValueError: two of them contradict each other.
    """
    options: RequestOptions = {"headers": arguments.header, "params": arguments.param}
    auth = _auth(arguments)
    if auth is not None:
        options["auth"] = auth
    if arguments.no_redirects:
        options["redirects"] = False
    if arguments.raw:
        options["decode"] = False
    given = [name for name in ("data", "json", "form", "file") if getattr(arguments, name) not in (None, [])]
    if len(given) > 1 and given != ["form", "file"]:
        raise ValueError(f"a request has one content, not --{given[0]} and --{given[1]}")
    if arguments.data is not None:
        options["content"] = _content(arguments.data)
    elif arguments.json is not None:
        options["json"] = arguments.json[0]
    if arguments.form:
        options["form"] = arguments.form
    if arguments.file:
        options["files"] = arguments.file
    return options


def _auth(arguments: argparse.Namespace) -> Auth | None:
    secret = arguments.auth
    if arguments.auth_env is not None:
        secret = os.environ.get(arguments.auth_env)
        if secret is None:
            raise ValueError(f"there is no variable {arguments.auth_env} in the environment")
    if arguments.bearer is not None:
        return BearerAuth(arguments.bearer or secret or "")
    if arguments.netrc:
        return NetrcAuth()
    if secret is None:
        if arguments.digest:
            raise ValueError("--digest needs --auth or --auth-env")
        return None
    username, colon, password = secret.partition(":")
    if not colon:
        raise ValueError("--auth is a user name, a colon and a password")
    return DigestAuth(username, password) if arguments.digest else BasicAuth(username, password)


def _content(text: str) -> bytes | Path:
    if text == "@-":
        return sys.stdin.buffer.read()
    return Path(text[1:]) if text.startswith("@") else text.encode()
