"""Every example runs, and does what its docstring says."""

from __future__ import annotations

import importlib.util
import re
import signal
import ssl
import subprocess
import sys
from functools import partial
from pathlib import Path
from types import ModuleType

import pytest
import trio
import trustme

from triohttp import Client, open_server
from triohttp.testing import open_in_process

EXAMPLES = Path(__file__).parents[2] / "examples"
SECONDS = 60

pytestmark = pytest.mark.wall_seconds(2 * SECONDS)


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"examples_{name}", EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_example_is_tried() -> None:
    """Each is named in one of the files here."""
    tests = "".join(path.read_text(encoding="utf-8") for path in Path(__file__).parent.glob("test_*.py"))
    assert not [path.stem for path in EXAMPLES.glob("*.py") if not re.search(rf'"{path.stem}(\.py)?"', tests)]


async def test_hello_greets() -> None:
    """The smallest server answers with the name that it was asked for."""
    async with open_in_process(load("hello").app) as origin, Client(mounts={"http://hello.test": origin}) as client:
        assert (await client.get("http://hello.test/hello/world")).text == "Hello, world!\n"
        assert "/hello/world" in (await client.get("http://hello.test/")).text


async def test_the_client_tells_of_each_url(capsys: pytest.CaptureFixture[str]) -> None:
    """The client says what came back from each URL, and what went wrong with the one that nobody serves."""
    async with open_server(load("hello").app) as server:
        url = server.urls[0]
        await load("client").main(f"{url}/hello/you", f"{url}/missing", "http://127.0.0.1:1/")
    told = capsys.readouterr().out
    assert f"{url}/hello/you: 200, 12 bytes" in told
    assert f"{url}/missing: 404" in told
    assert told.count("\n") == 3


async def test_the_embedded_server_lives_as_long_as_the_program() -> None:
    """The page shows the program's state while it works; when the work is done, both end."""
    module = load("embedded")
    counter = module.Counter(end=50, seconds_each=0.01)
    async with trio.open_nursery() as nursery, Client() as client:
        url = await nursery.start(partial(module.main, counter, 0))
        first = (await client.get(url)).json()["counted"]
        while counter.value == first:
            await trio.sleep(0.01)
        assert (await client.get(url)).json()["counted"] > first
    assert counter.value == 50


async def test_streams_carry_what_was_sent() -> None:
    """What goes up and what comes down are the same bytes, whatever their size."""
    module = load("streaming")
    uploaded, downloaded = await module.main(mebibytes=20)
    assert uploaded == downloaded
    assert len(uploaded) == 64


async def test_tls_is_verified(tmp_path: Path) -> None:
    """The TLS example serves with the given certificate, and a client that knows its authority trusts it."""
    module = load("tls")
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1")
    certificate.private_key_and_cert_chain_pem.write_to_path(tmp_path / "both.pem")
    both = str(tmp_path / "both.pem")
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    async with (
        open_server(module.app, tls=module.server_context(both, both)) as server,
        Client(tls=ssl.create_default_context(cafile=str(tmp_path / "ca.pem"))) as client,
    ):
        assert (await client.get(server.urls[0])).text.startswith("Hello over TLS")


def test_the_tests_of_the_testing_example_pass() -> None:
    """The example of tests is run by pytest as its docstring says."""
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", "/dev/null", "-W", "error",
         "-o", "trio_mode=true", f"--rootdir={EXAMPLES}", str(EXAMPLES / "testing_an_app.py")],
        capture_output=True, text=True, check=False, timeout=SECONDS,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "4 passed" in done.stdout


def test_a_server_program_ends_on_ctrl_c() -> None:
    """``python examples/hello.py`` says where it serves, and Ctrl-C ends it with status 0 and no traceback."""
    program = "import trio, hello; from triohttp import serve; trio.run(serve, hello.app, '127.0.0.1', 0)"
    process = subprocess.Popen(
        [sys.executable, "-c", program], cwd=EXAMPLES, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    with process:
        assert process.stderr is not None
        first = process.stderr.readline()
        assert "http://127.0.0.1:" in first
        process.send_signal(signal.SIGINT)
        rest = process.communicate(timeout=SECONDS)[1]
    assert process.returncode == 0
    assert "Traceback" not in rest
