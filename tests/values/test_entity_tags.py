"""Entity tags: what fields say, and the two ways to compare."""

from __future__ import annotations

import pytest

from triohttp import EntityTag, EntityTags


@pytest.mark.parametrize(
    ("text", "tag"),
    [
        ('"xyzzy"', EntityTag("xyzzy")),
        ('W/"xyzzy"', EntityTag("xyzzy", weak=True)),
        ('""', EntityTag("")),
        (' "a,b" ', EntityTag("a,b")),
        ('w/"x"', None),
        ("xyzzy", None),
        ('"a" "b"', None),
        ('"a b"', None),
        ('"', None),
        ("", None),
    ],
)
def test_what_an_etag_field_says(text: str, tag: EntityTag | None) -> None:
    """A quoted text, weak with ``W/`` in front; anything else is none (RFC 9110 §8.8.3)."""
    assert EntityTag.parse(text) == tag
    if tag is not None:
        assert EntityTag.parse(str(tag)) == tag


@pytest.mark.parametrize("opaque", ['a"b', "a b", "a\nb", "\x7f", "漢"])
def test_a_tag_that_cannot_be_written_is_refused(opaque: str) -> None:
    """Quotes, spaces, controls, and what latin-1 does not have."""
    with pytest.raises(ValueError, match="entity tag"):
        EntityTag(opaque)


@pytest.mark.parametrize(
    ("text", "everything", "tags"),
    [
        ("*", True, []),
        ('"a", W/"b" ,"c,d"', False, ['"a"', 'W/"b"', '"c,d"']),
        ('"a", nonsense, "b"', False, ['"a"', '"b"']),
        ("nonsense", False, []),
        ("", False, []),
    ],
)
def test_what_a_condition_lists(text: str, everything: bool, tags: list[str]) -> None:
    """Everything, or tags; what is no tag is skipped."""
    parsed = EntityTags.parse(text)
    assert parsed.everything is everything
    assert [str(tag) for tag in parsed.tags] == tags


@pytest.mark.parametrize(
    ("first", "second", "strong", "weak"),
    [
        ('W/"1"', 'W/"1"', False, True),
        ('W/"1"', 'W/"2"', False, False),
        ('W/"1"', '"1"', False, True),
        ('"1"', '"1"', True, True),
    ],
)
def test_the_two_comparisons(first: str, second: str, strong: bool, weak: bool) -> None:
    """The table of RFC 9110 §8.8.3.2."""
    tag = EntityTag.parse(second)
    assert EntityTags.parse(first).matches_strong(tag) is strong
    assert EntityTags.parse(first).matches_weak(tag) is weak


def test_a_star_is_whatever_there_is() -> None:
    """And nothing when there is no representation."""
    for matches in (EntityTags.parse("*").matches_strong, EntityTags.parse("*").matches_weak):
        assert matches(EntityTag("x", weak=True))
        assert not matches(None)


def test_a_long_condition_costs_linear_time() -> None:
    """Quotes without end, opened and never closed, take no more than a look each."""
    assert EntityTags.parse(('W/"' + "a" * 300_000 + " ") * 2).tags == ()
    assert len(EntityTags.parse('"a",' * 100_000).tags) == 100_000
