"""The page of a generation says what numpy says of the same rows, however many they are."""

import html
import math
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from molvae import report
from molvae.chem.properties import PROPERTIES
from molvae.errors import InputError
from molvae.generate import report as outcome
from molvae.generate.columns import columns_of, molecule_row
from molvae.generate.report import GenerationReport
from molvae.generate.request import Generated
from molvae.generate.run import GenerationSummary
from molvae.model.conditions import Condition, ConditionSet
from molvae.report import Histogram, charts
from molvae.report.drawing import Palette
from molvae.targets import parse_target

NAN, INF = float("nan"), float("inf")
RNG = np.random.default_rng(3)
TRAINING = {
    "logp": RNG.normal(2.5, 1.0, 20_000),
    "mw": RNG.uniform(250, 350, 20_000),
    "rings": RNG.integers(1, 6, 20_000).astype(float),
    "assay": RNG.normal(6, 2, 20_000),
    "active": (RNG.random(20_000) < 0.25).astype(float),
}
CONDITIONS = ConditionSet.fit(
    list(TRAINING),
    np.stack(list(TRAINING.values()), axis=1).astype(np.float32),
    {"active": "yesno"},
)
SUMMARY = {
    "wanted": 500, "written": 400, "decoded": 3_000, "seconds": 8.0,
    "refused": {"outside the requested range": 2_345, "written before": 17},
    "notes": ["qed: met by selection alone"],
}  # fmt: skip


def made(texts, columns, *, smiles=None, extra=None, **options):
    """The page of rows with these values by column, and the targets."""
    targets = [parse_target(text) for text in texts]
    n = len(next(iter((columns or extra).values())))
    smiles = smiles or ["C" * (1 + i % 40) for i in range(n)]
    rows = []
    for i in range(n):
        molecule = Generated(smiles[i], {t.name: columns[t.name][i] for t in targets})
        rows.append([*molecule_row(molecule, targets), *(v[i] for v in (extra or {}).values())])
    return page_of([*columns_of(targets), *(extra or {})], rows, targets, **options)


def page_of(
    columns, rows, targets, conditions=CONDITIONS, summary=SUMMARY, held_out=None, **options
):
    collected = GenerationReport(columns, targets, conditions, held_out)
    for row in rows:
        collected.add(row)
    return collected.page(summary, **options)


def lines(table):
    return {
        row.name: dict(zip(table.columns, row.cells, strict=True))
        if len(table.columns) > 1
        else row.cells[0]
        for row in table.rows
    }


def shown(value):
    """A number as the page prints it."""
    return float(value.split()[0].replace("−", "-").replace(",", ""))


def test_a_range_has_a_hit_rate():
    values = RNG.normal(2.5, 0.5, 400)
    [cells] = lines(made(["logp=2:3"], {"logp": values}).targets).values()
    hits = sum(2 <= v <= 3 for v in values)
    assert cells["Requested"].value == "2 to 3"
    assert cells["Hit rate"].value == f"{100 * hits / 400:.1f}%"
    assert cells["Hit rate"].detail == f"{hits}/400"
    assert set(cells) == {"Requested", "Hit rate", "Obtained"}
    assert shown(cells["Obtained"].value) == pytest.approx(np.median(values), rel=0.01)


def test_a_point_has_errors_with_their_unit():
    values = 300 + RNG.normal(3, 10, 401)
    [cells] = lines(made(["mw=300"], {"mw": values}).targets).values()
    errors = values - 300
    assert (cells["Requested"].value, cells["Requested"].detail) == (
        "300 Da",
        "as near as possible",
    )
    assert cells["Mean absolute error"].value.endswith(" Da")
    mean, median = (cells[name].value for name in ("Mean absolute error", "Median error"))
    assert shown(mean) == pytest.approx(np.mean(np.abs(errors)), rel=0.01)
    assert shown(median) == pytest.approx(sorted(errors)[200], rel=0.01)
    low, high = cells["Median error"].detail.removeprefix("5–95 %: ").split(" to ")
    assert shown(low) == pytest.approx(sorted(errors)[20], rel=0.01)
    assert shown(high) == pytest.approx(sorted(errors)[380], rel=0.01)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("mw=:400", "at most 400 Da"), ("mw=:10000", "at most 10,000 Da"),
        ("qed=0.8:", "at least 0.8"), ("logp=-1.5:0", "−1.5 to 0"),
        ("rings=2:2", "exactly 2"), ("active=yes", "yes"), ("active=0", "no"),
        ("active=0.7", "0.7"), ("assay=7.25", "7.25"), ("mw=250.0171", "250.0171 Da"),
    ],
)  # fmt: skip
def test_requests_in_words(text, words):
    target = parse_target(text)
    page = made([text], {target.name: [1.0]})
    [cells] = lines(page.targets).values()
    assert cells["Requested"].value == words
    assert f"{target.name} {words}" in page.summary


def test_missing_values_are_counted_and_left_out():
    page = made(["logp=2:3", "mw=300"], {"logp": [2.5, NAN, 9, NAN], "mw": [NAN] * 4})
    cells = lines(page.targets)
    assert cells["logp"]["Hit rate"].detail == "1/2"
    assert cells["logp"]["Obtained"].note == "2 without a value"
    assert cells["mw"]["Obtained"].note == "no molecule has a value"
    report.render(page)


def test_ends_of_a_range_count_as_hits_as_everywhere():
    [cells] = lines(made(["logp=2:3"], {"logp": [2.0, 3.0, 3.0000000001, 3.1]}).targets).values()
    assert cells["Hit rate"].detail == "3/4"


def test_predictions_are_called_predictions():
    held_out = {"assay": "R² 0.61, MAE 0.312", "active": "accuracy 0.875"}
    values = {"assay": [7.0, 7.5], "active": [0.9, 0.4]}
    texts = ["assay=7", "active=yes"]
    page = made(texts, values, held_out=held_out)
    cells = lines(page.targets)
    assert "predicted by the model" in cells["assay"]["Obtained"].note
    assert "R² 0.61, MAE 0.312" in cells["assay"]["Obtained"].note
    assert "accuracy 0.875" in page.histograms[1].note
    share = re.search(r"about (\d+)% of the training molecules are yes", page.histograms[1].note)[1]
    assert float(share) == pytest.approx(100 * TRAINING["active"].mean(), abs=1)
    assert cells["active"]["Hit rate"].detail == "1/2"
    assert cells["active"]["Mean absolute error"].value == "–"
    assert page.histograms[1].request == (0.5, 1.0)
    assert page.histograms[1].reference is None
    assert "its error is not known" in lines(made(texts, values).targets)["assay"]["Obtained"].note
    assert "predicted" not in lines(made(["mw=300"], {"mw": [1.0]}).targets)["mw"]["Obtained"].note


@pytest.mark.parametrize("name", ["logp", "mw", "rings"])
def test_the_training_distribution_is_that_of_the_training_values(name):
    page = made([f"{name}=2:4"], {name: [2.0, 3.0]})
    [chart] = page.histograms
    bins = np.quantile(TRAINING[name], (0, 0.1, 0.25, 0.5, 0.75, 0.9, 1))
    bins[[0, -1]] += -9, 9
    expected = np.histogram(TRAINING[name], bins)[0] / 20_000
    assert charts.shares(chart.reference, bins) == pytest.approx(expected, abs=0.01)
    mean, sd = chart.figures["training"].split(" ± ")
    assert float(mean) == pytest.approx(TRAINING[name].mean(), rel=0.01)
    assert float(sd) == pytest.approx(TRAINING[name].std(), rel=0.01)
    if name == "rings":
        assert set(chart.reference) == {1, 2, 3, 4, 5}


def test_one_freak_in_training_does_not_stretch_the_axis():
    values = np.append(RNG.normal(0, 1, 999), 1e6)[:, None].astype(np.float32)
    fitted = ConditionSet.fit(["x"], values, {})
    assert outcome._training(fitted["x"]).max() < 5


def test_a_stored_condition_may_have_two_quantiles():
    plain = Condition("x", "number", "", False, False, 2, 1.0, 1.0, (0.0, 2.0))
    assert outcome._training(plain).mean() == pytest.approx(1.0)


def test_what_the_model_does_not_know_has_no_training_values():
    page = made(["qed=0.8:"], {"qed": [0.9]})
    assert page.histograms[0].reference is None
    assert page.histograms[0].description == PROPERTIES["qed"].description


def test_the_run_is_accounted_for():
    page = made([], {}, smiles=["C"], extra={"x": [1.0]}, model="moses", seed=7)
    cells = lines(page.table)
    refused = {name: cell.value for name, cell in lines(page.refused).items()}
    assert refused == {"outside the requested range": "2,345", "written before": "17"}
    assert {name: cell.value for name, cell in cells.items()} == {
        "Asked for": "500", "Written": "400", "Decoded": "3,000", "Seconds": "8.0",
        "Model": "moses", "Seed": "7",
    }  # fmt: skip
    assert cells["Written"].detail == "80.0% of those asked for"
    assert cells["Decoded"].detail == "7.5 candidates per molecule written"
    assert cells["Seconds"].detail == "50 per second"


def test_a_run_that_found_nothing_has_a_page():
    summary = GenerationSummary(wanted=10, notes=["nothing"])
    targets = [parse_target("mw=10:20"), parse_target("logp=3")]
    page = page_of(columns_of(targets), [], targets, summary=summary.to_json())
    text = report.render(page)
    assert "0 of 10 molecules: mw 10 to 20 Da; logp 3." in text
    assert "no molecule has a value" in text


@given(st.integers(0, 300), st.integers(2, 20), st.integers(1, 7))
def test_the_sample_is_evenly_spaced_and_sums_are_exact(n, limit, block):
    target = parse_target("mw=300")
    values = np.sin(np.arange(n)) * 50 + 300
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(outcome, "LIMIT", limit)
        patch.setattr(outcome, "BLOCK", block)
        result = GenerationReport(columns_of([target]), [target], CONDITIONS)
        rows = [("C", v, v - 300) for v in values]
        for row in rows:
            result.add(row)
        page = result.page(SUMMARY)
    assert result.rows == n
    assert [row[1] for row in result._sample] == list(values[:: result.stride])
    assert min(n, limit // 2) <= len(result._sample) <= limit
    [cells] = lines(page.targets).values()
    if n:
        stated = shown(cells["Mean absolute error"].value)
        assert stated == pytest.approx(np.abs(values - 300).mean(), rel=0.01)
    assert ("targets" in page.remarks) == (result.stride > 1)
    if result.stride > 1:
        held = f"one row in {result.stride} ({len(result._sample)} of {n})"
        assert held in page.remarks["targets"]
        assert held in page.remarks["properties"]


def test_sixty_molecules_are_drawn_evenly():
    smiles = [f"C{i}" for i in range(1000)]
    smiles[0] = "C" * 501  # too large to be drawn
    page = made(["mw=300"], {"mw": np.arange(1000.0)}, smiles=smiles, extra={"nll": [2.0] * 1000})
    numbers = [int(card.values["mw"]) for card in page.cards]
    assert len(numbers) == 60
    assert set(np.diff(numbers)) <= {16, 17}
    assert page.cards[0].values == {"mw": 1.0, "nll": 2.0}
    assert page.remarks["molecules"].startswith("60 of 1,000, evenly spaced in the output")
    assert all(card.row == card.values["mw"] + 1 for card in page.cards)
    few = made(["mw=300"], {"mw": [1.0, 2.0]})
    assert [card.values["mw"] for card in few.cards] == [1, 2]


def test_runs_around_given_molecules_show_the_similarity():
    extra = {"start": ["CCN", None], "similarity": [0.625, None], "origin": ["file", "file"]}
    page = made(["mw=300"], {"mw": [46.0, None or NAN]}, smiles=["CCO", "CCC"], extra=extra)
    chart = page.histograms[-1]
    assert (chart.name, chart.request) == ("similarity", None)
    assert chart.sets[0][1].tolist() == [0.625]
    assert (page.cards[0].neighbor, page.cards[0].similarity) == ("CCN", 0.625)
    assert (page.cards[1].neighbor, page.cards[1].similarity) == ("", None)
    text = report.render(page)
    assert "start molecule, " in text
    assert "nearest in training" not in text
    assert 'aria-label="Structure of the start molecule, CCN"' in text


def test_a_column_of_the_users_may_have_any_name():
    # Columns are known by their places: these are properties, not the sampler's own columns.
    conditions = ConditionSet.fit(["similarity", "start"], np.ones((4, 2), np.float32), {})
    targets = [parse_target("similarity=0.5:2"), parse_target("start=1")]
    rows = [("C", 1.0, 1.5, 0.5, 0.25)]
    page = page_of([*columns_of(targets), "similarity"], rows, targets, conditions)
    assert [chart.sets[0][1].tolist() for chart in page.histograms] == [[1.0], [1.5], [0.25]]
    assert page.cards[0].values == {"similarity": 1.0, "start": 1.5}


@pytest.mark.parametrize(
    "columns", [["smiles"], ["smiles", "mw"], ["mw", "smiles", "mw_minus_target"]]
)
def test_other_columns_are_refused(columns):
    with pytest.raises(InputError, match=r"smiles, mw, mw_minus_target"):
        GenerationReport(columns, [parse_target("mw=3")], CONDITIONS)


def test_a_row_of_another_length_is_refused():
    result = GenerationReport(["smiles"], [], CONDITIONS)
    result.add(["C"])
    with pytest.raises(InputError, match=r"row 2.* 2 .*1.*smiles"):
        result.add(["C", 1.0])


def test_the_page_holds_its_numbers_and_escapes_what_comes_from_outside():
    evil = "<script>alert('x')</script>"
    conditions = ConditionSet.fit([evil], np.arange(50, dtype=np.float32)[:, None], {})
    targets = [parse_target(f"{evil}=10:20"), parse_target("mw=300")]
    summary = {**SUMMARY, "notes": [evil], "refused": {evil: 31_337}}
    rows = [(evil, 12.0, 310.0, 10.0, evil, 0.5), ("CCO", 30.0, 320.0, 20.0, "CCN", 1.0)]
    page = page_of(
        [*columns_of(targets), "start", "similarity"], rows, targets, conditions, summary,
        model=evil, seed=42, command=evil,
    )  # fmt: skip
    text = report.render(page)
    assert "<script" not in text
    plain = html.unescape(re.sub(r"<[^>]+>", " ", text))
    for expected in ("31,337", "50.0%", "1/2", "300 Da", "15 Da", "10 to 20", "42", "7.5 cand",
                     "315 Da", "5–95 %: 10.5 to 19.5", "Tanimoto 0.50", evil):  # fmt: skip
        assert expected in plain, expected


# -- the mark of a request in a histogram ----------------------------------------------------------

PALETTE = Palette(["a"], "training")


def drawn(request, values, **options):
    chart = Histogram("x", "", "u", [("a", np.asarray(values, float))], request=request, **options)
    return charts.histogram(chart, PALETTE)


def places(drawing):
    """(left, right) of the band and the places of its lines, in pixels."""
    band = re.search(r"class='request' x='([\d.]+)' y='[\d.]+' width='([\d.]+)'", drawing.svg)
    path = re.search(r"class='line asked' d='([^']*)'", drawing.svg)
    left, width = (float(v) for v in band.groups()) if band else (0, 0)
    return (left, left + width) if band else None, [
        float(v) for v in re.findall(r"M([\d.]+)", path[1] if path else "")
    ]


def test_a_band_ends_where_the_axis_ends():
    drawing = drawn((0.0, 1.0), np.linspace(0, 4, 500), figures={"requested": "0 to 1"})
    (left, right), ends = places(drawing)
    assert ends == pytest.approx([left, right], abs=0.2)
    tick = {
        t: float(x) for x, t in re.findall(r"<text x='([\d.]+)' y='16[\d.]*'>(\d)<", drawing.svg)
    }
    assert right == pytest.approx(tick["1"], abs=0.2)
    assert (drawing.keys[-1].name, drawing.keys[-1].figures) == ("requested", "0 to 1")
    assert "Requested: 0 to 1." in drawing.label


def test_an_open_end_reaches_the_border_and_a_point_is_one_line():
    (_, right), ends = places(drawn((2.0, INF), np.linspace(0, 4, 500)))
    assert right == pytest.approx(charts.WIDTH - charts.RIGHT, abs=0.1)
    assert len(ends) == 1
    point = drawn((2.0, 2.0), np.linspace(0, 4, 500))
    assert places(point)[0] is None
    assert places(point)[1] == ends


def test_a_band_over_counts_holds_whole_bars():
    values = [1, 2, 3, 4, 5, 6]
    (left, right), _ = places(drawn((1.5, 3.0), values, integer=True))
    bar = (charts.WIDTH - charts.RIGHT - places(drawn((-INF, INF), values, integer=True))[0][0]) / 6
    assert right - left == pytest.approx(2 * bar, abs=0.3)


def test_the_axis_reaches_out_for_a_request_nearby_only():
    _, ends = places(drawn((5.0, 5.0), np.linspace(0, 4, 500)))
    assert len(ends) == 1
    far = drawn((5e5, 6e5), np.linspace(0, 4, 500), figures={"requested": "much"})
    assert "class='request'" not in far.svg
    assert far.keys[-1].figures == "much, beyond the chart"


ENDS = st.floats(allow_nan=False)


@given(st.lists(st.floats(-1e5, 1e5), min_size=1, max_size=9), ENDS, ENDS, st.booleans())
def test_any_request_stays_within_the_drawing(values, a, b, integer):
    values = [round(v) for v in values] if integer else values
    drawing = drawn((min(a, b), max(a, b)), values, integer=integer)
    assert "nan" not in drawing.svg
    assert "inf" not in drawing.svg
    if "class='request'" in drawing.svg:
        (left, right), ends = places(drawing)
        assert 0 <= left <= right + 0.1 <= charts.WIDTH + 0.1
        assert all(math.isclose(end, left, abs_tol=0.2) or math.isclose(end, right, abs_tol=0.2)
                   for end in ends)  # fmt: skip
