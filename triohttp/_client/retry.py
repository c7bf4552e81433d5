"""Sending a request again after a failure that may pass: a middleware.

    client = Client(middleware=[retry(attempts=3)])

Rule 1: a request is sent again only when the server has not acted on it, or acting twice means acting once: nothing of
        it went out, its method is idempotent (RFC 9110 §9.2.2), or the program says so; and only with all its content.
Rule 2: nobody waits for what comes too late: an attempt that would begin after a deadline around the call is not made.
Rule 3: while it waits it holds nothing: the answer that is thrown away has given its connection back.
Rule 4: whoever overloads a server does not do it together: waits are drawn at random, and grow.
"""

from __future__ import annotations

import logging
import random
import ssl
import time
import uuid
from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

import trio

from triohttp._values.dates import parse_http_date, parse_retry_after
from triohttp._values.headers import Headers
from triohttp.errors import ClientClosedError, ProxyError, TLSError, TotalTimeout, TransportError, check_count, clip

from .body import StreamedContent
from .call import IDEMPOTENT
from .chain import ClientMiddleware, Send
from .request import ClientRequest
from .response import ClientAnswer
from .stream import ClientResponseStream

__all__ = ["is_repeatable", "may_pass", "retry"]

LOGGER = logging.getLogger("triohttp.client")

STATUSES: Final = frozenset({429, 502, 503, 504})
"""What servers and gateways answer when they have not done the work."""
MOST_DOUBLINGS = 60


def retry(
    attempts: int = 3,
    *,
    statuses: Collection[int] = STATUSES,
    methods: Collection[str] | None = IDEMPOTENT,
    backoff_seconds: float = 0.5,
    max_backoff_seconds: float = 30.0,
    max_retry_after_seconds: float = 60.0,
    idempotency_key: bool = False,
) -> ClientMiddleware:
    """Return a middleware that sends a request again when it failed in a way that may pass.

    That is a ``TransportError``, unless it is certain to come again (the client was closed, the time for the whole call
    is over, the server's certificate is not trusted, a proxy refuses), and an answer with one of ``statuses``. Requests
    of which nothing was sent are repeated whatever their method; others when it is one of ``methods``, or when they
    have an ``Idempotency-Key``. Content that can be read only once, and has been, is not sent again.

    The wait before attempt n is drawn from 0 up to ``backoff_seconds`` · 2ⁿ⁻², a Retry-After comes on top. When the
    wait would outlast a deadline around the call, that of ``total_seconds`` or any of the caller's, there is no other
    attempt: the last answer is returned, or the last error raised, at once.

    Args:
        attempts: how often a request is sent at most, the first time included.
        statuses: answers that are reason to send again; those to the last attempt are returned.
        methods: those that may be sent twice; None for all.
        backoff_seconds: the longest wait before the second attempt; 0 to wait only where a server asks for it.
        max_backoff_seconds: where doubling it ends.
        max_retry_after_seconds: the longest Retry-After that is waited for; an answer that asks for more is returned.
        idempotency_key: give requests of other methods an ``Idempotency-Key``, the same for all attempts; for servers
            that know it.
    Cancellation: of a wait: nothing is held.
    Raises:
        TypeError, ValueError: an option makes no sense.
    Source: RFC 9110 §9.2.2, §10.2.3; draft-ietf-httpapi-idempotency-key-header.
    """
    check_count("attempts", attempts, 1)
    codes: Collection[object] = statuses  # whatever the annotation says
    for code in codes:
        if isinstance(code, bool) or not isinstance(code, int) or not 200 <= code <= 599:
            raise ValueError(f"statuses must be status codes from 200 to 599, not {clip(code)}")
    if isinstance(methods, str):
        raise TypeError(f"methods must be a collection of methods, not one text: {clip(methods)}")
    for name, seconds in (
        ("backoff_seconds", backoff_seconds),
        ("max_backoff_seconds", max_backoff_seconds),
        ("max_retry_after_seconds", max_retry_after_seconds),
    ):
        if not seconds >= 0:
            raise ValueError(f"{name} must be at least 0, not {clip(seconds)}")
    return _Retry(
        attempts,
        frozenset(statuses),
        None if methods is None else frozenset(method.upper() for method in methods),
        backoff_seconds,
        max_backoff_seconds,
        max_retry_after_seconds,
        idempotency_key,
    )


def is_repeatable(request: ClientRequest, methods: Collection[str] | None = IDEMPOTENT) -> bool:
    """Tell whether acting on a request twice is as good as once: its method says so, or it has an Idempotency-Key."""
    return methods is None or request.method.upper() in methods or "idempotency-key" in request.headers


def may_pass(exc: TransportError, statuses: Collection[int] = STATUSES) -> bool:
    """Tell whether an error may be another one, or none, the next time."""
    if isinstance(exc, (ClientClosedError, TotalTimeout)):
        return False
    if isinstance(exc, ProxyError) and exc.code is not None:
        return exc.code in statuses
    if isinstance(exc, TLSError):
        cause: BaseException | None = exc
        while cause is not None:
            if isinstance(cause, ssl.SSLCertVerificationError):
                return False
            cause = cause.__cause__
    return True


@dataclass(frozen=True, slots=True)
class _Retry:
    """The middleware, with the options of ``retry``."""

    attempts: int
    statuses: frozenset[int]
    methods: frozenset[str] | None
    backoff_seconds: float
    max_backoff_seconds: float
    max_retry_after_seconds: float
    idempotency_key: bool

    async def __call__(self, request: ClientRequest, send: Send) -> ClientAnswer:
        repeatable = is_repeatable(request, self.methods)
        if self.idempotency_key and not repeatable:
            request = request.copy()
            request.headers["Idempotency-Key"] = f'"{uuid.uuid4()}"'
            repeatable = True
        attempt = 0
        sent = False  # in an earlier attempt
        while True:
            attempt += 1
            seconds = self._back_off(attempt)
            try:
                answer = await send(request)
            except TransportError as exc:
                if sent:
                    exc.sent, exc.safe_to_retry = True, False
                sent = exc.sent
                refusal = (
                    self._refusal(request, attempt, repeatable or _is_safe(exc, request))
                    or ("" if may_pass(exc, self.statuses) else "the next would fail in the same way")
                    or await _too_late(seconds)
                )
                if refusal:
                    exc.add_note(f"attempt {attempt} of {self.attempts} was the last: {refusal}")
                    raise
                why = str(exc)
            else:
                answer.attempts = attempt
                if answer.status not in self.statuses:
                    return answer
                sent = True
                why = f"{answer.status} {answer.reason}"
                asked = _retry_after(answer.headers)
                seconds += asked
                refusal = (
                    self._refusal(request, attempt, repeatable)
                    or (f"the server asks to wait for {asked:g} s" if asked > self.max_retry_after_seconds else "")
                    or await _too_late(seconds)
                )
                if refusal:
                    LOGGER.info("%s: %s; attempt %d was the last: %s", request, why, attempt, refusal)
                    return answer
                if isinstance(answer, ClientResponseStream):
                    await answer.discard()
                del answer  # or its content would be kept for as long as the wait is
            LOGGER.info("%s: %s; attempt %d follows in %.1f s", request, why, attempt + 1, seconds)
            await trio.sleep(seconds)

    def _refusal(self, request: ClientRequest, attempt: int, repeatable: bool) -> str:
        """Return why a request is not sent again, whatever time there is; an empty text if it is."""
        if attempt >= self.attempts:
            return "there are no more"
        if not repeatable:
            return f"{request.method} may not be sent twice"
        content = request.content
        if isinstance(content, StreamedContent) and content.started and not content.replayable:
            return "the content can be read only once, and has been"
        return ""

    def _back_off(self, attempt: int) -> float:
        """Return how long to wait after an attempt: anything up to a bound that grows (full jitter)."""
        bound = self.backoff_seconds * 2.0 ** min(attempt - 1, MOST_DOUBLINGS)
        return random.uniform(0.0, min(bound, self.max_backoff_seconds))


def _is_safe(exc: TransportError, request: ClientRequest) -> bool:
    """Tell whether an error says that nothing of the request went out.

    One that the source of streamed content raised may be about another exchange, and say nothing about this one.
    """
    content = request.content
    return exc.safe_to_retry and not (isinstance(content, StreamedContent) and content.started)


async def _too_late(seconds: float) -> str:
    """Return what there is to say when a wait would outlast a deadline around it, else an empty text.

    Raises:
        Cancelled: it is past already.
    """
    await trio.lowlevel.checkpoint_if_cancelled()
    left = trio.current_effective_deadline() - trio.current_time()
    return "" if seconds < left else f"the next would begin in {seconds:.1f} s, the deadline is in {left:.1f} s"


def _retry_after(headers: Headers) -> float:
    """Return the seconds that an answer asks to wait, 0 when it does not.

    A date counts from that of the answer, where it has one: then no clock has to be right.
    """
    sent_at = parse_http_date(headers.get("date", ""))
    return parse_retry_after(headers.get("retry-after", ""), time.time() if sent_at is None else sent_at) or 0.0
