"""Error pages: the constant text of a status, and for developers on the same machine a page with the traceback.

Rule 1: the plain page says nothing but the status; nothing of the request or of the error is in it.
Rule 2: the debug page is HTML, everything in it is escaped, header values that are secrets are masked, and no local
        variable is shown: they hold the secrets that nobody thought of.
"""

from __future__ import annotations

import html
import ipaddress
import linecache
import traceback
from collections.abc import Iterator
from typing import TYPE_CHECKING

from triohttp._values.authority import parse_authority
from triohttp._values.headers import SECRET_FIELDS
from triohttp._values.message import Address

from .exceptions import status_text
from .response import Response

if TYPE_CHECKING:
    from .request import Request

__all__ = ["debug_page", "is_local", "is_loopback", "plain_page"]

CONTEXT_LINES = 4
MAX_FRAMES = 60
MAX_ERRORS = 20
FORWARDING_FIELDS = ("forwarded", "via", "x-forwarded-for", "x-real-ip")

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title><style>
body {{ font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 70rem; padding: 0 1rem; color: #222 }}
pre {{ background: #f6f6f4; padding: .6rem .8rem; overflow-x: auto; margin: .3rem 0 1rem }}
h1 {{ font-size: 1.4rem }} h2 {{ font-size: 1.1rem; margin-top: 2rem }} .at {{ background: #ffe9b3; display: block }}
th {{ text-align: left; font-weight: 600; padding-right: 1.5rem; vertical-align: top }} td {{ word-break: break-all }}
</style></head><body><h1>{title}</h1><p>{message}</p>
{errors}
<h2>Request</h2><table>{request}</table>
<p>This page is shown because the app has <code>debug=True</code> and you are on the machine that serves it.</p>
</body></html>
"""


def plain_page(status: int) -> Response:
    """Return the constant page of a status."""
    return Response.text(status_text(status), status=status, headers={"X-Content-Type-Options": "nosniff"})


def is_local(request: Request) -> bool:
    """Tell whether a request certainly comes from this machine, and from a page of this machine's.

    A proxy here makes its clients look local, and says so in a field. A page of another site that has let its name
    point here (DNS rebinding) is read by that site, and asks for its name.
    """
    if not is_loopback(request.peer) or any(name in request.headers for name in FORWARDING_FIELDS):
        return False
    try:
        host = parse_authority(request.head.authority.encode("ascii")).host
    except ValueError:
        return False
    return host == "localhost" or host.endswith(".localhost") or is_loopback((host, 0))


def is_loopback(peer: Address) -> bool:
    """Tell whether a client is certainly on this machine: a TCP peer with a loopback address."""
    if not isinstance(peer, tuple):
        return False
    try:
        address = ipaddress.ip_address(peer[0].partition("%")[0])
    except ValueError:
        return False
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped.is_loopback
    return address.is_loopback


def debug_page(request: Request, error: BaseException) -> Response:
    """Return a page that shows a developer what happened, with source lines."""
    errors = "".join(_error(one, label) for one, label in _chain(error))
    rows = [("method", request.method), ("target", request.target), ("route", repr(request.route))]
    rows += [
        (name, "***" if name.lower().encode("latin-1") in SECRET_FIELDS else value)
        for name, value in request.headers.field_lines()
    ]
    page = _PAGE.format(
        title=html.escape(type(error).__qualname__),
        message=html.escape(str(error)),
        errors=errors,
        request="".join(f"<tr><th>{html.escape(name)}</th><td>{html.escape(value)}</td></tr>" for name, value in rows),
    )
    headers = {
        "X-Content-Type-Options": "nosniff",
        "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'",
        "Cache-Control": "no-store",
    }
    return Response(page.encode("utf-8", "replace"), status=500, headers=headers, media_type="text/html; charset=utf-8")


def _chain(error: BaseException) -> Iterator[tuple[BaseException, str]]:
    """Yield an error, what is inside it when it is a group, and what led to it; each once."""
    seen: set[int] = set()
    waiting = [(error, "Traceback")]
    while waiting and len(seen) < MAX_ERRORS:
        one, label = waiting.pop(0)
        if id(one) in seen:
            continue
        seen.add(id(one))
        yield one, label
        if isinstance(one, BaseExceptionGroup):
            waiting += [(inner, "Inside the group") for inner in one.exceptions]
        if one.__cause__ is not None:
            waiting.append((one.__cause__, "Caused by"))
        elif one.__context__ is not None and not one.__suppress_context__:
            waiting.append((one.__context__, "While this was handled"))


def _error(error: BaseException, label: str) -> str:
    # The innermost frames are the interesting ones; the outermost are the framework's own.
    frames = traceback.extract_tb(error.__traceback__)[-MAX_FRAMES:]
    what = "".join(traceback.format_exception_only(type(error), error)).strip()
    return f"<h2>{label}</h2><pre>{html.escape(what)}</pre>" + "".join(_frame(frame) for frame in frames)


def _frame(frame: traceback.FrameSummary) -> str:
    number = frame.lineno or 0
    lines = []
    for line_number in range(max(1, number - CONTEXT_LINES), number + CONTEXT_LINES + 1):
        line = linecache.getline(frame.filename, line_number)
        if line:
            text = html.escape(f"{line_number:5}  {line.rstrip()}")
            lines.append(f'<span class="at">{text}</span>' if line_number == number else text + "\n")
    where = html.escape(f"{frame.filename}, line {number}, in {frame.name}")
    return f"<div>{where}</div><pre>{''.join(lines)}</pre>"
