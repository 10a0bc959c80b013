"""The command line of an action, to copy."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

import streamlit as st

__all__ = ["show", "text"]


def text(words: Sequence[object]) -> str:
    """``molvae`` and the words as one line for a shell; None and empty texts are left out.

    >>> text(["generate", "-n", 5, "-t", "logp=2:3", "-o", "my hits.csv"])
    "molvae generate -n 5 -t logp=2:3 -o 'my hits.csv'"
    """
    return shlex.join(["molvae", *(str(word) for word in words if word not in (None, ""))])


def show(words: Sequence[object], *, note: str = "") -> None:
    """Show the command that does the same; ``note`` says where it differs."""
    with st.expander("Command line"):
        st.code(text(words), language="bash", wrap_lines=True)
        st.caption(note or "This command does the same in a terminal.")
