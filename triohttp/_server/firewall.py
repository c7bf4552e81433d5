"""Nothing that happens on one connection reaches another, an accept loop, or the server.

Rule 1: every task of a connection runs inside ``contain``; what gets there is logged once, leaf by leaf.
Rule 2: cancellations pass; KeyboardInterrupt and SystemExit make the server drain and are raised by ``serve``.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import trio

from .records import server_log

__all__ = ["contain", "leaves", "report"]


async def contain(
    where: str, work: Callable[[], Awaitable[None]], stop_because: Callable[[BaseException], None]
) -> None:
    """Run ``work``; raise nothing but cancellations."""
    try:
        await work()
    except trio.Cancelled:
        raise
    except (KeyboardInterrupt, SystemExit) as exc:
        stop_because(exc)
    except BaseExceptionGroup as group:
        rest = report(group, where)
        if rest is None:
            return
        cancelled, exits = rest.split(trio.Cancelled)
        if exits is not None:
            stop_because(leaves(exits)[0])
        if cancelled is not None:
            raise cancelled from None
    except BaseException as exc:  # noqa: BLE001  # this is the firewall
        report(exc, where)


def report(error: BaseException, where: str) -> BaseExceptionGroup[BaseException] | None:
    """Log each leaf of an error once; return what is not for a log: cancellations and requests to exit."""
    if isinstance(error, BaseExceptionGroup):
        rest, mine = error.split((trio.Cancelled, KeyboardInterrupt, SystemExit))
        if mine is not None:
            for leaf in leaves(mine):
                server_log.error("%s failed: %r", where, leaf, exc_info=leaf)
        return rest
    server_log.critical("%s failed: %r", where, error, exc_info=error)
    return None


def leaves(group: BaseExceptionGroup[BaseException]) -> list[BaseException]:
    """Return the exceptions at the ends of a group."""
    found: list[BaseException] = []
    for inner in group.exceptions:
        found.extend(leaves(inner) if isinstance(inner, BaseExceptionGroup) else [inner])
    return found
