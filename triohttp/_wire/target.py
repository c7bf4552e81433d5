"""What a request is for: the four forms of a request target (RFC 9112 §3.2).

Rule 1: what two readers could take for two different things is refused: fragments, userinfo, schemes other than HTTP's.
Rule 2: a target that names its own host overrules the Host field (RFC 9112 §3.2.2).
"""

from __future__ import annotations

import re

from triohttp._values.authority import Authority, parse_authority
from triohttp.errors import InvalidURLError

__all__ = ["split_target"]

_ABSOLUTE = re.compile(rb"https?://([^/?#]+)([/?][^#]*)?", re.IGNORECASE)


def split_target(method: bytes, target: bytes) -> tuple[str, Authority | None]:
    """Return the target, and the authority that it names.

    The target comes back in origin form, as ``*``, or as the authority (CONNECT); the authority is None where the
    Host field decides.

    Raises:
        InvalidURLError: it has none of the forms that the method allows, or names no good host.
    """
    if method == b"CONNECT":
        authority = parse_authority(target)
        if authority.port is None:  # RFC 9112 §3.2.3: it is not optional here
            raise InvalidURLError("the target of CONNECT must name a port")
        return authority.text, authority
    if target.startswith(b"/"):
        if b"#" in target:
            raise InvalidURLError("a request target must not hold a fragment")
        return target.decode("ascii"), None
    if target == b"*":
        if method != b"OPTIONS":
            raise InvalidURLError("the target * is for OPTIONS alone")
        return "*", None
    match = _ABSOLUTE.fullmatch(target)
    if match is None:
        raise InvalidURLError("a request target must be a path or an http or https URL without userinfo")
    path = (match[2] or b"").decode("ascii")
    if not path and method == b"OPTIONS":
        path = "*"  # RFC 9112 §3.2.4
    elif not path.startswith("/"):
        path = "/" + path
    return path, parse_authority(match[1])
