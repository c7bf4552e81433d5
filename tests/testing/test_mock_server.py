"""A mock answers in the place of all servers, and tells what a program asked for."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import trio

from triohttp import URL, Client, ClientAnswer, ClientRequest, ClientResponse, ClientTimeouts, Send
from triohttp.errors import BodyTooLargeError, ConnectError, HeadTimeout, RedirectError, TotalTimeout
from triohttp.testing import MockAnswer, MockError, MockServer

API = "https://api.test"


def client_of(mock: MockServer, **options: Any) -> Client:
    return Client(API, hop_middleware=[mock], **options)


@pytest.mark.parametrize(
    ("answer", "status", "media_type", "content"),
    [
        (MockAnswer(), 200, None, b""),
        (MockAnswer(404), 404, None, b""),
        (MockAnswer(content=b"\x00\x01"), 200, None, b"\x00\x01"),
        (MockAnswer(content="grün"), 200, "text/plain; charset=utf-8", "grün".encode()),
        (MockAnswer(json={"a": None}), 200, "application/json", b'{"a":null}'),
        (MockAnswer(json=None), 200, "application/json", b"null"),
        (MockAnswer(201, {"Content-Type": "x/y", "X-A": "1"}, "z"), 201, "x/y", b"z"),
    ],
    ids=repr,
)
async def test_a_fixed_answer(answer: MockAnswer, status: int, media_type: str | None, content: bytes) -> None:
    """It has the status, the fields and the content that were given, whole and as a stream, however often."""
    with MockServer() as mock:
        mock.add("GET", f"{API}/a", answer)
        async with client_of(mock) as client:
            for _ in range(2):
                response = await client.get("/a")
                assert (response.status, response.headers.get("content-type"), response.content) == (
                    status, media_type, content,
                )  # fmt: skip
                assert response.headers["content-length"] == str(len(content))
            async with client.stream("GET", "/a") as stream:
                assert (stream.status, await stream.read()) == (status, content)
            assert client.pool.statistics().opened == 0
    assert len(mock.calls) == 3


async def test_nothing_is_registered_without_a_say() -> None:
    """Without an answer it is a plain 200; HEAD and 204 have no content, HEAD the length that there would be."""
    with MockServer(API) as mock:
        mock.add("GET", "/plain")
        mock.add("HEAD", "/text", MockAnswer(content="text"))
        mock.add("DELETE", "/", MockAnswer(204))
        async with client_of(mock) as client:
            assert (await client.get("/plain")).status == 200
            head = await client.head("/text")
            assert (head.content, head.headers["content-length"]) == (b"", "4")
            assert "content-length" not in (await client.delete("/")).headers


@pytest.mark.parametrize(
    ("pattern", "url", "matches"),
    [
        ("/a", "/a", True),
        ("/a", "/a#part", True),
        ("/a", "/a?b=1", False),
        ("/a", "/ab", False),
        ("/a", "http://api.test/a", False),
        ("/a?b=1", "/a?b=1", True),
        ("/a?b=1", "/a", False),
        ("/a/*", "/a/", True),
        ("/a/*", "/a/b?c=1", True),
        ("/a/*", "/a", False),
        ("/a?*", "/a?b=1", True),
        ("/a?*", "/a", False),
        (URL(f"{API}/*"), "/*", True),
        (URL(f"{API}/*"), "/a", False),
        (lambda request: request.url.path.endswith(".js"), "/a.js", True),
        (lambda request: request.url.path.endswith(".js"), "/a.css", False),
    ],
)
async def test_patterns(pattern: Any, url: str, matches: bool) -> None:
    """A URL is compared whole, one with a star by how it begins, and a function is asked."""
    mock = MockServer(API)
    mock.add("GET", pattern)
    async with Client(hop_middleware=[mock]) as client:
        with nullcontext() if matches else pytest.raises(MockError):
            assert (await client.get(str(URL(API).join(url)))).status == 200


async def test_query_fields_are_given_as_to_a_client() -> None:
    """``params`` say the same to both, and a call tells them apart from its URL."""
    with MockServer(API) as mock:
        mock.add("GET", "/items", MockAnswer(content="second"), params={"page": 2, "size": "a b"})
        async with client_of(mock) as client:
            assert (await client.get("/items", params={"page": 2, "size": "a b"})).text == "second"
    assert mock.calls[0].params["size"] == "a b"


async def test_the_first_registration_that_matches_counts() -> None:
    """The special one stands before the general one; methods are told apart, none means any."""
    with MockServer(API) as mock:
        one = mock.add("get", "/a/1", MockAnswer(content="one"))
        rest = mock.add(None, "/a/*", MockAnswer(content="rest"))
        async with client_of(mock) as client:
            texts = [(await client.request(method, path)).text for method, path in [
                ("GET", "/a/1"), ("PUT", "/a/1"), ("GET", "/a/2"),
            ]]  # fmt: skip
    assert texts == ["one", "rest", "rest"]
    assert [len(one.calls), len(rest.calls)] == [1, 2]
    assert [str(call.request) for call in rest.calls] == [f"PUT URL('{API}/a/1')", f"GET URL('{API}/a/2')"]


@pytest.mark.parametrize(
    ("first", "second"),
    [(("GET", "/a"), ("GET", "/a")), ((None, "/a"), ("GET", "/a")), (("GET", "/*"), ("GET", "/a")),
     (("GET", "/*"), ("GET", "/a*"))],
)  # fmt: skip
def test_what_would_never_be_asked_is_refused(first: Any, second: Any) -> None:
    """A registration behind one that has all its requests is a mistake."""
    mock = MockServer(API)
    mock.add(*first)
    with pytest.raises(ValueError, match="would never be asked after"):
        mock.add(*second)


async def test_answers_one_after_the_other() -> None:
    """Each has its turn, be it an error; the last one goes on."""
    with MockServer(API, all_used=True) as mock:
        mock.add("GET", "/", ConnectError("no route"), MockAnswer(503), MockAnswer(content="there"))
        async with client_of(mock) as client:
            with pytest.raises(ConnectError, match="no route"):
                await client.get("/")
            assert [(await client.get("/")).status for _ in range(3)] == [503, 200, 200]


def respond(request: ClientRequest) -> ClientResponse:
    return ClientResponse(request, 418, {"X-Path": request.url.path})


def answer_json(request: ClientRequest) -> MockAnswer:
    assert isinstance(request.content, bytes)
    return MockAnswer(json=[request.method, request.content.decode()])


async def answer_later(request: ClientRequest) -> MockAnswer:
    await trio.sleep(1)
    return answer_json(request)


@pytest.mark.parametrize("function", [answer_json, answer_later])
async def test_a_function_answers(function: Callable[[ClientRequest], Any], autojump_clock: object) -> None:
    """It may wait, and sees the content whole even when it is streamed."""
    with MockServer(API) as mock:
        mock.add("POST", "/", function)
        async with client_of(mock) as client:
            assert (await client.post("/", content=b"abc")).json() == ["POST", "abc"]
            assert (await client.post("/", content=[b"ab", b"c"])).json() == ["POST", "abc"]
    assert [call.content for call in mock.calls] == [b"abc", b"abc"]


async def test_a_function_may_make_the_response_itself() -> None:
    """What it returns is the answer, to the request that was made."""
    with MockServer(API) as mock:
        mock.add(None, "/*", respond)
        async with client_of(mock) as client:
            response = await client.patch("/x", json={"a": 1})
    assert (response.status, response.headers["x-path"], response.request.method) == (418, "/x", "PATCH")
    assert mock.calls[0].json() == {"a": 1}
    assert mock.calls[0].headers["content-type"] == "application/json"


async def test_a_function_that_answers_nothing_is_told_so() -> None:
    """Its mistake is no silent answer."""
    mock = MockServer(API)
    mock.add("GET", "/", lambda request: None)  # type: ignore[arg-type,return-value]  # that is the mistake
    async with client_of(mock) as client:
        with pytest.raises(TypeError, match="must answer with a MockAnswer"):
            await client.get("/")


async def test_delays_take_the_time_of_a_server(autojump_clock: object) -> None:
    """A delay passes on the virtual clock; the timeouts of the client hold for it as they would for a server."""
    with MockServer(API) as mock:
        mock.add("GET", "/", MockAnswer(content="late", delay_seconds=20))
        async with client_of(mock) as client:
            response = await client.get("/")
            assert (response.text, response.elapsed, trio.current_time()) == ("late", 20, 20)
            with pytest.raises(HeadTimeout, match="no response head came in 5 s") as caught:
                await client.get("/", timeouts=ClientTimeouts(head_seconds=5))
            assert (caught.value.phase, caught.value.sent, trio.current_time()) == ("head", True, 25)
            with pytest.raises(TotalTimeout):
                await client.get("/", timeouts=ClientTimeouts(total_seconds=3))
            with trio.move_on_after(2) as scope:
                await client.get("/")
            assert (scope.cancelled_caught, trio.current_time()) == (True, 30)


def is_fine(request: ClientRequest) -> bool:
    return True


async def test_what_nobody_registered_is_an_error_twice() -> None:
    """The call fails, naming the request and all that there is; so does the block, should the program hide it."""
    with pytest.raises(MockError, match="nothing was registered for GET URL") as at_the_end:
        with MockServer(API) as mock:
            mock.add("POST", "/items")
            mock.add("PUT", is_fine)
            mock.add("GET", "/other/*")
            async with client_of(mock) as client:
                with pytest.raises(MockError) as caught:
                    await client.get("/items", params={"page": 3})
    assert str(caught.value) == (
        f"nothing was registered for GET URL('{API}/items?page=3'); registered are:\n"
        f"  POST URL('{API}/items')\n  PUT is_fine\n  GET '{API}/other/*'"
    )
    assert "registered are" in str(at_the_end.value)
    assert (len(mock.calls), len(mock.unexpected)) == (0, 1)


async def test_an_empty_mock_says_so() -> None:
    """Nothing at all is registered: that is what the message says."""
    mock = MockServer()
    async with client_of(mock) as client:
        with pytest.raises(MockError, match="nothing is registered at all"):
            await client.get("/")


def test_answers_that_were_not_given_are_an_error_when_asked() -> None:
    """``all_used`` names what was not asked for; without it nothing is said."""
    with MockServer(API) as lenient:
        lenient.add("GET", "/")
    with pytest.raises(MockError, match=r"2 of the answers for GET URL\('https://api.test/'\) were not used"):
        with MockServer(API, all_used=True) as mock:
            mock.add("GET", "/", MockAnswer(500), MockAnswer())


def test_a_block_that_failed_keeps_its_error() -> None:
    """What the test found out is not hidden by what the mock has to say."""
    with pytest.raises(KeyError), MockServer(API, all_used=True) as mock:
        mock.add("GET", "/")
        raise KeyError


async def test_redirects_and_credentials_go_on_above_it() -> None:
    """A mock takes the place of the wire alone: a redirect is followed, and no secret goes along."""
    with MockServer() as mock:
        mock.add("POST", f"{API}/old", MockAnswer(307, {"Location": "/new"}))
        mock.add("POST", f"{API}/new", MockAnswer(303, {"Location": "https://other.test/"}))
        mock.add("GET", "https://other.test/", MockAnswer(content="there"))
        async with client_of(mock, auth=("me", "secret")) as client:
            response = await client.post("/old", content=b"abc")
            assert (response.text, [one.status for one in response.history]) == ("there", [307, 303])
    assert [("authorization" in call.headers, call.content) for call in mock.calls] == [
        (True, b"abc"), (True, b"abc"), (False, b""),
    ]  # fmt: skip


async def test_middleware_goes_on_above_it() -> None:
    """What a program puts around its requests is tested with the rest of it."""

    async def again(request: ClientRequest, send: Send) -> ClientAnswer:
        answer = await send(request)
        return await send(request) if answer.status == 503 else answer

    with MockServer(API) as mock:
        mock.add("GET", "/", MockAnswer(503), MockAnswer(content="there"))
        async with client_of(mock, middleware=[again]) as client:
            assert (await client.get("/")).text == "there"
    assert len(mock.calls) == 2


async def test_event_streams_are_answers_too() -> None:
    """Events come from a mock, one connection an answer."""
    with MockServer(API) as mock:
        fields = {"Content-Type": "text/event-stream"}
        mock.add("GET", "/", MockAnswer(200, fields, "data: a\n\ndata: b\n\n"))
        async with client_of(mock) as client, client.events("/", reconnect=False) as events:
            assert [(await anext(events)).data for _ in range(2)] == ["a", "b"]


async def test_streamed_content_is_closed_and_counted() -> None:
    """The iterable is read to its end and closed, and progress is told as it goes."""
    closed: list[bool] = []

    async def pieces() -> AsyncIterator[bytes]:
        try:
            yield b"abc"
            yield b"de"
        finally:
            closed.append(True)

    progress: list[tuple[int, int | None]] = []
    with MockServer(API) as mock:
        mock.add("POST", "/")
        async with client_of(mock) as client:
            await client.post("/", content=pieces(), on_upload=lambda done, total: progress.append((done, total)))
            await client.post("/", content=b"whole", on_upload=lambda done, total: progress.append((done, total)))
    assert (mock.calls[0].content, closed) == (b"abcde", [True])
    assert progress == [(0, None), (3, None), (5, None), (5, 5), (5, 5)]


async def test_content_that_goes_out_again(tmp_path: Path) -> None:
    """A file is read anew for each request that it is a part of; what can be read once only is an error, as ever."""
    path = tmp_path / "upload"
    path.write_bytes(b"abc")
    with MockServer(API) as mock:
        mock.add("PUT", "/old", MockAnswer(308, {"Location": "/new"}))
        mock.add("PUT", "/new", MockAnswer(201))
        async with client_of(mock) as client:
            assert (await client.put("/old", content=path)).status == 201
            with pytest.raises(RedirectError, match="read only once"):
                await client.put("/old", content=iter([b"abc"]))
    assert [call.content for call in mock.calls] == [b"abc"] * 3


async def test_streamed_content_is_bounded() -> None:
    """A mock keeps no more than it was told; what does not end is an error."""

    def endless() -> Any:
        while True:
            yield b"x" * 1000

    mock = MockServer(API, max_content_bytes=10_000)
    mock.add("POST", "/")
    async with client_of(mock) as client:
        with pytest.raises(BodyTooLargeError, match="passes max_content_bytes=10000") as caught:
            await client.post("/", content=endless())
    assert (caught.value.limit, caught.value.bound) == ("max_content_bytes", 10_000)


@pytest.mark.parametrize("make", [
    lambda: MockAnswer(100), lambda: MockAnswer(600), lambda: MockAnswer(True), lambda: MockAnswer(204, content="x"),
    lambda: MockAnswer(json=float("nan")), lambda: MockServer(max_content_bytes=-1),
    lambda: MockServer(API).add("GET", "/*/x"), lambda: MockServer().add("GET", "/x"),
])  # fmt: skip
def test_values_that_make_no_sense(make: Callable[[], object]) -> None:
    """What cannot be an answer, or a place, is refused when it is given."""
    with pytest.raises(ValueError):
        make()


@pytest.mark.parametrize("make", [
    lambda: MockAnswer(content="x", json=1), lambda: MockServer(API).add("GET", "/", 200),  # type: ignore[arg-type]
    lambda: MockServer(API).add("GET", "/", ConnectError),  # type: ignore[arg-type]
    lambda: MockServer(API).add("GET", "/*", params={"a": 1}),
])  # fmt: skip
def test_things_that_are_no_answers(make: Callable[[], object]) -> None:
    """What is of no kind that answers is refused when it is given."""
    with pytest.raises(TypeError):
        make()


def test_the_fixture_checks_at_the_end(pytester: pytest.Pytester) -> None:
    """``triohttp_mock`` gives a mock, and fails a test that asked for more than it was given."""
    pytester.makepyprojecttoml('[tool.pytest.ini_options]\ntrio_mode = true\nfilterwarnings = ["error"]\n')
    pytester.makepyfile("""
    from triohttp import Client
    from triohttp.testing import MockAnswer

    async def test_good(triohttp_mock):
        triohttp_mock.add("GET", "https://api.test/", MockAnswer(json=[1]))
        async with Client(hop_middleware=[triohttp_mock]) as client:
            assert (await client.get("https://api.test/")).json() == [1]

    async def test_hidden(triohttp_mock):
        async with Client(hop_middleware=[triohttp_mock]) as client:
            try:
                await client.get("https://api.test/")
            except Exception:
                pass
    """)
    result = pytester.runpytest_subprocess("-p", "no:cacheprovider")
    result.assert_outcomes(passed=2, errors=1)
    result.stdout.fnmatch_lines(["*MockError: nothing was registered for GET*"])
