"""A live dashboard: ``python examples/dashboard.py``, then open http://127.0.0.1:8080 in a browser or two.

A service measures this process once a second and publishes the sample; every page that is open gets it as a server-sent
event. The broadcast retains a minute of them: a new page begins with those, and one that was cut off goes on where
it was, since browsers send the id of the last event that they got.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio

from triohttp import App, Broadcast, Event, Handler, MemoryEngine, Published, Request, Response, serve

SAMPLES = "samples"
SECONDS = 60
hub = Broadcast(MemoryEngine(max_retained=SECONDS))
counted = {"requests": 0}


@asynccontextmanager
async def lifespan(app: App) -> AsyncIterator[None]:
    async with hub:
        yield


app = App(lifespan=lifespan)


@app.middleware
async def count(request: Request, handler: Handler) -> Response:
    counted["requests"] += 1
    return await handler(request)


@app.service
async def measure(task_status: trio.TaskStatus[None]) -> None:
    task_status.started()
    due = trio.current_time()
    while True:
        used, requests = time.process_time(), counted["requests"]
        due += 1
        await trio.sleep_until(due)
        sample = {
            "cpu": 100 * (time.process_time() - used),
            "load": os.getloadavg()[0],
            "requests": counted["requests"] - requests,
            "lag": 1000 * (trio.current_time() - due),
            "pages": hub.statistics().subscriptions,
        }
        await hub.publish(SAMPLES, json.dumps(sample))


@app.get("/")
async def index(request: Request) -> Response:
    return Response.html(PAGE)


@app.get("/samples")
async def samples(request: Request) -> None:
    last = request.last_event_id or "none"  # an id that never was: whatever is retained comes first
    async with hub.subscribe(SAMPLES, after=last) as published, request.events(retry_ms=1000) as events:
        async for item in published:
            if isinstance(item, Published):
                await events.send(Event(item.text, id=item.id))
            else:  # samples are missing here; what the page has may be from before this process was started
                await events.send(Event(item.why, type="gap"))


PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Dashboard</title>
<link rel="icon" href="data:,">
<style>
  :root { color-scheme: light dark; --line: light-dark(#1f6feb, #58a6ff); --edge: light-dark(#d0d7de, #30363d); }
  body { font: 16px/1.4 system-ui, sans-serif; max-width: 60rem; margin: 1.5rem auto; padding: 0 1rem; }
  header { display: flex; align-items: center; gap: 1rem; margin-bottom: 1rem; }
  h1 { font-size: 1.25rem; margin: 0; flex: 1; }
  #state { font-size: .85rem; opacity: .75; }
  #state::before { content: "●"; color: #999; margin-right: .4em; }
  #state.live::before { color: #2da44e; }
  button { font: inherit; font-size: .85rem; padding: .3rem .8rem; }
  button, section { border: 1px solid var(--edge); border-radius: .6rem; }
  main { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(22rem, 100%), 1fr)); gap: 1rem; }
  section { padding: .9rem 1rem .6rem; }
  h2 { font-size: .85rem; font-weight: 500; margin: 0; opacity: .75; }
  output { display: block; font-size: 1.9rem; font-variant-numeric: tabular-nums; }
  output small { font-size: .9rem; opacity: .65; margin-left: .3em; }
  svg { width: 100%; height: 6rem; display: block; }
  path { fill: none; stroke: var(--line); stroke-width: 2; stroke-linejoin: round; vector-effect: non-scaling-stroke; }
  path.area { fill: var(--line); opacity: .12; stroke: none; }
  p { display: flex; justify-content: space-between; font-size: .75rem; opacity: .6; margin: .2rem 0 0; }
</style>
<header><h1>Dashboard</h1><span id="state">connecting …</span><button id="load">Make 200 requests</button></header>
<main></main>
<script>
  const SECONDS = 60;
  const charts = [
    { key: "cpu", title: "CPU of this process", unit: "%", least: 10, digits: 1 },
    { key: "requests", title: "Requests a second", unit: "/s", least: 10, digits: 0 },
    { key: "load", title: "Load average of the machine", unit: "", least: 1, digits: 2 },
    { key: "lag", title: "How late the event loop is", unit: "ms", least: 5, digits: 1 },
  ];
  let samples = [];

  for (const chart of charts) {
    chart.section = document.querySelector("main").appendChild(document.createElement("section"));
    chart.section.innerHTML = `<h2>${chart.title}</h2><output>–</output>
      <svg viewBox="0 0 ${SECONDS - 1} 100" preserveAspectRatio="none"><path class="area"/><path class="line"/></svg>
      <p><span>a minute ago</span><span></span></p>`;
  }

  function draw() {
    for (const { key, unit, least, digits, section } of charts) {
      const values = samples.map((sample) => sample[key]);
      const most = Math.max(least, ...values);
      const place = (value, index) => `${SECONDS - values.length + index},${98 - 96 * value / most}`;
      const line = "M" + values.map(place).join("L");
      section.querySelector("output").innerHTML = `${values.at(-1).toFixed(digits)}<small>${unit}</small>`;
      section.querySelector(".line").setAttribute("d", line);
      section.querySelector(".area").setAttribute("d", `${line}V100H${SECONDS - values.length}Z`);
      section.querySelector("p span:last-child").textContent = `top ${most.toFixed(digits)} ${unit}`;
    }
  }

  const state = document.getElementById("state");
  const source = new EventSource("/samples");
  source.onmessage = ({ data }) => {
    samples = [...samples, JSON.parse(data)].slice(-SECONDS);
    const { pages } = samples.at(-1);
    state.textContent = `live, ${pages} ${pages === 1 ? "page" : "pages"} open`;
    state.className = "live";
    requestAnimationFrame(draw);
  };
  source.addEventListener("gap", ({ data }) => { if (data === "epoch") samples = []; });
  source.onerror = () => {
    state.textContent = "connecting again …";
    state.className = "";
  };
  document.getElementById("load").onclick = () => {
    for (let number = 0; number < 200; number += 1) fetch("/");
  };
</script>
"""

if __name__ == "__main__":
    trio.run(serve, app)
