"""What is checked about a path before it is routed.

Rule 1: a path is decoded once, segment by segment; dot segments are never collapsed, whoever looks sees what came.
Rule 2: what only an attacker sends is a reject, and the connection closes; a mere typing error keeps it.
"""

from __future__ import annotations

import re
from urllib.parse import unquote_to_bytes

from triohttp.errors import RemoteProtocolError

__all__ = ["check_path"]

_STRAY_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")
_DOTS = (b".", b"..")


def check_path(raw_path: str) -> bool:
    """Return whether a raw path is well-formed, which a stray percent sign prevents.

    Raises:
        RemoteProtocolError: it holds an encoded NUL, or climbs above the root.
    Source: RFC 3986 §2.1, §5.2.4.
    """
    encoded = "%" in raw_path
    if not encoded and ".." not in raw_path:
        return True
    if encoded and "%00" in raw_path:
        raise RemoteProtocolError("a NUL in the path", slug="path-nul", detail=raw_path.encode("ascii", "replace"))
    depth = 0
    for segment in raw_path[1:].split("/"):
        text = unquote_to_bytes(segment)
        if text == b"..":
            depth -= 1
            if depth < 0:
                raise RemoteProtocolError(
                    "the path climbs above the root", slug="path-traversal", detail=raw_path.encode("ascii", "replace")
                )
        elif text and text not in _DOTS:
            depth += 1
    return not (encoded and _STRAY_PERCENT.search(raw_path))
