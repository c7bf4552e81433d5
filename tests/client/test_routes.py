"""Destinations: what makes two requests share a connection, and what keeps them apart."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest
import trio
import trustme

from triohttp import URL, Certificate, Client, Proxy
from triohttp._client.origin import Mounts
from triohttp._client.pool import Destination
from triohttp._client.proxies import make_proxies
from triohttp._client.routes import MAX_KNOWN, Routes
from triohttp.errors import ConnectError

ORIGIN = ("https", "example.org", 443)
PROXY = "http://proxy.test:3128"


class Nobody:
    """An origin that nobody asks."""

    async def connect(self) -> trio.abc.Stream:
        raise AssertionError("nobody connects here")


def routes(**options: object) -> Routes:
    return Routes(Mounts({}, only=False), **options)  # type: ignore[arg-type]  # several kinds in one table


@pytest.fixture
def certificate(tmp_path: Path) -> Certificate:
    """A client's certificate, with its key in the same file."""

    file = tmp_path / "client.pem"
    trustme.CA().issue_cert("client@example.org").private_key_and_cert_chain_pem.write_to_path(file)
    return Certificate(file)


def test_the_same_way_is_the_same_destination() -> None:
    """Path, query and spelling make no difference; it is found once and then looked up."""
    ours = routes()
    one = ours.destination(URL("https://example.org/a?b"))
    assert ours.destination(URL("https://EXAMPLE.org:443/")) is one
    assert one == Destination(*ORIGIN, one.tls, "")
    assert ours.destination(URL("https://example.org./")) is one
    for other in ("http://example.org/", "https://example.org:8443/", "https://www.example.org/"):
        assert ours.destination(URL(other)) != one


def test_what_is_kept_is_bounded() -> None:
    """A crawler's ten thousand hosts are not remembered for ever; what is found again is equal."""
    ours = routes()
    first = ours.destination(URL("http://h0.test/"))
    for number in range(MAX_KNOWN + 5):
        ours.destination(URL(f"http://h{number}.test/"))
    assert len(ours._known) <= MAX_KNOWN
    assert ours.destination(URL("http://h0.test/")) == first


def test_contexts_are_made_late_and_once() -> None:
    """A client without https pays for no context; all origins without a certificate share one, as do all clients."""
    ours = routes()
    ours.destination(URL("http://example.org/"))
    assert ours._contexts == {}
    one, two = (ours.destination(URL(url)) for url in ("https://example.org/", "https://example.com/"))
    assert one.tls is two.tls is routes().destination(URL("https://example.org/")).tls
    assert one.tls is not routes(verify=False).destination(URL("https://example.org/")).tls


def test_a_context_is_used_as_it_is() -> None:
    """For every origin, identified or not: it says itself whom to trust and who to be."""
    context = ssl.create_default_context()
    ours = routes(tls=context)
    assert ours.destination(URL("https://example.org/"), identified=False).tls is context
    assert ours.destination(URL("http://example.org/")).tls is None


def test_a_certificate_is_for_its_origin(certificate: Certificate) -> None:
    """Other origins, and requests that a redirect has led there, have another context, without it."""
    ours = routes(certificates={ORIGIN: certificate})
    known = ours.destination(URL("https://example.org/"))
    stranger = ours.destination(URL("https://example.com/"))
    redirected = ours.destination(URL("https://example.org/"), identified=False)
    assert redirected.tls is stranger.tls
    assert known.tls is not stranger.tls
    assert known != redirected
    everywhere = routes(certificates={None: certificate})
    one, two = (everywhere.destination(URL(url)) for url in ("https://example.org/", "https://example.com/"))
    assert one.tls is two.tls
    assert everywhere.destination(URL("https://example.org/"), identified=False).tls is not one.tls


def test_whose_a_clients_certificate_is(certificate: Certificate) -> None:
    """With a base URL that origin's, with a mapping those that it names, else everybody's who is asked directly."""

    def shown(client: Client, url: str) -> bool:
        ours = client._shared.routes
        return ours.destination(URL(url)).tls is not ours.destination(URL(url), identified=False).tls

    based = Client("https://example.org/api", certificate=certificate)
    assert [shown(based, url) for url in ("https://example.org/", "https://example.com/")] == [True, False]
    mapped = Client(certificate={"https://example.com": certificate})
    assert [shown(mapped, url) for url in ("https://example.org/", "https://example.com/")] == [False, True]
    bare = Client(certificate=certificate)
    assert shown(bare, "https://example.org/")


@pytest.mark.parametrize(
    ("url", "proxy", "upgrade", "forwards", "tunnel"),
    [
        ("http://example.org/", PROXY, False, True, False),
        ("http://example.org/", PROXY, True, False, True),
        ("https://example.org/", PROXY, False, False, True),
        ("http://example.org/", "https://proxy.test", False, True, False),
        ("https://example.org/", "https://proxy.test", True, False, True),
        ("http://example.org/", "socks5h://proxy.test", False, False, False),
        ("https://example.org/", "socks5://proxy.test", True, False, False),
        ("http://example.org/", None, True, False, False),
        ("https://example.org/", None, False, False, False),
    ],
)
def test_forwarding_and_tunnels(url: str, proxy: str | None, upgrade: bool, forwards: bool, tunnel: bool) -> None:
    """An HTTP proxy forwards plain HTTP and opens tunnels for all else; SOCKS carries bytes."""
    found = routes(proxies=make_proxies(proxy)).destination(URL(url), tunnel=upgrade)
    assert (found.forwards, found.tunnel) == (forwards, tunnel)


def test_a_requests_own_proxy() -> None:
    """It counts instead of the rules', and None is none."""
    ours = routes(proxies=make_proxies(PROXY))
    url = URL("http://example.org/")
    assert str(ours.destination(url).proxy) == PROXY
    assert ours.destination(url, proxy=None).proxy is None
    other = Proxy("http://other.test")
    assert ours.destination(url, proxy=other).proxy is other
    assert str(ours.destination(url).proxy) == PROXY


def test_mounts_come_first() -> None:
    """A mount is reached by no proxy, and one origin may be mounted in part."""
    ours = Routes(Mounts({"http://app.test/api": Nobody()}, only=False), proxies=make_proxies(PROXY))
    mounted = ours.destination(URL("http://app.test/api/x"))
    assert (mounted.mount, mounted.proxy) == ("http://app.test/api", None)
    beside = ours.destination(URL("http://app.test/x"))
    assert (beside.mount, str(beside.proxy)) == ("", PROXY)
    assert ours.destination(URL("http://app.test/api/y"), proxy=Proxy(PROXY)).proxy is None
    only = Routes(Mounts({"http://app.test": Nobody()}, only=True))
    only.destination(URL("http://app.test/"))
    with pytest.raises(ConnectError, match="no mount"):
        only.destination(URL("http://other.test/"))


def test_verify_is_yes_or_no() -> None:
    """A path is what ``ca`` is for."""
    with pytest.raises(TypeError, match="verify must be of type bool"):
        Client(verify="/etc/ssl/ca.pem")  # type: ignore[typeddict-item]
