"""What comes out of nurseries: one error of several, and whether there is anything but cancellation in it.

Rule 1: a nursery of the library's is a detail: what leaves it is the one real error, never a group.
"""

from __future__ import annotations

import trio

__all__ = ["is_cancelled", "only_one"]


def is_cancelled(exc: BaseException) -> bool:
    """Tell whether there is nothing but cancellation in an exception; groups of it come from nurseries of programs."""
    if isinstance(exc, BaseExceptionGroup):
        return exc.split(trio.Cancelled)[1] is None
    return isinstance(exc, trio.Cancelled)


def only_one(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """Return what a nursery of ours failed with: of Cancelled and anything else the latter."""
    inner = [one for one in group.exceptions if not isinstance(one, trio.Cancelled)] or group.exceptions
    return only_one(inner[0]) if isinstance(inner[0], BaseExceptionGroup) else inner[0]
