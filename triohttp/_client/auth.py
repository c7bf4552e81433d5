"""Credentials: what proves to a server who asks.

Rule 1: credentials belong to an origin; who calls these sees to it that they are asked for no other.
Rule 2: no ``repr``, message or note shows a secret.
"""

from __future__ import annotations

import base64
import inspect
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeAlias

from triohttp.errors import clip

if TYPE_CHECKING:
    from .client import Client
    from .request import ClientRequest
    from .response import ClientAnswer

__all__ = ["Auth", "AuthInit", "BasicAuth", "make_auth"]


class Auth(ABC):
    """A way to prove to a server who asks; a subclass says how.

    Attributes:
        needs_content: the request's content has to be bytes.
    """

    needs_content = False

    @abstractmethod
    async def authorize(self, request: ClientRequest, client: Client) -> None:
        """Put credentials into a request that was copied for one sending."""

    async def challenged(self, request: ClientRequest, answer: ClientAnswer, client: Client) -> bool:
        """Look at a 401; return whether to authorize and send the request once more."""
        return False

    def answered(self, request: ClientRequest, answer: ClientAnswer) -> None:  # noqa: B027  # most have no use for it
        """Look at an answer to a request that was authorized."""


class BasicAuth(Auth):
    """A user name and a password, sent with every request (RFC 7617)."""

    __slots__ = ("_field",)

    def __init__(self, username: str, password: str) -> None:
        self._field = "Basic " + base64.b64encode(f"{username}:{password}".encode()).decode("ascii")

    async def authorize(self, request: ClientRequest, client: Client) -> None:
        """Put the credentials into the request."""
        request.headers["Authorization"] = self._field


class _Function(Auth):
    def __init__(self, function: Callable[[ClientRequest], Awaitable[None] | None]) -> None:
        self._function = function

    async def authorize(self, request: ClientRequest, client: Client) -> None:
        result = self._function(request)
        if inspect.isawaitable(result):
            await result


AuthInit: TypeAlias = "Auth | tuple[str, str] | Callable[[ClientRequest], Awaitable[None] | None]"
"""Credentials; a pair is a user name and a password, a function is called with each request."""


def make_auth(init: AuthInit) -> Auth:
    """Return credentials."""
    if isinstance(init, Auth):
        return init
    if isinstance(init, tuple) and len(init) == 2:
        return BasicAuth(*init)
    if callable(init):
        return _Function(init)
    raise TypeError(f"auth must be an Auth, a pair of user name and password, or a function, not {clip(init)}")
