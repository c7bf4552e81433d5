"""Nothing that happens on one connection reaches another, an accept loop, or the server.

Rule 1: every task of a connection runs inside ``contain``; what gets there is logged once, leaf by leaf.
Rule 2: cancellations pass; KeyboardInterrupt and SystemExit make the server drain and are raised by ``serve``.
Rule 3: a ``Cancelled`` that outlived its scope is no cancellation but an error: passed on, it would cancel the nursery
        of all connections.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable

import trio

from .records import server_log

__all__ = ["contain", "first_of", "is_cancellation", "leaves", "report"]


async def contain(
    where: str, work: Callable[[], Awaitable[None]], stop_because: Callable[[BaseException], None]
) -> None:
    """Run ``work``; raise nothing but cancellations."""
    try:
        await work()
    except trio.Cancelled as exc:
        if _is_cancelled():
            raise
        report(exc, where)
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
            if _is_cancelled():
                raise cancelled from None
            report(leaves(cancelled)[0], where)
    except BaseException as exc:  # noqa: BLE001  # this is the firewall
        report(exc, where)


def _is_cancelled() -> bool:
    """Tell whether a scope around this task has been cancelled."""
    return trio.current_effective_deadline() == -math.inf


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


def is_cancellation(error: BaseException) -> bool:
    """Tell whether an error is a cancellation and nothing else; nurseries wrap those of several tasks into a group."""
    if isinstance(error, BaseExceptionGroup):
        return all(isinstance(leaf, trio.Cancelled) for leaf in leaves(error))
    return isinstance(error, trio.Cancelled)


def first_of(error: BaseException) -> BaseException:
    """Return the one error that a group stands for: the first that is no cancellation, if there is one."""
    if not isinstance(error, BaseExceptionGroup):
        return error
    found = leaves(error)
    return next((leaf for leaf in found if not isinstance(leaf, trio.Cancelled)), found[0])


def leaves(group: BaseExceptionGroup[BaseException]) -> list[BaseException]:
    """Return the exceptions at the ends of a group."""
    found: list[BaseException] = []
    for inner in group.exceptions:
        found.extend(leaves(inner) if isinstance(inner, BaseExceptionGroup) else [inner])
    return found
