"""Downloads: into a file, with a bar, and from where an earlier one ended.

Rule 1: content goes into ``NAME.part`` and gets its name when it is complete: what has the name is whole.
Rule 2: a part is only continued when the server says that it is a part of the same thing (RFC 9110 §13.1.5): what it
        was a part of stands in ``NAME.part.json``. Without a validator a download begins again.
Rule 3: a connection that breaks is no end: the rest is asked for, while that brings anything.
"""

from __future__ import annotations

import hashlib
import json
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote

import trio

from triohttp import Client, ClientResponseStream, Headers, RequestOptions
from triohttp.errors import DisconnectedError, InactivityError, RemoteProtocolError, TotalTimeout

from .progress import open_progress

if TYPE_CHECKING:
    from .progress import Progress

__all__ = ["download"]

TRIES = 5
"""How often in a row the rest is asked for without a byte of it coming."""
_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+|\*)")
_COMPLETE = re.compile(r"bytes \*/(\d+)")


async def download(client: Client, method: str, url: str, options: RequestOptions, output: Path | None) -> int:
    """Fetch ``url`` into a file; return the exit status.

    Args:
        output: the file; None to name it after the URL.
    Cancellation: what has come stays in ``NAME.part``.
    """
    path = Path(_name(url)) if output is None else output
    part, facts = path.with_name(f"{path.name}.part"), path.with_name(f"{path.name}.part.json")
    failures = 0
    with open_progress(path.name) as progress:
        while True:
            done = part.stat().st_size if part.exists() else 0
            try:
                status = await _receive(client, method, url, options, (part, facts), progress)
            except TotalTimeout:
                raise
            except (DisconnectedError, InactivityError) as exc:
                received = part.stat().st_size if part.exists() else 0
                failures = 0 if received > done else failures + 1
                if failures >= TRIES or not facts.exists():
                    raise
                progress.say(f"{exc}; asking for the rest")
                await trio.sleep(min(2.0**failures, 30.0))
                continue
            if status:
                return status
            break
    facts.unlink(missing_ok=True)
    part.replace(path)
    print(f"{path}: {path.stat().st_size:,} bytes", file=sys.stderr)
    return 0


async def _receive(
    client: Client, method: str, url: str, options: RequestOptions, files: tuple[Path, Path], progress: Progress
) -> int:
    """Receive all, or the rest; return 0 when the part is complete, else the exit status of the answer."""
    part, facts = files
    headers = Headers(options.get("headers", ()))
    headers["Accept-Encoding"] = "identity"  # a range is one of the content as it is sent
    have = _continued(headers, url, part, facts)
    request: RequestOptions = {**options, "headers": headers, "decode": False}
    async with client.stream(method, url, **request) as response:
        if response.status == 416 and have:
            complete = _COMPLETE.fullmatch(response.headers.get("content-range", ""))
            if complete is not None and int(complete[1]) == have:
                return 0
            part.unlink()
            facts.unlink(missing_ok=True)
            raise RemoteProtocolError("what was there is no part of it any more; call again", slug="range")
        if response.status not in (200, 206):
            print(f"triohttp: {response.status} {response.reason}", file=sys.stderr)
            return response.status // 100 if response.is_error or response.is_redirection else 1
        total = None if response.length is None else have + response.length
        if response.status == 206:
            total = _check_range(response, have)
        else:
            have = 0
            facts.unlink(missing_ok=True)  # before anything of the new content is there: the two never mix
        progress.begin(have, total)
        async with await trio.open_file(part, "ab" if have else "wb") as file:
            if response.status == 200:
                _remember(response, url, facts)
            async for piece in response.body:
                await file.write(piece)
                have += len(piece)
                progress.moved(have)
    if total is not None and have < total:
        raise DisconnectedError(f"the server sent {have} of {total} bytes", phase="content")
    return 0


def _continued(headers: Headers, url: str, part: Path, facts: Path) -> int:
    """Ask for the rest of what is there; return how much that is."""
    try:
        known = json.loads(facts.read_text(encoding="utf-8"))
        have = part.stat().st_size
    except (OSError, ValueError):
        return 0
    validator = known.get("validator") if isinstance(known, dict) and known.get("of") == _digest(url) else None
    if not have or not isinstance(validator, str):
        return 0
    headers["Range"] = f"bytes={have}-"
    headers["If-Range"] = validator
    return have


def _remember(response: ClientResponseStream, url: str, facts: Path) -> None:
    etag = response.headers.get("etag", "")
    validator = etag if etag and not etag.startswith("W/") else response.headers.get("last-modified")
    if validator is None:
        facts.unlink(missing_ok=True)
    else:
        facts.write_text(json.dumps({"of": _digest(url), "validator": validator}), encoding="utf-8")


def _check_range(response: ClientResponseStream, have: int) -> int | None:
    """Return how much there is altogether, None when the server does not say."""
    field = response.headers.get("content-range", "")
    match = _RANGE.fullmatch(field)
    if match is None or not have or int(match[1]) != have:
        raise RemoteProtocolError(f"asked for bytes from {have} on, the server sent {field!r}", slug="range")
    return None if match[3] == "*" else int(match[3])


def _digest(url: str) -> str:
    """Return what tells one URL from another, without the secrets that may be in it."""
    return hashlib.sha256(url.encode()).hexdigest()


def _name(url: str) -> str:
    """Return a file name for what a URL names: its last segment, without anything that leads elsewhere."""
    path = url.partition("://")[2].partition("?")[0].partition("#")[0].partition("/")[2]
    name = unquote(path.rpartition("/")[2]).replace("/", "_").replace("\0", "_").lstrip(".")
    return name or "download"
