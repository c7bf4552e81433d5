"""Hosts and ports, as a Host field and a URL have them."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from triohttp._values.authority import bracketed, check_host, check_port, encode_host, parse_authority
from triohttp.errors import InvalidURLError


@pytest.mark.parametrize(
    ("field", "host", "port", "text"),
    [
        (b"a", "a", None, "a"),
        (b"Example.COM", "example.com", None, "example.com"),
        (b"a.", "a", None, "a"),
        (b"a.:81", "a", 81, "a:81"),
        (b"a:80", "a", 80, "a:80"),
        (b"a:00080", "a", 80, "a:80"),
        (b"a:", "a", None, "a"),
        (b"a:0", "a", 0, "a:0"),
        (b"a:65535", "a", 65535, "a:65535"),
        (b"127.0.0.1:8080", "127.0.0.1", 8080, "127.0.0.1:8080"),
        (b"[::1]", "::1", None, "[::1]"),
        (b"[0:0::0001]:443", "::1", 443, "[::1]:443"),
        (b"[::FFFF:1.2.3.4]", "::ffff:102:304", None, "[::ffff:102:304]"),
        (b"xn--Bcher-kva.de", "xn--bcher-kva.de", None, "xn--bcher-kva.de"),
        (b"my_service-1", "my_service-1", None, "my_service-1"),
    ],
)
def test_a_host_field_has_one_meaning(field, host, port, text):
    """Case, a trailing dot, zeros and the ways to write an IPv6 address make no difference."""
    authority = parse_authority(field)
    assert authority == (host, port, text)
    assert parse_authority(text.encode()) == authority


@pytest.mark.parametrize(
    "field",
    [
        *(
            b"",
            b":",
            b":80",
            b"a/b",
            b"a?x",
            b"a#x",
            b"u@a",
            b"a b",
            b" a",
            b"a ",
            b"a,b",
            b"\xff",
            b"a\x01",
            b"a\x00.b",
        ),
        *(b"a\\b", b"a%2eb", b"a;b", b"a&b", b"a=b", b"a$b", b"a'b", b'a"b', b"a(b", b"a*b", b"a~b", b"a!b", b"a\nb"),
        *(b"a:99999999", b"a:65536", b"a:-1", b"a:+1", b"a:0x50", b"a:1:2", b"a:b", b"a:1 ", b"::1", b"a::1"),
        *(
            b"[::1",
            b"::1]",
            b"[]",
            b"[::1]a",
            b"a[::1]",
            b"[::1%25eth0]",
            b"[::1%eth0]",
            b"[v1.a]",
            b"[1.2.3.4]",
            b"[a]",
        ),
        *(b".", b"..", b".a", b"a..", b"a..b", b"127.1", b"1", b"0x7f.1", b"0x7f000001", b"01.2.3.4", b"1.2.3.256"),
        *(b"1.2.3.4.5", b"a.1", b"a.0x", b"a" * 64, b"a." * 127 + b"a", b"a" * 100_000, "é".encode(), b"a:\xb2"),
    ],
)
def test_what_is_no_host_is_refused(field):
    """What is empty, no host, or read differently by others raises the one error, with a short message."""
    with pytest.raises(InvalidURLError) as caught:
        parse_authority(field)
    assert len(str(caught.value)) < 200


def test_the_longest_names():
    """253 characters in labels of 63 are a name, one more is none."""
    name = ".".join(["a" * 63, "b" * 63, "c" * 63, "d" * 61])
    assert parse_authority(f"{name}.:65535".encode()) == (name, 65535, f"{name}:65535")
    with pytest.raises(InvalidURLError):
        check_host(name + "d")


@given(st.ip_addresses(v=6))
def test_ipv6_addresses_have_one_form(address):
    """Every address comes out the same however it is written, and as RFC 5952 has it."""
    short = check_host(f"[{address.exploded}]")
    assert check_host(f"[{short}]") == short
    assert ipaddress.IPv6Address(short) == address
    if address.ipv4_mapped is None:
        assert short == str(address)


@given(st.ip_addresses(v=4))
def test_ipv4_addresses_stay(address):
    """Four decimal numbers are their own canonical form."""
    assert check_host(str(address)) == str(address)


@pytest.mark.parametrize(
    ("host", "encoded"),
    [
        ("bücher.de", "xn--bcher-kva.de"),
        ("BÜCHER.de.", "xn--bcher-kva.de"),
        ("faß.de", "xn--fa-hia.de"),
        ("a。b", "a.b"),
    ],
)
def test_internationalised_names_are_encoded(host, encoded):
    """A name in any script becomes A-labels, as IDNA 2008 has them."""
    assert encode_host(host) == encoded


@pytest.mark.parametrize(
    "host", ["☃.net", "a／b", "a＠b", "é" * 64, "é" * 300, "a b", "\u0301a", "١.٢", "é..b", "\ud800"]
)
def test_names_that_idna_does_not_have(host):
    """A name that cannot be encoded, or that hides a separator, is refused."""
    with pytest.raises(InvalidURLError):
        encode_host(host)


def test_a_long_name_never_reaches_the_encoder(monkeypatch):
    """The encoder's time grows with the square of the length, so length is checked before it."""
    import idna

    def encode(*_args, **_kwargs):
        raise AssertionError("the encoder was asked")

    monkeypatch.setattr(idna, "encode", encode)
    with pytest.raises(InvalidURLError, match="at most 253"):
        encode_host("é" * 10_000)


def test_ports_and_brackets():
    """A port is a whole number of sixteen bits; brackets go around IPv6 addresses only."""
    assert check_port(0) == 0
    for port in (-1, 65536, True, "80", 8.0, None):
        with pytest.raises(InvalidURLError, match="port"):
            check_port(port)
    assert bracketed("::1") == "[::1]"
    assert bracketed("a") == "a"


def test_known_hosts_are_remembered_within_bounds():
    """The cache of a server's hosts does not grow with the number of different hosts that peers send."""
    for number in range(3000):
        parse_authority(f"h{number}".encode())
    assert parse_authority.cache_info().currsize <= 1024
