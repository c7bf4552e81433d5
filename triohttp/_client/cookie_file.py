"""Cookies in files: our own format, and the ``cookies.txt`` of Netscape, curl and browsers.

Rule 1: a file is input like any other: its size, each type and each field are checked, and an error says where.
Rule 2: a file is replaced whole or not at all. It is readable to its owner alone from its first byte on.
Rule 3: reading and writing happen in a thread, which a cancelled task does not wait for without a bound: what it is
        doing is then taken back by the thread itself.
"""

from __future__ import annotations

import logging
import math
import os
import re
import stat
import tempfile
from collections.abc import Callable, Iterable, Iterator
from typing import Final, TypeVar

import trio

from triohttp._values.json import dumps, loads
from triohttp.errors import ContentError, InvalidCookieError, clip

from .cookie_rules import MAX_AGE_SECONDS, StoredCookie

__all__ = ["format_cookies", "load_file", "parse_cookies_txt", "parse_saved", "save_file"]

LOGGER = logging.getLogger("triohttp.client")

TAKING_BACK_SECONDS: Final = 1.0
"""How long a cancelled ``save_file`` waits until its thread has removed what it wrote."""

_FORMAT: Final = "triohttp cookies"
_VERSION: Final = 1
_TYPES: Final[dict[str, tuple[type, ...]]] = {
    "name": (str,),
    "value": (str,),
    "domain": (str,),
    "host_only": (bool,),
    "path": (str,),
    "secure": (bool,),
    "http_only": (bool,),
    "same_site": (str, type(None)),
    "created": (int, float),
    "expires": (int, float, type(None)),
}
_SECONDS: Final = re.compile(r"-?[0-9]{1,18}")
_HTTP_ONLY: Final = "#HttpOnly_"

T = TypeVar("T")


# -- formats -----------------------------------------------------------------------------------------------------------


def format_cookies(cookies: Iterable[StoredCookie]) -> bytes:
    """Return the content of a file with ``cookies``, for ``parse_saved``."""
    listed = [{name: getattr(cookie, name) for name in _TYPES} for cookie in cookies]
    return dumps({"format": _FORMAT, "version": _VERSION, "cookies": listed}) + b"\n"


def parse_saved(data: bytes, now: float) -> Iterator[tuple[str, StoredCookie]]:
    """Yield each cookie of a file of ours, with a word for where it is; those that are over by ``now`` are left out.

    Raises:
        ContentError: ``cookies``: it is no such file.
    """
    try:
        content = loads(data, max_depth=4, unique_keys=True)
    except ContentError as exc:
        raise ContentError(str(exc), reason="cookies") from exc
    if not isinstance(content, dict) or content.get("format") != _FORMAT:
        raise ContentError("it is no file of cookies", reason="cookies")
    if content.get("version") != _VERSION:
        raise ContentError(f"its version must be {_VERSION}, not {clip(content.get('version'))}", reason="cookies")
    cookies = content.get("cookies")
    if not isinstance(cookies, list) or len(content) != 3:
        raise ContentError("it must have a format, a version and cookies, nothing else", reason="cookies")
    for number, said in enumerate(cookies, 1):
        where = f"cookie {number}"
        if not isinstance(said, dict) or said.keys() != _TYPES.keys():
            raise ContentError(f"{where} must have {', '.join(_TYPES)}, nothing else", reason="cookies")
        for name, types in _TYPES.items():
            if type(said[name]) not in types:
                raise ContentError(f"{where}: {name} must not be a {type(said[name]).__name__}", reason="cookies")
        if said["same_site"] not in ("strict", "lax", "none", None):
            raise ContentError(f"{where}: same_site must not be {clip(said['same_site'])}", reason="cookies")
        expires = _end(said["expires"], now)
        if expires is None or expires > now:
            yield where, StoredCookie(**{**said, "created": min(_moment(said["created"]), now), "expires": expires})


def parse_cookies_txt(data: bytes, now: float) -> Iterator[tuple[str, StoredCookie]]:
    """Yield each cookie of a ``cookies.txt``, with a word for where it is; those that are over by ``now`` are left out.

    A line has domain, whether it counts for hosts below, path, whether it is secure, end (0 for none), name and value,
    with tabs between them; ``#HttpOnly_`` in front makes it one that scripts do not see, any other ``#`` a comment.

    Raises:
        ContentError: ``cookies``: a line is none of these.
    """
    for number, line in enumerate(data.decode("latin-1").split("\n"), 1):
        where, line = f"line {number}", line.removesuffix("\r")
        http_only = line.startswith(_HTTP_ONLY)
        if http_only:
            line = line.removeprefix(_HTTP_ONLY)
        if not line.strip() or line[0] == "#":
            continue
        parts = line.split("\t")
        if len(parts) == 6:
            parts.append("")  # an empty value at the end of a line gets lost easily
        if len(parts) != 7:
            raise ContentError(f"{where} must have 7 fields with tabs between them, not {len(parts)}", reason="cookies")
        domain, below, path, secure, end, name, value = parts
        for flag in (below, secure):
            if flag.upper() not in ("TRUE", "FALSE"):
                raise ContentError(f"{where}: a flag must be TRUE or FALSE, not {clip(flag)}", reason="cookies")
        if _SECONDS.fullmatch(end) is None:
            raise ContentError(f"{where}: the end must be in whole seconds, not {clip(end)}", reason="cookies")
        expires = _end(int(end), now) if int(end) else None
        domain = domain.removeprefix(".").lower()
        if expires is None or expires > now:
            yield (
                where,
                StoredCookie(
                    name=name,
                    value=value,
                    domain=domain,
                    # ``TRUE`` is also written for hosts that have none below them.
                    host_only=below.upper() == "FALSE" or "." not in domain or domain.replace(".", "").isdecimal(),
                    path=path,
                    secure=secure.upper() == "TRUE",
                    http_only=http_only,
                    created=now,
                    expires=expires,
                ),
            )


def _moment(seconds: int | float) -> float:
    """Return a number of a file as a float; an integer that is larger than any of these is infinite."""
    try:
        return float(seconds)
    except OverflowError:
        return math.inf


def _end(seconds: int | float | None, now: float) -> float | None:
    return None if seconds is None else min(_moment(seconds), now + MAX_AGE_SECONDS)


# -- files -------------------------------------------------------------------------------------------------------------


async def load_file(path: str | os.PathLike[str], read: Callable[[bytes], T], *, max_bytes: int) -> T:
    """Return what ``read`` makes of a file's content, in a thread; say so in the log when others can read it too.

    Cancellation: atomic; a thread that waits for the disk is left alone.
    Raises:
        ContentError: ``cookies``: it is larger than ``max_bytes``, or ``read`` raised this or InvalidCookieError.
        OSError: it cannot be read.
    """
    name = os.fspath(path)

    def work() -> tuple[T, int]:
        with open(name, "rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            data = file.read(max_bytes + 1)
        if len(data) > max_bytes:
            raise ContentError(f"{clip(name)}: a file of cookies must have at most {max_bytes} bytes", reason="cookies")
        try:
            return read(data), mode
        except (ContentError, InvalidCookieError) as exc:
            raise ContentError(f"{clip(name)}: {exc}", reason="cookies") from exc

    found, mode = await trio.to_thread.run_sync(work, abandon_on_cancel=True)
    if os.name == "posix" and stat.S_IMODE(mode) & 0o077:
        LOGGER.warning("others than its owner can read the cookies in %s", clip(name))
    return found


async def save_file(path: str | os.PathLike[str], cookies: list[StoredCookie]) -> None:
    """Put ``cookies`` into a file, in a thread, in place of what was there.

    Cancellation: atomic, but for the moment of renaming.
    Raises:
        OSError: it cannot be written.
    """
    writing = _Writing(os.fspath(path), cookies)
    try:
        await trio.to_thread.run_sync(writing.run, abandon_on_cancel=True)
    except trio.Cancelled:
        writing.abandoned = True
        if writing.started:
            with trio.move_on_after(TAKING_BACK_SECONDS, shield=True):  # bounded: the disk may hang
                await writing.ended.wait()
        raise


class _Writing:
    """One writing of one file, which its thread takes back by itself once nobody waits for it."""

    def __init__(self, path: str, cookies: list[StoredCookie]) -> None:
        self.path = path
        self.cookies = cookies
        self.abandoned = False
        self.started = False  # set before ``abandoned`` is read: a thread that starts late then does nothing
        self.ended = trio.Event()
        self._token = trio.lowlevel.current_trio_token()

    def run(self) -> None:
        self.started = True
        try:
            if not self.abandoned:
                self._write()
        finally:
            try:
                self._token.run_sync_soon(self.ended.set)
            except trio.RunFinishedError:
                pass  # nobody waits any more

    def _write(self) -> None:
        data = format_cookies(self.cookies)
        directory, name = os.path.split(self.path)
        # mkstemp makes files that only their owner can read and write.
        descriptor, temporary = tempfile.mkstemp(prefix=f".{name}.", dir=directory or os.curdir)
        try:
            with open(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(descriptor)  # else a crash after the renaming could leave an empty file
            if not self.abandoned:
                os.replace(temporary, self.path)
                return
        except BaseException:
            os.unlink(temporary)
            raise
        os.unlink(temporary)
