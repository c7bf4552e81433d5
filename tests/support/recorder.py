"""A server that keeps what it is sent, and has content sent again."""

from __future__ import annotations

from triohttp.testing import RawConnection, RawRequest

__all__ = ["AGAIN", "OK", "Recorder"]

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
AGAIN = b"HTTP/1.1 307 Temporary Redirect\r\nLocation: /again\r\nContent-Length: 0\r\n\r\n"


class Recorder:
    """A server that redirects what is for /first, and keeps every request."""

    def __init__(self) -> None:
        self.requests: list[RawRequest] = []

    async def __call__(self, connection: RawConnection) -> None:
        while True:
            request = await connection.read_request()
            self.requests.append(request)
            await connection.send_all(AGAIN if request.target == "/first" else OK)
