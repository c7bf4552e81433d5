"""Mounts: origins, or parts of one, that are reached in another way than through the network.

Rule 1: a mount opens plain byte streams; TLS for an https mount is put on top by the dial, as on the network.
Rule 2: the longest mount that matches counts; its path matches whole segments.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Protocol

import trio

from triohttp._values.url import URL
from triohttp.errors import ConnectError, clip

__all__ = ["Mounts", "Origin", "UnixOrigin"]


class Origin(Protocol):
    """Anything that opens a stream to a server."""

    async def connect(self) -> trio.abc.Stream:
        """Return a new stream; whoever calls it owns it and closes it."""
        ...


class UnixOrigin:
    """An origin behind a Unix socket: ``Client(mounts={"http://docker": UnixOrigin("/var/run/docker.sock")})``.

    Args:
        path: of the socket.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = os.fspath(path)

    def __repr__(self) -> str:
        return f"UnixOrigin({self.path!r})"

    async def connect(self) -> trio.SocketStream:
        """Return a new connection to the socket.

        Cancellation: atomic.
        Raises:
            OSError: nobody listens there.
        """
        try:
            return await trio.open_unix_socket(self.path)
        except OSError as exc:
            raise OSError(exc.errno, f"{self.path}: {exc.strerror or exc}") from exc


class Mounts:
    """What a client's ``mounts`` argument says.

    Args:
        mounts: origins by URL: ``http://app.test``, or ``http://app.test/api`` for a part of one.
        only: refuse every URL that no mount matches.
    Raises:
        InvalidURLError: a key is no URL.
        TypeError: a value is no ``Origin``.
        ValueError: a key has a query or a fragment, or two keys mean the same.
    """

    __slots__ = ("_by_origin", "_only", "_origins")

    def __init__(self, mounts: Mapping[str, Origin], *, only: bool) -> None:
        self._only = only
        self._origins: dict[str, Origin] = {}
        self._by_origin: dict[tuple[str, str, int], list[tuple[str, str]]] = {}
        for key, origin in mounts.items():
            url = URL(key)
            if not callable(getattr(origin, "connect", None)):
                raise TypeError(f"a mount must have a method connect, {clip(origin)} has none")
            if url.query or url.fragment or url.userinfo:
                raise ValueError(f"a mount is an origin with or without a path, not {key!r}")
            path = url.path.rstrip("/")
            name = f"{url.scheme}://{url.authority}{path}"
            if name in self._origins:
                raise ValueError(f"two mounts mean {name!r}")
            self._origins[name] = origin
            self._by_origin.setdefault(url.origin, []).append((path, name))
        for entries in self._by_origin.values():
            entries.sort(key=lambda entry: -len(entry[0]))

    def __bool__(self) -> bool:
        return self._only or bool(self._origins)

    def find(self, url: URL) -> str:
        """Return the name of the mount for ``url``, an empty string for the network.

        Raises:
            ConnectError: only mounts may be reached, and there is none.
        """
        path = url.path
        for prefix, name in self._by_origin.get(url.origin, ()):
            if path == prefix or path.startswith(prefix + "/"):
                return name
        if self._only:
            message = f"no mount matches {url!r}, and nothing else may be reached"
            raise ConnectError(message, phase="connect", safe_to_retry=True)
        return ""

    def origin(self, name: str) -> Origin:
        """Return a mount by its name."""
        return self._origins[name]
