"""What trio and the kernel cost by themselves: a fixed request, and an answer of which only the end is looked at."""

from __future__ import annotations

import socket
from urllib.parse import urlsplit

import trio
from loop import CONTENT, Run


async def main(run: Run) -> None:
    url = urlsplit(run.url)
    fields = "User-Agent: triohttp\r\nAccept: */*\r\nAccept-Encoding: identity"
    request = f"GET {url.path} HTTP/1.1\r\nHost: {url.netloc}\r\n{fields}\r\n\r\n".encode()
    idle: list[socket.socket] = []

    async def fetch() -> bytes:
        if idle:
            sock = idle.pop()
        else:
            sock = socket.create_connection((url.hostname, url.port))
            sock.setblocking(False)
        sock.send(request)
        await trio.lowlevel.wait_readable(sock)
        answer = sock.recv(65536)
        idle.append(sock)
        return answer[-len(CONTENT) :]

    await run.measure_on_trio(fetch)
    for sock in idle:
        sock.close()


if __name__ == "__main__":
    trio.run(main, Run.from_arguments())
