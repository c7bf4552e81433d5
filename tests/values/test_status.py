"""Status codes and their phrases."""

from __future__ import annotations

import http

import pytest

from triohttp._values.status import (
    check_status,
    content_allowed,
    is_client_error,
    is_informational,
    is_redirection,
    is_server_error,
    is_success,
    reason_phrase,
)


def test_every_code_that_python_knows_has_a_phrase():
    """The table misses no registered code, and each phrase can stand in a status line."""
    for status in http.HTTPStatus:
        assert reason_phrase(status.value) not in {"Unknown Status", "Client Error", "Server Error", "Successful"}
    for code in range(100, 600):
        phrase = reason_phrase(code)
        assert phrase.isascii()
        assert phrase.isprintable()


def test_unknown_codes_are_what_their_hundred_is():
    """A code without a phrase of its own has that of its class."""
    assert [reason_phrase(code) for code in (199, 299, 399, 499, 599, 999)] == [
        *("Informational", "Successful", "Redirection"),
        *("Client Error", "Server Error", "Unknown Status"),
    ]


@pytest.mark.parametrize("code", [99, 600, 1000, 0, -200, "200", b"200", True, 299.0, None, [200]])
def test_what_is_no_status(code):
    """Only whole numbers from 100 to 599 are status codes; the error shows what was given."""
    with pytest.raises(ValueError, match="from 100 to 599"):
        check_status(code)


def test_what_is_a_status():
    """The ends of the range are in it, and an enumeration's member becomes a plain number."""
    assert (check_status(100), check_status(599)) == (100, 599)
    assert type(check_status(http.HTTPStatus.OK)) is int


def test_content_allowed():
    """Interim responses, 204 and 304 have no content; everything else can."""
    assert [code for code in range(100, 600) if not content_allowed(code)] == [*range(100, 200), 204, 304]


def test_each_code_is_in_one_class():
    """The five classes share nothing and leave nothing out."""
    classes = (is_informational, is_success, is_redirection, is_client_error, is_server_error)
    for code in range(100, 600):
        assert [belongs(code) for belongs in classes].index(True) == code // 100 - 1
        assert sum(belongs(code) for belongs in classes) == 1
    assert not any(belongs(600) or belongs(99) for belongs in classes)
