"""The arguments of the commands that make requests.

Rule 1: nothing of triohttp is imported here: ``--help`` starts at once.
Rule 2: an argument that means nothing is told before anything is sent, with status 2.
Rule 3: secrets can come from the environment (``--auth-env``) or from a file: arguments are seen by everybody.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from pathlib import Path

__all__ = ["METHODS", "add_client_arguments", "add_request_arguments"]

METHODS = ("get", "head", "options", "post", "put", "patch", "delete")


def add_client_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of every command that connects: header fields, credentials, TLS, proxies, time."""
    parser.add_argument("url", metavar="URL", help="what to ask for; without a scheme http is meant")
    parser.add_argument("-H", "--header", action="append", default=[], type=_header, metavar="'NAME: VALUE'")
    parser.add_argument(
        "-p", "--param", action="append", default=[], type=_pair, metavar="NAME=VALUE", help="a query field"
    )
    secret = parser.add_argument_group("credentials, for the URL's origin alone")
    secret.add_argument("-a", "--auth", metavar="USER:PASSWORD", help="basic; with --digest a challenge is waited for")
    secret.add_argument("--auth-env", metavar="VARIABLE", help="the same, or a token, from the environment")
    secret.add_argument("--digest", action="store_true", help="use digest authentication")
    secret.add_argument("--bearer", metavar="TOKEN", nargs="?", const="", help="send a token")
    secret.add_argument("--netrc", action="store_true", help="look in ~/.netrc, or where $NETRC says")
    way = parser.add_argument_group("the way there")
    way.add_argument("--proxy", metavar="URL", help="http, https, socks5 or socks5h; credentials may be in it")
    way.add_argument("--proxy-env", action="store_true", help="take proxies from the environment")
    way.add_argument("--ca", metavar="PATH", type=Path, help="a file or directory of authorities to trust instead")
    way.add_argument("--cert", metavar="FILE", type=Path, help="a client certificate in PEM")
    way.add_argument("--key", metavar="FILE", type=Path, help="its key, where the file of the certificate has none")
    way.add_argument("--insecure", action="store_true", help="do not verify the server")
    way.add_argument("--timeout", metavar="SECONDS", type=_seconds, default=math.inf, help="for the whole call")


def add_request_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what a request can carry and what is done with its answer."""
    content = parser.add_argument_group("content (one of them; --form and --file go together)")
    content.add_argument("-d", "--data", metavar="TEXT|@FILE|@-", help="content as it is; @- is standard input")
    content.add_argument("-j", "--json", metavar="JSON|@FILE|@-", type=_json, help="a JSON value")
    content.add_argument("-f", "--form", action="append", default=[], type=_pair, metavar="NAME=VALUE")
    content.add_argument("-F", "--file", action="append", default=[], type=_file, metavar="NAME=PATH", help="a file")
    answer = parser.add_argument_group("the answer")
    answer.add_argument("-i", "--include", action="store_true", help="print its head too")
    answer.add_argument("-v", "--verbose", action="store_true", help="tell on standard error what goes on")
    answer.add_argument("-o", "--output", metavar="FILE", type=Path, help="write the content there")
    answer.add_argument("--raw", action="store_true", help="leave content codings and JSON as they are")
    answer.add_argument("--no-redirects", action="store_true", help="do not follow them")
    answer.add_argument("--max-redirects", metavar="N", type=int, default=10, help="(default: %(default)s)")
    answer.add_argument("--download", action="store_true", help="into a file, with a bar; goes on where it ended")
    answer.add_argument("--events", action="store_true", help="follow a stream of events, one JSON object a line")


def _header(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not colon or not name:
        raise argparse.ArgumentTypeError(f"a header field is 'Name: value', not {text!r}")
    return name, value.strip()


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise argparse.ArgumentTypeError(f"a field is name=value, not {text!r}")
    return name, value


def _file(text: str) -> tuple[str, Path]:
    name, path = _pair(text)
    if not Path(path).is_file():
        raise argparse.ArgumentTypeError(f"there is no file {path!r}")
    return name, Path(path)


def _json(text: str) -> tuple[object]:
    """A JSON value, wrapped: null is a value, and not the absence of one."""
    try:
        if text == "@-":
            return (json.load(sys.stdin),)
        if text.startswith("@"):
            return (json.loads(Path(text[1:]).read_text(encoding="utf-8")),)
        return (json.loads(text),)
    except (OSError, ValueError) as exc:
        raise argparse.ArgumentTypeError(f"this is no JSON: {exc}") from exc


def _seconds(text: str) -> float:
    seconds = float(text)
    if not seconds > 0:
        raise argparse.ArgumentTypeError(f"a time is above 0 seconds, not {text}")
    return seconds
