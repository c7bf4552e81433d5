"""OAuth 1: the examples of RFC 5849, and requests that oauthlib's server verifies."""

from __future__ import annotations

import base64
import hashlib
import re
import subprocess
import sys
from collections.abc import Callable
from typing import Any
from urllib.parse import unquote

import oauthlib.oauth1
import pytest

from triohttp import App, Client, Request, RequestOptions, Response
from triohttp._client.request import DEFAULT_HEADERS, Defaults, build_request
from triohttp.errors import AuthError
from triohttp.integrations.oauth import OAuth1
from triohttp.testing import open_in_process

PLAIN = Defaults(None, DEFAULT_HEADERS, None)
SECRET = "secret-never-shown"


async def sign(auth: OAuth1, method: str, url: str, **options: Any) -> dict[str, str]:
    """What the Authorization field of a request says."""
    request = build_request(PLAIN, method, url, RequestOptions(**options))
    before = (request.url, request.content, request.headers.copy())
    await auth.authorize(request, Client())
    field = request.headers.pop("Authorization")
    assert (request.url, request.content, request.headers) == before
    assert field.startswith("OAuth ")
    return {name: unquote(value) for name, value in re.findall(r'([a-z_]+)="([^"]*)"', field)}


def printer(nonce: str, timestamp: str, **options: Any) -> OAuth1:
    """The program of RFC 5849 §1.2."""
    return OAuth1(
        "dpf43f3p2l4k3l03",
        "kd94hf93k423kf44",
        realm="Photos",
        version=False,
        make_nonce=lambda: nonce,
        make_timestamp=lambda: timestamp,
        **options,
    )


async def test_asking_for_temporary_credentials() -> None:
    """The first request of RFC 5849 §1.2."""
    auth = printer("wIjqoS", "137131200", callback="http://printer.example.com/ready")
    said = await sign(auth, "POST", "https://photos.example.net/initiate")
    assert said["oauth_signature"] == "74KNZJeDHnMBp0EMJ9ZHt/XKycU="
    assert said["realm"] == "Photos"
    assert said["oauth_callback"] == "http://printer.example.com/ready"
    assert "oauth_token" not in said


async def test_asking_for_a_token() -> None:
    """The second request of RFC 5849 §1.2."""
    auth = printer(
        "walatlh",
        "137131201",
        token="hh5s93j4hdidpola",
        token_secret="hdhd0244k9j7ao03",
        verifier="hfdp7dh39dks9884",
    )
    said = await sign(auth, "POST", "https://photos.example.net/token")
    assert said["oauth_signature"] == "gKgrFCywp7rO0OXSjdot/IHF7IU="


async def test_asking_for_a_photo() -> None:
    """The third request of RFC 5849 §1.2."""
    auth = printer("chapoH", "137131202", token="nnch734d00sl2jdk", token_secret="pfkkdhi9sl3r4s00")
    said = await sign(auth, "GET", "http://photos.example.net/photos?file=vacation.jpg&size=original")
    assert said["oauth_signature"] == "MdpQcU8iPSUjWoN/UDMsK2sui9I="


@pytest.mark.parametrize(
    ("version", "signature"), [(False, "r6/TJjbCOr97/+UU0NsvSne7s5g="), (True, "OB33pYjWAnf+xtOHN4Gmbdil168=")]
)
async def test_query_and_form_are_signed_together(version: bool, signature: str) -> None:
    """The request of RFC 5849 §3.4.1; its signature was made of the base string there by ``openssl dgst -hmac``."""
    auth = OAuth1(
        "9djdj82h48djs9d2",
        "j49sk3j29djd",
        "kkk9d7dh3k39sjv7",
        "dh893hdasih9",
        version=version,
        make_nonce=lambda: "7d8f3e4a",
        make_timestamp=lambda: "137131201",
    )
    url = "http://EXAMPLE.COM:80/request?b5=%3D%253D&a3=a&c%40=&a2=r%20b"
    form = {"headers": {"Content-Type": "application/x-www-form-urlencoded"}, "content": b"c2&a3=2+q"}
    said = await sign(auth, "POST", url, **form)
    assert said["oauth_signature"] == signature
    assert said.get("oauth_version") == ("1.0" if version else None)


# -- what oauthlib's server says ---------------------------------------------------------------------------------------


class Validator(oauthlib.oauth1.RequestValidator):  # type: ignore[misc]  # oauthlib has no types
    """One program and one user."""

    enforce_ssl = False
    allowed_signature_methods = ("HMAC-SHA1", "HMAC-SHA256", "HMAC-SHA512", "PLAINTEXT")
    client_key_length = nonce_length = access_token_length = (1, 100)
    dummy_client = dummy_access_token = "dummy"

    def check_client_key(self, client_key: str) -> bool:
        return True

    check_access_token = check_nonce = check_client_key

    def validate_timestamp_and_nonce(self, *arguments: object, **more: object) -> bool:
        return True

    def validate_client_key(self, client_key: str, request: object) -> bool:
        return client_key == "id"

    def validate_access_token(self, client_key: str, token: str, request: object) -> bool:
        return token == "to/k en"

    def validate_realms(self, *arguments: object, **more: object) -> bool:
        return True

    def get_client_secret(self, client_key: str, request: object) -> str:
        return SECRET

    def get_access_token_secret(self, client_key: str, token: str, request: object) -> str:
        return "token&secret"


def make_app(judged: list[bool]) -> App:
    app = App()

    async def handle(request: Request) -> Response:
        endpoint = oauthlib.oauth1.ResourceEndpoint(Validator())
        url = f"{request.url.scheme}://{request.url.authority}{request.url.target}"
        headers = {"Authorization": request.headers.get("authorization", "")}
        body = None
        if request.headers.get("content-type") == "application/x-www-form-urlencoded":
            headers["Content-Type"] = "application/x-www-form-urlencoded"
            body = (await request.read()).decode()
        valid, _ = endpoint.validate_protected_resource_request(url, request.method, body, headers)
        judged.append(valid)
        return Response(b"", status=200 if valid else 401)

    app.add_route("/{rest:path}", handle, methods=["GET", "POST", "PUT", "DELETE"])
    return app


@pytest.mark.parametrize("method", ["HMAC-SHA1", "HMAC-SHA256", "HMAC-SHA512"])
@pytest.mark.parametrize(
    ("verb", "path", "options"),
    [
        ("GET", "/", {}),
        ("GET", "/a b/ü;p=1", {"params": {"q": "a b+c&d=e", "ü": "~'()*"}}),
        ("GET", "/?a&a=&=b&a=b&b=a", {}),
        ("DELETE", "/x?like=1", {}),
        ("POST", "/", {"form": {"a": "b c", "ü": "&=+%"}}),
        ("POST", "/?a=1", {"form": [("a", "1"), ("a", "0"), ("", "")]}),
        ("POST", "/", {"form": {}}),
        ("PUT", "/", {"json": {"a": "b"}}),
        ("POST", "/", {"content": b"\xff\x00"}),
    ],
)
async def test_oauthlibs_server_verifies(verb: str, path: str, options: dict[str, Any], method: Any) -> None:
    """Whatever is in the query and in a form, through a client and over the wire."""
    judged: list[bool] = []
    async with open_in_process(make_app(judged)) as site, site.client() as client:
        auth = OAuth1("id", SECRET, "to/k en", "token&secret", signature_method=method)
        response = await client.request(verb, path, auth=auth, **options)
        assert (response.status, judged) == (200, [True])
        wrong = OAuth1("id", "other", "to/k en", "token&secret", signature_method=method)
        assert (await client.request(verb, path, auth=wrong, **options)).status == 401


async def test_characters_that_a_form_would_encode() -> None:
    """A query that a browser sends bare is signed as if it were encoded, which is what a server decodes it to."""
    auth = OAuth1("id", SECRET, make_nonce=lambda: "n", make_timestamp=lambda: "1")
    bare = await sign(auth, "GET", "http://h.test/?a=[1]|{2}^`")
    encoded = await sign(auth, "GET", "http://h.test/?a=%5B1%5D%7C%7B2%7D%5E%60")
    assert bare["oauth_signature"] == encoded["oauth_signature"]


@pytest.mark.parametrize(
    ("method", "digest"), [("HMAC-SHA1", hashlib.sha1), ("HMAC-SHA256", hashlib.sha256)]
)
async def test_content_is_hashed_when_asked_for(method: Any, digest: Callable[[bytes], Any]) -> None:
    """Any content but a form, which is signed anyway."""
    auth = OAuth1("id", SECRET, signature_method=method, body_hash=True)
    content = b"\xff\x00any"
    said = await sign(auth, "POST", "http://h.test/", content=content)
    assert said["oauth_body_hash"] == base64.b64encode(digest(content).digest()).decode()
    assert "oauth_body_hash" not in await sign(auth, "POST", "http://h.test/", form={"a": "b"})
    plain = OAuth1("id", SECRET, signature_method=method)
    assert "oauth_body_hash" not in await sign(plain, "POST", "http://h.test/", json={"a": "b"})


@pytest.mark.parametrize("options", [{"body_hash": True}, {}])
async def test_content_that_cannot_be_signed(options: dict[str, Any]) -> None:
    """A stream that would have to be read first, and a form that is none."""
    auth = OAuth1("id", SECRET, **options)
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    with pytest.raises(AuthError, match="needs it as bytes"):
        await sign(auth, "POST", "http://h.test/", content=iter([b"a=b"]), headers=form)
    with pytest.raises(AuthError, match="no form") as caught:
        await sign(auth, "POST", "http://h.test/", content=b"a=%zz" + SECRET.encode(), headers=form)
    assert caught.value.reason == "content"
    assert SECRET not in str(caught.value)


async def test_plaintext_is_for_tls() -> None:
    """It is the secrets themselves."""
    auth = OAuth1("id", "a&b", "token", "c", signature_method="PLAINTEXT")
    assert (await sign(auth, "GET", "https://h.test/"))["oauth_signature"] == "a%26b&c"
    with pytest.raises(AuthError, match="without TLS"):
        await sign(auth, "GET", "http://h.test/")


@pytest.mark.parametrize(
    ("options", "kind"),
    [
        ({"signature_method": "HMAC-MD5"}, ValueError),
        ({"signature_method": "PLAINTEXT", "body_hash": True}, ValueError),
        ({"realm": "a\r\nX: y"}, ValueError),
        ({"client_secret": SECRET.encode()}, TypeError),
    ],
)
def test_what_makes_no_sense(options: dict[str, Any], kind: type[Exception]) -> None:
    """It is refused at once; no secret is shown."""
    with pytest.raises(kind) as caught:
        OAuth1(**{"client_id": "id", "client_secret": SECRET, **options})
    assert SECRET not in str(caught.value)


def test_secrets_stay_inside() -> None:
    """No text shows them."""
    assert SECRET not in f"{OAuth1('id', SECRET, 'token', SECRET)!r}"


async def test_each_request_has_a_nonce_of_its_own() -> None:
    """None is used twice."""
    auth = OAuth1("id", SECRET)
    nonces = {(await sign(auth, "GET", "http://h.test/"))["oauth_nonce"] for _ in range(5)}
    assert len(nonces) == 5


def test_oauthlib_is_asked_for_by_name() -> None:
    """Without it, whoever imports this learns what to install."""
    code = "import sys; sys.modules['oauthlib'] = None; import triohttp.integrations.oauth"
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert done.stderr.splitlines()[-1] == "ImportError: this needs oauthlib: pip install 'triohttp[oauth]'"
