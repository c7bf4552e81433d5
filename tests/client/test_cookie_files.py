"""Cookies in files: what is written, what is believed, and what a cancelled writing leaves."""

from __future__ import annotations

import json
import logging
import os
import stat
import threading

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from triohttp._client.cookie_jar import CookieJar
from triohttp._client.public_suffixes import is_known_suffix
from triohttp._values.url import URL
from triohttp.errors import ContentError

NOW = 1_700_000_000.0
WWW = URL("https://www.example.org/")
GOOD = {
    "name": "a",
    "value": "s3cret",
    "domain": "example.org",
    "host_only": True,
    "path": "/",
    "secure": True,
    "http_only": False,
    "same_site": None,
    "created": NOW,
    "expires": NOW + 60,
}


def clock() -> float:
    return NOW


def make_jar() -> CookieJar:
    jar = CookieJar(clock=clock)
    jar.store(WWW, ["a=1; Max-Age=60; Domain=example.org; Path=/x; HttpOnly; SameSite=Strict", "b=é \"2\"; Max-Age=60"])
    jar.store(WWW, ["session=3; Secure", "=nameless; Max-Age=60"])
    return jar


def saved(**changes: object) -> bytes:
    cookies = [GOOD, {**GOOD, "name": "b", **changes}]
    return json.dumps({"format": "triohttp cookies", "version": 1, "cookies": cookies}).encode()


# -- there and back ----------------------------------------------------------------------------------------------------


async def test_there_and_back(tmp_path):
    """What was saved is what is loaded, in the same order; session cookies end with the jar."""
    jar = make_jar()
    await jar.save(tmp_path / "jar")
    loaded = await CookieJar.load(tmp_path / "jar", clock=clock)
    assert list(loaded) == [cookie for cookie in jar if cookie.name != "session"]
    assert loaded.field_for(URL("https://www.example.org/x")) == 'a=1; b=é "2"; nameless'


async def test_session_cookies_when_asked(tmp_path):
    """Session cookies are kept for a program that goes on where another has ended."""
    jar = make_jar()
    await jar.save(tmp_path / "jar", session_cookies=True)
    assert list(await CookieJar.load(tmp_path / "jar", clock=clock)) == list(jar)


async def test_a_cookie_for_the_host_stays_one(tmp_path):
    """A cookie without a Domain is not sent to hosts below after it was in a file (CVE-2026-54279)."""
    jar = CookieJar(clock=clock)
    jar.store(URL("https://example.org/"), ["a=1; Max-Age=60"])
    await jar.save(tmp_path / "jar")
    loaded = await CookieJar.load(tmp_path / "jar", clock=clock)
    assert loaded.field_for(URL("https://example.org/")) == "a=1"
    assert loaded.field_for(WWW) is None


async def test_what_ended_meanwhile(tmp_path):
    """Cookies that ended while they were in the file are not loaded; an end far away is cut to 400 days from now."""
    (tmp_path / "jar").write_bytes(saved(expires=NOW + 10**9))
    (cookie,) = await CookieJar.load(tmp_path / "jar", clock=lambda: NOW + 60)
    assert (cookie.name, cookie.expires) == ("b", NOW + 60 + 400 * 86400)


async def test_a_domain_that_became_public(tmp_path):
    """A cookie for what has become a public suffix is left out, and no reason to refuse the others."""
    (tmp_path / "jar").write_bytes(saved(domain="new.example.org", host_only=False))
    loaded = await CookieJar.load(tmp_path / "jar", clock=clock, public_suffix=lambda name: name == "new.example.org")
    assert [cookie.name for cookie in loaded] == ["a"]


async def test_a_jar_that_is_smaller(tmp_path):
    """The bounds of the jar that is loaded count; the newest cookies are kept."""
    await make_jar().save(tmp_path / "jar")
    loaded = await CookieJar.load(tmp_path / "jar", clock=clock, max_cookies=1)
    assert [cookie.value for cookie in loaded] == ["nameless"]


@given(
    st.text(st.characters(max_codepoint=255), max_size=8),
    st.text(st.characters(max_codepoint=255), max_size=8),
    st.sampled_from(["", "; Domain=example.org", "; Domain=www.example.org", "; Path=/é\t", "; Path=/a;Secure"]),
)
def test_whatever_is_kept_can_be_saved(tmp_path_factory, name, value, attributes):
    """There is no cookie that a server can set and that a file cannot hold."""
    jar = CookieJar(clock=clock, public_suffix=is_known_suffix)
    jar.store(WWW.replace(path="/a;b=1/c"), [f"{name}={value}{attributes}; Max-Age=60"])

    async def there_and_back() -> CookieJar:
        path = tmp_path_factory.getbasetemp() / "any.jar"
        await jar.save(path)
        return await CookieJar.load(path, clock=clock, public_suffix=is_known_suffix)

    assert list(trio.run(there_and_back)) == list(jar)


# -- a file is input ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "where"),
    [
        (b"", "not JSON"),
        (b"\xff", "UTF-8"),
        (b"[]", "no file of cookies"),
        (b'{"format": "other", "version": 1, "cookies": []}', "no file of cookies"),
        (b'{"format": "triohttp cookies", "version": 2, "cookies": []}', "version must be 1, not 2"),
        (b'{"format": "triohttp cookies", "version": 1}', "nothing else"),
        (b'{"format": "triohttp cookies", "version": 1, "cookies": {}}', "nothing else"),
        (b'{"format": "triohttp cookies", "version": 1, "cookies": [], "x": 1}', "nothing else"),
        (b'{"format": "triohttp cookies", "version": 1, "cookies": [[]]}', "cookie 1 must have name"),
        (b'{"format": "triohttp cookies", "version": 1, "version": 1, "cookies": []}', "not JSON"),
        (b"[" * 100000, "nested"),
        (saved(more=1), "cookie 2 must have name"),
        (saved(name=1), "cookie 2: name must not be a int"),
        (saved(name="a;b"), "cookie 2: the name"),
        (saved(name="č"), "cookie 2: the name"),
        (saved(name="", value="a=s3cret"), "cookie 2: a cookie without a name"),
        (saved(name="", value="__Host-s3cret"), "cookie 2: a cookie without a name"),
        (saved(name="", value=""), "cookie 2: a cookie without a name"),
        (saved(value=None), "cookie 2: value must not be a NoneType"),
        (saved(value="s3cret\r\nX: y"), "cookie 2: the value of cookie 'b'"),
        (saved(value="s3cret" * 1000), "cookie 2: cookie 'b' must have at most 4096"),
        (saved(domain=""), "cookie 2: the domain"),
        (saved(domain="A.org"), "cookie 2: the domain must be 'a.org'"),
        (saved(domain=".a.org"), "cookie 2: the domain"),
        (saved(domain="a b"), "cookie 2: the domain"),
        (saved(domain="127.0.0.1", host_only=False), "cookie 2: there is nothing below '127.0.0.1'"),
        (saved(domain="::1", host_only=False), "cookie 2: there is nothing below '::1'"),
        (saved(domain="com", host_only=False), "cookie 2: there is nothing below 'com'"),
        (saved(host_only=1), "cookie 2: host_only must not be a int"),
        (saved(path="x"), "cookie 2: the path"),
        (saved(path="/\n"), "cookie 2: the path"),
        (saved(path="/" * 9000), "cookie 2: the path"),
        (saved(secure="no"), "cookie 2: secure must not be a str"),
        (saved(http_only=None), "cookie 2: http_only must not be a NoneType"),
        (saved(same_site="Lax"), "cookie 2: same_site must not be 'Lax'"),
        (saved(created=None), "cookie 2: created must not be a NoneType"),
        (saved(created=True), "cookie 2: created must not be a bool"),
        (saved(expires="soon"), "cookie 2: expires must not be a str"),
        (saved(expires=NOW).replace(b"1700000000.0", b"NaN"), "not JSON"),
        (saved(name="__Host-b", path="/x"), "cookie 2: cookie '__Host-b'"),
        (saved(name="__secure-b", secure=False), "cookie 2: cookie '__secure-b'"),
    ],
)
async def test_what_is_no_file_of_cookies(content, where, tmp_path):
    """A file that ``save`` cannot have written is refused, with the place, and without showing a value."""
    path = tmp_path / "jar"
    path.write_bytes(content)
    with pytest.raises(ContentError) as caught:
        await CookieJar.load(path, clock=clock)
    assert caught.value.reason == "cookies"
    assert where in str(caught.value)
    assert "s3cret" not in str(caught.value)
    assert "jar" in str(caught.value)


async def test_numbers_beyond_all_floats(tmp_path):
    """An integer that no float can hold is a moment far away, and can be saved again."""
    (tmp_path / "jar").write_bytes(saved(created=10**400, expires=10**400))
    loaded = await CookieJar.load(tmp_path / "jar", clock=clock)
    assert [cookie.created for cookie in loaded] == [NOW, NOW]
    await loaded.save(tmp_path / "jar")


async def test_a_file_without_an_end(tmp_path):
    """A file that is larger than any with so many cookies is not read to its end."""
    with open(tmp_path / "jar", "wb") as file:
        file.truncate(10 * 32 * 1024 + 1)
    with pytest.raises(ContentError, match="at most 327680 bytes"):
        await CookieJar.load(tmp_path / "jar", max_cookies=10)


async def test_no_file(tmp_path):
    """A file that is not there is for the program to decide about."""
    with pytest.raises(FileNotFoundError):
        await CookieJar.load(tmp_path / "missing")


@pytest.mark.parametrize(("mode", "warns"), [(0o600, False), (0o400, False), (0o640, True), (0o604, True)])
async def test_a_file_that_others_can_read(mode, warns, tmp_path, caplog):
    """Cookies that others can read give a warning."""
    (tmp_path / "jar").write_bytes(saved())
    (tmp_path / "jar").chmod(mode)
    with caplog.at_level(logging.WARNING, logger="triohttp.client"):
        await CookieJar.load(tmp_path / "jar", clock=clock)
    assert [record.levelname for record in caplog.records] == ["WARNING"] * warns


# -- cookies.txt -------------------------------------------------------------------------------------------------------


async def test_a_cookies_txt(tmp_path):
    """The lines that curl and browsers write are read; comments, empty lines and what has ended are not."""
    end = int(NOW) + 60
    lines = [
        "# Netscape HTTP Cookie File",
        "",
        f".example.org\tTRUE\t/\tTRUE\t{end}\ta\t1",
        f"#HttpOnly_www.example.org\tFALSE\t/x\tFALSE\t{end}\tb\t2=\"3\"",
        "www.example.org\tFALSE\t/\tFALSE\t0\tsession\té",
        "www.example.org\tFALSE\t/\tFALSE\t1\told\tv",
        f"127.0.0.1\tTRUE\t/\tFALSE\t{end}\tc\t4",
        "www.example.org\tFALSE\t/\tFALSE\t0\tempty",
        "co.uk\tTRUE\t/\tFALSE\t0\tforeign\tv",
        "",
    ]
    (tmp_path / "cookies.txt").write_bytes("\r\n".join(lines).encode("latin-1"))
    jar = await CookieJar.load_netscape(tmp_path / "cookies.txt", clock=clock)
    assert [(one.name, one.value, one.domain, one.host_only, one.http_only, one.expires) for one in jar] == [
        ("a", "1", "example.org", False, False, end),
        ("b", '2="3"', "www.example.org", True, True, end),
        ("session", "é", "www.example.org", True, False, None),
        ("c", "4", "127.0.0.1", True, False, end),
        ("empty", "", "www.example.org", True, False, None),
    ]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("a.org\tTRUE\t/", "line 2 must have 7 fields"),
        ("a.org\tFALSE\t/\tFALSE\t0\ta\ts3cret\tx", "line 2 must have 7 fields"),
        ("a.org\tyes\t/\tFALSE\t0\ta\ts3cret", "line 2: a flag"),
        ("a.org\tFALSE\t/\t1\t0\ta\ts3cret", "line 2: a flag"),
        ("a.org\tFALSE\t/\tFALSE\tsoon\ta\ts3cret", "line 2: the end"),
        ("a.org\tFALSE\t/\tFALSE\t" + "9" * 5000 + "\ta\ts3cret", "line 2: the end"),
        ("a b\tFALSE\t/\tFALSE\t0\ta\ts3cret", "line 2: the domain"),
        ("a.org\tFALSE\tx\tFALSE\t0\ta\ts3cret", "line 2: the path"),
        ("a.org\tFALSE\t/\tFALSE\t0\ta\ts3\x00cret", "line 2: the value"),
        ("a.org\tFALSE\t/\tFALSE\t0\t__Secure-a\ts3cret", "line 2: cookie '__Secure-a' must be secure"),
    ],
)
async def test_what_is_no_cookies_txt(line, message, tmp_path):
    """A line that is none is refused with its number, and without showing a value."""
    (tmp_path / "cookies.txt").write_text(f"# comment\n{line}\n", encoding="latin-1")
    with pytest.raises(ContentError) as caught:
        await CookieJar.load_netscape(tmp_path / "cookies.txt", clock=clock)
    assert message in str(caught.value)
    assert "s3" not in str(caught.value)


# -- writing -----------------------------------------------------------------------------------------------------------


async def test_only_the_owner_reads_the_file(tmp_path):
    """The file is its owner's alone, also where it takes the place of one that was everybody's."""
    (tmp_path / "jar").write_text("old")
    (tmp_path / "jar").chmod(0o666)
    await make_jar().save(tmp_path / "jar")
    assert stat.S_IMODE((tmp_path / "jar").stat().st_mode) == 0o600
    assert os.listdir(tmp_path) == ["jar"]


async def test_a_relative_path(tmp_path, monkeypatch):
    """A name without a directory is one in the working directory."""
    monkeypatch.chdir(tmp_path)
    await make_jar().save("jar")
    assert os.listdir(tmp_path) == ["jar"]


async def test_a_disk_that_fails(tmp_path, monkeypatch):
    """When the disk fails the old file is there, and nothing else."""

    def fail(descriptor: int) -> None:
        raise OSError(28, "no space left")

    (tmp_path / "jar").write_text("old")
    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="no space left"):
        await make_jar().save(tmp_path / "jar")
    assert (tmp_path / "jar").read_text() == "old"
    assert os.listdir(tmp_path) == ["jar"]


@pytest.mark.parametrize("rounds", range(6))
async def test_cancelled_at_any_round(rounds, tmp_path):
    """A save that is cancelled leaves the old file or the new one, whole, and nothing beside it."""
    (tmp_path / "jar").write_bytes(saved())
    jar = make_jar()

    async def cancel(scope: trio.CancelScope) -> None:
        for _ in range(rounds):
            await trio.lowlevel.checkpoint()
        scope.cancel()

    async with trio.open_nursery() as nursery:
        with trio.CancelScope() as scope:
            nursery.start_soon(cancel, scope)
            await jar.save(tmp_path / "jar")
    assert os.listdir(tmp_path) == ["jar"]
    assert len(await CookieJar.load(tmp_path / "jar", clock=clock)) in (2, 3)


async def test_cancelled_before_it_began(tmp_path):
    """A save in a cancelled scope does not touch the disk."""
    with trio.CancelScope() as scope:
        scope.cancel()
        await make_jar().save(tmp_path / "jar")
    assert scope.cancelled_caught
    assert os.listdir(tmp_path) == []


class SlowDisk:
    """Stands in for ``os.fsync`` of a disk that takes until it is told to go on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.reached, self.going_on, self.removed = threading.Event(), threading.Event(), threading.Event()
        unlink = os.unlink

        def remove(path: str) -> None:
            unlink(path)
            self.removed.set()

        monkeypatch.setattr(os, "fsync", self.wait)
        monkeypatch.setattr(os, "unlink", remove)

    def wait(self, descriptor: int) -> None:
        self.reached.set()
        assert self.going_on.wait(20)


async def test_cancelled_while_the_disk_is_slow(tmp_path, monkeypatch):
    """A cancelled save waits until its thread has taken back what it wrote, so nothing is left when it raises."""
    disk = SlowDisk(monkeypatch)
    (tmp_path / "jar").write_text("old")
    left = []

    async def save(scope: trio.CancelScope) -> None:
        with scope:
            await make_jar().save(tmp_path / "jar")
        left.extend(os.listdir(tmp_path))

    async with trio.open_nursery() as nursery:
        scope = trio.CancelScope()
        nursery.start_soon(save, scope)
        await trio.to_thread.run_sync(disk.reached.wait)
        scope.cancel()
        await trio.testing.wait_all_tasks_blocked()  # until it has heard of it
        disk.going_on.set()
    assert scope.cancelled_caught
    assert left == ["jar"]
    assert (tmp_path / "jar").read_text() == "old"


async def test_cancelled_while_the_disk_hangs(tmp_path, monkeypatch, autojump_clock):
    """A disk that does not answer holds a cancellation up for a second; the thread cleans up when it does answer."""
    disk = SlowDisk(monkeypatch)
    (tmp_path / "jar").write_text("old")
    jar, scope = make_jar(), trio.CancelScope()

    async def save() -> None:
        with scope:
            await jar.save(tmp_path / "jar")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(save)
        await trio.to_thread.run_sync(disk.reached.wait)
        start = trio.current_time()
        scope.cancel()
    assert scope.cancelled_caught
    assert trio.current_time() - start == pytest.approx(1)  # virtual: a thread does not keep this clock from jumping
    disk.going_on.set()
    assert await trio.to_thread.run_sync(disk.removed.wait, 20)
    assert os.listdir(tmp_path) == ["jar"]
    assert (tmp_path / "jar").read_text() == "old"
