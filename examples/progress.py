"""A long job whose page shows how far it is: ``python examples/progress.py``, then http://127.0.0.1:8080.

The job runs beside the requests, so a page may be closed and opened again, in several tabs at once. A page that is slow
does not hold the job up: it gets the newest state, not every one.
"""

from __future__ import annotations

import trio

from triohttp import App, Event, NotFound, Request, Response, serve

STEPS = 100
PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Progress</title>
<style>
  body { margin: 0; min-height: 100vh; display: grid; place-content: center; font-family: system-ui, sans-serif;
         background: #f4f5f7; color: #1d2733; }
  main { width: min(30rem, 85vw); padding: 2rem; border-radius: .75rem; background: #fff;
         box-shadow: 0 .5rem 2rem rgb(30 50 80 / .12); }
  h1 { margin: 0 0 1rem; font-size: 1.3rem; }
  progress { width: 100%; height: 1.25rem; accent-color: #2f6fde; }
  p { margin: .75rem 0 1.5rem; color: #5b6878; font-variant-numeric: tabular-nums; }
  button { padding: .6rem 1.2rem; border: 0; border-radius: .4rem; font: inherit; color: #fff; background: #2f6fde; }
</style>
<main>
  <h1>A job that takes a while</h1>
  <progress id="bar" max="100" value="0"></progress>
  <p id="text">nothing is running</p>
  <form method="post" action="/jobs"><button>Start a job</button></form>
</main>
<script>
  const bar = document.getElementById("bar"), text = document.getElementById("text");
  const job = location.pathname.match(/^.jobs.(\\d+)$/);
  if (job) {
    const events = new EventSource(location.pathname + "/progress");
    events.onmessage = (event) => { bar.value = event.data; text.textContent = `job ${job[1]}: ${event.data} %`; };
    events.addEventListener("done", (event) => {
      bar.value = 100; text.textContent = `job ${job[1]}: ${event.data}`; events.close();
    });
  }
</script>
</html>
"""

app = App()


class Job:
    """Something that takes its time."""

    def __init__(self) -> None:
        self.done = 0
        self.changed = trio.Event()

    async def run(self) -> None:
        for _ in range(STEPS):
            await trio.sleep(0.05)
            self.done += 1
            self.changed.set()
            self.changed = trio.Event()


jobs: list[Job] = []


@app.get("/")
@app.get("/jobs/{number:int}")
async def page(request: Request) -> Response:
    return Response.html(PAGE)


@app.post("/jobs")
async def start(request: Request) -> Response:
    job = Job()
    jobs.append(job)
    request.app.nursery.start_soon(job.run)
    return Response.redirect(f"/jobs/{len(jobs)}")


@app.get("/jobs/{number:int}/progress")
async def progress(request: Request) -> Response | None:
    number = request.path_params["number"]
    if not 1 <= number <= len(jobs):
        raise NotFound
    if request.last_event_id == "done":
        return Response(status=204)  # a client that has seen the end is told not to come again
    job = jobs[number - 1]
    async with request.events() as events:
        while job.done < STEPS:
            changed = job.changed
            await events.send(str(100 * job.done // STEPS))
            await changed.wait()
        await events.send(Event("done", type="done", id="done"))
    return None


if __name__ == "__main__":
    trio.run(serve, app)
