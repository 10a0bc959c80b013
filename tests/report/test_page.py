"""The page holds its numbers, needs no network and trusts no text from outside."""

import re
from html.parser import HTMLParser
from itertools import pairwise

import numpy as np
import pytest

from molvae import report
from molvae.chem.properties import PROPERTIES
from molvae.report import (
    Calibration,
    Card,
    Cell,
    Curve,
    Histogram,
    LatentMap,
    Page,
    Row,
    Series,
    Table,
)
from molvae.report.page import SECTIONS

RNG = np.random.default_rng(0)
A, B = RNG.normal(size=50), RNG.normal(size=80)

TABLE = Table(
    ["Value"],
    [
        Row("valid", [Cell("0.9167", "11/12")], "share that parses"),
        Row("novelty", [Cell("-", note="needs a training set (--train)")]),
    ],
)
COMPARISON = Table(
    ["ours", "theirs", "difference"],
    [
        Row(
            "FCD",
            [Cell("0.41"), Cell("0.99", "n = 10,000"), Cell("−0.58", "[−0.6, −0.5]", "", "better")],
            "Fréchet distance",
        )
    ],
    caption="ten thousand molecules each",
)


def full_page(**changes):
    """A page with every section."""
    entries = {
        "title": "Twelve molecules",
        "summary": "12 rows, 11 valid molecules.",
        "table": TABLE,
        "comparison": COMPARISON,
        "targets": Table(["Value"], [Row("logp=2:3 hit rate", [Cell("0.5", "5/10")])]),
        "calibrations": [Calibration("logp", "", [1, 2], [1.25, 2.5], [0.5, None], [10, 12])],
        "histograms": [
            Histogram("logp", "octanol-water partition", "", [("ours", A)], B, note="W1 0.12"),
            Histogram("rings", "rings", "", [("ours", np.array([1.0, 2, 2, 3]))], integer=True),
            Histogram("mw", "weight", "Da", [("ours", A), ("theirs", B)], B),
        ],
        "reference": "test set",
        "curves": [Curve("unique", "share", [100, 1000], [Series("ours", [1.0, 0.75])])],
        "maps": [LatentMap("mw", "Da", RNG.normal(size=(9, 2)), np.arange(9.0), "PC 1", "PC 2")],
        "model": Table(["Value"], [Row("gap", [Cell("9.2", "nats")])]),
        "refused": Table(["Candidates"], [Row("not novel", [Cell("1,234")])]),
        "cards": [
            Card("CCO", {"mw": 46.069, "qed": float("nan")}, 0.25, "CCN", "ours"),
            Card("CCC", {"mw": 44.0, "qed": 0.5}, row=1717),
        ],
        "remarks": {"molecules": "2 of 11"},
        "notes": ["a sample of 30,000"],
        "definitions": {"nats": "natural units"},
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

    def values(self, name):
        return [value for key, value in self.attributes if key == name]


@pytest.mark.parametrize(
    "text",
    [
        "Twelve molecules", "12 rows, 11 valid", "0.9167", "11/12", "share that parses",
        "needs a training set (--train)", "logp=2:3 hit rate", "5/10", "W1 0.12", "test set",
        "CCO", "46.07", "0.25", "CCN", "rdkit 2026.9", "molvae evaluate hits.csv", "−0.58",
        "[−0.6, −0.5]", "Fréchet distance", "ten thousand molecules each", "0.75 at 1,000",
        "PC 1", "nats", "natural units", "2 of 11", "a sample of 30,000", "n = 10 to 12",
        "row 1,717", "not novel", "1,234",
    ],
)  # fmt: skip
def test_the_page_holds_its_numbers(text):
    assert text in report.render(full_page())


def test_every_tag_is_closed():
    assert Tags(report.render(full_page())).open == []


def test_nothing_is_loaded_from_elsewhere():
    html = report.render(full_page())
    assert "http://" not in html
    assert "https://" not in html
    tags = Tags(html)
    assert not {"link", "script", "img", "iframe", "object"} & set(tags.names)
    assert not [name for name, _ in tags.attributes if name in ("src", "xlink:href")]
    assert not [name for name, _ in tags.attributes if name.startswith("on")]
    assert all(target.startswith("#") for target in tags.values("href"))
    assert "url(" not in html
    assert "@import" not in html


EVIL = "<script>alert(1)</script>\"'&"


def evil_page():
    one = np.array([1.0])
    table = Table([EVIL], [Row(EVIL, [Cell(EVIL, EVIL, EVIL)], EVIL)], EVIL, EVIL, EVIL)
    wide = Table([EVIL, EVIL], [Row(EVIL, [Cell(EVIL, EVIL, EVIL, "worse")] * 2, EVIL)], EVIL, EVIL)
    return full_page(
        title=EVIL, summary=EVIL, table=table, comparison=wide, targets=table, model=wide,
        histograms=[Histogram(EVIL, EVIL, EVIL, [(EVIL, one), ("b", one)], one, note=EVIL)],
        calibrations=[Calibration(EVIL, EVIL, [1], [1], [1], [1], EVIL)],
        curves=[Curve(EVIL, EVIL, [1, 2], [Series(EVIL, [1, 2])], EVIL, note=EVIL)],
        maps=[LatentMap(EVIL, EVIL, np.zeros((1, 2)), one, EVIL, EVIL, EVIL)],
        reference=EVIL + EVIL, cards=[Card("CCO", {EVIL: 1.0}, 0.5, EVIL, EVIL), Card(EVIL, {})],
        remarks=dict.fromkeys(SECTIONS, EVIL), notes=[EVIL], definitions={EVIL: EVIL},
        versions={EVIL: EVIL}, command=EVIL,
    )  # fmt: skip


def test_texts_from_outside_are_escaped():
    html = report.render(evil_page())
    assert "<script" not in html
    assert "&lt;script&gt;" in html
    tags = Tags(html)
    assert tags.open == []
    # Nothing broke out of an attribute either.
    assert not [name for name, _ in tags.attributes if "alert" in name]


# -- for every reader ----------------------------------------------------------------------------


def test_pictures_and_tables_can_be_heard():
    html = report.render(full_page())
    pictures = re.findall(r"<div[^>]*role=\"img\"[^>]*>", html)
    assert len(pictures) == 1 + 3 + 1 + 1 + 3
    assert all('aria-label="' in tag for tag in pictures)
    assert 'aria-label="Structure of CCO"' in html
    assert 'aria-label="Structure of the nearest training molecule, CCN"' in html
    assert re.findall(r"<th>", html) == []
    assert '<th scope="col">' in html
    assert '<th scope="row">' in html
    assert '<html lang="en">' in html


def test_every_drawing_is_described_around_it():
    html = report.render(full_page())
    assert html.count("<svg") == len(re.findall(r"<svg[^>]*aria-hidden=[\"']true", html))


def test_headings_are_in_order():
    levels = [int(level) for level in re.findall(r"<h(\d)", report.render(full_page()))]
    assert levels[:2] == [1, 2]
    assert levels.count(1) == 1
    assert all(b <= a + 1 for a, b in pairwise(levels))


def test_sections_come_in_their_order_and_are_linked():
    html = report.render(full_page())
    assert re.findall(r'<h2 id="(\w+)"', html) == list(SECTIONS)
    assert re.findall(r'href="#(\w+)"', html) == list(SECTIONS)


def test_molecules_come_before_metrics_distributions_and_refusals():
    keys = list(SECTIONS)
    order = ["molecules", "targets", "summary", "properties", "refused"]
    assert sorted(order, key=keys.index) == order


def test_molecules_beyond_a_dozen_are_folded():
    cards = [Card("C" * n, {}, row=n) for n in range(1, 16)]
    html = report.render(full_page(cards=cards))
    open_part, _, folded = html.partition('<details class="more">')
    assert re.findall(r"row (\d+)<", open_part) == [str(n) for n in range(1, 13)]
    assert re.findall(r"row (\d+)<", folded) == ["13", "14", "15"]
    assert "<summary>3 more</summary>" in folded


def test_cells_of_wide_tables_name_their_column():
    """On a phone a row is a block, and its cells are below each other."""
    assert Tags(report.render(full_page())).values("data-column")[:3] == list(COMPARISON.columns)


def test_a_short_page_has_no_navigation():
    html = report.render(Page("t", "s", table=TABLE, targets=TABLE))
    assert "<nav" not in html


def test_sections_without_content_are_left_out():
    html = report.render(Page(title="t", summary="s"))
    for heading in (*SECTIONS.values(), "What these mean"):
        assert f">{heading}<" not in html


def test_a_remark_on_an_unknown_section_is_refused():
    with pytest.raises(ValueError, match=r"propertys.*properties"):
        report.render(full_page(remarks={"propertys": "?"}))


def test_light_dark_paper_and_phones_are_provided_for():
    html = report.render(full_page())
    assert "prefers-color-scheme: dark" in html
    assert "@media print" in html
    assert 'name="viewport"' in html
    assert ".paper { background: #fff" in html
    assert 'class="scroll" role="region" aria-label="Comparison" tabindex="0"' in html


def luminance(color):
    channels = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return sum(w * c for w, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def schemes():
    html = report.render(Page("t", "s"))
    blocks = re.findall(r":root \{(.*?)\}", html, flags=re.DOTALL)
    return [dict(re.findall(r"--([\w-]+): (#\w{6})", block)) for block in blocks]


@pytest.mark.parametrize("scheme", schemes(), ids=["light", "dark"])
def test_contrasts_are_sufficient(scheme):
    def contrast(name, paper):
        high, low = sorted((luminance(scheme[name]), luminance(scheme[paper])), reverse=True)
        return (high + 0.05) / (low + 0.05)

    for name in ("ink", "soft", "accent", "better", "worse"):  # texts: AA
        assert min(contrast(name, paper) for paper in ("card", "page")) >= 4.5, name
    drawn = [name for name in scheme if re.fullmatch(r"[sm]\d+|ref|none", name)]
    assert len(drawn) == 5 + 12 + 2
    for name in drawn:
        assert contrast(name, "card") >= 3, name


@pytest.mark.parametrize("scheme", schemes(), ids=["light", "dark"])
def test_the_scale_of_maps_only_gets_lighter(scheme):
    lightness = [luminance(scheme[f"m{i}"]) for i in range(12)]
    assert lightness == sorted(lightness)


# -- tables --------------------------------------------------------------------------------------


def test_marks_are_words_not_only_colors():
    html = report.render(full_page())
    cell = '<td class="number better" data-column="difference">−0.58 '
    assert f'{cell}<span class="mark">better</span>' in html


def test_a_row_of_the_wrong_length_is_refused():
    with pytest.raises(ValueError, match=r"'FCD'.* 1 .* 2 "):
        Table(["a", "b"], [Row("FCD", [Cell("1")])])


def test_a_definition_is_listed_once():
    text = "share of hits"
    rows = [Row(f"logp={i} hit rate", [Cell("1")], text) for i in range(3)]
    page = Page("t", "s", targets=Table(["Value"], rows), definitions={"hit rate": text})
    html = report.render(page)
    assert html.count(f"<dd>{text}</dd>") == 1
    assert f"<dt>hit rate</dt><dd>{text}</dd>" in html


# -- files ---------------------------------------------------------------------------------------


def test_a_broken_page_leaves_the_old_file(tmp_path):
    path = tmp_path / "page.html"
    report.write_html(path, full_page())
    before = path.read_text(encoding="utf-8")
    with pytest.raises(ValueError, match="heavy"):
        report.write_html(path, full_page(cards=[Card("CC", {"mw": "heavy"})]))
    assert path.read_text(encoding="utf-8") == before
    assert [p.name for p in tmp_path.iterdir()] == ["page.html"]


BIG = "CC(C)c1nc(CN(C)C(=O)NC(C(C)C)C(=O)NC(Cc2ccccc2)CC(O)C(Cc2ccccc2)NC(=O)OCc2cncs2)cs1"


def test_a_full_report_fits_into_a_megabyte():
    sizes = [100, 1_000, 10_000, 30_000]
    values = RNG.normal(size=(3, 5_000))
    points = RNG.normal(size=(2_000, 2))
    page = full_page(
        histograms=[
            Histogram(name, "d", "u", [("a", values[0]), ("b", values[1])], values[2])
            for name in PROPERTIES
        ],
        calibrations=[
            Calibration(name, "u", range(6), range(6), range(6), range(6)) for name in PROPERTIES
        ],
        curves=[Curve(name, "d", sizes, [Series(s, sizes) for s in "abc"]) for name in PROPERTIES],
        maps=[LatentMap("mw", "Da", points, points[:, 0], "x", "y")] * 2,
        cards=[Card(BIG, {"mw": 720.0, "qed": 0.1}, 0.5, BIG)] * 60,
    )
    assert len(report.render(page).encode()) < 1e6
