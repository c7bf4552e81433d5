"""What a server says about the credentials that it wants: WWW-Authenticate, Proxy-Authenticate and their kin.

Rule 1: one pass over a field; commas inside quotes separate nothing.
Rule 2: what is malformed is left out, not guessed at: half a challenge is none, nor is one that says a thing twice.
Rule 3: values are the server's characters (latin-1), without quotes and backslashes, so that they can be sent back.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from triohttp._values.grammar import split_list

__all__ = ["Challenge", "parse_challenges", "parse_parameters", "quote"]

_TOKEN = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_PARAMETER = re.compile(rf'({_TOKEN})[ \t]*=[ \t]*(?:({_TOKEN})|"((?:[^"\\]|\\.)*)")')
_SCHEME = re.compile(rf"({_TOKEN})(?:[ \t]+(.*))?")
_TOKEN68 = re.compile(r"[0-9A-Za-z\-._~+/]+=*")
_ESCAPED = re.compile(r"\\(.)")


@dataclass(slots=True)
class Challenge:
    """One way in which a server lets itself be convinced (RFC 9110 §11.3).

    Attributes:
        scheme: in lower case.
        parameters: by name in lower case.
        token68: what stands in place of parameters.
    """

    scheme: str
    parameters: dict[str, str] = field(default_factory=dict)
    token68: str | None = None


def parse_challenges(fields: Iterable[str]) -> list[Challenge]:
    """Return the challenges of field lines, in order.

    Args:
        fields: the value of each line; each stands for itself, so that a broken one spoils no other.
    Source: RFC 9110 §11.3, §11.6.1.
    """
    found: list[Challenge] = []
    for value in fields:
        current: Challenge | None = None  # what parameters belong to; the last one found
        for element in split_list(value):
            parameter = _parameter(element)
            if parameter is None and (match := _SCHEME.fullmatch(element)) is not None:
                current = _begin(match[1], match[2])
                if current is not None:
                    found.append(current)
            elif current is not None and (parameter is None or not _add(current, parameter)):
                found.pop()
                current = None
    return found


def parse_parameters(value: str) -> dict[str, str]:
    """Return the parameters of a field that has nothing else, such as Authentication-Info (RFC 7615 §3)."""
    found = (_parameter(element) for element in split_list(value))
    return dict(filter(None, found))


def quote(text: str) -> str:
    """Return ``text`` as a quoted-string, also when it is a token; it holds no control characters."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _begin(scheme: str, rest: str | None) -> Challenge | None:
    """Return the challenge that begins with an element of a list."""
    challenge = Challenge(scheme.lower())
    if not rest:
        return challenge
    if (parameter := _parameter(rest)) is not None:
        _add(challenge, parameter)
    elif _TOKEN68.fullmatch(rest):
        challenge.token68 = rest
    else:
        return None
    return challenge


def _parameter(element: str) -> tuple[str, str] | None:
    match = _PARAMETER.fullmatch(element)
    if match is None:
        return None
    name, token, quoted = match.groups()
    return name.lower(), token if token is not None else _ESCAPED.sub(r"\1", quoted)


def _add(challenge: Challenge, parameter: tuple[str, str]) -> bool:
    """Add a parameter; return whether it made sense: there is one of its name, and no token68 (RFC 9110 §11.2)."""
    name, value = parameter
    if name in challenge.parameters or challenge.token68 is not None:
        return False
    challenge.parameters[name] = value
    return True
