"""Dates as HTTP writes them, to and from seconds since 1970 (RFC 9110 §5.6.7, §10.2.3, RFC 6265 §5.1.1).

Rule 1: no clock and no locale; English names, UTC.
Rule 2: reading is linear and answers None for what is no date, since a recipient then has to ignore the field.
"""

from __future__ import annotations

import calendar
import re
import time
from typing import Final

__all__ = ["format_http_date", "parse_cookie_date", "parse_http_date", "parse_retry_after"]

_DAYS: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_MONTH_NUMBERS: Final = {name.lower(): number for number, name in enumerate(_MONTHS, 1)}
_EARLIEST: Final = -62135596800  # 0001-01-01
_LATEST: Final = 253402300800  # 10000-01-01, the first that has no four-digit year

_TIME = r"(?P<hour>[0-9]{2}):(?P<minute>[0-9]{2}):(?P<second>[0-9]{2})"
_MONTH = r"(?P<month>Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)"
_FORMS: Final = (
    re.compile(rf"(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun), (?P<day>[0-9]{{2}}) {_MONTH} (?P<year>[0-9]{{4}}) {_TIME} GMT"),
    re.compile(
        rf"(?:Mon|Tues|Wednes|Thurs|Fri|Satur|Sun)day, (?P<day>[0-9]{{2}})-{_MONTH}-(?P<year>[0-9]{{2}}) {_TIME} GMT"
    ),
    re.compile(rf"(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun) {_MONTH} (?P<day>[0-9 ][0-9]) {_TIME} (?P<year>[0-9]{{4}})"),
)

_COOKIE_DELIMITERS: Final = re.compile(r"[\x09\x20-\x2f\x3b-\x40\x5b-\x60\x7b-\x7e]+")
_COOKIE_TIME: Final = re.compile(r"([0-9]{1,2}):([0-9]{1,2}):([0-9]{1,2})(?![0-9])")
_COOKIE_DAY: Final = re.compile(r"([0-9]{1,2})(?![0-9])")
_COOKIE_YEAR: Final = re.compile(r"([0-9]{2,4})(?![0-9])")
_MAX_COOKIE_DATE_LENGTH: Final = 256
_MAX_SECONDS_LENGTH: Final = 18  # digits of a number of seconds that count: what is longer lasts for ever either way


def format_http_date(unix_seconds: float) -> str:
    """Return a moment as an IMF-fixdate, ``Sun, 06 Nov 1994 08:49:37 GMT``; fractions are cut off.

    Raises:
        ValueError: it is not finite, or its year does not have one to four digits.
    """
    if not _EARLIEST <= unix_seconds < _LATEST:
        raise ValueError(f"a date must lie in the years 1 to 9999, not at {unix_seconds!r} seconds since 1970")
    year, month, day, hour, minute, second, weekday, *_ = time.gmtime(unix_seconds // 1)
    return f"{_DAYS[weekday]}, {day:02} {_MONTHS[month - 1]} {year:04} {hour:02}:{minute:02}:{second:02} GMT"


def parse_http_date(text: str) -> float | None:
    """Return the moment that any of the three forms of HTTP-date names, None for anything else.

    The two-digit year of the RFC 850 form is one from 1970 to 2069. The name of the day is not checked.
    """
    for form in _FORMS:
        match = form.fullmatch(text)
        if match is not None:
            year = int(match["year"])
            if len(match["year"]) == 2:
                year += 1900 if year >= 70 else 2000
            return _moment(
                year,
                _MONTH_NUMBERS[match["month"].lower()],
                int(match["day"]),
                int(match["hour"]),
                int(match["minute"]),
                int(match["second"]),
            )
    return None


def parse_retry_after(text: str, unix_seconds: float) -> float | None:
    """Return how many seconds after ``unix_seconds`` a Retry-After asks to wait, None for what is none.

    It is a number of seconds or a date; one that is past asks to wait for 0 s.

    Source: RFC 9110 §10.2.3.
    """
    if text.isascii() and text.isdigit():
        return float(text[:_MAX_SECONDS_LENGTH])
    moment = parse_http_date(text)
    return None if moment is None else max(moment - unix_seconds, 0.0)


def parse_cookie_date(text: str) -> float | None:
    """Return the moment that a cookie's Expires attribute names, read as leniently as browsers do, or None.

    Source: RFC 6265 §5.1.1.
    """
    clock: re.Match[str] | None = None
    day = month = year = None
    for token in _COOKIE_DELIMITERS.split(text[:_MAX_COOKIE_DATE_LENGTH]):
        if clock is None and (found := _COOKIE_TIME.match(token)):
            clock = found
        elif day is None and (found := _COOKIE_DAY.match(token)):
            day = int(found[1])
        elif month is None and token[:3].lower() in _MONTH_NUMBERS:
            month = _MONTH_NUMBERS[token[:3].lower()]
        elif year is None and (found := _COOKIE_YEAR.match(token)):
            year = int(found[1])
            if year < 100:
                year += 1900 if year >= 70 else 2000
    if clock is None or day is None or month is None or year is None or year < 1601:
        return None
    hour, minute, second = map(int, clock.groups())
    return None if second > 59 else _moment(year, month, day, hour, minute, second)


def _moment(year: int, month: int, day: int, hour: int, minute: int, second: int) -> float | None:
    """Return the seconds since 1970, None when there is no such date or time; a leap second counts as the next one."""
    if year < 1 or hour > 23 or minute > 59 or second > 60:
        return None
    if day < 1 or day > calendar.monthrange(year, month)[1]:
        return None
    return float(calendar.timegm((year, month, day, hour, minute, second)))
