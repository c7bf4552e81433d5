"""A program that does something else, and has a page which shows how far it is.

The server is a child of the program's own nursery, and ends with the program.
"""

from __future__ import annotations

import trio

from triohttp import App, Request, Response, serve


class Counter:
    """The job: counting."""

    def __init__(self, end: int, seconds_each: float) -> None:
        self.value = 0
        self._end = end
        self._seconds_each = seconds_each

    async def run(self) -> None:
        while self.value < self._end:
            await trio.sleep(self._seconds_each)
            self.value += 1


def status_page(counter: Counter) -> App:
    app = App()

    @app.get("/")
    async def show(request: Request) -> Response:
        return Response.json({"counted": counter.value})

    return app


async def main(
    counter: Counter, port: int = 8080, *, task_status: trio.TaskStatus[str] = trio.TASK_STATUS_IGNORED
) -> None:
    async with trio.open_nursery() as nursery:
        server = await nursery.start(serve, status_page(counter), "127.0.0.1", port)
        print(f"the status is on {server.urls[0]}")
        task_status.started(server.urls[0])
        await counter.run()
        await server.shutdown(grace=1)
    print("done")


if __name__ == "__main__":
    trio.run(main, Counter(end=100, seconds_each=0.5))
