"""Evaluations become lines of a terminal and records of a page."""

import json
import math
import re
from dataclasses import replace

import numpy as np
import pytest

from molvae import evaluate, report
from molvae.chem.properties import PROPERTIES
from molvae.errors import FileError
from molvae.evaluate import Options, definitions
from molvae.evaluate import report as pages
from molvae.evaluate.tables import comparison_lines, lines, short, span
from molvae.runtime import progress

TEXTS = ["CCO", "OCC", "c1ccccc1O", "CC(=O)Nc1ccc(O)cc1", "broken("]


@pytest.fixture(autouse=True)
def silent(monkeypatch, tmp_path):
    monkeypatch.setitem(progress._state, "quiet", True)
    monkeypatch.setenv("MOLVAE_CACHE", str(tmp_path / "cache"))


def write(path, texts):
    path.write_text("\n".join(texts) + "\n")
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("evaluated")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MOLVAE_CACHE", str(folder / "cache"))
        yield folder


@pytest.fixture(scope="module")
def found(folder):
    path = write(folder / "a.csv", ["smiles,w", *(f"{t},{i}" for i, t in enumerate(TEXTS))])
    train = write(folder / "t.smi", ["CCO", "CCN", "CCCC"])
    return evaluate.evaluate(
        path, train=train, options=Options(targets=["logp=@w", "qed=0.5:"], replicates=100, draw=4)
    )


@pytest.fixture(scope="module")
def compared(folder):
    a = write(folder / "a.smi", TEXTS * 20)
    b = write(folder / "b.smi", ["CCCC", "CCCCC", "CCN", "c1ccncc1"] * 20)
    return evaluate.compare(
        [a, b], test=a, options=Options(targets=["heavy=4"], replicates=100, draw=2)
    )


def test_a_long_row_continues_below(found):
    text = lines(found.to_json())
    row = next(i for i, line in enumerate(text) if line.startswith("logp=@w MAD"))
    below = [line for line in text[row + 1 :][:3] if line.startswith(" ")]
    whole = " ".join([text[row], *(line.strip() for line in below)])
    target = found.to_json()["targets"]["logp"]
    assert f"bias {target['bias']:+.2g}" in whole
    assert f"slope {target['calibration']['slope']:.2f}" in whole
    assert not any("…" in line for line in text)


def test_lines_fit_a_terminal(found, compared):
    for text in (lines(found.to_json()), comparison_lines(compared.to_json())):
        assert all(len(line) <= 80 for line in text), max(text, key=len)


def test_lines_say_what_a_number_is_out_of(found):
    text = lines(found.to_json())
    assert text[0].startswith("valid                   0.8000  [")
    assert text[0].endswith("4/5")
    assert "FCD/Test, SNN/Test, Frag/Test, Scaf/Test: needs a test set (--test)" in text
    [line] = [line for line in text if line.startswith("logp=@w MAD")]
    assert "n = 4; " in line
    [line] = [line for line in text if line.startswith("mw W1")]
    assert re.search(r"\d ± \d+(\.\d+)? \(\d+.* ± \d+(\.\d+)?\)$", line)
    assert "Properties: mean ± standard deviation, in parentheses those of the train set." in text
    assert "W1: distance of the two distributions, in the property's unit." in text
    assert "MAD: mean distance from the requested value, in the property's unit." in text


def test_a_star_marks_a_difference_that_is_sure(compared):
    text = comparison_lines(compared.to_json())
    assert text[0].split() == ["a.smi", "b.smi", "difference"]
    [line] = [line for line in text if line.startswith("SNN/Test")]
    assert "*" in line
    assert text[-1].startswith("* differs from a.smi")
    [line] = [line for line in text if line.startswith("valid")]
    assert line.split()[1:3] == ["0.8000", "1.0000*"]


def test_three_sets_have_no_column_of_differences(tmp_path):
    paths = [write(tmp_path / f"{name}.smi", TEXTS) for name in ("a", "b", "c")]
    data = evaluate.compare(paths).to_json()
    assert "difference" not in comparison_lines(data)[0]
    assert list(data["differences"]) == ["b.smi", "c.smi"]


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0.0000"), (0.12345678, "0.1235"), (-2.5, "-2.5000"), (1234.5678, "1235"),
     (0.000123456, "0.0001235"), (None, "-")],
)  # fmt: skip
def test_numbers(value, text):
    assert short(value) == text


def test_no_interval_is_no_text():
    assert span(None) == ""


def test_the_page_of_one_set(found):
    page = pages.page(found, None, command="molvae evaluate a.csv")
    assert page.summary == "a.csv: 5 rows, 4 valid molecules."
    assert page.comparison is None
    assert [row.name for row in page.table.rows][:4] == ["Filters", "novelty", "unique", "valid"]
    row = page.table.rows[3]
    assert row.cells[0].value == "0.8000"
    assert row.cells[0].detail.endswith(", 4/5")
    assert row.definition == definitions.DEFINITIONS["valid"]
    assert [row.name for row in page.targets.rows] == ["logp=@w MAD", "qed=0.5: hit rate"]
    [calibration] = page.calibrations
    assert list(calibration.requested) == [0, 1, 2, 3]
    assert "slope" in calibration.note
    assert [h.name for h in page.histograms] == list(PROPERTIES)
    assert page.reference == "train set"
    assert len(page.cards) == 3
    assert page.cards[0].neighbor
    assert [(card.row, card.smiles) for card in page.cards] == [
        (1, "CCO"), (3, "Oc1ccccc1"), (4, "CC(=O)Nc1ccc(O)cc1"),
    ]  # fmt: skip
    assert page.curves == []  # five molecules give one size only
    assert page.definitions["novelty"]
    assert "molvae evaluate a.csv" in report.render(page)


def test_the_page_of_two_sets(compared):
    page = pages.page(compared, None)
    assert page.table is page.targets is None
    assert list(page.comparison.columns) == ["a.smi", "b.smi", "b.smi - a.smi"]
    rows = {row.name: row for row in page.comparison.rows}
    assert rows["valid"].cells[2].mark == "better"
    assert rows["SNN/Test"].cells[2].mark == ""  # nearer is not better without end
    assert [name for name, _ in page.histograms[0].sets] == ["a.smi", "b.smi"]
    assert {card.group for card in page.cards} == {"a.smi", "b.smi"}
    assert page.curves == [] or page.curves[0].series[0].name == "a.smi"
    report.render(page)


def test_other_evaluations_are_shown_beside(found, tmp_path):
    path = tmp_path / "published.json"
    path.write_text(json.dumps({"name": "theirs", "metrics": {"valid": {"value": 0.9767}}}))
    beside = pages.read_evaluations(path)
    page = pages.page(found, None, beside=beside)
    assert list(page.comparison.columns) == ["a.csv", "theirs"]
    rows = {row.name: row for row in page.comparison.rows}
    assert rows["valid"].cells[1].value == "0.9767"
    assert rows["novelty"].cells[1].value == "–"
    report.render(page)
    own = tmp_path / "own.json"
    own.write_text(json.dumps(pages.to_json(found, None)))
    [again] = pages.read_evaluations(own)
    assert again["name"] == "a.csv"
    assert again["metrics"]["valid"] == pages.to_json(found, None)["metrics"]["valid"]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"metrics": {"valid": 3}}',
        '{"metrics": 1}',
        "[" * 99_999,
        '{"metrics": {"valid": {"value": "0.5"}}}',
        '{"metrics": {"valid": {"value": NaN}}}',
        '{"metrics": {"valid": {"value": true}}}',
        '{"metrics": {}, "properties": null}',
        '{"metrics": {"valid": {"value": 1.0, "interval": [1]}}}',
        '{"sets": 3}',
        '{"metrics": {}, "targets": {"a": {"target": "a=1"}}}',
    ],
)
def test_what_is_no_evaluation_is_refused(tmp_path, text):
    path = tmp_path / "x.json"
    path.write_text(text)
    with pytest.raises(FileError, match=r"x\.json'.*.*molvae evaluate"):
        pages.read_evaluations(path)
    with pytest.raises(FileError, match="no such file"):
        pages.read_evaluations(tmp_path / "none.json")


def test_the_sets_of_a_comparison_stand_beside(found, compared, tmp_path):
    path = tmp_path / "both.json"
    path.write_text(json.dumps(pages.to_json(compared, None)))
    beside = pages.read_evaluations(path)
    assert [one["name"] for one in beside] == ["a.smi", "b.smi"]
    assert beside[1]["targets"]["heavy"]["MAD"]["value"] == pytest.approx(
        compared.reports[1].targets["heavy"].metric.value
    )
    report.render(pages.page(found, None, beside=beside))


def test_many_sets_come_in_blocks(tmp_path):
    paths = [write(tmp_path / f"{name}.smi", TEXTS) for name in "abcdefgh"]
    text = comparison_lines(evaluate.compare(paths).to_json())
    heads = [line.split() for line in text if line.startswith("   ")]
    assert heads == [
        ["a.smi", "b.smi", "c.smi", "d.smi"], ["a.smi", "e.smi", "f.smi", "g.smi"],
        ["a.smi", "h.smi"],
    ]  # fmt: skip
    assert all(len(line) <= 80 for line in text)


def test_json_has_no_nan(found, compared):
    for data in (pages.to_json(found, None), pages.to_json(compared, None)):
        json.dumps(data, allow_nan=False)


def test_every_metric_is_explained(found, compared):
    from molvae.evaluate.tables import entries

    for one in (found, *compared.reports):
        for name, kind, _ in entries(one.to_json()):
            assert kind in definitions.DEFINITIONS, name
    assert set(definitions.DEFINITIONS) >= definitions.HIGHER | definitions.LOWER


def test_curves_are_drawn_for_every_set(compared):
    longer = [replace(r, curves=evaluate.Curves([10, 20], {"unique": [1.0, None]}))
              for r in compared.reports]  # fmt: skip
    [curve] = pages.page(evaluate.Comparison(longer), None).curves
    assert [s.name for s in curve.series] == ["a.smi", "b.smi"]
    assert list(curve.series[1].y) == [1.0, None]


@pytest.fixture(scope="module")
def examined(folder, tiny_run):
    from molvae.evaluate.diagnostics import examine

    path = write(folder / "h.smi", ["c1ccccc1CO", "CCNCC", "CCCO", "CCCCO"])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(examine, "ASKED", 2)
        patch.setattr(examine, "PATHS", 4)
        return examine.examine(tiny_run, test=path, number=4, device="cpu", workers=0)


def test_the_page_of_a_model(examined):
    page = pages.page(None, examined)
    assert page.title == "Examination of a model"
    assert page.table is page.comparison is None
    names = [row.name for row in page.model.rows]
    assert {"D(0)", "active units", "I(x; z)"} <= set(names)
    assert page.maps
    assert all(len(m.points) == len(m.values) for m in page.maps)
    for calibration in page.calibrations:
        assert len(calibration.requested) == len(calibration.obtained) == len(calibration.n)
    assert any(math.isfinite(x) for c in page.calibrations for x in c.obtained)
    report.render(page)
    data = pages.to_json(None, examined)
    assert data["model"]["rate"]["n"] == examined.molecules.n
    assert pages.lines(None, examined)[0].startswith("molecules")


def test_molecules_and_model_on_one_page(found, examined):
    page = pages.page(found, examined)
    assert page.table is not None
    assert page.model is not None
    text = pages.lines(found, examined)
    assert text[0].startswith("valid")
    assert "" in text
    assert np.isfinite(page.maps[0].points).all()
    html = report.render(page)
    assert "Model" in html
