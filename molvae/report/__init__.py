"""One self-contained HTML page: tables, charts and drawn molecules.

The page opens without a network and runs no script: styles, charts and drawings are inside it. It
is built from plain records (:mod:`molvae.report.records`), so that any verb can fill one.
"""

from molvae.report.page import render, write_html
from molvae.report.records import (
    Calibration,
    Card,
    Cell,
    Curve,
    Histogram,
    LatentMap,
    Mark,
    Page,
    Row,
    Series,
    Table,
)

__all__ = [
    "Calibration",
    "Card",
    "Cell",
    "Curve",
    "Histogram",
    "LatentMap",
    "Mark",
    "Page",
    "Row",
    "Series",
    "Table",
    "render",
    "write_html",
]
