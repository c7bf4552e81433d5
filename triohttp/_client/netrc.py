"""Passwords from a ``.netrc`` file, for programs that ask for it.

Rule 1: an entry is for the host that is asked, as it was parsed, and never for one that a redirect led to.
Rule 2: the file is read once, in a thread, when the first request needs it.
Rule 3: a file that others may read holds no passwords: it is an error, not a warning.
"""

from __future__ import annotations

import netrc
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING

import trio

from triohttp.errors import AuthError, clip

from .auth import Auth, BasicAuth

if TYPE_CHECKING:
    from .client import Client
    from .request import ClientRequest

__all__ = ["NetrcAuth"]

_OTHERS = stat.S_IRWXG | stat.S_IRWXO
_DEFAULT = "default"  # what Python's parser calls the entry without a host


class NetrcAuth(Auth):
    """The user name and password that a ``.netrc`` file has for a host, sent as ``BasicAuth`` does.

    A request to a host that the file does not name goes out without.

    Args:
        path: the file; None for the one that ``$NETRC`` names, else ``~/.netrc``.
        use_default: use the entry ``default`` for every host without one of its own.
        allow_http: send passwords without TLS.
    """

    def __init__(
        self, path: str | os.PathLike[str] | None = None, *, use_default: bool = False, allow_http: bool = False
    ) -> None:
        self._path = path
        self._use_default = use_default
        self._allow_http = allow_http
        self._entries: dict[str, tuple[str, str]] | None = None
        self._made: dict[str, BasicAuth] = {}
        self._reading = trio.Lock()

    async def authorize(self, request: ClientRequest, client: Client) -> None:
        """Put what the file has for the host into the request, if that is https or ``allow_http`` was given.

        Raises:
            AuthError: ``file``: it cannot be read or understood, others may read it, or it has what cannot be sent.
        """
        url = request.url
        if url.scheme != "https" and not self._allow_http:
            return
        if self._entries is None:
            async with self._reading:
                if self._entries is None:
                    self._entries = await trio.to_thread.run_sync(_read, self._path)
        found = url.host if url.host in self._entries else _DEFAULT
        if found not in self._entries or (found == _DEFAULT and not self._use_default):
            return
        if (auth := self._made.get(found)) is None:
            try:
                auth = self._made[found] = BasicAuth(*self._entries[found])
            except ValueError as exc:
                raise AuthError(f"the netrc file's entry for {found} cannot be sent: {exc}", reason="file") from None
        await auth.authorize(request, client)


def _read(given: str | os.PathLike[str] | None) -> dict[str, tuple[str, str]]:
    """Return user names and passwords by host.

    Raises:
        AuthError: ``file``.
    """
    try:
        path = Path(given if given is not None else os.environ.get("NETRC") or "~/.netrc").expanduser()
        mode = path.stat().st_mode
        parsed = netrc.netrc(path)
    except netrc.NetrcParseError as exc:
        # Its message may cite a password that stands in the wrong place.
        message = f"the netrc file {clip(str(exc.filename))} cannot be understood at line {exc.lineno}"
        raise AuthError(message, reason="file") from None
    except (OSError, UnicodeError, RuntimeError) as exc:  # RuntimeError: there is no home directory
        why = exc.strerror if isinstance(exc, OSError) else type(exc).__name__
        named = "~/.netrc" if given is None else os.fspath(given)
        raise AuthError(f"the netrc file {clip(named)} cannot be read: {why}", reason="file") from None
    entries: dict[str, tuple[str, str]] = {}
    for host, (login, _, password) in parsed.hosts.items():
        entries[host.lower()] = (login or "", password or "")
    secret = any(password and login != "anonymous" for login, password in entries.values())
    if secret and os.name == "posix" and mode & _OTHERS:
        raise AuthError(
            f"the netrc file {clip(str(path))} holds passwords, and others may read it: chmod 600 makes it yours alone",
            reason="file",
        )
    return entries
