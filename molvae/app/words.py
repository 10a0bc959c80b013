"""Text of users and files for places where Streamlit reads Markdown."""

from __future__ import annotations

import re

__all__ = ["plain"]

_MARKS = re.compile(r"([\\`*_{}\[\]()#+\-.!|<>$~&])")


def plain(text: str) -> str:
    r"""A text as Markdown shows it letter by letter: no pictures, no links, no formulas.

    >>> print(plain("![x](a) $5 <b>"))
    \!\[x\]\(a\) \$5 \<b\>
    """
    return _MARKS.sub(r"\\\1", " ".join(text.split()))
