"""State that a program hangs on an app or a request, under typed keys.

Rule 1: keys are objects, not strings: two parts of a program cannot take the same one by accident, and a type checker
        knows what a key holds.
"""

from __future__ import annotations

from typing import Generic, TypeVar, overload

__all__ = ["State", "StateKey"]

T = TypeVar("T")
D = TypeVar("D")


class StateKey(Generic[T]):
    """A key for ``request.state`` and ``app.state``: ``USER: StateKey[User] = StateKey("user")``.

    Args:
        name: what messages call it; two keys with one name are still two.
    """

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return f"<StateKey {self.name}>"


class State:
    """What a program stored, by ``StateKey``."""

    __slots__ = ("_values",)

    def __init__(self) -> None:
        self._values: dict[StateKey[object], object] = {}

    def __getitem__(self, key: StateKey[T]) -> T:
        return self._values[key]  # type: ignore[index,return-value]  # __setitem__ lets in the key's own type only

    def __setitem__(self, key: StateKey[T], value: T) -> None:
        if not isinstance(key, StateKey):
            raise TypeError(f"state is kept under StateKey objects, not {type(key).__qualname__}")
        self._values[key] = value  # type: ignore[index]

    def __delitem__(self, key: StateKey[T]) -> None:
        del self._values[key]  # type: ignore[arg-type]

    def __contains__(self, key: object) -> bool:
        return key in self._values

    def __len__(self) -> int:
        return len(self._values)

    @overload
    def get(self, key: StateKey[T]) -> T | None: ...
    @overload
    def get(self, key: StateKey[T], default: D) -> T | D: ...
    def get(self, key: StateKey[T], default: D | None = None) -> T | D | None:
        """Return what is stored under ``key``, or ``default``."""
        return self[key] if key in self._values else default

    def __repr__(self) -> str:
        return f"<State {[key.name for key in self._values]}>"  # values may be secrets
