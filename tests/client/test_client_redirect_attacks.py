"""Servers that attack whoever follows them: by the content of a redirect, by cookies on the way, by challenges."""

from __future__ import annotations

import gzip
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest
import trio

from triohttp import Client, ClientResponse, DigestAuth
from triohttp.errors import TooManyRedirectsError
from triohttp.testing import RawConnection, RawRequest, open_scripted

BOMB = gzip.compress(bytes(10_000_000), 9)
END = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nend"


def answer(status: int, fields: Sequence[tuple[str, str]], content: bytes = b"", length: int | None = None) -> bytes:
    lines = [f"HTTP/1.1 {status} X", *(f"{name}: {value}" for name, value in fields)]
    lines.append(f"Content-Length: {len(content) if length is None else length}")
    return "\r\n".join([*lines, "", ""]).encode() + content


@dataclass
class Attacker:
    """Gives its answers in turn, the last again and again."""

    answers: list[bytes]
    asked: list[RawRequest] = field(default_factory=list)

    async def script(self, raw: RawConnection) -> None:
        while True:
            self.asked.append(await raw.read_request())
            number = min(len(self.asked), len(self.answers)) - 1
            await raw.send_all(self.answers[number])

    async def get(self, *, auth: DigestAuth | None = None) -> ClientResponse:
        """Ask it, and see that nothing is left in use."""
        async with open_scripted(self.script) as server:
            async with Client(server.url, mounts={server.url: server}, mounts_only=True) as client:
                try:
                    return await client.get("/", auth=auth)
                finally:
                    assert client.pool.statistics().in_use == 0


LOCATION = ("Location", "/there")
CODED = ("Content-Encoding", "gzip")
CONTENTS = {
    "bomb": answer(302, [LOCATION, CODED], BOMB),
    "broken coding": answer(302, [LOCATION, CODED], b"this is not gzip"),
    "unknown coding": answer(302, [LOCATION, ("Content-Encoding", "foo")], b"?"),
    "long": answer(302, [LOCATION], b"x" * 200_000, 10**12),
    "stalled": answer(302, [LOCATION], b"x", 1000),
    "chunks that are none": b"HTTP/1.1 302 X\r\nLocation: /there\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
}


@pytest.mark.parametrize("name", CONTENTS)
async def test_what_a_redirect_contains_does_not_matter(name: str, autojump_clock: trio.abc.Clock) -> None:
    """It is not decoded, not read for long, and not waited for: the redirect is followed."""
    attacker = Attacker([CONTENTS[name], END])
    began = trio.current_time()
    response = await attacker.get()
    assert (response.text, [one.target for one in attacker.asked]) == ("end", ["/", "/there"])
    assert response.history[0].content == b""
    assert trio.current_time() - began <= 1.5


async def test_cookies_that_grow_with_each_redirect_are_bounded() -> None:
    """Whatever is set on the way, the field that goes out has a bound, and so has the way."""
    fields = [LOCATION, *(("Set-Cookie", f"c{number}={'v' * 3000}") for number in range(15))]
    attacker = Attacker([answer(302, fields)])
    with pytest.raises(TooManyRedirectsError):
        await attacker.get()
    sizes = [len(one.headers.get("cookie", "")) for one in attacker.asked]
    assert sizes[0] == 0
    assert 3000 < max(sizes) <= 8192
    assert len(sizes) == 11


@pytest.mark.parametrize("stale", ["true", "false"])
async def test_challenges_without_end(stale: str) -> None:
    """A new nonce each time is answered twice at most, stale or not; then the 401 is the answer."""
    challenges = [
        answer(401, [("WWW-Authenticate", f'Digest realm="r", nonce="n{number}", stale={stale}, qop="auth"')])
        for number in range(20)
    ]
    attacker = Attacker(challenges)
    assert (await attacker.get(auth=DigestAuth("u", "p"))).status == 401
    assert len(attacker.asked) == (3 if stale == "true" else 2)


async def test_challenges_between_redirects_are_bounded_by_them() -> None:
    """Challenges before and after a redirect inside the origin: each hop has its own two, and redirects are bounded."""
    challenge = answer(401, [("WWW-Authenticate", 'Digest realm="r", nonce="n", stale=true, qop="auth"')])
    attacker = Attacker([part for _ in range(30) for part in (challenge, answer(302, [LOCATION]))])
    with pytest.raises(TooManyRedirectsError):
        await attacker.get(auth=DigestAuth("u", "p"))
    assert len(attacker.asked) <= 33
