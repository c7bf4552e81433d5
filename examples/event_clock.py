"""A clock that the server ticks, with server-sent events.

``python examples/event_clock.py``, then http://127.0.0.1:8080 in a browser, in as many tabs as you like. Stop the
program and start it again: the pages go on by themselves. ``curl -N http://127.0.0.1:8080/ticks`` shows what they get.
"""

from __future__ import annotations

from datetime import datetime

import trio

from triohttp import App, Event, Request, Response, serve

PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Event clock</title>
<style>
  body { margin: 0; min-height: 100vh; display: grid; place-content: center; justify-items: center; gap: 1rem;
         font-family: system-ui, sans-serif; background: #10151f; color: #e8edf5; }
  time { font-size: min(20vw, 9rem); font-weight: 200; font-variant-numeric: tabular-nums; letter-spacing: .02em; }
  p { margin: 0; color: #8fa0b8; }
  #state::before { content: "●"; margin-right: .5em; color: #e5a33b; }
  #state.open::before { color: #4cc38a; }
</style>
<time id="time">--:--:--</time>
<p><span id="state">connecting</span> · tick <span id="number">0</span> of this page</p>
<script>
  const show = (id, text) => { document.getElementById(id).textContent = text; };
  const state = document.getElementById("state");
  const ticks = new EventSource("/ticks");
  let number = 0;
  ticks.onopen = () => { state.className = "open"; state.textContent = "connected"; };
  ticks.onerror = () => { state.className = ""; state.textContent = "connecting again"; };
  ticks.addEventListener("tick", (event) => { show("time", event.data); show("number", ++number); });
</script>
</html>
"""

app = App()


@app.get("/")
async def index(request: Request) -> Response:
    return Response.html(PAGE)


@app.get("/ticks")
async def ticks(request: Request) -> None:
    async with request.events(retry_ms=1000) as events:
        while True:
            now = datetime.now().astimezone()
            await events.send(Event(f"{now:%H:%M:%S}", type="tick"))
            await trio.sleep(1 - now.microsecond / 1_000_000)


if __name__ == "__main__":
    trio.run(serve, app)
