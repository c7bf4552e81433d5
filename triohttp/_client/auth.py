"""Credentials: what proves to a server who asks.

Rule 1: credentials belong to an origin; who calls these sees to it that they are asked for no other.
Rule 2: no ``repr``, message or note shows a secret, and no pickle holds one.
Rule 3: what cannot go into a header field is refused when the credentials are made, not when they are sent.
"""

from __future__ import annotations

import base64
import inspect
import logging
import re
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, NoReturn, TypeAlias

if TYPE_CHECKING:
    from .client import Client
    from .request import ClientRequest
    from .response import ClientAnswer

__all__ = ["Auth", "AuthInit", "BasicAuth", "BearerAuth", "check_text", "make_auth"]

LOGGER = logging.getLogger("triohttp.client")

_CONTROLS = re.compile(r"[\x00-\x1f\x7f]")
_B64TOKEN = re.compile(r"[0-9A-Za-z\-._~+/]+=*")
_LOOPBACK = re.compile(r"127(\.\d+){3}|::1|(.+\.)?(localhost|test)")
"""Hosts that are this machine, and the names that tests use, which no network has (RFC 6761 §6.2, §6.3)."""


class Auth(ABC):
    """A way to prove to a server who asks; a subclass says how.

    One may serve many calls at once. It cannot be pickled, so that its secrets do not end up where pickles do.
    """

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"

    def __reduce__(self) -> NoReturn:
        raise TypeError(f"{type(self).__name__} holds secrets, which do not go into a pickle")

    @abstractmethod
    async def authorize(self, request: ClientRequest, client: Client) -> None:
        """Put credentials into a request that was copied for one sending.

        Args:
            request: what is about to be sent; its header fields may be changed.
            client: who sends it.
        """

    async def challenged(self, request: ClientRequest, answer: ClientAnswer, client: Client) -> bool:
        """Look at a 401; return whether to authorize and send the request once more.

        Args:
            request: what was answered, with the credentials that were put into it.
            answer: the 401; in a stream its content has not been read, and it holds its connection: ``discard`` it
                before anything else is sent.
            client: who sent it.
        """
        return False

    def answered(self, request: ClientRequest, answer: ClientAnswer) -> None:  # noqa: B027  # most have no use for it
        """Look at an answer to a request that was authorized."""


class BasicAuth(Auth):
    """A user name and a password, sent with every request.

    They can be read by everybody on the way, unless that is https; the first time that it is not, a warning is logged.

    Args:
        username: without a colon; sent as UTF-8.
        password: sent as UTF-8.
    Raises:
        TypeError: one of them is no str.
        ValueError: the user name has a colon in it, or one of them has a control character.
    Source: RFC 7617.
    """

    def __init__(self, username: str, password: str) -> None:
        check_text("user name", username)
        check_text("password", password)
        if ":" in username:
            raise ValueError("a user name must not hold a colon, which ends it on the wire (RFC 7617 §2)")
        self._field = "Basic " + base64.b64encode(f"{username}:{password}".encode()).decode("ascii")
        self._warned = False

    async def authorize(self, request: ClientRequest, client: Client) -> None:
        """Put the credentials into the request."""
        self._warned = _warn_once(self._warned, self, request)
        request.headers["Authorization"] = self._field


class BearerAuth(Auth):
    """A token, sent with every request.

    It can be read by everybody on the way, unless that is https; the first time that it is not, a warning is logged.

    Args:
        token: as it goes on the wire.
    Raises:
        TypeError: it is no str.
        ValueError: it holds something else than letters, digits and ``-._~+/``, or ``=`` before its end.
    Source: RFC 6750 §2.1.
    """

    def __init__(self, token: str) -> None:
        if not isinstance(token, str):
            raise TypeError(f"a bearer token must be a str, not {type(token).__name__}")
        if _B64TOKEN.fullmatch(token) is None:
            raise ValueError(
                "a bearer token consists of letters, digits and -._~+/, with = at its end alone (RFC 6750 §2.1)"
            )
        self._field = f"Bearer {token}"
        self._warned = False

    async def authorize(self, request: ClientRequest, client: Client) -> None:
        """Put the token into the request."""
        self._warned = _warn_once(self._warned, self, request)
        request.headers["Authorization"] = self._field


class _Function(Auth):
    """What a program does to each request by a function of its own."""

    def __init__(self, function: Callable[[ClientRequest], Awaitable[None] | None]) -> None:
        self._function = function

    async def authorize(self, request: ClientRequest, client: Client) -> None:
        result = self._function(request)
        if inspect.isawaitable(result):
            await result


AuthInit: TypeAlias = "Auth | tuple[str, str] | Callable[[ClientRequest], Awaitable[None] | None]"
"""Credentials; a pair is a user name and a password, a function is called with each request before it is sent."""


def make_auth(init: AuthInit) -> Auth:
    """Return credentials.

    Raises:
        TypeError: it is none of the three.
        ValueError: a user name or password that cannot be sent.
    """
    if isinstance(init, Auth):
        return init
    given: object = init  # whatever the annotation says
    if isinstance(given, tuple) and len(given) == 2:
        return BasicAuth(*given)
    if callable(given) and not isinstance(given, type):
        return _Function(given)
    told = f"the class {given.__name__}" if isinstance(given, type) else f"a {type(given).__name__}"
    # What was given is not shown: it may be a password in the wrong place.
    raise TypeError(f"auth must be an Auth, a pair of user name and password, or a function, not {told}")


def check_text(what: str, text: str) -> None:
    """Check a user name or a password; the error does not show it.

    Raises:
        TypeError: it is no str.
        ValueError: it holds a control character, or half a surrogate pair, which UTF-8 does not have.
    """
    if not isinstance(text, str):
        raise TypeError(f"a {what} must be a str, not {type(text).__name__}")
    if _CONTROLS.search(text) is not None:
        raise ValueError(f"a {what} must not hold control characters")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError(f"a {what} must not hold half a surrogate pair") from None  # that error holds it all


def _warn_once(warned: bool, auth: Auth, request: ClientRequest) -> bool:
    """Log that a secret goes out in the clear; return whether that is now known."""
    url = request.url
    if warned or url.scheme == "https" or _LOOPBACK.fullmatch(url.host) is not None:
        return warned
    LOGGER.warning("%r sends a secret to %s without TLS: everybody on the way can read it", auth, url.authority)
    return True
