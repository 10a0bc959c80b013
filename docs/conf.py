"""Sphinx settings; `scripts/check --all` builds these pages with warnings as errors."""

import re
from importlib.metadata import version as installed_version

project = "molvae"
author = "The molvae developers"
copyright = "2026, The molvae developers"  # Sphinx wants this name
release = installed_version("molvae")
version = release

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_click",
]
exclude_patterns = ["_build"]

myst_enable_extensions = ["amsmath", "deflist", "dollarmath"]
myst_heading_anchors = 3  # pages may link to each other's headings

autodoc_member_order = "bysource"
autodoc_typehints = "description"  # signatures stay readable

html_theme = "furo"
html_title = f"molvae {release}"


def _literal_stars(app, ctx, lines):
    """The help of options is plain text, in which an asterisk is no markup."""
    lines[:] = [re.sub(r"(?<!\*)\*(?!\*)", r"\*", line) for line in lines]


def setup(app):
    app.connect("sphinx-click-process-options", _literal_stars)
