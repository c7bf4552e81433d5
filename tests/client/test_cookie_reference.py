"""The jar against a naive one that follows the algorithms of RFC 6265bis step by step, over all it has."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from triohttp._client.cookie_jar import CookieJar
from triohttp._values.url import URL

SUFFIXES = {"org", "com", "co.uk", "localhost"}
LIMIT = 400 * 24 * 3600


@dataclass
class Cookie:
    """The fields of §5.7, step 4."""

    name: str
    value: str
    domain: str
    host_only: bool
    path: str
    secure: bool
    created: int
    end: float


def domain_match(text: str, domain: str) -> bool:
    """§5.1.3."""
    return text == domain or (text.endswith("." + domain) and not text.replace(".", "").isdigit())


def path_match(request: str, path: str) -> bool:
    """§5.1.4."""
    if request == path:
        return True
    return request.startswith(path) and (path.endswith("/") or request[len(path)] == "/")


def default_path(path: str) -> str:
    """§5.1.4."""
    return "/" if path.count("/") == 1 else path[: path.rindex("/")]


class Naive:
    """A list of cookies."""

    def __init__(self) -> None:
        self.cookies: list[Cookie] = []
        self.count = 0

    def store(self, url: URL, said: dict, now: float) -> None:
        """§5.7."""
        self.cookies = [cookie for cookie in self.cookies if cookie.end > now]
        https = url.scheme == "https"
        domain = said["domain"]
        if domain in SUFFIXES:
            if domain != url.host:
                return
            domain = ""
        if domain and not domain_match(url.host, domain):
            return
        if said["secure"] and not https:
            return
        self.count += 1
        new = Cookie(
            said["name"],
            said["value"],
            domain or url.host,
            not domain or domain.replace(".", "").isdigit(),
            said["path"] or default_path(url.path),
            said["secure"],
            self.count,
            float("inf") if said["age"] is None else now + min(said["age"], LIMIT),
        )
        if not https:
            for old in self.cookies:
                near = domain_match(old.domain, new.domain) or domain_match(new.domain, old.domain)
                if old.secure and old.name == new.name and near and path_match(new.path, old.path):
                    return
        name = new.name.lower()
        if name.startswith("__secure-") and not new.secure:
            return
        if name.startswith("__host-") and not (new.secure and not said["domain"] and said["path"] == "/"):
            return
        for old in self.cookies:
            if (old.name, old.domain, old.host_only, old.path) == (new.name, new.domain, new.host_only, new.path):
                new.created = old.created
                self.cookies.remove(old)
                break
        self.cookies.append(new)

    def field(self, url: URL, now: float) -> str | None:
        """§5.8.3."""
        found = [
            cookie
            for cookie in self.cookies
            if cookie.end > now
            and (url.host == cookie.domain if cookie.host_only else domain_match(url.host, cookie.domain))
            and path_match(url.path, cookie.path)
            and (url.scheme == "https" or not cookie.secure)
        ]
        found.sort(key=lambda cookie: (-len(cookie.path), cookie.created))
        return "; ".join(f"{cookie.name}={cookie.value}" for cookie in found) or None


HOSTS = [
    "a.example.org", "b.a.example.org", "example.org", "shop.co.uk", "co.uk", "10.0.0.1", "localhost", "x.localhost",
]  # fmt: skip
PATHS = ["/", "/a", "/a/", "/a/b", "/a/b/c", "/ab"]
URLS = st.builds(
    lambda scheme, host, path: URL(f"{scheme}://{host}{path}"),
    st.sampled_from(["http", "https"]),
    st.sampled_from(HOSTS),
    st.sampled_from(PATHS),
)
SAID = st.fixed_dictionaries(
    {
        "name": st.sampled_from(["a", "b", "__Host-a", "__secure-b"]),
        "value": st.sampled_from(["1", "2", "3"]),
        "domain": st.sampled_from(["", "", *HOSTS, "org", "0.0.1", "evil.com"]),
        "path": st.sampled_from(["", "", *PATHS]),
        "secure": st.booleans(),
        "age": st.sampled_from([None, None, 0, -1, 5, 10, LIMIT + 10]),
    }
)


def line(said: dict) -> str:
    parts = [f"{said['name']}={said['value']}"]
    parts += [f"Domain={said['domain']}"] if said["domain"] else []
    parts += [f"Path={said['path']}"] if said["path"] else []
    parts += ["Secure"] if said["secure"] else []
    parts += [f"Max-Age={said['age']}"] if said["age"] is not None else []
    return "; ".join(parts)


@given(st.lists(st.tuples(URLS, SAID, st.sampled_from([0, 1, 5])), max_size=20), st.lists(URLS, min_size=1, max_size=8))
def test_the_jar_agrees_with_a_naive_one(answers, requests):
    """After any answers each request carries the same field, whatever the index of the jar looks like."""
    now = 1000.0
    jar = CookieJar(public_suffix=lambda domain: domain in SUFFIXES)
    naive = Naive()
    for url, said, pause in answers:
        now += pause
        jar.store(url, [line(said)], now)
        naive.store(url, said, now)
    for url in requests:
        assert jar.field_for(url, now) == naive.field(url, now)
