"""Asynchronous blocks that a synchronous program holds open.

What a block opens, scopes and nurseries among it, has to be entered and left by one task. So each block gets a task
that enters it, waits until the program leaves it, and leaves it. What is done inside are jobs of their own, which may
go on at the same time: one thread receives while another one sends.

Rule 1: the block ends, whatever becomes of the program's: left, interrupted, forgotten, or overtaken by the client's
        end.
Rule 2: the exception that leaves the program's block leaves the asynchronous one too: it decides how to say goodbye.
Rule 3: leaving a block whose client has been closed meanwhile does nothing.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import Final, Generic, TypeVar, cast

import trio

from triohttp.errors import ClientClosedError

from .sync_portal import Portal, has_cancelled

__all__ = ["SyncBlock"]

T = TypeVar("T")
S = TypeVar("S")
_NOTHING: Final = object()

LEAVE_SECONDS = 1.5
"""How long a block that is cancelled is waited for; a WebSocket says goodbye for a second at most."""


class _Keeper(Generic[T]):
    """The task that holds one asynchronous block open."""

    __slots__ = (
        "_ended",
        "_entered",
        "_error",
        "_exc",
        "_leaving",
        "_manager",
        "_portal",
        "_scope",
        "_swallowed",
        "_value",
    )

    def __init__(self, portal: Portal, manager: AbstractAsyncContextManager[T]) -> None:
        self._portal = portal
        self._manager = manager
        self._scope = trio.CancelScope()
        self._entered = trio.Event()
        self._leaving = trio.Event()
        self._ended = trio.Event()
        self._value: object = _NOTHING
        self._exc: BaseException | None = None
        self._error: BaseException | None = None
        self._swallowed: bool | None = None

    @property
    def kind(self) -> str:
        """What is held open."""
        return type(self._manager).__name__

    async def enter(self) -> T:
        """Return the value of the block, once it is entered.

        Cancellation: the block is left, or not entered.
        """
        nursery = self._portal.nursery
        assert nursery is not None
        nursery.start_soon(self._keep)
        await self._wait(self._entered)
        self._raise_error()
        value, self._value = self._value, _NOTHING
        return cast("T", value)

    async def leave(self, exc: BaseException | None) -> bool | None:
        """Leave the block; return whether it has swallowed ``exc``.

        Cancellation: the block is cancelled too, and so left the fast way.
        """
        self._exc = exc
        self._leaving.set()
        await self._wait(self._ended)
        self._raise_error()
        return self._swallowed

    def cancel(self) -> None:
        """Let the block end soon; nothing when it has ended."""
        self._scope.cancel(reason="the block of a synchronous program was interrupted or forgotten")

    async def _wait(self, event: trio.Event) -> None:
        try:
            await event.wait()
        except trio.Cancelled:
            self.cancel()
            with trio.move_on_after(LEAVE_SECONDS, shield=True):
                await self._ended.wait()
            raise

    def _raise_error(self) -> None:
        error, self._error = self._error, None
        if error is not None:
            try:
                raise error
            finally:
                del error

    async def _keep(self) -> None:
        manager = self._manager
        try:
            with self._scope:
                self._value = await manager.__aenter__()
                self._entered.set()
                try:
                    await self._leaving.wait()
                except BaseException as exc:
                    await manager.__aexit__(type(exc), exc, exc.__traceback__)
                    raise
                left_by, self._exc = self._exc, None
                kind, traceback = (None, None) if left_by is None else (type(left_by), left_by.__traceback__)
                self._swallowed = await manager.__aexit__(kind, left_by, traceback)
        except BaseException as exc:
            if has_cancelled(exc):
                raise
            self._error = exc
        finally:
            self._entered.set()
            self._ended.set()


class SyncBlock(Generic[T, S]):
    """The ``with`` block of something that a ``SyncClient`` opens.

    Args:
        portal: where the client runs.
        manager: the asynchronous block.
        wrap: makes what the program gets of the value of that.
        timeout: seconds that entering may take.
    """

    def __init__(
        self,
        portal: Portal,
        manager: AbstractAsyncContextManager[T],
        wrap: Callable[[Portal, T], S],
        timeout: float | None,
    ) -> None:
        self._portal = portal
        self._keeper = _Keeper(portal, manager)
        self._wrap = wrap
        self._timeout = timeout
        self._entered = False
        self._left = False

    def __repr__(self) -> str:
        return f"<SyncBlock around a {self._keeper.kind}>"

    def __enter__(self) -> S:
        if self._entered:
            raise RuntimeError("this block has been entered before: make a new one")
        self._entered = True
        try:
            value = self._portal.call(self._keeper.enter, self._timeout)
        except BaseException:
            self._left = True
            self._portal.send(self._keeper.cancel)  # it may have been open by then
            raise
        return self._wrap(self._portal, value)

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> bool | None:
        self._left = True
        if not self._portal.is_running() or trio.lowlevel.in_trio_run():  # there it is a finalizer that leaves it
            self._portal.send(self._keeper.cancel)
            return None
        try:
            return self._portal.call(lambda: self._keeper.leave(exc))
        except ClientClosedError:
            if self._portal.is_running():
                raise
            return None
        except BaseException:
            self._portal.send(self._keeper.cancel)
            raise

    def __del__(self) -> None:
        if getattr(self, "_entered", False) and not self._left and self._portal.is_running():
            self._portal.send(self._keeper.cancel)
            warnings.warn(
                f"{self!r} was never left: use it in a `with` statement", ResourceWarning, stacklevel=2, source=self
            )
