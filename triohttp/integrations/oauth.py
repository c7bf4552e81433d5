"""OAuth as credentials of a client: requests that are signed (OAuth 1), and tokens that are renewed (OAuth 2).

Rule 1: a token is renewed once for all who need it: who finds it expired, or was refused with it, waits for the same
        renewal. No request holds anything while it is under way.
Rule 2: a renewal runs in the nursery of the client: who waits for it may be cancelled, it goes on for the others.
Rule 3: a token that was refused before any server had accepted it is not renewed because of that in the same call:
        the next one would be no better.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from typing import TypeAlias

import trio

from triohttp import Auth, Client, ClientAnswer, ClientRequest, ClientResponseStream
from triohttp.errors import AuthError, ClientClosedError

from ._oauth1 import OAuth1, SignatureMethod
from ._oauth2_grants import (
    AuthorizationRequest,
    ClientCredentials,
    ClientRegistration,
    OAuth2Token,
    RefreshToken,
    exchange_code,
    make_authorization_request,
    strip_client,
)

__all__ = [
    "AuthorizationRequest",
    "ClientCredentials",
    "ClientRegistration",
    "OAuth1",
    "OAuth2",
    "OAuth2Token",
    "RefreshToken",
    "SignatureMethod",
    "TokenSource",
    "exchange_code",
    "make_authorization_request",
]

TokenSource: TypeAlias = Callable[[Client, "OAuth2Token | None"], Awaitable[OAuth2Token]]
"""Where tokens come from: called with a client that has no credentials of its own, and the token there was before."""


class _Renewal:
    """A token being had, and who waits for it."""

    __slots__ = ("client", "done", "error", "token")

    def __init__(self, client: Client) -> None:
        self.client = client
        self.done = trio.Event()
        self.token: OAuth2Token | None = None
        self.error: Exception | None = None


class OAuth2(Auth):
    """A bearer token that is renewed when it expires or is refused.

    A refused request is sent once more with a new token; the 401 to that is the answer.

    Args:
        source: where tokens come from: ``ClientCredentials``, ``RefreshToken``, or a function; None for no other than
            ``token``.
        token: one that is there already.
        on_token: called with each new token, to store it; it may be asynchronous. What it raises reaches the calls that
            waited for the token, which counts nevertheless.
        leeway_seconds: how long before it expires a token is renewed.
    Raises:
        TypeError: there is neither a source nor a token.
    Source: RFC 6749, RFC 6750.
    """

    def __init__(
        self,
        source: TokenSource | None = None,
        *,
        token: OAuth2Token | None = None,
        on_token: Callable[[OAuth2Token], object] | None = None,
        leeway_seconds: float = 30.0,
    ) -> None:
        if source is None and token is None:
            raise TypeError("give a source of tokens, or a token")
        if not isinstance(token, OAuth2Token | None):
            raise TypeError(f"token must be an OAuth2Token, not {type(token).__name__}")
        self._source = source
        self._token = token
        self._on_token = on_token
        self._leeway_seconds = leeway_seconds
        self._renewal: _Renewal | None = None
        self._unproven = False
        """The token is new, and no server has accepted it."""
        self._refused = False
        """It was refused as long as it was unproven, so the next call begins with another one."""

    @property
    def token(self) -> OAuth2Token | None:
        """The token that goes out, None before the first."""
        return self._token

    async def authorize(self, request: ClientRequest, client: Client) -> None:
        """Put the token into the request, after it was renewed if that is due.

        Cancellation: atomic; a renewal goes on.
        Raises:
            AuthError: ``token``: there is none to be had; the cause says why.
            ClientClosedError: the client was closed meanwhile.
        """
        token = self._token
        if self._source is not None and (token is None or self._refused or token.expires_within(self._leeway_seconds)):
            token = await self._renew(client, self._source)
        assert token is not None
        request.headers["Authorization"] = _field(token)

    async def challenged(self, request: ClientRequest, answer: ClientAnswer, client: Client) -> bool:
        """Renew the token that was refused, unless another task has; return whether there is another one now.

        Cancellation: atomic; a renewal goes on.
        Raises: as ``authorize``.
        """
        sent = request.headers.get("authorization", "")
        if self._source is None or self._token is None or not sent.startswith("Bearer "):
            return False
        if sent != _field(self._token):
            return True
        if self._unproven:
            self._refused = True
            return False
        # The answer of a stream holds its connection, which the request for a token may be waiting for (Rule 1).
        if isinstance(answer, ClientResponseStream):
            await answer.discard()
        await self._renew(client, self._source)
        return True

    def answered(self, request: ClientRequest, answer: ClientAnswer) -> None:
        """Note that the token was good for something."""
        token, sent = self._token, request.headers.get("authorization")
        if answer.status != 401 and token is not None and sent == _field(token):
            self._unproven = self._refused = False

    async def _renew(self, client: Client, source: TokenSource) -> OAuth2Token:
        """Return a new token, together with whoever else waits for one."""
        while True:
            renewal = self._renewal
            if renewal is None:
                renewal = _Renewal(client)
                client.nursery.start_soon(self._run, renewal, source, name="triohttp token renewal")
                self._renewal = renewal
            await renewal.done.wait()
            if renewal.error is not None:
                error = renewal.error
                why = str(error) if isinstance(error, AuthError) else f"{type(error).__name__} while it was asked for"
                # Each waiter gets an exception of its own: a traceback belongs to one task.
                reason = error.reason if isinstance(error, AuthError) else "token"
                raise AuthError(why, reason=reason) from error
            if renewal.token is not None:
                return renewal.token
            if renewal.client is client:
                raise ClientClosedError("the client was closed while a token was asked for", phase="token")
            # It ran for another client, which was closed; ours asks itself.

    async def _run(self, renewal: _Renewal, source: TokenSource) -> None:
        """Get a token; what goes wrong is for those who wait, the nursery is none of its business."""
        try:
            token = await source(strip_client(renewal.client), self._token)
            if not isinstance(token, OAuth2Token):
                raise TypeError(f"a source of tokens must return an OAuth2Token, not a {type(token).__name__}")
            self._token = token
            self._unproven, self._refused = True, False
            if self._on_token is not None:
                result = self._on_token(token)
                if inspect.isawaitable(result):
                    await result
            renewal.token = token
        except ClientClosedError:
            pass  # as if it had been cancelled, which is what comes next
        except Exception as exc:  # noqa: BLE001  # kept for those who wait, each of whom raises it
            renewal.error = exc
        finally:
            self._renewal = None
            renewal.done.set()


def _field(token: OAuth2Token) -> str:
    return f"Bearer {token.access_token}"
