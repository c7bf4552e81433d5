"""Header fields: what is kept, what is found, what is refused, and what a repr does not show."""

from __future__ import annotations

import copy
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from triohttp._values.headers import SECRET_FIELDS, Headers
from triohttp.errors import InvalidHeaderError

NAMES = st.sampled_from(["a", "A", "Set-Cookie", "set-cookie", "Cookie", "X-Long-Name", "x-long-name"])
VALUES = st.text(st.characters(min_codepoint=0x21, max_codepoint=0xFF, exclude_characters="\x7f"), max_size=8)


def sample() -> Headers:
    return Headers.from_wire([(b"Host", b"a"), (b"Accept", b"x"), (b"accept", b"y"), (b"X-Text", b"\xff\xfe")])


def test_lookups_do_not_depend_on_case():
    """A field is found by any spelling of its name, as text or as bytes."""
    headers = sample()
    assert headers["host"] == headers["HOST"] == headers[b"hOsT"] == "a"
    assert headers.get("hOST") == headers.get(b"HOST") == "a"
    assert "HOST" in headers
    assert b"host" in headers
    assert "hos" not in headers
    assert 5 not in headers
    assert headers.get_bytes("ACCEPT") == b"x"


def test_an_absent_field():
    """What is not there is None, the default, an empty list, or a KeyError."""
    headers = sample()
    assert headers.get("x") is None
    assert headers.get("x", "d") == "d"
    assert headers.get("é") is None
    assert headers.get_all("x") == []
    assert headers.get_bytes(b"x") is None
    with pytest.raises(KeyError, match="'x'"):
        headers["x"]
    with pytest.raises(KeyError):
        del headers["x"]
    with pytest.raises(TypeError, match="5"):
        headers.get(5)


def test_several_lines_are_one_value():
    """The lines of a list field are joined by commas, those of Cookie by semicolons, those of Set-Cookie never."""
    headers = Headers([("Accept", "x"), ("Cookie", "a=1"), ("ACCEPT", "y"), ("Cookie", "b=2")])
    headers.add("Set-Cookie", "c=3")
    headers.add("set-cookie", "d=4")
    assert headers["accept"] == "x, y"
    assert headers["cookie"] == "a=1; b=2"
    assert headers["set-cookie"] == "c=3"
    assert headers.get_all("set-cookie") == ["c=3", "d=4"]


def test_octets_of_a_peer_survive():
    """Bytes that are no UTF-8 come out as latin-1 text and as the bytes that they were."""
    headers = sample()
    assert headers["x-text"] == "ÿþ"
    assert headers.get_bytes("x-text") == b"\xff\xfe"


def test_len_counts_lines_and_iter_names():
    """A mapping yields each name once, in the case that came first; the lines are all there, in order."""
    headers = sample()
    assert len(headers) == 4
    assert list(headers) == ["Host", "Accept", "X-Text"]
    assert dict(headers) == {"Host": "a", "Accept": "x, y", "X-Text": "ÿþ"}
    assert list(headers.field_lines())[1:3] == [("Accept", "x"), ("accept", "y")]
    assert headers.raw[0] == (b"Host", b"a")


def test_from_wire_takes_the_list_over():
    """What the wire hands over is neither copied nor checked."""
    lines = [(b"A", b"1")]
    assert Headers.from_wire(lines).raw is lines


def test_assigning_replaces_in_place():
    """One line stands where the first of its name stood; the rest keeps its order."""
    headers = Headers([("A", "1"), ("B", "2"), ("a", "3"), ("C", "4")])
    headers["a"] = "5"
    assert headers.raw == [(b"a", b"5"), (b"B", b"2"), (b"C", b"4")]
    headers["D"] = "6"
    assert headers.raw[-1] == (b"D", b"6")


def test_removing():
    """Removing a name removes all its lines, and gives back what they said together."""
    headers = Headers([("A", "1"), ("B", "2"), ("a", "3")])
    assert headers.pop("A") == "1, 3"
    assert headers.raw == [(b"B", b"2")]
    del headers[b"b"]
    assert len(headers) == 0
    headers["x"] = "1"
    headers.clear()
    assert list(headers) == []
    assert "x" not in headers


def test_setdefault_and_update():
    """A default is added once; an update replaces the names that it has, all their lines, and leaves the others."""
    headers = Headers({"a": "1", "b": "2"})
    assert headers.setdefault("A", "9") == "1"
    assert headers.setdefault("C", " 3 ") == "3"
    headers.update(Headers([("B", "4"), ("b", "5")]))
    headers.update({"d": "6"})
    headers.update([("e", "7")])
    assert headers.raw == [(b"a", b"1"), (b"B", b"4"), (b"B", b"5"), (b"C", b"3"), (b"d", b"6"), (b"e", b"7")]


def test_a_copy_is_apart():
    """Changing a copy, or what was made of other headers, changes nothing else."""
    headers = sample()
    for other in (headers.copy(), Headers(headers), copy.copy(headers), pickle.loads(pickle.dumps(headers))):
        assert other == headers
        other["Host"] = "b"
        assert headers["host"] == "a"


def test_equality_is_by_name_and_value():
    """Case of names and order of different names do not matter; order within a name does."""
    assert Headers([("A", "1"), ("B", "2")]) == Headers([("b", "2"), ("a", "1")])
    assert Headers([("A", "1"), ("a", "2")]) != Headers([("A", "2"), ("a", "1")])
    assert Headers({"A": "1"}) == {"a": "1"}
    assert Headers({"A": "1"}) != {"a": 1}
    assert Headers() != "x"
    with pytest.raises(TypeError):
        hash(Headers())


@pytest.mark.parametrize(
    "value",
    ["a\r\nSet-Cookie: x=1", "a\nb", "a\rb", "a\x00b", "\x01", "\x1f", "\x7f", "a\x0bb", "a\n", "\r", "漢", "\u2028"],
)
@pytest.mark.parametrize("how", ["init", "pairs", "add", "assign", "setdefault", "update"])
def test_no_injection_through_a_value(value, how):
    """A value that would become another line, or that no wire can carry, is refused when it is set."""
    headers = Headers()
    with pytest.raises(InvalidHeaderError, match="X-Field") as caught:
        match how:
            case "init":
                Headers({"X-Field": value})
            case "pairs":
                Headers([("X-Field", value)])
            case "add":
                headers.add("X-Field", value)
            case "assign":
                headers["X-Field"] = value
            case "setdefault":
                headers.setdefault("X-Field", value)
            case "update":
                headers.update({"X-Field": value})
    assert caught.value.name == "X-Field"
    assert len(headers) == 0


@pytest.mark.parametrize("value", [b"a\r\nb", b"\x00", b"a\x7f"])
def test_no_injection_through_bytes(value):
    """Bytes are held to the same rule as text."""
    with pytest.raises(InvalidHeaderError):
        Headers([(b"X", value)])


@pytest.mark.parametrize(
    "name", ["", "a b", "a:", "a\r\nb", "é", "a\x00", "X ", "(x)", b"a\n", b"\xff", "x" * 9 + "\n"]
)
def test_a_name_is_a_token(name):
    """Anything but a token is refused as a name, with the name in the error."""
    with pytest.raises(InvalidHeaderError) as caught:
        Headers().add(name, "1")
    assert caught.value.name == name


@pytest.mark.parametrize("init", ["a: b", b"x", {"a": 1}, {1: "a"}, [("a", None)]])
def test_wrong_types_are_named(init):
    """Numbers and texts in the place of fields are a TypeError, not a field that says ``1``."""
    with pytest.raises(TypeError, match="must be"):
        Headers(init)


def test_outer_whitespace_is_no_part_of_a_value():
    """Spaces and tabs around a value are left out, those inside stay."""
    assert Headers([("A", " \t x\ty \t")]).raw == [(b"A", b"x\ty")]
    assert Headers({"A": b"  x "}).raw == [(b"A", b"x")]
    assert Headers({"A": " x  "}).raw == [(b"A", b"x")]


def test_latin_1_goes_out_as_latin_1():
    """Text that latin-1 has becomes one byte a character."""
    assert Headers({"A": "é"}).raw == [(b"A", b"\xe9")]


def test_secrets_are_not_in_a_repr():
    """The values of fields that carry credentials never show, whatever the case of their names."""
    for name in SECRET_FIELDS:
        assert "s3cret" not in repr(Headers([(name.title(), b"s3cret")]))
    assert repr(Headers([("Authorization", "s3cret"), ("A", "1")])) == "Headers([('Authorization', '***'), ('A', '1')])"


def test_secrets_are_not_in_an_error():
    """A credential with a line end in it is refused without being shown."""
    with pytest.raises(InvalidHeaderError) as caught:
        Headers({"Authorization": "Bearer s3cret\n"})
    assert "s3cret" not in str(caught.value)


def test_the_caches_of_names_are_bounded():
    """Names that come from peers cannot fill memory, and are right beyond the bound too."""
    headers = Headers()
    for number in range(3000):
        headers[f"X-{number}"] = str(number)
    assert all(headers[f"x-{number}"] == str(number) for number in (0, 1500, 2999))
    from triohttp._values import headers as module

    assert len(module._wire_names) <= 1024
    assert len(module._keys) <= 1024


@given(st.lists(st.tuples(NAMES, VALUES), max_size=12), st.data())
def test_the_index_always_agrees_with_the_lines(lines, data):
    """Whatever is changed, looked up and changed again: what is found is what the list of lines says."""
    headers = Headers(lines)
    for _ in range(data.draw(st.integers(0, 6))):
        name, value = data.draw(NAMES), data.draw(VALUES)
        match data.draw(st.integers(0, 4)):
            case 0:
                headers.add(name, value)
            case 1:
                headers[name] = value
            case 2:
                headers.pop(name, None)
            case 3:
                headers.setdefault(name, value)
            case 4:
                headers.update([(name, value), (name.upper(), value)])
        expected = [text for line, text in headers.field_lines() if line.lower() == name.lower()]
        assert headers.get_all(name) == expected
        assert (name in headers) == bool(expected)
    again = Headers(headers.field_lines())
    assert again == headers
    assert again.raw == headers.raw
