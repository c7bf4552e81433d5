"""Dates, written in one form and read in three, or as browsers read those of cookies."""

from __future__ import annotations

import email.utils
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from werkzeug.http import http_date, parse_date

from triohttp._values.dates import format_http_date, parse_cookie_date, parse_http_date, parse_retry_after

MOMENT = 784111777.0  # the example of RFC 9110 §5.6.7


def test_the_three_forms():
    """The example of the standard is the same moment in all its forms."""
    assert format_http_date(MOMENT) == "Sun, 06 Nov 1994 08:49:37 GMT"
    assert parse_http_date("Sun, 06 Nov 1994 08:49:37 GMT") == MOMENT
    assert parse_http_date("Sunday, 06-Nov-94 08:49:37 GMT") == MOMENT
    assert parse_http_date("Sun Nov  6 08:49:37 1994") == MOMENT


@given(st.integers(-62135596800, 253402300799))
def test_every_second_of_four_digit_years(second):
    """What is written is what others write, and reads back here and there."""
    text = format_http_date(second)
    assert parse_http_date(text) == second
    assert http_date(second) == text
    if second >= -59011459200:  # the year 100: others take a smaller one for two digits, and so do cookies
        assert parse_date(text).timestamp() == second
        assert parse_cookie_date(text) == (second if second >= -11644473600 else None)


def test_fractions_are_cut_off():
    """A moment within a second has the second's date, before 1970 too."""
    assert format_http_date(0.999) == "Thu, 01 Jan 1970 00:00:00 GMT"
    assert format_http_date(-0.001) == "Wed, 31 Dec 1969 23:59:59 GMT"


@pytest.mark.parametrize("seconds", [math.inf, -math.inf, math.nan, 253402300800, -62135596801, 1e300])
def test_what_cannot_be_written(seconds):
    """A moment without a four-digit year is a ValueError that shows it."""
    with pytest.raises(ValueError, match="years 1 to 9999"):
        format_http_date(seconds)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "0",
        "784111777",
        "Sun, 06 Nov 1994 08:49:37",
        "Sun, 06 Nov 1994 08:49:37 UTC",
        "Sun, 06 Nov 1994 08:49:37 +0000",
        "Sun, 6 Nov 1994 08:49:37 GMT",
        "sun, 06 nov 1994 08:49:37 gmt",
        "Sun, 31 Feb 1994 08:49:37 GMT",
        "Sun, 00 Nov 1994 08:49:37 GMT",
        "Sun, 06 Nov 0000 08:49:37 GMT",
        "Sun, 06 Nov 1994 24:00:00 GMT",
        "Sun, 06 Nov 1994 08:60:00 GMT",
        "Sun, 06 Nov 1994 08:49:61 GMT",
        "Sun, 06 Nov 1994 08:49:37 GMT\n",
        "Sun, ٠٦ Nov 1994 08:49:37 GMT",
        "Sun Nov   08:49:37 1994",
    ],
)
def test_what_is_no_date(text):
    """Anything else is None, so that the field is ignored."""
    assert parse_http_date(text) is None


def test_leap_seconds_and_short_years():
    """A leap second is the next one; two digits mean 1970 to 2069."""
    assert parse_http_date("Sat, 31 Dec 2016 23:59:60 GMT") == parse_http_date("Sun, 01 Jan 2017 00:00:00 GMT")
    assert format_http_date(parse_http_date("Thursday, 01-Jan-70 00:00:00 GMT")) == "Thu, 01 Jan 1970 00:00:00 GMT"
    assert format_http_date(parse_http_date("Tuesday, 01-Jan-69 00:00:00 GMT")) == "Tue, 01 Jan 2069 00:00:00 GMT"


@pytest.mark.parametrize(
    "text",
    [
        "Sun, 06 Nov 1994 08:49:37 GMT",
        "Sun, 06-Nov-94 08:49:37 GMT",
        "06 nov 1994 8:49:37",
        "1994 November 6 08:49:37 +0500",
        "08:49:37 6-NOV-1994 whatever",
        "Nov/06/94;08:49:37z",
    ],
)
def test_dates_of_cookies(text):
    """Parts in any order, with any delimiters, as browsers find them."""
    assert parse_cookie_date(text) == MOMENT


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "06 Nov 1994",
        "08:49:37 Nov 1994",
        "06 08:49:37 1994",
        "06 Nov 08:49:37",
        "06 Nov 1600 08:49:37",
        "32 Nov 1994 08:49:37",
        "06 Nov 1994 24:49:37",
        "06 Nov 1994 08:49:60",
        "x" * 100_000,
    ],
)
def test_what_is_no_date_of_a_cookie(text):
    """A part that is missing or out of range is None."""
    assert parse_cookie_date(text) is None


def test_the_standard_library_agrees():
    """A third writer has the same text."""
    assert format_http_date(MOMENT) == email.utils.formatdate(MOMENT, usegmt=True)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0),
        ("120", 120),
        ("007", 7),
        ("9" * 400, 999999999999999999.0),
        ("Sun, 06 Nov 1994 08:50:37 GMT", 60),
        ("Sunday, 06-Nov-94 08:50:37 GMT", 60),
        ("Sun Nov  6 08:50:37 1994", 60),
        ("Sun, 06 Nov 1994 08:49:37 GMT", 0),
        ("Sun, 06 Nov 1994 08:48:37 GMT", 0),
        ("Thu, 01 Jan 1970 00:00:00 GMT", 0),
        ("", None),
        ("-1", None),
        ("+1", None),
        ("1.5", None),
        ("1, 2", None),
        ("٣", None),
        ("²", None),
        ("soon", None),
    ],
)
def test_how_long_to_wait(text, seconds):
    """Seconds, or a date in any form; what is past means now, and nonsense nothing."""
    assert parse_retry_after(text, MOMENT) == seconds
