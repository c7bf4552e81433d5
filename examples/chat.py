"""A chat: ``python examples/chat.py``, then open http://127.0.0.1:8080 in two windows.

Whoever is connected subscribes to the room and publishes to it. Publishing never waits for a reader, so a client that
stands still holds nobody up: it misses messages, and is told that it did.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio

from triohttp import App, Broadcast, Published, Request, Response, Subscription, WebSocket, WebSocketLimits, serve

ROOM = "room"
LIMITS = WebSocketLimits(max_message_bytes=4096)
hub = Broadcast()


@asynccontextmanager
async def lifespan(app: App) -> AsyncIterator[None]:
    async with hub:
        yield


app = App(lifespan=lifespan)


@app.get("/")
async def index(request: Request) -> Response:
    return Response.html(PAGE)


@app.get("/chat")
async def chat(request: Request) -> None:
    name = request.query.get("name", "").strip()[:20] or "somebody"
    async with (
        hub.subscribe(ROOM) as messages,
        request.websocket(limits=LIMITS) as ws,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(forward, messages, ws)
        await say(name, "joined")
        try:
            async for message in ws:
                if isinstance(message, str):
                    await say(name, "says", message)
        finally:
            with trio.move_on_after(1, shield=True):  # the others hear of it, however this ends
                await say(name, "left")
        nursery.cancel_scope.cancel()


async def say(name: str, what: str, text: str = "") -> None:
    await hub.publish(ROOM, json.dumps({"name": name, "what": what, "text": text}))


async def forward(messages: Subscription, ws: WebSocket) -> None:
    async for item in messages:  # a Gap stands for what this client was too slow for
        await ws.send(item.text if isinstance(item, Published) else '{"what": "missed"}')


PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Chat</title>
<link rel="icon" href="data:,">
<style>
  :root { color-scheme: light dark; --soft: light-dark(#eef1f4, #24292f); --mine: light-dark(#d5e8ff, #1f3f63); }
  body { font: 16px/1.5 system-ui, sans-serif; max-width: 38rem; height: 100dvh; margin: 0 auto; padding: 1rem;
         box-sizing: border-box; display: flex; flex-direction: column; gap: .75rem; }
  header { display: flex; align-items: baseline; justify-content: space-between; }
  h1 { font-size: 1.25rem; margin: 0; }
  #state { font-size: .85rem; opacity: .7; }
  ol { flex: 1; overflow-y: auto; list-style: none; margin: 0; padding: 0; display: flex; flex-direction: column;
       gap: .4rem; }
  li { align-self: flex-start; max-width: 85%; padding: .4rem .75rem; border-radius: .9rem; background: var(--soft);
       overflow-wrap: anywhere; white-space: pre-wrap; }
  li b { display: block; font-size: .75rem; opacity: .65; }
  li.mine { align-self: flex-end; background: var(--mine); }
  li.note { align-self: center; background: none; font-size: .85rem; opacity: .65; padding: 0; }
  form { display: flex; gap: .5rem; }
  input { flex: 1; min-width: 0; }
  input, button { font: inherit; padding: .5rem .9rem; border: 1px solid #8886; border-radius: .6rem; }
</style>
<header><h1>Chat</h1><span id="state"></span></header>
<ol id="log"></ol>
<form id="form">
  <input id="text" autocomplete="off" maxlength="1000" autofocus>
  <button id="button">Join</button>
</form>
<script>
  const $ = (id) => document.getElementById(id);
  let name = "", ws;

  function show(text, kind, by) {
    const item = document.createElement("li");
    item.className = kind;
    if (by) item.appendChild(document.createElement("b")).textContent = by;
    item.append(text);
    $("log").append(item);
    item.scrollIntoView();
  }

  function connect() {
    ws = new WebSocket(`${location.origin.replace("http", "ws")}/chat?name=${encodeURIComponent(name)}`);
    ws.onopen = () => { $("state").textContent = `you are ${name}`; };
    ws.onmessage = ({ data }) => {
      const { name: by, what, text } = JSON.parse(data);
      if (what === "says") show(text, by === name ? "mine" : "", by === name ? "" : by);
      else show(what === "missed" ? "you missed some messages" : `${by} ${what}`, "note");
    };
    ws.onclose = () => {
      $("state").textContent = "connecting again …";
      setTimeout(connect, 1000);
    };
  }

  function ask() {
    $("text").placeholder = name ? "Say something" : "Your name";
    $("button").textContent = name ? "Send" : "Join";
  }

  $("form").onsubmit = (event) => {
    event.preventDefault();
    const text = $("text").value.trim();
    if (!text) return;
    if (!name) {
      name = text.slice(0, 20);
      connect();
      ask();
    } else if (ws.readyState === WebSocket.OPEN) ws.send(text);
    else return;
    $("text").value = "";
  };
  ask();
</script>
"""

if __name__ == "__main__":
    trio.run(serve, app)
