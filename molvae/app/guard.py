"""Errors of pages in words, never as a traceback."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable

import streamlit as st

from molvae.app import storage
from molvae.app.words import plain
from molvae.errors import MolvaeError

__all__ = ["guarded"]


def guarded(show: Callable[[], None]) -> Callable[[], None]:
    """``show`` with errors in words: molvae's own as they are, others with a hint to the log."""

    @functools.wraps(show)
    def run() -> None:
        try:
            show()
        except MolvaeError as error:
            st.error(plain(storage.without_folder(str(error))), icon=":material/error:")
        except Exception as error:
            logging.getLogger("molvae").exception("molvae app: a page failed")
            st.error(
                f"This did not work: {type(error).__name__}. The terminal of molvae app shows "
                "the details; please report them.",
                icon=":material/error:",
            )

    return run
