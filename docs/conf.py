"""How the documentation is built: Sphinx, MyST, and what autodoc finds in the package.

Rule 1: nothing is fetched while building; links to other projects are written out.
"""

from __future__ import annotations

import sys
from importlib.metadata import version as version_of
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

project = "triohttp"
author = "The triohttp maintainers"
copyright = "2026, the triohttp maintainers"  # noqa: A001  # the name that Sphinx asks for
release = version = version_of("triohttp")

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinxcontrib_trio",
    "generated_tables",
]
exclude_patterns = ["_build", "_ext"]

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3

autodoc_typehints = "signature"
autodoc_member_order = "bysource"
autodoc_default_options = {"members": True, "show-inheritance": True}
autodoc_preserve_defaults = True
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True
default_role = "literal"
python_use_unqualified_type_names = True

html_theme = "furo"
html_title = f"triohttp {version}"
html_copy_source = False
