"""Which domains a cookie must not be set for, because they belong to nobody in particular.

Rule 1: with the package publicsuffixlist installed its list decides; it is loaded when the first cookie with a Domain
        attribute comes, since that takes some 50 ms.
Rule 2: without it the rules of this file do. They are short on purpose: the second levels that most of the world's
        sites lie under, and the hosting services whose customers share a domain.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from functools import cache
from typing import Final

__all__ = ["find_public_suffixes", "is_known_suffix"]

_COUNTRIES: Final = {
    "ar": "com edu gob net org",
    "at": "ac co gv or",
    "au": "asn com edu gov id net org",
    "br": "com edu gov net org",
    "cn": "ac com edu gov net org",
    "co": "com edu gov net org",
    "cy": "ac com gov net org",
    "eg": "com edu gov net org",
    "es": "com edu gob nom org",
    "fr": "asso com gouv nom",
    "gr": "com edu gov net org",
    "hk": "com edu gov idv net org",
    "hu": "co org",
    "id": "ac co go or sch web",
    "il": "ac co gov muni net org",
    "in": "ac co edu firm gen gov ind net org",
    "it": "edu gov",
    "jp": "ac ad co ed go gr lg ne or",
    "ke": "ac co go ne or sc",
    "kr": "ac co go ne or pe re",
    "mx": "com edu gob net org",
    "my": "com edu gov net org",
    "ng": "com edu gov net org",
    "nz": "ac co geek gen govt net org school",
    "pe": "com edu gob net org",
    "ph": "com edu gov net org",
    "pk": "com edu gov net org",
    "pl": "com edu gov net org",
    "pt": "com edu gov org",
    "ro": "com org",
    "sa": "com edu gov net org",
    "sg": "com edu gov net org",
    "th": "ac co go in net or",
    "tr": "bel com edu gov k12 net org web",
    "tw": "com edu gov idv net org",
    "ua": "com edu gov net org",
    "uk": "ac co gov ltd me net nhs org plc police sch",
    "ve": "co com edu gob net org",
    "vn": "com edu gov net org",
    "za": "ac co gov net org web",
}  # fmt: skip
_HOSTING: Final = (
    "appspot.com azurewebsites.net blogspot.com cloudfront.net firebaseapp.com fly.dev github.io gitlab.io "
    "herokuapp.com netlify.app onrender.com pages.dev readthedocs.io s3.amazonaws.com vercel.app web.app workers.dev"
)

_KNOWN: Final = frozenset(
    {f"{label}.{country}" for country, labels in _COUNTRIES.items() for label in labels.split()} | {*_HOSTING.split()}
)


def is_known_suffix(domain: str) -> bool:
    """Tell whether a domain is a single label, or one of the best known suffixes of more than one."""
    return "." not in domain or domain in _KNOWN


@cache
def find_public_suffixes() -> Callable[[str], bool]:
    """Return the list's judgement where the list is installed, else that of this file."""
    try:
        found: Callable[[str], bool] = importlib.import_module("triohttp.integrations.publicsuffix").is_public_suffix
    except ImportError:
        return is_known_suffix
    return found
