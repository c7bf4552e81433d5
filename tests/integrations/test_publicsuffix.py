"""The list of public suffixes, and the short one that stands in for it."""

from __future__ import annotations

import importlib
import sys

import pytest

from triohttp._client import public_suffixes
from triohttp._client.public_suffixes import is_known_suffix
from triohttp.integrations.publicsuffix import is_public_suffix


@pytest.mark.parametrize("domain", ["com", "co.uk", "github.io", "kobe.jp", "anything.ck", "nowhere", "xn--55qx5d.cn"])
def test_what_is_public(domain):
    """Registries, hosting services, wildcards and labels that nobody knows are public; names in A-labels too."""
    assert is_public_suffix(domain)


@pytest.mark.parametrize("domain", ["example.com", "shop.co.uk", "me.github.io", "www.ck", "city.kobe.jp"])
def test_what_belongs_to_somebody(domain):
    """What lies below a public suffix, and the exceptions of the list, are somebody's."""
    assert not is_public_suffix(domain)
    assert not is_known_suffix(domain)


def test_the_short_list_holds_public_suffixes_alone():
    """No rule of the short list refuses what the public list allows."""
    assert [domain for domain in sorted(public_suffixes._KNOWN) if not is_public_suffix(domain)] == []
    assert len(public_suffixes._KNOWN) > 100


def test_without_the_package_the_extra_is_named(monkeypatch):
    """Whoever imports this without the package is told what to install."""
    monkeypatch.setitem(sys.modules, "publicsuffixlist", None)  # what Python makes of a package that is missing
    monkeypatch.delitem(sys.modules, "triohttp.integrations.publicsuffix")
    with pytest.raises(ImportError, match=r"pip install 'triohttp\[publicsuffix\]'"):
        importlib.import_module("triohttp.integrations.publicsuffix")
