"""The script that Streamlit runs for every tab and after every change: frame and navigation."""

from __future__ import annotations

from collections.abc import Callable

import streamlit as st

from molvae.app import models, state
from molvae.app.guard import guarded
from molvae.app.pages import data, evaluate, generate, map, molecule, optimize

__all__ = ["main"]

# A benzene ring. Without an icon here, the browser would load that of the page from elsewhere.
ICON = (
    "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 32 32' fill='none' stroke='#1b6ca8' "
    "stroke-width='3'><path d='M16 3l11 6.5v13L16 29 5 22.5v-13z'/><circle cx='16' cy='16' r='6'/>"
    "</svg>"
)
# Title, icon, page; the first is shown at the start. The title in small letters is its address.
PAGES: tuple[tuple[str, str, Callable[[], None]], ...] = (
    ("Generate", ":material/science:", generate.show),
    ("Molecule", ":material/draw:", molecule.show),
    ("Map", ":material/scatter_plot:", map.show),
    ("Own data", ":material/upload_file:", data.show),
    ("Optimize", ":material/search:", optimize.show),
    ("Evaluate", ":material/query_stats:", evaluate.show),
)
STYLE = (
    "[data-testid=stMainBlockContainer] { padding: 3.2rem 2.5rem 4rem; } "
    "@media (max-width: 40rem) { [data-testid=stMainBlockContainer] { padding-inline: .9rem; } }"
)


def main() -> None:
    """Draw the frame and the page that is open."""
    st.set_page_config("molvae", ICON, layout="wide", initial_sidebar_state="auto")
    st.html(f"<style>{STYLE}</style>")
    pages = [
        st.Page(
            guarded(show),
            title=title,
            icon=icon,
            url_path=title.lower().replace(" ", "-"),
            default=not i,
        )
        for i, (title, icon, show) in enumerate(PAGES)
    ]
    page = st.navigation(pages)
    for other in pages if (title := state.next_page()) else ():
        if other.title == title and other != page:
            st.switch_page(other)
    state.keep_choices()
    guarded(models.choose)()
    page.run()
