"""The page holds its numbers, needs no network and trusts no text from outside."""

import re
import xml.etree.ElementTree as ET
from html.parser import HTMLParser

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from molvae import report
from molvae.report import Card, Histogram, Line, Page


def small_page(**changes):
    rng = np.random.default_rng(0)
    entries = {
        "title": "Twelve molecules",
        "summary": "12 rows, 11 valid molecules.",
        "lines": [
            Line("valid", "0.9167", "11/12", definition="share that parses"),
            Line("novelty", "-", note="needs a training set (--train)"),
        ],
        "targets": [Line("logp=2:3 hit rate", "0.5000", "5/10")],
        "histograms": [
            Histogram("logp", "octanol-water partition", "", rng.normal(size=50),
                      rng.normal(size=80), note="W1 0.12"),
            Histogram("rings", "rings", "", np.array([1.0, 2, 2, 3]), None, integer=True),
        ],
        "reference": "test set",
        "cards": [Card("CCO", {"mw": 46.069, "qed": float("nan")}, 0.25, "CCN")],
        "cards_note": "1 of 11",
        "versions": {"rdkit": "2026.9"},
        "command": "molvae evaluate hits.csv",
    }  # fmt: skip
    return Page(**{**entries, **changes})


class Tags(HTMLParser):
    """All tags of a page, whether they are closed, and its attributes."""

    VOID = frozenset({"meta", "br", "rect", "line", "path", "polyline", "ellipse", "polygon"})

    def __init__(self, html):
        super().__init__()
        self.open, self.names, self.attributes = [], [], []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.names.append(tag)
        self.attributes += attrs
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.names.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag):
        if tag not in self.VOID:
            assert self.open.pop() == tag


def test_the_page_holds_its_numbers():
    html = report.render(small_page())
    for text in (
        "Twelve molecules", "12 rows, 11 valid", "0.9167", "11/12", "share that parses",
        "needs a training set (--train)", "logp=2:3 hit rate", "5/10", "W1 0.12", "test set",
        "CCO", "46.1", "0.25", "CCN", "rdkit 2026.9", "molvae evaluate hits.csv",
    ):  # fmt: skip
        assert text in html


def test_every_tag_is_closed():
    assert Tags(report.render(small_page())).open == []


def test_nothing_is_loaded_from_elsewhere():
    html = report.render(small_page())
    assert "http://" not in html
    assert "https://" not in html
    tags = Tags(html)
    assert not {"link", "script", "img", "iframe", "object"} & set(tags.names)
    assert not [name for name, _ in tags.attributes if name in ("src", "href", "xlink:href")]
    assert "url(" not in html
    assert "@import" not in html


def test_texts_from_outside_are_escaped():
    evil = "<script>alert(1)</script>\"'&"
    page = small_page(
        title=evil,
        summary=evil,
        lines=[Line(evil, evil, evil, evil, evil)],
        targets=[Line(evil, evil)],
        histograms=[Histogram(evil, evil, evil, np.array([1.0]), note=evil)],
        reference=evil,
        cards=[Card("CCO", {evil: 1.0}, 0.5, evil), Card(evil, {})],
        cards_note=evil,
        notes=[evil],
        versions={evil: evil},
        command=evil,
    )
    html = report.render(page)
    assert "<script" not in html
    assert "&lt;script&gt;" in html
    assert Tags(html).open == []


def test_pictures_and_tables_can_be_heard():
    html = report.render(small_page())
    pictures = re.findall(r"<(?:div|svg)[^>]*role=\"img\"[^>]*>", html)
    assert len(pictures) == 3
    assert all('aria-label="' in tag for tag in pictures)
    assert 'aria-label="Structure of CCO"' in html
    assert "generated: mean" in html
    assert '<th scope="col">' in html
    assert '<th scope="row">' in html
    assert re.findall(r"<h(\d)", html) == ["1", "2", "2", "2", "2"]
    assert '<html lang="en">' in html


def test_sections_without_content_are_left_out():
    page = Page(title="t", summary="s", lines=[])
    html = report.render(page)
    for heading in ("Targets", "Properties", "Molecules", "What these mean"):
        assert heading not in html


def test_light_dark_and_phones_are_provided_for():
    html = report.render(small_page())
    assert "prefers-color-scheme: dark" in html
    assert 'name="viewport"' in html
    assert ".paper { background: #fff" in html


def test_sixty_molecules_fit_into_a_megabyte_and_a_half():
    big = "CC(C)c1nc(CN(C)C(=O)NC(C(C)C)C(=O)NC(Cc2ccccc2)CC(O)C(Cc2ccccc2)NC(=O)OCc2cncs2)cs1"
    page = small_page(cards=[Card(big, {"mw": 720.0})] * 60)
    assert len(report.render(page).encode()) < 1.5e6


def test_a_broken_page_leaves_the_old_file(tmp_path):
    path = tmp_path / "page.html"
    report.write_html(path, small_page())
    before = path.read_text(encoding="utf-8")
    with pytest.raises(TypeError):
        report.write_html(path, small_page(cards=[Card("CC", {"mw": "heavy"})]))
    assert path.read_text(encoding="utf-8") == before
    assert [p.name for p in tmp_path.iterdir()] == ["page.html"]


# -- charts ---------------------------------------------------------------------------------------


def heights(svg):
    bars = [e for e in ET.fromstring(svg) if e.get("class") == "bar"]
    return [float(bar.get("height")) for bar in bars]


def test_bars_are_shares_of_the_molecules():
    chart = Histogram("rings", "", "", np.array([1.0, 1, 1, 2]), integer=True)
    tall, short = heights(report._bars(chart))
    assert tall == pytest.approx(3 * short, rel=0.01)


def test_one_freak_value_does_not_squeeze_the_others():
    values = np.append(np.linspace(0, 1, 999), 1e6)
    edges = report._edges(Histogram("x", "", "", values))
    assert edges[-1] < 2
    # Nor is it dropped: it joins the last bar.
    assert report._shares(values, edges).sum() == pytest.approx(1)


FINITE = st.floats(-1e5, 1e5).map(lambda x: round(x, 3))


@given(st.lists(FINITE, min_size=1, max_size=30), st.lists(FINITE, max_size=30), st.booleans())
def test_any_values_give_a_sound_chart(mine, theirs, integer):
    if integer:
        mine, theirs = [round(v) for v in mine], [round(v) for v in theirs]
    arrays = np.array(mine, dtype=float), np.array(theirs, dtype=float)
    svg = report._bars(Histogram("x", "", "", *arrays, integer=integer))
    root = ET.fromstring(svg)
    width, height = (float(v) for v in root.get("viewBox").split()[2:])
    assert "nan" not in svg
    for bar in (e for e in root if e.get("class") == "bar"):
        x, y, w, h = (float(bar.get(k)) for k in ("x", "y", "width", "height"))
        assert 0 <= x <= x + w <= width
        assert 0 <= y <= y + h <= height


def test_a_chart_without_values_is_empty():
    assert report._bars(Histogram("x", "", "", np.array([]))) == ""
    assert "no values" in report.render(
        small_page(histograms=[Histogram("x", "", "", np.array([]))])
    )


# -- lines ----------------------------------------------------------------------------------------


def data(**changes):
    entries = {
        "schema": 1,
        "n": 10,
        "metrics": {
            "valid": {"value": 0.9, "n": 10, "numerator": 9, "denominator": 10, "note": "n" * 99},
            "unique": {"value": 1.0, "n": 9, "numerator": 9, "denominator": 9},
            "SNN/Test": {"value": None, "n": 9, "note": "needs a test set (--test)"},
        },
        "targets": {
            "logp": {"target": "logp=2", "MAD": {"value": 0.5, "n": 9}, "mean": 2.25, "sd": 0.5,
                     "bias": 0.25, "missing": 0, "source": "RDKit"},
        },
        "properties": {
            "mw": {"n": 9, "mean": 300.0, "sd": 20.0, "min": 1.0, "max": 2.0,
                   "W1": {"value": 1.5, "n": 9},
                   "reference": {"n": 9, "mean": 301.5, "sd": 20.0, "min": 1.0, "max": 2.0}},
            "qed": {"n": 0, "mean": None, "sd": None, "min": None, "max": None,
                    "W1": {"value": None, "n": 0}},
        },
        "reference": "test", "notes": [], "seed": 3, "versions": {}, "inputs": {},
    }  # fmt: skip
    return {**entries, **changes}


def test_table_rows_fit_a_terminal():
    rows = report.table_rows(data())
    assert all(
        len(name) <= 24 and len(value) <= 12 and len(text) <= 42 for name, value, text in rows
    )
    assert rows[0][2].endswith("…")
    assert rows[1:] == [
        ("unique", "1.0000", "9/9"),
        ("SNN/Test", "-", "needs a test set (--test)"),
        ("logp=2 MAD", "0.5000", "n = 9, obtained 2.25 ± 0.5, bias +0.25"),
        ("mw W1", "1.5", "300 ± 20; test 301.5 ± 20"),
        ("qed W1", "-", "no values"),
    ]


def test_the_page_of_an_evaluation():
    page = report.evaluation_page(data(), title="T", cards=[Card("CC", {})], command="molvae")
    assert page.summary == "10 rows, 9 valid molecules."
    assert page.cards_note == "1 of 9 distinct valid molecules, drawn with seed 3."
    assert page.lines[2].definition == report.DEFINITIONS["SNN"]
    assert page.targets[0].name == "logp=2 MAD"


def test_every_metric_name_has_a_definition():
    for name in ("valid", "unique@1000", "unique@10000", "novelty", "IntDiv", "IntDiv2"):
        assert report.DEFINITIONS[name]
