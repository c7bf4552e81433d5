"""OAuth 2: tokens, and asking an authorization server for one.

Rule 1: a token endpoint is asked by a client without credentials, cookies, header fields and middleware of the
        program's: none of those is meant for it. It is not followed elsewhere.
Rule 2: what it says is read strictly: a token is in a 2xx answer that is a JSON object, or there is none.
Rule 3: no ``repr``, message or pickle has a secret in it; ``dataclasses.asdict`` gives it to who wants to store it.
"""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, NoReturn
from urllib.parse import parse_qsl, quote_plus, urlsplit

import oauthlib.oauth2 as oauth2  # type: ignore[import-untyped]  # oauthlib has no types
from oauthlib.oauth2.rfc6749.parameters import (  # type: ignore[import-untyped]  # as above
    parse_token_response,
    prepare_token_request,
)

from triohttp import URL, Client, Headers, RequestOptions
from triohttp.errors import AuthError, ContentError, clip

__all__ = [
    "AuthorizationRequest",
    "ClientCredentials",
    "ClientRegistration",
    "OAuth2Token",
    "RefreshToken",
    "exchange_code",
    "make_authorization_request",
    "strip_client",
]

FORM = "application/x-www-form-urlencoded"
_VISIBLE = re.compile(r"[\x21-\x7e]+")
_KNOWN = ("access_token", "token_type", "refresh_token", "expires_in", "expires_at", "scope")


class _Secretive:
    __slots__ = ()

    def __reduce__(self) -> NoReturn:
        raise TypeError(f"{type(self).__name__} holds secrets, which do not go into a pickle")


@dataclass(frozen=True, slots=True, repr=False)
class OAuth2Token(_Secretive):
    """What a server gave a program to prove who it acts for.

    ``dataclasses.asdict(token)`` is what to store, ``OAuth2Token(**stored)`` what comes back.

    Args:
        access_token: what goes out with requests.
        expires_at: when it does, in seconds since 1970; None when nobody said.
        refresh_token: what gets another one, None when nothing does.
        scope: what it is good for, separated by spaces; None when nobody said.
        extra: what else the server said, such as ``id_token``.
    Raises:
        ValueError: the token cannot be sent.
    Source: RFC 6749 §5.1.
    """

    access_token: str
    expires_at: float | None = None
    refresh_token: str | None = None
    scope: str | None = None
    extra: Mapping[str, object] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        token: object = self.access_token  # whatever the annotation says
        if not isinstance(token, str) or _VISIBLE.fullmatch(token) is None:
            raise ValueError("an access token must consist of visible ASCII characters (RFC 6749 §A.12)")

    def __repr__(self) -> str:
        can = "can" if self.refresh_token else "cannot"
        return f"<OAuth2Token scope={self.scope!r} expires_at={self.expires_at!r} {can} be refreshed>"

    def expires_within(self, seconds: float) -> bool:
        """Tell whether it will have expired in ``seconds``, by this machine's clock."""
        return self.expires_at is not None and self.expires_at <= time.time() + seconds


class ClientRegistration(_Secretive):
    """What a program is to an authorization server (RFC 6749 §2), and where that gives out tokens.

    Args:
        token_url: the token endpoint.
        client_id: the program's name there.
        client_secret: its secret; None for a program that cannot keep one.
        client_auth: where the secret goes: ``basic``, as RFC 6749 prefers, or ``content``.
        allow_http: send secrets without TLS.
    Raises:
        ValueError: the endpoint is not https, or ``client_auth`` is something else.
    """

    __slots__ = ("_client_secret", "client_auth", "client_id", "token_url")

    def __init__(
        self,
        token_url: str | URL,
        client_id: str,
        client_secret: str | None = None,
        *,
        client_auth: Literal["basic", "content"] = "basic",
        allow_http: bool = False,
    ) -> None:
        url = token_url if isinstance(token_url, URL) else URL(token_url)
        if url.scheme != "https" and not allow_http:
            raise ValueError(f"a token endpoint must be https, unless allow_http=True says otherwise: {url!r}")
        if client_auth not in ("basic", "content"):
            raise ValueError(f"client_auth must be 'basic' or 'content', not {clip(client_auth)}")
        self.token_url = url
        self.client_id = client_id
        self.client_auth = client_auth
        self._client_secret = client_secret

    def __repr__(self) -> str:
        return f"<ClientRegistration {self.client_id!r} at {self.token_url!r}>"

    async def request_token(self, client: Client, grant_type: str, parameters: Mapping[str, str | None]) -> OAuth2Token:
        """Return what the token endpoint gives for a grant.

        Args:
            client: who asks; only its connections and timeouts count.
            grant_type: as in RFC 6749, or an extension's URI.
            parameters: of the grant; None and empty ones are left out.
        Cancellation: fatal: the server may have given out a token that nobody has now.
        Raises:
            AuthError: ``token``: the endpoint refused, or did not answer with a token.
            TransportError: as for every request.
        Source: RFC 6749 §3.2, §4.1.3, §4.4.2, §5, §6.
        """
        options: RequestOptions = {"redirects": False}
        fields = {name: value for name, value in parameters.items() if value}
        if self._client_secret is not None and self.client_auth == "basic":
            options["auth"] = (quote_plus(self.client_id), quote_plus(self._client_secret))  # RFC 6749 §2.3.1
        else:
            fields["client_id"] = self.client_id
            if self._client_secret is not None:
                fields["client_secret"] = self._client_secret
        options["content"] = prepare_token_request(grant_type, **fields)
        options["headers"] = {"Content-Type": FORM, "Accept": "application/json"}
        asked_at = time.time()
        response = await strip_client(client).post(self.token_url, **options)
        where = f"the token endpoint {self.token_url!r}"
        try:
            said = response.json()
            if not isinstance(said, dict):
                raise ContentError("it is no object", reason="json")
        except ContentError as exc:
            message = f"{where} answered {response.status} with something that is no JSON object"
            raise AuthError(message, reason="token") from exc
        try:
            found = parse_token_response(response.content.decode())
            if not response.is_success:
                raise AuthError(f"{where} answered {response.status} without an error of OAuth's", reason="token")
            return _make_token(found, asked_at)
        except oauth2.OAuth2Error as exc:
            why = clip(exc.error) + (f": {clip(exc.description, 200)}" if exc.description else "")
            raise AuthError(f"{where} refused: {why}", reason="token") from exc
        except (ValueError, TypeError, AttributeError):  # oauthlib's, and ours: what it cites may be the token
            message = f"{where} answered {response.status} with something that is no token"
            raise AuthError(message, reason="token") from None


def strip_client(client: Client) -> Client:
    """Return a client over the same connections that has nothing of the program's (rule 1)."""
    stripped = client.derive(base_url=None, auth=None, cookies=None)
    defaults = stripped.defaults
    agent = defaults.headers.get("user-agent")
    defaults.headers = Headers({"User-Agent": agent} if agent is not None else {})
    defaults.params = None
    defaults.middleware = defaults.hop_middleware = ()
    return stripped


def _make_token(said: Mapping[str, object], asked_at: float) -> OAuth2Token:
    kind = said.get("token_type", "Bearer")
    if not isinstance(kind, str) or kind.lower() != "bearer":
        raise ValueError("of another type than Bearer")
    access, refresh, scope, expires_at = said["access_token"], said.get("refresh_token"), said.get("scope"), None
    if not isinstance(access, str) or not isinstance(refresh, str | None):
        raise TypeError("a token that is no text")
    if isinstance(seconds := said.get("expires_in"), int | float):
        expires_at = asked_at + seconds
    elif isinstance(moment := said.get("expires_at"), int | float):  # in no RFC, but seen
        expires_at = float(moment)
    text = " ".join(map(str, scope)) if isinstance(scope, list) else None
    extra = {name: value for name, value in said.items() if name not in _KNOWN}
    return OAuth2Token(access, expires_at, refresh, text, extra)


class ClientCredentials:
    """Gets tokens for the program itself (RFC 6749 §4.4); a source of ``OAuth2``.

    Args:
        registration: who the program is, with a secret.
        scope: what the token should be good for, separated by spaces.
        parameters: what the server wants beside that, such as ``audience``.
    """

    __slots__ = ("_parameters", "_registration")

    def __init__(
        self,
        registration: ClientRegistration,
        *,
        scope: str | None = None,
        parameters: Mapping[str, str] | None = None,
    ) -> None:
        self._registration = registration
        self._parameters: dict[str, str | None] = {**(parameters or {}), "scope": scope}

    async def __call__(self, client: Client, token: OAuth2Token | None) -> OAuth2Token:
        """Return a new token; see ``ClientRegistration.request_token``."""
        return await self._registration.request_token(client, "client_credentials", self._parameters)


class RefreshToken:
    """Gets a new token for one that has a refresh token (RFC 6749 §6); a source of ``OAuth2``.

    Args:
        registration: who the program is.
        parameters: what the server wants beside the refresh token.
    """

    __slots__ = ("_parameters", "_registration")

    def __init__(self, registration: ClientRegistration, *, parameters: Mapping[str, str] | None = None) -> None:
        self._registration = registration
        self._parameters = dict(parameters or {})

    async def __call__(self, client: Client, token: OAuth2Token | None) -> OAuth2Token:
        """Return a new token; what the server does not say anew stays as it was.

        Raises:
            AuthError: ``token``: there is no refresh token, or as for ``ClientRegistration.request_token``.
        """
        if token is None or not token.refresh_token:
            raise AuthError("there is no refresh token: the user has to log in again", reason="token")
        parameters = {**self._parameters, "refresh_token": token.refresh_token}
        new = await self._registration.request_token(client, "refresh_token", parameters)
        refresh, scope = new.refresh_token or token.refresh_token, new.scope or token.scope
        return OAuth2Token(new.access_token, new.expires_at, refresh, scope, new.extra)


@dataclass(frozen=True, slots=True, repr=False)
class AuthorizationRequest(_Secretive):
    """A user's browser is sent to ``url``; the rest is to be kept until it comes back.

    Attributes:
        url: where to send it.
        state: what the user comes back with; it ties the answer to who asked.
        code_verifier: the secret that makes the code worthless to others (PKCE, RFC 7636).
        redirect_uri: where the user comes back to.
    """

    url: str
    state: str
    code_verifier: str
    redirect_uri: str

    def __repr__(self) -> str:
        return f"<AuthorizationRequest back to {self.redirect_uri!r}>"


def make_authorization_request(
    authorization_url: str | URL,
    registration: ClientRegistration,
    *,
    redirect_uri: str,
    scope: str | None = None,
    parameters: Mapping[str, str] | None = None,
) -> AuthorizationRequest:
    """Return where to send a user's browser, so that the user lets the program act for them.

    Args:
        authorization_url: the authorization endpoint.
        registration: who the program is.
        redirect_uri: where the user comes back to, as it was registered.
        scope: what the program wants to do, separated by spaces.
        parameters: what the server wants beside that.
    Source: RFC 6749 §4.1.1, RFC 7636 §4.3, RFC 9700 §2.1.1.
    """
    url = authorization_url if isinstance(authorization_url, URL) else URL(authorization_url)
    state, verifier = secrets.token_urlsafe(24), secrets.token_urlsafe(48)
    challenge = oauth2.WebApplicationClient(registration.client_id).create_code_challenge(verifier, "S256")
    fields = {
        "response_type": "code",
        "client_id": registration.client_id,
        "redirect_uri": redirect_uri,
        "state": state,
        "code_challenge": challenge,
        "code_challenge_method": "S256",
        **({"scope": scope} if scope else {}),
        **(parameters or {}),
    }
    return AuthorizationRequest(str(url.with_query(fields)), state, verifier, redirect_uri)


async def exchange_code(
    client: Client, registration: ClientRegistration, request: AuthorizationRequest, redirected: str | URL
) -> OAuth2Token:
    """Return the token for a user who came back from where ``make_authorization_request`` sent them.

    Args:
        client: who asks; only its connections and timeouts count.
        registration: who the program is.
        request: what was kept.
        redirected: the URL that the user came back with, or its target.
    Raises:
        AuthError: ``state``: it is no answer to this request; ``token``: the user or the server said no.
    Source: RFC 6749 §4.1.2, §4.1.3, RFC 7636 §4.5.
    """
    answer = dict(parse_qsl(urlsplit(str(redirected)).query, keep_blank_values=True))
    if not secrets.compare_digest(answer.get("state", "").encode(), request.state.encode()):
        raise AuthError("the user came back with the state of another request", reason="state")
    if "error" in answer or "code" not in answer:
        why = clip(answer.get("error", "it gave no code"))
        if "error_description" in answer:
            why += f": {clip(answer['error_description'], 200)}"
        raise AuthError(f"the authorization server refused: {why}", reason="token")
    parameters = {
        "code": answer["code"],
        "redirect_uri": request.redirect_uri,
        "code_verifier": request.code_verifier,
    }
    return await registration.request_token(client, "authorization_code", parameters)
