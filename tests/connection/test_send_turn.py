from __future__ import annotations

import trio
import trio.testing

from triohttp._turn import SendTurn


async def test_turns_are_taken_in_order_of_asking(nursery: trio.Nursery) -> None:
    """Whoever has waited longest is next."""
    turn = SendTurn()
    order: list[int] = []
    await turn.take()

    async def ask(number: int) -> None:
        async with turn:
            order.append(number)
            await trio.lowlevel.checkpoint()

    async with trio.open_nursery() as inner:
        for number in range(5):
            inner.start_soon(ask, number)
            await trio.testing.wait_all_tasks_blocked()
        assert order == []
        turn.give_back()
    assert order == [0, 1, 2, 3, 4]
    assert not turn.taken


async def test_a_cancelled_waiter_leaves_the_queue(nursery: trio.Nursery) -> None:
    """A waiter that gives up does not get the turn, and does not lose it for the others."""
    turn = SendTurn()
    await turn.take()
    with trio.CancelScope() as scope:
        scope.cancel()
        await turn.take()
    assert scope.cancelled_caught
    turn.give_back()
    assert not turn.taken
    async with turn:
        assert turn.taken


async def test_a_free_turn_is_taken_without_a_checkpoint() -> None:
    """Nobody else runs between asking for a free turn and having it."""
    turn = SendTurn()
    with trio.testing.assert_no_checkpoints():
        async with turn:
            pass
