"""The list of public suffixes, for the cookie jar of the client: names below which anybody can register.

The jar finds this by itself when the package is installed, and has rules of its own for the best known suffixes when it
is not. Reading the list takes some 50 ms, once, when this module is imported: a program that cannot spare them later
imports it when it starts.
"""

from __future__ import annotations

try:
    from publicsuffixlist import PublicSuffixList
except ImportError as error:
    raise ImportError("this needs publicsuffixlist: pip install 'triohttp[publicsuffix]'") from error

__all__ = ["is_public_suffix"]

_LIST = PublicSuffixList()  # with the private part of the list: github.io is as public to its users as co.uk is


def is_public_suffix(domain: str) -> bool:
    """Tell whether a domain is one below which anybody can register a name; each label that is not listed is one.

    Args:
        domain: in lower case, internationalised labels as A-labels, without a trailing dot.
    Source: publicsuffix.org, RFC 6265bis §5.7.
    """
    return _LIST.is_public(domain)
