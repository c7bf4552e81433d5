"""OAuth 1: requests that are signed, by oauthlib.

Rule 1: what is signed is what goes out: method, URL, form, and the content where the server wants that; nothing of the
        request but its Authorization field is changed.
Rule 2: oauthlib takes no character that a form would encode; it is given the query and the form with those encoded,
        which mean the same and are signed as the same.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable
from typing import Any, Literal, TypeAlias, get_args
from urllib.parse import quote

from triohttp import Auth, Client, ClientRequest, MediaType
from triohttp.errors import AuthError, ContentError, clip

try:
    import oauthlib.oauth1  # type: ignore[import-untyped]  # oauthlib has no types
except ImportError as error:
    raise ImportError("this needs oauthlib: pip install 'triohttp[oauth]'") from error

__all__ = ["OAuth1", "SignatureMethod"]

SignatureMethod: TypeAlias = Literal["HMAC-SHA1", "HMAC-SHA256", "HMAC-SHA512", "PLAINTEXT"]
"""How a request is signed; the first and the last are those of RFC 5849."""

FORM = "application/x-www-form-urlencoded"
_HASHES = {"HMAC-SHA1": hashlib.sha1, "HMAC-SHA256": hashlib.sha256, "HMAC-SHA512": hashlib.sha512}
_UNSAFE = re.compile(r"[^0-9A-Za-z_.\-=&;:%+~,*@!()/?'$]")
_CONTROLS = re.compile(r"[^\x20-\x7e]")


class _Signer(oauthlib.oauth1.Client):  # type: ignore[misc]  # oauthlib has no types
    """oauthlib's client with our hash of the content: its own takes only text, and is not to be switched off."""

    content_hash: str | None = None
    version = True

    def get_oauth_params(self, request: Any) -> list[tuple[str, str]]:
        found = super().get_oauth_params(request)
        dropped = {"oauth_body_hash"} if self.version else {"oauth_body_hash", "oauth_version"}
        parameters = [(name, value) for name, value in found if name not in dropped]
        if self.content_hash is not None:
            parameters.append(("oauth_body_hash", self.content_hash))
        return parameters


class OAuth1(Auth):
    """Signs each request with a secret of the program's, and one of the user that it acts for.

    ``PLAINTEXT`` sends the secrets themselves, so it is for https alone.

    Args:
        client_id: the program, which RFC 5849 calls ``oauth_consumer_key``.
        client_secret: its secret.
        token: the user that it acts for; empty where it acts for nobody.
        token_secret: the secret of that.
        signature_method: ``HMAC-SHA1`` is what RFC 5849 has, the longer ones are what newer servers take.
        realm: sent with the signature, for servers that ask for it.
        callback: where to send the user, while a token is asked for.
        verifier: what the user brought back from there.
        body_hash: sign content that is no form too (the extension ``oauth_body_hash``); it must be bytes.
        version: send ``oauth_version``, as most programs do, although it need not be.
        make_nonce: what makes the nonces; for tests.
        make_timestamp: what tells the time, as whole seconds since 1970; for tests.
    Raises:
        TypeError: an argument is no str.
        ValueError: the method is unknown, or cannot be had together with ``body_hash``.
    Source: RFC 5849.
    """

    def __init__(
        self,
        client_id: str,
        client_secret: str = "",
        token: str = "",
        token_secret: str = "",
        *,
        signature_method: SignatureMethod = "HMAC-SHA1",
        realm: str | None = None,
        callback: str | None = None,
        verifier: str | None = None,
        body_hash: bool = False,
        version: bool = True,
        make_nonce: Callable[[], str] | None = None,
        make_timestamp: Callable[[], str] | None = None,
    ) -> None:
        for one in (client_id, client_secret, token, token_secret):
            if not isinstance(one, str):
                raise TypeError(f"names and secrets of OAuth 1 must be str, not {type(one).__name__}")
        if signature_method not in get_args(SignatureMethod):
            known = ", ".join(get_args(SignatureMethod))
            raise ValueError(f"signature_method must be one of {known}, not {clip(signature_method)}")
        if body_hash and signature_method not in _HASHES:
            raise ValueError(f"body_hash needs a signature, which {signature_method} has none of")
        if realm is not None and _CONTROLS.search(realm):
            raise ValueError(f"realm must consist of printable ASCII characters, not {clip(realm)}")
        self._identity: dict[str, str | None] = {
            "client_key": client_id,
            "client_secret": client_secret,
            "resource_owner_key": token or None,
            "resource_owner_secret": token_secret,
            "callback_uri": callback,
            "verifier": verifier,
            "signature_method": signature_method,
        }
        self._method = signature_method
        self._realm = realm
        self._body_hash = body_hash
        self._version = version
        self._make_nonce = make_nonce
        self._make_timestamp = make_timestamp

    async def authorize(self, request: ClientRequest, client: Client) -> None:
        """Sign the request.

        Raises:
            AuthError: ``content``: what has to be signed is not bytes, or no form although it says so; ``url``: a
                secret would go out without TLS.
        """
        url, content = request.url, request.content
        if self._method == "PLAINTEXT" and url.scheme != "https":
            raise AuthError(f"PLAINTEXT sends secrets, which {request} would do without TLS", reason="url")
        form = _is_form(request)
        if (form or self._body_hash) and not isinstance(content, bytes):
            raise AuthError(f"the content of {request} has to be signed, which needs it as bytes", reason="content")
        signer = _Signer(
            **self._identity,
            nonce=None if self._make_nonce is None else self._make_nonce(),
            timestamp=None if self._make_timestamp is None else self._make_timestamp(),
        )
        signer.version = self._version
        headers: dict[str, str] = {}
        body: str | None = None
        if form and content:
            assert isinstance(content, bytes)
            headers["Content-Type"] = FORM
            body = _encoded(content.decode("latin-1"))
        elif self._body_hash and not form:
            assert isinstance(content, bytes)
            signer.content_hash = base64.b64encode(_HASHES[self._method](content).digest()).decode("ascii")
        if (host := request.headers.get("host")) is not None:
            headers["Host"] = host
        query = f"?{_encoded(url.query)}" if url.query else ""
        target = f"{url.scheme}://{url.authority}{url.path}{query}"
        try:
            _, signed, _ = signer.sign(target, request.method, body, headers, self._realm)
        except ValueError:
            # oauthlib's message cites the content.
            raise AuthError(f"{request} cannot be signed: its query or content is no form", reason="content") from None
        request.headers["Authorization"] = signed["Authorization"]


def _is_form(request: ClientRequest) -> bool:
    """Tell whether a request says that its content is a form (RFC 5849 §3.4.1.3.1)."""
    field = request.headers.get("content-type")
    try:
        return field is not None and MediaType.parse(field).essence == FORM
    except ContentError:
        return False


def _encoded(text: str) -> str:
    """Return a query or form with what oauthlib does not take percent-encoded, as the bytes that it is (rule 2)."""
    return _UNSAFE.sub(lambda match: quote(match[0], safe="", encoding="latin-1"), text)
