"""The pytest plugin as its users meet it: in a pytest of its own, with pytest-trio and without."""

from __future__ import annotations

import subprocess
import sys

import pytest

APP = """
    import pytest, trio
    from triohttp import App, Request, Response
    from triohttp.errors import HeadTimeout, InvalidURLError

    app = App()

    @app.get("/")
    async def index(request: Request) -> Response:
        return Response.text("hello")

    @app.get("/slow")
    async def slow(request: Request) -> Response:
        await trio.sleep(1000)
        return Response.text("at last")

    @app.get("/broken")
    async def broken(request: Request) -> Response:
        raise KeyError("the handler's own mistake")
"""


@pytest.fixture
def run(pytester: pytest.Pytester) -> pytest.Pytester:
    pytester.makepyprojecttoml('[tool.pytest.ini_options]\ntrio_mode = true\nfilterwarnings = ["error"]\n')
    return pytester


def run_quietly(pytester: pytest.Pytester, *arguments: str) -> pytest.RunResult:
    return pytester.runpytest_subprocess("-p", "no:cacheprovider", *arguments)


def test_servers_and_clients_work_with_the_other_fixtures(run: pytest.Pytester) -> None:
    """Both fixtures serve an app without sockets, with a nursery, and on a clock that jumps."""
    run.makepyfile(APP + """
    async def test_a_client_of_an_app(triohttp_client):
        client = await triohttp_client(app)
        assert (await client.get("/")).status == 200

    async def test_a_server_and_bytes(triohttp_server):
        server = await triohttp_server(app)
        async with await server.open_raw() as raw:
            await raw.send_all(b"GET / HTTP/1.1\\r\\nHost: app.test\\r\\n\\r\\n")
            assert (await raw.read_response()).content == b"hello"

    async def test_a_server_and_its_client(triohttp_server, triohttp_client):
        server = await triohttp_server(app)
        client = await triohttp_client(server, headers={"x-test": "1"})
        assert (await client.get(server.url + "/")).status == 200
        assert server.server.statistics().requests == 1

    async def test_a_virtual_clock_and_a_nursery(triohttp_client, nursery, autojump_clock):
        client = await triohttp_client(app)
        nursery.start_soon(client.get, "/")
        with pytest.raises(HeadTimeout):
            await client.get("/slow")
        assert trio.current_time() == pytest.approx(30)

    async def test_no_other_origin_is_reached(triohttp_client):
        client = await triohttp_client(app)
        with pytest.raises(InvalidURLError):
            await client.get("http://127.0.0.1:9/")

    async def test_two_apps_at_once(triohttp_client):
        one, other = await triohttp_client(app), await triohttp_client(App())
        assert ((await one.get("/")).status, (await other.get("/")).status) == (200, 404)

    async def test_a_500_when_it_is_wanted(triohttp_client):
        client = await triohttp_client(app, raise_handler_errors=False)
        assert (await client.get("/broken")).status == 500
    """)
    run_quietly(run).assert_outcomes(passed=7)


def test_a_mistake_in_a_handler_fails_the_test_with_its_traceback(run: pytest.Pytester) -> None:
    """The error that a client would only see as a 500 is the test's failure, handler frame and all."""
    run.makepyfile(APP + """
    async def test_broken(triohttp_client):
        client = await triohttp_client(app)
        await client.get("/broken")
        assert False, "never reached"
    """)
    result = run_quietly(run)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(['*raise KeyError("the handler\'s own mistake")*', "*KeyError: *own mistake*"])
    result.stdout.no_fnmatch_line("*never reached*AssertionError*")


def test_a_lifespan_that_fails_fails_the_call(run: pytest.Pytester) -> None:
    """An app that cannot start raises where it was opened."""
    run.makepyfile("""
    import pytest
    from contextlib import asynccontextmanager

    class Service:
        @asynccontextmanager
        async def lifespan(self, nursery):
            raise LookupError("no database")
            yield

        async def __call__(self, exchange):
            raise AssertionError

    async def test_start(triohttp_server):
        with pytest.raises(LookupError, match="no database"):
            await triohttp_server(Service())
    """)
    run_quietly(run).assert_outcomes(passed=1)


def test_without_pytest_trio_only_those_who_ask_for_it_fail(run: pytest.Pytester) -> None:
    """Where pytest-trio is missing, other tests run, and a test that uses a fixture is told why it cannot."""
    run.makepyprojecttoml("[tool.pytest.ini_options]\n")
    run.makepyfile("""
    def test_other():
        pass

    def test_asking(triohttp_client):
        pass
    """)
    run_quietly(run, "-p", "no:trio").assert_outcomes(passed=1, errors=1)


def test_loading_the_plugin_loads_no_test_tools() -> None:
    """A run that uses no fixture pays for no certificate, parser or clock of ours."""
    program = "import sys, triohttp.testing.plugin; print('trustme' in sys.modules, 'cryptography' in sys.modules)"
    output = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout
    assert output.split() == ["False", "False"]
