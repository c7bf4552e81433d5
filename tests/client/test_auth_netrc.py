"""Passwords from a netrc file: whose they are, and when there are none."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest
import trio

from triohttp import Client, ClientRequest, ClientResponse
from triohttp._client.netrc import NetrcAuth
from triohttp._client.request import DEFAULT_HEADERS, Defaults, build_request
from triohttp.errors import AuthError

PLAIN = Defaults(None, DEFAULT_HEADERS, None)
SECRET = "never-shown"
FILE = f"""
machine api.test login api password {SECRET}1
machine MiXed.test login mixed password {SECRET}2
machine nobody.test password {SECRET}3
machine ::1 login six password {SECRET}4
machine bad.test login a:b password {SECRET}5
default login any password {SECRET}6
"""


@pytest.fixture
def netrc_file(tmp_path: Path) -> Path:
    """A netrc file that is its owner's alone."""
    path = tmp_path / "netrc"
    path.write_text(FILE)
    path.chmod(0o600)
    return path


async def authorize(auth: NetrcAuth, url: str) -> str | None:
    """The user name and password that go out."""
    request: ClientRequest = build_request(PLAIN, "GET", url, {})
    await auth.authorize(request, Client())
    field = request.headers.get("Authorization")
    return None if field is None else _decoded(field)


def _decoded(field: str) -> str:
    scheme, _, value = field.partition(" ")
    assert scheme == "Basic"
    return base64.b64decode(value).decode()


@pytest.mark.parametrize(
    ("url", "entry"),
    [
        ("https://api.test/", f"api:{SECRET}1"),
        ("https://API.test:8443/x", f"api:{SECRET}1"),
        ("https://mixed.test/", f"mixed:{SECRET}2"),
        ("https://nobody.test/", f":{SECRET}3"),
        ("https://[::1]/", f"six:{SECRET}4"),
        ("https://other.test/", None),
        ("https://sub.api.test/", None),
        ("https://default/", None),
        ("http://api.test/", None),
        ("https://other.test/api.test", None),
        ("https://other.test/?api.test", None),
    ],
)
async def test_whose_password_goes_out(netrc_file: Path, url: str, entry: str | None) -> None:
    """That of the host itself, whatever its case and port; nobody else's, and none without TLS."""
    assert await authorize(NetrcAuth(netrc_file), url) == entry


async def test_the_host_is_the_one_that_is_asked(netrc_file: Path) -> None:
    """What stands in front of an @ names no host: ``http://good:@evil/`` is evil's (CVE-2024-47081)."""
    auth = NetrcAuth(netrc_file, use_default=False)
    request = build_request(PLAIN, "GET", "https://api.test:@evil.test/", {"auth": auth})
    await auth.authorize(request, Client())
    assert request.url.host == "evil.test"
    assert "authorization" not in request.headers


async def test_what_has_to_be_asked_for(netrc_file: Path) -> None:
    """The default entry, and passwords without TLS."""
    assert await authorize(NetrcAuth(netrc_file, use_default=True), "https://other.test/") == f"any:{SECRET}6"
    assert await authorize(NetrcAuth(netrc_file, use_default=True), "https://default/") == f"any:{SECRET}6"
    assert await authorize(NetrcAuth(netrc_file, allow_http=True), "http://api.test/") == f"api:{SECRET}1"


async def test_where_the_file_is(netrc_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """``$NETRC`` names it, else it is in the home directory."""
    monkeypatch.setenv("NETRC", str(netrc_file))
    assert await authorize(NetrcAuth(), "https://api.test/") == f"api:{SECRET}1"
    monkeypatch.delenv("NETRC")
    monkeypatch.setenv("HOME", str(tmp_path))
    netrc_file.rename(tmp_path / ".netrc")
    assert await authorize(NetrcAuth(), "https://api.test/") == f"api:{SECRET}1"


async def test_the_file_is_read_once(netrc_file: Path) -> None:
    """When it is first needed, by however many tasks; what is written into it later is not seen."""
    auth = NetrcAuth(netrc_file)
    found: list[str | None] = []

    async def get() -> None:
        found.append(await authorize(auth, "https://api.test/"))

    async with trio.open_nursery() as nursery:
        for _ in range(5):
            nursery.start_soon(get)
    netrc_file.unlink()
    await get()
    assert found == [f"api:{SECRET}1"] * 6


async def test_a_reader_that_is_cancelled_stops_no_other(netrc_file: Path) -> None:
    """The next one that needs it reads the file."""
    auth = NetrcAuth(netrc_file)
    with trio.CancelScope() as scope:
        scope.cancel()
        await authorize(auth, "https://api.test/")
    assert await authorize(auth, "https://api.test/") == f"api:{SECRET}1"


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o611])
async def test_a_file_that_others_may_use(netrc_file: Path, mode: int) -> None:
    """It is an error that says what to do."""
    netrc_file.chmod(mode)
    with pytest.raises(AuthError, match="chmod 600") as caught:
        await authorize(NetrcAuth(netrc_file), "https://api.test/")
    assert caught.value.reason == "file"
    assert SECRET not in str(caught.value)


async def test_a_file_without_secrets_may_be_read_by_anybody(netrc_file: Path) -> None:
    """Anonymous logins are none."""
    netrc_file.write_text("machine api.test login anonymous password me@here\n")
    netrc_file.chmod(0o644)
    assert await authorize(NetrcAuth(netrc_file), "https://api.test/") == "anonymous:me@here"


@pytest.mark.parametrize(
    ("text", "told"), [(None, "cannot be read"), (f"machine a login b password c\n{SECRET} x\n", "at line 2")]
)
async def test_a_file_that_makes_no_sense(netrc_file: Path, text: str | None, told: str) -> None:
    """A missing file and a broken one are errors, which do not cite it."""
    if text is None:
        netrc_file.unlink()
    else:
        netrc_file.write_text(text)
    with pytest.raises(AuthError, match=told) as caught:
        await authorize(NetrcAuth(netrc_file), "https://api.test/")
    assert caught.value.reason == "file"
    assert SECRET not in str(caught.value)


async def test_an_entry_that_cannot_be_sent(netrc_file: Path) -> None:
    """It is an error for its own host alone."""
    auth = NetrcAuth(netrc_file)
    with pytest.raises(AuthError, match=r"bad\.test cannot be sent") as caught:
        await authorize(auth, "https://bad.test/")
    assert SECRET not in str(caught.value)
    assert await authorize(auth, "https://api.test/") == f"api:{SECRET}1"


async def test_a_401_is_the_answer(netrc_file: Path) -> None:
    """There is nothing else to try."""
    request = build_request(PLAIN, "GET", "https://api.test/", {})
    assert not await NetrcAuth(netrc_file).challenged(request, ClientResponse(request, 401), Client())
