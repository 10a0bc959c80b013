"""Sphinx settings: ``python -m sphinx -W -b html docs docs/_build/html`` builds the site."""

import re
import shutil
from pathlib import Path

from molvae import __version__ as release

HERE = Path(__file__).parent

project = "molvae"
author = "The molvae developers"
copyright = "2026, The molvae developers"  # Sphinx wants this name
version = release

extensions = [
    "myst_nb",  # markdown and notebooks
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_click",
]
exclude_patterns = ["_build", "notebooks/.ipynb_checkpoints"]

myst_enable_extensions = ["amsmath", "deflist", "dollarmath"]
myst_heading_anchors = 3  # pages may link to each other's headings

nb_execution_mode = "off"  # show the outputs stored in the notebooks
nb_output_stderr = "remove"

autodoc_member_order = "bysource"
autodoc_typehints = "description"  # signatures stay readable

html_theme = "furo"
html_title = f"molvae {release}"

# Sphinx reads one folder only, so the notebooks are copied into it (docs/.gitignore lists it).
shutil.rmtree(HERE / "notebooks", ignore_errors=True)
shutil.copytree(
    HERE.parent / "notebooks",
    HERE / "notebooks",
    ignore=shutil.ignore_patterns(".ipynb_checkpoints"),
)


def _literal_stars(app, ctx, lines):
    """The help of options is plain text, in which an asterisk is no markup."""
    lines[:] = [re.sub(r"(?<!\*)\*(?!\*)", r"\*", line) for line in lines]


def setup(app):
    app.connect("sphinx-click-process-options", _literal_stars)
