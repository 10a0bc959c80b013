"""Text of users and files for places where Streamlit reads Markdown."""

from __future__ import annotations

import re

__all__ = ["plain"]

_JOINER = "\N{WORD JOINER}"  # without width; an address that has one is no link
_ADDRESS = re.compile(r"(?<=:)(?=//)|(?<=www)(?=\.)")
_MARKS = re.compile(r"([\\`*_{}\[\]()#+\-.!|<>$~&])")


def plain(text: str) -> str:
    r"""A text as Markdown shows it letter by letter: no pictures, no links, no formulas.

    >>> print(plain("![x](a) $5 <b>"))
    \!\[x\]\(a\) \$5 \<b\>
    """
    return _MARKS.sub(r"\\\1", _ADDRESS.sub(_JOINER, " ".join(text.split())))
