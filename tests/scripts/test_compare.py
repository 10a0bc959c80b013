"""The tables of our results next to published ones."""

import importlib.util
import json
import statistics
from pathlib import Path

import pytest

BENCH = Path(__file__).parents[2] / "scripts" / "bench"
DOCS = BENCH.parents[1] / "docs"
CSV = """model,role,source,valid,FCD
better,,,higher,lower
ours,ours,here,1,0.2±0.01
theirs,other,there,0.9,0.1±0.02
data,reference,there,1,0.01
"""


@pytest.fixture(scope="module")
def compare():
    """The script by its path: scripts/ is a folder of files, not a package."""
    spec = importlib.util.spec_from_file_location("compare", BENCH / "compare.py")
    module = importlib.util.module_from_spec(spec)
    # Its dataclasses look themselves up.
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(importlib.sys.modules, "compare", module)
        spec.loader.exec_module(module)
    return module


def results(compare, tmp_path, text=CSV):
    (tmp_path / "x.csv").write_text(text, encoding="utf-8")
    return compare.read(tmp_path / "x.csv")


def test_rows_where_we_lose_come_first(compare, tmp_path):
    lines = list(compare.table(results(compare, tmp_path)))
    assert lines[0] == "| | ours | theirs | data |"
    # 0.2 is twice the best 0.1; 1 is better than 0.9. The data are shown and win nothing.
    assert lines[2:] == [
        "| FCD | 0.2 ± 0.01 | **0.1 ± 0.02** | 0.01 |",
        "| valid | **1** | 0.9 | 1 |",
    ]


def test_the_lead_is_relative_to_the_best_other_model(compare, tmp_path):
    read = results(compare, tmp_path)
    assert compare.lead("FCD", read) == pytest.approx(-1)
    assert compare.lead("valid", read) == pytest.approx(0.1 / 0.9)


def test_a_metric_that_we_lack_is_last(compare, tmp_path):
    text = CSV.replace("valid,FCD", "new,FCD").replace("here,1,", "here,,")
    assert list(compare.table(results(compare, tmp_path, text)))[-1].startswith("| new |")


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("theirs,other", "theirs,others", "role 'others' of theirs, expected one of ours"),
        ("higher", "up", "better is 'up', expected higher or lower"),
        ("better,,,higher,lower\n", "", "no row 'better'"),
    ],
)
def test_a_bad_file_is_an_error(compare, tmp_path, old, new, reason):
    with pytest.raises(SystemExit, match=reason):
        results(compare, tmp_path, CSV.replace(old, new))


def test_a_row_is_the_mean_of_results_of_evaluate(compare, tmp_path):
    values = [0.9, 0.8, 0.4]
    files = [tmp_path / f"{number}.json" for number in range(3)]
    for path, value in zip(files, values, strict=True):
        metrics = {"GuacaMol/KL": {"value": value}, "FCD/Test": {"value": None}}
        path.write_text(json.dumps({"metrics": metrics}), encoding="utf-8")
    row = compare.our_row("m", "s", files, {"KL": True, "FCD/Test": False}, "one shot")
    assert row == ["m", "ours", "s", f"0.7±{statistics.stdev(values):.1g}", ""]
    with pytest.raises(SystemExit, match="none of the metrics valid"):
        compare.our_row("m", "s", files, {"valid": True}, "one shot")


def test_a_row_of_the_control_benchmark_has_one_mode(compare, tmp_path):
    records = [
        {"name": "logp", "mode": "one shot", "error": {"logp": 0.3}},
        {"name": "logp", "mode": "critic, 8", "error": {"logp": 0.05}},
        {"name": "tpsa + logp", "mode": "critic, 8", "error": {"tpsa": 2.0, "logp": 0.1}},
        {"name": "logp +4 sd = 6.158", "mode": "critic, 8", "error": {"logp": 0.9}},
    ]
    path = tmp_path / "control.json"
    path.write_text(json.dumps({"records": records}), encoding="utf-8")
    better = dict.fromkeys(("logp", "tpsa in tpsa + logp", "logp in tpsa + logp"), False)
    assert compare.our_row("m", "s", [path], better, "critic, 8")[3:] == ["0.05", "2", "0.1"]


@pytest.mark.parametrize("name", ["moses", "guacamol", "control", "speed"])
def test_the_tables_in_the_documentation_are_those_of_the_script(compare, name):
    read = compare.read(BENCH.parents[1] / "docs" / "results" / f"{name}.csv")
    page = (DOCS / "benchmarks.md").read_text(encoding="utf-8")
    assert "\n".join(compare.table(read)) in page
    assert "\n".join(compare.sources(read)) in page
    assert f"python scripts/bench/compare.py table {name}" in page


def test_the_table_of_the_readme_is_rounded_from_the_results(compare):
    text = (BENCH.parents[1] / "README.md").read_text(encoding="utf-8")
    table = text.partition("## Results")[2].partition("\n\nOn 20 tasks")[0]
    head, _, *lines = [line.strip("| ").split("|") for line in table.splitlines() if "|" in line]
    metrics = {"unique@10k": "unique@10000", "FCD": "FCD/Test", "SNN": "SNN/Test"}
    rows = {row.model: row for row in compare.read(DOCS / "results" / "moses.csv").rows}
    names = {"molvae, `--realism off --novel-rings`": "molvae, network alone"}
    assert len(lines) == 5
    for model, *cells in lines:
        row = rows[names.get(model.strip(), model.strip())]
        for metric, cell in zip(head[:-1], cells[:-1], strict=True):
            digits = len(cell.strip().partition(".")[2])
            name = metrics.get(metric.strip(), metric.strip())
            assert float(cell) == round(row.values[name], digits), (model, metric)
