"""A nursery that nobody sees: what fails in it comes out as itself.

Rule 1: the first failure counts, be it the block's or a task's; it ends the block and all tasks, and is what is raised.
Rule 2: a later failure is told in a note of the first, never in a group.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TypeVar, TypeVarTuple

import trio

__all__ = ["Supervisor", "open_supervised"]

Arguments = TypeVarTuple("Arguments")
Value = TypeVar("Value")


class Supervisor:
    """Starts tasks and collects what fails; ``open_supervised`` makes it."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self._nursery = nursery
        self._failure: Exception | None = None
        self._over = trio.Event()

    def start_soon(self, function: Callable[[*Arguments], Awaitable[object]], *arguments: *Arguments) -> None:
        """Run ``function`` in a task that ends with the block at the latest."""
        self._nursery.start_soon(self._run, function, arguments)

    async def hold(self, manager: AbstractAsyncContextManager[Value]) -> Value:
        """Enter ``manager`` in a task of its own, return what it gives, and leave it in ``release``.

        Raises:
            Exception: what entering it raised; whatever it raises later ends the block.
        """
        entered = trio.Event()
        given: list[Value] = []
        refused: list[Exception] = []

        async def run() -> None:
            try:
                async with manager as value:
                    given.append(value)
                    entered.set()
                    await self._over.wait()
            except Exception as error:  # noqa: BLE001  # raised in the caller, or at the end of the block
                self.fail(error) if given else refused.append(error)
            finally:
                entered.set()

        self._nursery.start_soon(run)
        await entered.wait()
        if refused:
            raise refused[0]
        if not given:
            raise RuntimeError("something else has failed already, nothing more can be opened")
        return given[0]

    def release(self) -> None:
        """Leave what is held."""
        self._over.set()

    def fail(self, error: Exception) -> None:
        """End the block with ``error``; it may be called from any thread, but only the run's own is ended at once."""
        if self._failure is None:
            self._failure = error
            if trio.lowlevel.in_trio_run():
                self._nursery.cancel_scope.cancel(reason=f"supervised code failed: {error!r}")
        elif error is not self._failure:
            self._failure.add_note(f"after which this failed too: {error!r}")

    def cancel(self) -> None:
        """Cancel the tasks, and what the block still does."""
        self._nursery.cancel_scope.cancel(reason="the block is over")

    async def _run(
        self, function: Callable[[*Arguments], Awaitable[object]], arguments: tuple[*Arguments]
    ) -> None:
        try:
            await function(*arguments)
        except Exception as error:  # noqa: BLE001  # raised at the end of the block
            self.fail(error)

    def _settle(self) -> None:
        failure = self._failure
        if failure is None:
            return
        context = failure.__context__
        try:
            raise failure
        finally:
            failure.__context__ = context  # and not the cancellation that it brought about


@asynccontextmanager
async def open_supervised() -> AsyncIterator[Supervisor]:
    """Run tasks beside a block; leaving it waits for them, and any failure ends them all and is raised as it is."""
    async with trio.open_nursery() as nursery:
        supervisor = Supervisor(nursery)
        try:
            yield supervisor
        except Exception as error:  # noqa: BLE001  # raised below, outside of the nursery
            supervisor.fail(error)
    supervisor._settle()
