"""The opening handshake of a WebSocket, without a connection: what is refused, what is chosen, what counts as a yes."""

from __future__ import annotations

import base64
import re
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from triohttp import Headers, PerMessageDeflate
from triohttp._values.message import RequestHead, ResponseHead
from triohttp._wire.websocket_deflate import Agreement
from triohttp._wire.websocket_handshake import (
    Accepted,
    Refusal,
    accept_upgrade,
    answer_fields,
    check_answer,
    check_origins,
    check_own_fields,
    check_subprotocols,
    request_fields,
)
from triohttp.errors import HandshakeError, InvalidHeaderError

KEY = "dGhlIHNhbXBsZSBub25jZQ=="
ACCEPT = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
"""The answer to it in RFC 6455 §1.3."""
GOOD = {
    "Upgrade": ["websocket"],
    "Connection": ["Upgrade"],
    "Sec-WebSocket-Version": ["13"],
    "Sec-WebSocket-Key": [KEY],
}
COMPRESSION = PerMessageDeflate()
Fields = dict[str, list[str]]


def ask(
    fields: Fields,
    *,
    method: str = "GET",
    version: str = "1.1",
    scheme: str = "http",
    authority: str = "h.test",
    **options: Any,
) -> Accepted | Refusal:
    headers = Headers([(name, value) for name, values in fields.items() for value in values])
    head = RequestHead(method, "/", headers, scheme=scheme, authority=authority, version=version)
    defaults: dict[str, Any] = {
        "has_content": False,
        "subprotocols": (),
        "compression": COMPRESSION,
        "origins": (),
        "require_origin": False,
        "max_subprotocols": 32,
    }
    wanted = defaults | options
    return accept_upgrade(head, **(wanted | {"origins": check_origins(wanted["origins"])}))


def status(verdict: Accepted | Refusal) -> int:
    """Return 101 or the status of a refusal, which says why and quotes nothing."""
    if isinstance(verdict, Accepted):
        return 101
    assert verdict.text.isascii() and verdict.text.isprintable()
    return verdict.status


REQUESTS: dict[str, tuple[Fields, int]] = {
    "as it should be": ({}, 101),
    "upgrade in capitals": ({"Upgrade": ["WebSocket"]}, 101),
    "upgrade among others": ({"Upgrade": ["foo, websocket"]}, 101),
    "upgrade among others, two lines": ({"Upgrade": ["foo", "websocket"]}, 101),
    "upgrade to a version": ({"Upgrade": ["websocket/13"]}, 400),
    "upgrade to something else": ({"Upgrade": ["h2c"]}, 400),
    "upgrade that contains it": ({"Upgrade": ["xwebsocket"]}, 400),
    "no upgrade": ({"Upgrade": []}, 400),
    "an empty upgrade": ({"Upgrade": [""]}, 400),
    "connection among others": ({"Connection": ["keep-alive, upgrade"]}, 101),
    "connection without it": ({"Connection": ["keep-alive"]}, 400),
    "no connection": ({"Connection": []}, 400),
    "connection quoted": ({"Connection": ['"Upgrade"']}, 400),
    "version 8": ({"Sec-WebSocket-Version": ["8"]}, 426),
    "version 14": ({"Sec-WebSocket-Version": ["14"]}, 426),
    "version 013": ({"Sec-WebSocket-Version": ["013"]}, 426),
    "version 13 and 8": ({"Sec-WebSocket-Version": ["13, 8"]}, 426),
    "version twice": ({"Sec-WebSocket-Version": ["13", "13"]}, 426),
    "no version": ({"Sec-WebSocket-Version": []}, 426),
    "version in other digits": ({"Sec-WebSocket-Version": ["\xb9\xb3"]}, 426),
    "no key": ({"Sec-WebSocket-Key": []}, 400),
    "an empty key": ({"Sec-WebSocket-Key": [""]}, 400),
    "two keys": ({"Sec-WebSocket-Key": [KEY, KEY]}, 400),
    "two keys in one": ({"Sec-WebSocket-Key": [f"{KEY}, {KEY}"]}, 400),
    "a short key": ({"Sec-WebSocket-Key": ["x"]}, 400),
    "a key of 15 bytes": ({"Sec-WebSocket-Key": [base64.b64encode(bytes(15)).decode()]}, 400),
    "a key of 17 bytes": ({"Sec-WebSocket-Key": [base64.b64encode(bytes(17)).decode()]}, 400),
    "a key of 16 bytes": ({"Sec-WebSocket-Key": [base64.b64encode(bytes(16)).decode()]}, 101),
    "a key without padding": ({"Sec-WebSocket-Key": [KEY[:-2]]}, 400),
    "a key in base64url": ({"Sec-WebSocket-Key": ["__________-_________-w=="]}, 400),
    "a key with a space": ({"Sec-WebSocket-Key": ["dGhl IHNhbXBsZSBub25jZQ"]}, 400),
    "a key with other octets": ({"Sec-WebSocket-Key": ["\xa0" + KEY]}, 400),
    "subprotocols": ({"Sec-WebSocket-Protocol": ["a, b", "c"]}, 101),
    "subprotocols, an empty one among them": ({"Sec-WebSocket-Protocol": ["a,, b"]}, 101),
    "32 subprotocols": ({"Sec-WebSocket-Protocol": [", ".join(f"p{n}" for n in range(32))]}, 101),
    "33 subprotocols": ({"Sec-WebSocket-Protocol": [", ".join(f"p{n}" for n in range(33))]}, 400),
    "33 subprotocols in lines": ({"Sec-WebSocket-Protocol": [f"p{n}" for n in range(33)]}, 400),
    "a subprotocol twice": ({"Sec-WebSocket-Protocol": ["a, a"]}, 400),
    "a subprotocol twice, in lines": ({"Sec-WebSocket-Protocol": ["a", "a"]}, 400),
    "no subprotocol in the field": ({"Sec-WebSocket-Protocol": [""]}, 400),
    "only commas": ({"Sec-WebSocket-Protocol": [",,,"]}, 400),
    "a subprotocol with a space": ({"Sec-WebSocket-Protocol": ["a b"]}, 400),
    "a subprotocol in quotes": ({"Sec-WebSocket-Protocol": ['"a"']}, 400),
    "a subprotocol with a slash": ({"Sec-WebSocket-Protocol": ["a/b"]}, 400),
    "a subprotocol of other octets": ({"Sec-WebSocket-Protocol": ["\xff"]}, 400),
    "extensions that are none": ({"Sec-WebSocket-Extensions": ['=;",\xff']}, 101),
    "a window that is no number": ({"Sec-WebSocket-Extensions": ["permessage-deflate; client_max_window_bits=a"]}, 101),
}  # fmt: skip


@pytest.mark.parametrize("name", REQUESTS)
def test_a_request_opens_a_websocket_or_is_told_why_not(name: str) -> None:
    """Every part of the request counts, as RFC 6455 §4.2.1 has it."""
    fields, expected = REQUESTS[name]
    assert status(ask(GOOD | fields)) == expected


def test_method_version_and_content_count_too() -> None:
    """GET, HTTP/1.1, no content."""
    assert status(ask(GOOD, method="POST")) == 405
    assert status(ask(GOOD, method="get")) == 405
    assert status(ask(GOOD, version="1.0")) == 400
    assert status(ask(GOOD, has_content=True)) == 400


@pytest.mark.parametrize(
    ("offered", "spoken", "chosen"),
    [
        ([], ("a",), None),
        (["a"], (), None),
        (["b"], ("a",), None),
        (["a, b"], ("b", "a"), "a"),
        (["c", "b, a"], ("a", "b"), "b"),
        (["A"], ("a",), None),
    ],
)
def test_the_clients_first_subprotocol_that_is_spoken_is_chosen(
    offered: list[str], spoken: tuple[str, ...], chosen: str | None
) -> None:
    """The client's order counts; none in common is no reason to refuse; case matters."""
    accepted = ask(GOOD | ({"Sec-WebSocket-Protocol": offered} if offered else {}), subprotocols=spoken)
    assert isinstance(accepted, Accepted)
    assert accepted.subprotocol == chosen
    assert dict(answer_fields(accepted)).get("Sec-WebSocket-Protocol") == chosen


def test_the_answer_is_that_of_the_rfc() -> None:
    """The key of RFC 6455 §1.3 gets the answer of RFC 6455 §1.3, and a client with that key takes it."""
    accepted = ask(GOOD | {"Sec-WebSocket-Extensions": ["permessage-deflate"]}, compression=None)
    assert isinstance(accepted, Accepted)
    assert answer_fields(accepted) == [("Sec-WebSocket-Accept", ACCEPT)]
    headers = Headers([("Upgrade", "websocket"), ("Connection", "Upgrade"), *answer_fields(accepted)])
    assert check_answer(ResponseHead(101, headers), KEY, (), None) == (None, None)


@pytest.mark.parametrize(
    ("origin", "scheme", "authority", "allowed"),
    [
        ("http://h.test", "http", "h.test", True),
        ("http://H.TEST", "http", "h.test", True),
        ("http://h.test:80", "http", "h.test", True),
        ("http://h.test", "http", "h.test:80", True),
        ("http://h.test:8080", "http", "h.test:8080", True),
        ("http://h.test:8080", "http", "h.test", False),
        ("http://h.test", "http", "h.test:8080", False),
        ("https://h.test", "https", "h.test", True),
        ("https://h.test", "https", "h.test:443", True),
        ("https://h.test", "http", "h.test", True),  # TLS may have ended in front
        ("http://h.test", "https", "h.test", False),
        ("http://[::1]:8080", "http", "[::1]:8080", True),
        ("http://[::1]", "http", "[::1]:80", True),
        ("https://evil.test", "http", "h.test", False),
        ("https://h.test.evil.test", "https", "h.test", False),
        ("https://evilh.test", "https", "h.test", False),
        ("https://evil@h.test", "https", "h.test", False),
        ("https://h.test/", "https", "h.test", False),
        ("https://h.test:443:443", "https", "h.test", False),
        ("https://h.test, https://evil.test", "https", "h.test", False),
        ("h.test", "https", "h.test", False),
        ("//h.test", "https", "h.test", False),
        ("null", "https", "h.test", False),
        ("", "https", "h.test", False),
        ("file://", "http", "h.test", False),
        ("ftp://h.test", "http", "h.test", False),
        ("chrome-extension://abcdef", "http", "h.test", False),
        ("http://\xff", "http", "h.test", False),
    ],
)
def test_pages_of_the_same_origin_may_connect(origin: str, scheme: str, authority: str, allowed: bool) -> None:
    """Any other page would act in its visitor's name (RFC 6455 §10.2)."""
    fields = GOOD | {"Origin": [origin]}
    assert status(ask(fields, scheme=scheme, authority=authority)) == (101 if allowed else 403)
    assert status(ask(fields, scheme=scheme, authority=authority, origins="*")) == 101


def test_origins_are_let_in_by_name() -> None:
    """A list is compared whole, in any case; a client without an origin is no browser, and may be kept out."""
    origins = ["https://Example.org", "chrome-extension://abcdef", "null"]
    for origin in ("https://example.org", "HTTPS://EXAMPLE.ORG", "chrome-extension://abcdef", "null"):
        assert status(ask(GOOD | {"Origin": [origin]}, origins=origins)) == 101
    for origin in ("https://example.org:8443", "https://sub.example.org", "http://example.org"):
        assert status(ask(GOOD | {"Origin": [origin]}, origins=origins)) == 403
    assert status(ask(GOOD, origins=origins)) == 101
    assert status(ask(GOOD, origins=origins, require_origin=True)) == 403
    assert status(ask(GOOD, origins="*", require_origin=True)) == 403
    assert status(ask(GOOD | {"Origin": ["https://example.org", "https://example.org"]}, origins=origins)) == 403


# -- the client's end --------------------------------------------------------------------------------------------------

ANSWER: Fields = {"Upgrade": ["websocket"], "Connection": ["Upgrade"], "Sec-WebSocket-Accept": [ACCEPT]}
ANSWERS: dict[str, tuple[Fields, bool]] = {
    "as it should be": ({}, True),
    "in capitals": ({"Upgrade": ["WEBSOCKET"], "Connection": ["UPGRADE"]}, True),
    "no upgrade": ({"Upgrade": []}, False),
    "an upgrade to something else": ({"Upgrade": ["h2c"]}, False),
    "no connection": ({"Connection": []}, False),
    "connection without it": ({"Connection": ["keep-alive"]}, False),
    "no accept": ({"Sec-WebSocket-Accept": []}, False),
    "a wrong accept": ({"Sec-WebSocket-Accept": ["AAAAAAAAAAAAAAAAAAAAAAAAAAA="]}, False),
    "the accept in lower case": ({"Sec-WebSocket-Accept": [ACCEPT.lower()]}, False),
    "the key for an accept": ({"Sec-WebSocket-Accept": [KEY]}, False),
    "two accepts": ({"Sec-WebSocket-Accept": [ACCEPT, ACCEPT]}, False),
    "the first subprotocol": ({"Sec-WebSocket-Protocol": ["a"]}, True),
    "the second subprotocol": ({"Sec-WebSocket-Protocol": ["b"]}, True),
    "a subprotocol that was not offered": ({"Sec-WebSocket-Protocol": ["c"]}, False),
    "a subprotocol in capitals": ({"Sec-WebSocket-Protocol": ["A"]}, False),
    "both subprotocols": ({"Sec-WebSocket-Protocol": ["a, b"]}, False),
    "both subprotocols, in lines": ({"Sec-WebSocket-Protocol": ["a", "b"]}, False),
    "an empty subprotocol": ({"Sec-WebSocket-Protocol": [""]}, False),
    "an extension": ({"Sec-WebSocket-Extensions": ["permessage-deflate; client_no_context_takeover"]}, True),
    "an empty field of extensions": ({"Sec-WebSocket-Extensions": [""]}, True),
    "an extension that was not offered": ({"Sec-WebSocket-Extensions": ["x-webkit-deflate-frame"]}, False),
    "two extensions": ({"Sec-WebSocket-Extensions": ["permessage-deflate", "permessage-deflate"]}, False),
    "a window of 7 bits": ({"Sec-WebSocket-Extensions": ["permessage-deflate; server_max_window_bits=7"]}, False),
    "a window of 16 bits": ({"Sec-WebSocket-Extensions": ["permessage-deflate; server_max_window_bits=16"]}, False),
    "a window of no bits": ({"Sec-WebSocket-Extensions": ["permessage-deflate; server_max_window_bits=a"]}, False),
    "no extension": ({"Sec-WebSocket-Extensions": [";"]}, False),
}  # fmt: skip


def judge(fields: Fields, compression: PerMessageDeflate | None = COMPRESSION) -> tuple[str | None, Agreement | None]:
    headers = Headers([(name, value) for name, values in fields.items() for value in values])
    return check_answer(ResponseHead(101, headers), KEY, ("a", "b"), compression)


@pytest.mark.parametrize("name", ANSWERS)
def test_an_answer_counts_or_not(name: str) -> None:
    """Every part of the answer counts, as RFC 6455 §4.1 has it; what was not asked for is not taken."""
    fields, counts = ANSWERS[name]
    if counts:
        subprotocol, agreement = judge(ANSWER | fields)
        assert [subprotocol] == fields.get("Sec-WebSocket-Protocol", [None])
        assert (agreement is not None) is (fields.get("Sec-WebSocket-Extensions", [""]) != [""])
        return
    with pytest.raises(HandshakeError) as caught:
        judge(ANSWER | fields)
    assert caught.value.code == 101
    assert str(caught.value).isprintable()


def test_compression_that_was_not_offered_is_not_taken() -> None:
    """Without ``compression`` an answer with an extension is none."""
    with pytest.raises(HandshakeError):
        judge(ANSWER | {"Sec-WebSocket-Extensions": ["permessage-deflate"]}, compression=None)


def test_a_key_is_fresh_and_random() -> None:
    """16 bytes of the system's randomness for each handshake (RFC 6455 §4.1)."""
    keys = {request_fields((), None)[0] for _ in range(100)}
    assert len(keys) == 100
    assert {len(base64.b64decode(key, validate=True)) for key in keys} == {16}


@given(subprotocols=st.lists(st.sampled_from(["a", "b", "chat.v1"]), unique=True), compressed=st.booleans())
def test_both_ends_agree(subprotocols: list[str], compressed: bool) -> None:
    """What this client asks, this server accepts, and what it answers counts."""
    compression = COMPRESSION if compressed else None
    key, fields = request_fields(subprotocols, compression)
    request = {"Upgrade": ["websocket"], "Connection": ["Upgrade"]} | {name: [value] for name, value in fields}
    accepted = ask(request, subprotocols=("b", "a"))
    assert isinstance(accepted, Accepted)
    headers = Headers([("Upgrade", "websocket"), ("Connection", "Upgrade"), *answer_fields(accepted)])
    chosen, agreement = check_answer(ResponseHead(101, headers), key, subprotocols, compression)
    assert (chosen, agreement) == (accepted.subprotocol, accepted.agreement)
    assert agreement == (Agreement(12, 12, False, False) if compressed else None)


# -- what a program says -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("client", [False, True])
def test_fields_of_the_handshake_are_its_own(client: bool) -> None:
    """A program adds no field that the handshake is made of, in any case; a client says its host and origin."""
    own = ["Sec-WebSocket-Key", "sec-websocket-accept", "Sec-WebSocket-Anything", "Upgrade", "CONNECTION"]
    for name in own:
        with pytest.raises(InvalidHeaderError):
            check_own_fields(Headers([(name, "x")]), client=client)
    for name in ("Host", "Origin"):
        if client:
            check_own_fields(Headers([(name, "x")]), client=client)
        else:
            with pytest.raises(InvalidHeaderError):
                check_own_fields(Headers([(name, "x")]), client=client)
    fields = Headers([("Cookie", "a=b"), ("X-Sec-WebSocket", "1")])
    assert check_own_fields(fields, client=client) is fields


def test_subprotocols_are_different_tokens() -> None:
    """One str is no list of them."""
    assert check_subprotocols(["a", "b"]) == ("a", "b")
    with pytest.raises(TypeError):
        check_subprotocols("chat")
    for wrong in (["a", "a"], ["a b"], [""], ["a,b"], ["\xff"], ["a\r\nb"]):
        with pytest.raises(ValueError):
            check_subprotocols(wrong)


# -- whatever there is -------------------------------------------------------------------------------------------------

VALUES = st.text(st.characters(max_codepoint=255, exclude_characters="\0\r\n"), max_size=40) | st.sampled_from(
    [value for values in [*GOOD.values(), *ANSWER.values()] for value in values]
)
NAMES = st.sampled_from([*GOOD, *ANSWER, "Origin", "Sec-WebSocket-Protocol", "Sec-WebSocket-Extensions", "Host"])


def headers_of(base: Fields, changes: list[tuple[str, str]]) -> Headers:
    """Return fields with some of them changed, or added a second time."""
    fields = [(name, value) for name, values in base.items() for value in values]
    for number, (name, value) in enumerate(changes):
        if number % 2:
            fields = [field for field in fields if field[0] != name]
        fields.append((name, value))
    try:
        return Headers(fields)
    except InvalidHeaderError:
        assume(False)
        raise


@given(changes=st.lists(st.tuples(NAMES, VALUES), max_size=4), method=st.sampled_from(["GET", "GET", "POST"]))
@settings(deadline=None)
def test_no_request_raises(changes: list[tuple[str, str]], method: str) -> None:
    """A server has a verdict on whatever the fields say, and an answer in which nothing of them is quoted."""
    head = RequestHead(method, "/", headers_of(GOOD, changes), authority="h.test")
    verdict = accept_upgrade(
        head,
        has_content=False,
        subprotocols=("a",),
        compression=COMPRESSION,
        origins=("https://a.test",),
        require_origin=False,
        max_subprotocols=32,
    )
    assert status(verdict) in (101, 400, 403, 405, 426)
    if isinstance(verdict, Accepted):
        Headers(answer_fields(verdict))


@given(changes=st.lists(st.tuples(NAMES, VALUES), max_size=4))
@settings(deadline=None)
def test_no_answer_raises_anything_but_a_handshake_error(changes: list[tuple[str, str]]) -> None:
    """A client takes an answer or raises ``HandshakeError``, whatever the fields say."""
    try:
        check_answer(ResponseHead(101, headers_of(ANSWER, changes)), KEY, ("a", "b"), COMPRESSION)
    except HandshakeError as exc:
        assert len(str(exc)) < 200


@pytest.mark.parametrize("piece", [",", ", ", 'a,"', '"', "\\", '"\\', ";", "a;", "=", "a=b;", "\xff", " ", "a "])
@pytest.mark.parametrize("name", ["Sec-WebSocket-Protocol", "Sec-WebSocket-Extensions", "Connection", "Origin"])
def test_a_field_of_64_kib_is_split_at_once(name: str, piece: str) -> None:
    """Lists are read in linear time (CVE-2021-32640 was a field of this kind)."""
    value = (piece * 65_536)[:65_536].strip()
    ask(GOOD | {name: [value]})


def test_origins_are_compared_as_browsers_write_them() -> None:
    """A port that is the scheme's own may be said or not; what is no origin is refused where it is written."""
    for wanted in ("https://example.org", "https://example.org:443", "HTTPS://Example.ORG"):
        assert status(ask(GOOD | {"Origin": ["https://example.org"]}, origins=[wanted])) == 101
        assert status(ask(GOOD | {"Origin": ["https://example.org:444"]}, origins=[wanted])) == 403
        assert status(ask(GOOD | {"Origin": ["http://example.org"]}, origins=[wanted])) == 403
    for wrong in ("https://example.org/", "example.org", "https://a@example.org", ""):
        with pytest.raises(ValueError, match="an origin is a scheme and a host"):
            check_origins([wrong])
    with pytest.raises(TypeError, match=re.escape("'*'")):
        check_origins("https://example.org")
