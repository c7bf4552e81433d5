"""Digest: proving to know a password without sending it (RFC 7616, and RFC 2069 for old servers).

Rule 1: what a server said is kept by origin and realm; credentials for one go to no other.
Rule 2: a count is taken and used without awaiting in between: no two requests of any task have the same one.
Rule 3: a nonce that has just been refused for another reason than its age means a wrong password: the 401 is the
        answer. One that had been good may be forgotten without the server saying so, and is replaced once.
Rule 4: the strongest algorithm that is offered counts; a weaker one beside it is never used.
"""

from __future__ import annotations

import hashlib
import secrets
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import quote as percent_encode

from triohttp._values.url import URL
from triohttp.errors import AuthError, InvalidURLError

from .auth import Auth, check_text
from .challenges import Challenge, parse_challenges, parse_parameters, quote

if TYPE_CHECKING:
    from .client import Client
    from .request import ClientRequest
    from .response import ClientAnswer

__all__ = ["DigestAuth"]

MAX_SPACES = 64
"""How many realms are remembered, the ones used last; a server can name as many as it likes."""

_HASHES: Final = {"SHA-512-256": "sha512_256", "SHA-256": "sha256", "MD5": "md5"}
"""Names of algorithms, the strongest first, and what ``hashlib`` calls them (RFC 7616 §6.1)."""
_ALGORITHMS: Final = [
    (f"{name}{suffix}", _HASHES[name])
    for name in _HASHES
    for suffix in ("", "-sess")
    if _HASHES[name] in hashlib.algorithms_available  # the first is OpenSSL's, which may not have it
]
_STRENGTH: Final = {name.lower(): place for place, (name, _) in enumerate(_ALGORITHMS)}


@dataclass(slots=True, eq=False)
class _Space:
    """A realm at an origin: what the server said last, and how often its nonce has been used."""

    realm: str
    algorithm: str
    """As the server spelled it; empty when it named none, which is MD5."""
    hash_name: str
    session: bool
    """The hash of the password is bound to the first nonce (``-sess``)."""
    qop: str
    userhash: bool
    opaque: str | None
    paths: tuple[str, ...]
    """What the paths begin with that it covers; empty for all of the origin."""
    nonce: str
    cnonce: str = ""
    """Of a session, which has one."""
    count: int = 0
    good_nonce: str | None = None
    """The nonce that the server has accepted."""

    def hash(self, data: bytes) -> str:
        return hashlib.new(self.hash_name, data, usedforsecurity=False).hexdigest()

    def covers(self, target: str) -> int:
        """Return how much of a target says that it belongs here, -1 when it does not."""
        if not self.paths:
            return 0
        return max((len(path) for path in self.paths if target.startswith(path)), default=-1)


class DigestAuth(Auth):
    """A user name and a password that the server is shown to be known, without being told the password.

    The first request to a realm is sent twice: once to be asked. Later ones go out with what is known by then.

    Args:
        username: may hold any characters but control characters.
        password: likewise.
        allow_md5: use MD5 where a server offers nothing better, as many do.
        make_cnonce: what makes the client's nonces; for tests.
    Raises:
        TypeError: the user name or the password is no str.
        ValueError: one of them has a control character in it.
    Source: RFC 7616; RFC 2069 for servers that do not say ``qop``.
    """

    def __init__(
        self,
        username: str,
        password: str,
        *,
        allow_md5: bool = True,
        make_cnonce: Callable[[], str] = lambda: secrets.token_urlsafe(24),
    ) -> None:
        check_text("user name", username)
        check_text("password", password)
        self._username = username
        self._password = password
        self._allow_md5 = allow_md5
        self._make_cnonce = make_cnonce
        self._spaces: OrderedDict[tuple[tuple[str, str, int], str], _Space] = OrderedDict()

    async def authorize(self, request: ClientRequest, client: Client) -> None:
        """Put credentials into the request, if the server has asked for them before.

        Raises:
            AuthError: ``challenge``: the server wants the content protected, and it is not bytes.
        """
        space = self._space_for(request.url)
        if space is not None:
            request.headers["Authorization"] = self._credentials(space, request)

    async def challenged(self, request: ClientRequest, answer: ClientAnswer, client: Client) -> bool:
        """Remember what the server wants; return whether it has not just been told in vain.

        Raises:
            AuthError: ``challenge``: the server offers nothing but MD5, which is not allowed.
        """
        challenge = self._choose(parse_challenges(answer.headers.get_all("www-authenticate")))
        if challenge is None:
            return False
        key = (request.url.origin, challenge.parameters["realm"])
        space = self._spaces.get(key)
        used = _used(request)
        if used is not None and used["realm"] == key[1] and challenge.parameters.get("stale", "").lower() != "true":
            if space is None:
                return False  # another task has found out that the password is wrong
            if used["nonce"] == space.nonce != space.good_nonce:
                del self._spaces[key]  # the next call asks anew, in case the password was not to blame
                return False
        if space is None or space.nonce != challenge.parameters["nonce"]:
            self._spaces[key] = self._open(challenge, request.url)
            if len(self._spaces) > MAX_SPACES:
                self._spaces.popitem(last=False)
        return True

    def answered(self, request: ClientRequest, answer: ClientAnswer) -> None:
        """Note which nonce was good, and the one that the server wants to see next (RFC 7616 §3.5)."""
        used = _used(request)
        if answer.status == 401 or used is None:
            return
        space = self._spaces.get((request.url.origin, used["realm"]))
        if space is None:
            return
        if used["nonce"] == space.nonce:
            space.good_nonce = space.nonce
        following = parse_parameters(answer.headers.get("authentication-info", "")).get("nextnonce")
        # A session stays bound to the nonce that it began with, and servers do not agree on what a new one means there.
        if following and following != space.nonce and not space.session:
            space.nonce = space.good_nonce = following
            space.count = 0

    # -- what the server wants -----------------------------------------------------------------------------------------

    def _space_for(self, url: URL) -> _Space | None:
        """Return the realm that a URL belongs to: the one that says so most precisely, of several the last one used."""
        found, best = None, -1
        for key, space in self._spaces.items():
            if key[0] == url.origin and (covered := space.covers(url.target)) >= best and covered >= 0:
                found, best = key, covered
        if found is None:
            return None
        self._spaces.move_to_end(found)
        return self._spaces[found]

    def _choose(self, challenges: Iterable[Challenge]) -> Challenge | None:
        """Return the strongest of the challenges that can be met."""
        known = [one for one in challenges if one.scheme == "digest" and _can_be_met(one.parameters)]
        if not known:
            return None
        best = min(known, key=lambda one: _STRENGTH[_algorithm(one.parameters)])
        if _algorithm(best.parameters).startswith("md5") and not self._allow_md5:
            raise AuthError(
                "the server offers no better algorithm than MD5, which allow_md5=True would allow", reason="challenge"
            )
        return best

    def _open(self, challenge: Challenge, url: URL) -> _Space:
        said = challenge.parameters
        algorithm, hash_name = _ALGORITHMS[_STRENGTH[_algorithm(said)]]
        session = algorithm.endswith("-sess")
        return _Space(
            realm=said["realm"],
            algorithm=said.get("algorithm", ""),
            hash_name=hash_name,
            session=session,
            qop=_qop(said),
            userhash=said.get("userhash", "").lower() == "true",
            opaque=said.get("opaque"),
            paths=_paths(said.get("domain", ""), url),
            nonce=said["nonce"],
            cnonce=self._make_cnonce() if session else "",
        )

    # -- what the client says ------------------------------------------------------------------------------------------

    def _credentials(self, space: _Space, request: ClientRequest) -> str:
        """Return the value of the Authorization field (RFC 7616 §3.4)."""
        target, content = request.url.target, request.content
        space.count += 1
        count = f"{space.count:08x}"
        cnonce = space.cnonce or self._make_cnonce()
        # The server's own words are hashed as the bytes that it sent.
        realm, nonce = space.realm.encode("latin-1"), space.nonce.encode("latin-1")
        known = space.hash(self._username.encode() + b":" + realm + b":" + self._password.encode())
        if space.session:
            known = space.hash(b":".join((known.encode(), nonce, cnonce.encode())))
        what = f"{request.method}:{target}"
        if space.qop == "auth-int":
            if not isinstance(content, bytes):
                raise AuthError(
                    f"the server wants the content of {request} protected (qop=auth-int), which needs it as bytes",
                    reason="challenge",
                )
            what += f":{space.hash(content)}"
        asked = space.hash(what.encode())
        counted = f"{count}:{cnonce}:{space.qop}:".encode() if space.qop else b""
        response = space.hash(known.encode() + b":" + nonce + b":" + counted + asked.encode())

        parts = [self._named(space, realm), f"realm={quote(space.realm)}", f"nonce={quote(space.nonce)}"]
        parts += [f"uri={quote(target)}", f'response="{response}"']
        if space.algorithm:
            parts.append(f"algorithm={space.algorithm}")
        if space.opaque is not None:
            parts.append(f"opaque={quote(space.opaque)}")
        if space.qop:
            parts += [f"qop={space.qop}", f"nc={count}"]
        if space.qop or space.session:
            parts.append(f"cnonce={quote(cnonce)}")
        if space.userhash:
            parts.append("userhash=true")
        return "Digest " + ", ".join(parts)

    def _named(self, space: _Space, realm: bytes) -> str:
        """Return the parameter with the user name (RFC 7616 §3.4.4)."""
        name = self._username
        if space.userhash:
            return f'username="{space.hash(name.encode() + b":" + realm)}"'
        if name.isascii():
            return f"username={quote(name)}"
        return f"username*=UTF-8''{percent_encode(name, safe='')}"


def _algorithm(said: dict[str, str]) -> str:
    return said.get("algorithm", "MD5").lower()


def _qop(said: dict[str, str]) -> str:
    """Return the quality of protection to use, an empty string for that of RFC 2069."""
    offered = said.get("qop", "").lower().replace(",", " ").split()
    return next((one for one in ("auth", "auth-int") if one in offered), "")


def _can_be_met(said: dict[str, str]) -> bool:
    if "realm" not in said or "nonce" not in said or _algorithm(said) not in _STRENGTH:
        return False
    return bool(_qop(said)) or not said.get("qop", "").strip()


def _paths(domain: str, url: URL) -> tuple[str, ...]:
    """Return what the paths begin with that a challenge covers; other origins than its own have no say (rule 1)."""
    found: list[str] = []
    for one in domain.split():
        try:
            named = url.join(one)
        except InvalidURLError:
            continue
        if named.origin == url.origin:
            found.append(named.target)
    # A list without the very place that was asked for is none to go by.
    return tuple(found) if any(url.target.startswith(path) for path in found) else ()


def _used(request: ClientRequest) -> dict[str, str] | None:
    """Return what a request said, None when it had no credentials of this kind."""
    for one in parse_challenges(request.headers.get_all("authorization")):
        if one.scheme == "digest" and "realm" in one.parameters and "nonce" in one.parameters:
            return one.parameters
    return None
