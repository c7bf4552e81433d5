"""Servers in memory under several origins, which keep what they were asked and lead where a test says."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import trustme

from triohttp import URL, App, Request, Response, open_server
from triohttp.testing import MemoryListener, MemoryStream, open_error_trap

__all__ = ["Answers", "Authority", "RecordingSites", "Seen", "open_sites"]

ANY = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
EVENTS = "text/event-stream"


@dataclass(frozen=True)
class Seen:
    """A request as a server saw it.

    Attributes:
        url: what was asked, by the server's own idea of its origin.
        headers: the field lines as they came, names in lower case.
        certificate: what the client showed in TLS, in DER; None for nothing.
    """

    url: str
    method: str
    headers: tuple[tuple[str, str], ...]
    content: bytes
    certificate: bytes | None

    def get(self, name: str) -> str | None:
        """Return the values of a field, joined as one."""
        values = [value for one, value in self.headers if one == name]
        return "; ".join(values) if values else None

    def __contains__(self, text: str) -> bool:
        return text in f"{self.url} {self.headers} {self.content!r}"


@dataclass
class Answers:
    """What a URL is answered with; one with a challenge answers 401 to who says nothing."""

    status: int = 200
    fields: Sequence[tuple[str, str]] = ()
    challenge: str | None = None


class Authority:
    """Who signs the certificates of the sites and of their client, for a module of tests.

    Args:
        directory: where the client's files are put.
        hosts: names of the sites.
    """

    def __init__(self, directory: Path, hosts: Iterator[str] | Sequence[str]) -> None:
        made = trustme.CA()
        self.ca_file = directory / "ca.pem"
        made.cert_pem.write_to_path(self.ca_file)
        self.client_file = directory / "client.pem"
        made.issue_cert("client@client.test").private_key_and_cert_chain_pem.write_to_path(self.client_file)
        self.contexts: dict[str, ssl.SSLContext] = {}
        for host in hosts:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            made.issue_cert(host).configure_cert(context)
            made.configure_trust(context)
            context.verify_mode = ssl.CERT_OPTIONAL  # a client is asked for a certificate, and need not have one
            context.set_alpn_protocols(["http/1.1"])
            self.contexts[host] = context


@dataclass
class RecordingSites:
    """The sites.

    Attributes:
        mounts: for ``Client(mounts=...)``.
        answers: by URL; any other is answered with 200.
        seen: what they were asked, in order.
    """

    mounts: dict[str, Site] = field(default_factory=dict)
    answers: dict[str, Answers] = field(default_factory=dict)
    seen: list[Seen] = field(default_factory=list)

    def lead(self, *urls: str, status: int = 302) -> None:
        """Have each URL redirect to the next."""
        for url, following in pairwise(urls):
            self.answers[url] = Answers(status, [("Location", following)])


class Site:
    """One origin."""

    def __init__(self, sites: RecordingSites, origin: str) -> None:
        self._sites = sites
        self._origin = origin
        self.listener = MemoryListener()
        self.app = App()
        self.app.add_route("/{rest:path}", self._answer, methods=ANY)

    async def connect(self) -> MemoryStream:
        """Open a connection and return the client's end."""
        return await self.listener.connect()

    async def _answer(self, request: Request) -> Response:
        tls = request.exchange.info.tls
        seen = Seen(
            self._origin + request.exchange.head.target,
            request.method,
            tuple((name.lower(), value) for name, value in request.headers.field_lines()),
            await request.read(),
            tls.peer_certificate if tls is not None else None,
        )
        self._sites.seen.append(seen)
        answers = self._sites.answers.get(self._origin + request.url.path, Answers())
        if answers.challenge is not None and seen.get("authorization") is None:
            return Response(b"who?", status=401, headers=[("WWW-Authenticate", answers.challenge)])
        if answers.status == 200 and request.headers.get("accept") == EVENTS:
            return Response(b"data: ok\n\n", headers=[("Content-Type", EVENTS), *answers.fields])
        return Response(b"ok", status=answers.status, headers=list(answers.fields))


@asynccontextmanager
async def open_sites(origins: Sequence[str], contexts: Mapping[str, ssl.SSLContext]) -> AsyncIterator[RecordingSites]:
    """Serve each origin while the block runs.

    Args:
        origins: such as ``https://a.test:8443``.
        contexts: for those with https, by host.
    """
    sites = RecordingSites()
    async with open_error_trap(), AsyncExitStack() as stack:
        for origin in origins:
            site = sites.mounts[origin] = Site(sites, origin)
            url = URL(origin)
            tls = contexts[url.host] if url.scheme == "https" else None
            server = await stack.enter_async_context(open_server(site.app, listeners=[site.listener], tls=tls))
            stack.push_async_callback(server.shutdown, grace=0)
        yield sites
