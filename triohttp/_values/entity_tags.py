"""Entity tags and the conditions made of them (RFC 9110 §8.8.3, §13.1).

Rule 1: reading what a peer sent is linear and never raises: what is no tag is skipped, and then matches nothing.
Rule 2: the two comparisons have names; nothing compares tags by ``==`` where the standard says which one it means.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from triohttp.errors import clip

__all__ = ["EntityTag", "EntityTags"]

_OPAQUE: Final = re.compile(r"[!\x23-\x7e\x80-\xff]*")
_TAG: Final = re.compile(r'(W/)?"([!\x23-\x7e\x80-\xff]*)"')


@dataclass(frozen=True, slots=True)
class EntityTag:
    """A tag of one representation; ``str()`` is what a field says.

    Raises:
        ValueError: the text cannot be in a tag.
    """

    opaque: str
    """What stands between the quotes."""
    weak: bool = False
    """Equal tags mean equivalent content, not the same bytes."""

    def __post_init__(self) -> None:
        if _OPAQUE.fullmatch(self.opaque) is None:
            raise ValueError(f"an entity tag must hold no quotes, spaces and controls, not {clip(self.opaque)}")

    @classmethod
    def parse(cls, text: str) -> EntityTag | None:
        """Return the tag that an ETag field says; None when it is none."""
        found = _TAG.fullmatch(text.strip(" \t"))
        return None if found is None else cls(found[2], found[1] is not None)

    def __str__(self) -> str:
        return f'{"W/" if self.weak else ""}"{self.opaque}"'


@dataclass(frozen=True, slots=True)
class EntityTags:
    """What If-Match or If-None-Match lists."""

    everything: bool
    """``*``: whatever representation there is."""
    tags: tuple[EntityTag, ...] = ()

    @classmethod
    def parse(cls, text: str) -> EntityTags:
        """Return what a field lists; what is no tag is skipped."""
        if text.strip(" \t") == "*":
            return cls(True)
        # Tags may hold commas, so tags are looked for, and not commas.
        return cls(False, tuple(EntityTag(found[2], found[1] is not None) for found in _TAG.finditer(text)))

    def matches_strong(self, tag: EntityTag | None) -> bool:
        """Compare byte for byte, as If-Match does; None stands for no representation (RFC 9110 §13.1.1)."""
        if tag is None:
            return False
        return self.everything or any(
            not tag.weak and not other.weak and other.opaque == tag.opaque for other in self.tags
        )

    def matches_weak(self, tag: EntityTag | None) -> bool:
        """Compare by meaning, as If-None-Match does; None stands for no representation (RFC 9110 §13.1.2)."""
        if tag is None:
            return False
        return self.everything or any(other.opaque == tag.opaque for other in self.tags)
