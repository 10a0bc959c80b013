"""The figure of the benchmark of optimisation: the area under the curve of the ten best."""

import csv
import importlib.util
from pathlib import Path

import numpy as np
import pytest

BENCH = Path(__file__).parents[2] / "scripts" / "bench"


@pytest.fixture(scope="module")
def pmo():
    """The script by its path: scripts/ is a folder of files, not a package."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(BENCH))
        spec = importlib.util.spec_from_file_location("pmo", BENCH / "pmo.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("calls", [10_000, 5_000, 250, 100])
def test_the_last_mean_is_carried_to_the_budget(pmo, calls):
    # From 0 at no call to 1 at the hundredth is a triangle, 50 calls; all others count fully.
    assert pmo.area([1.0] * calls) == pytest.approx(0.995)


def test_the_area_is_that_of_trapezoids_over_the_means_of_the_ten_best(pmo):
    values = np.random.default_rng(0).random(10_000)
    at = np.arange(100, 10_001, 100)
    means = [np.sort(values[:n])[-10:].mean() for n in at]
    heights = np.asarray([0, *means])
    expected = ((heights[1:] + heights[:-1]) / 2).mean()
    assert pmo.area(values.tolist()) == pytest.approx(expected)


def test_failed_calls_count_as_calls_and_bring_nothing(pmo):
    assert pmo.area([float("nan")] * 9_900 + [1.0] * 100) == pytest.approx(0.005)


def test_rows_of_runs_are_read_as_the_runs_themselves(pmo, tmp_path, capsys):
    for seed, auc in enumerate((0.5, 0.7)):
        folder = tmp_path / "evolution" / "pmo:qed" / str(seed)
        folder.mkdir(parents=True)
        result = {
            "method": "evolution", "task": next(iter(pmo.PMO)), "seed": seed, "calls": 10_000,
            "auc": auc, "top": 0.9, "best": 1.0, "seconds": 60.0, "model": "m", "cpus": 2,
        }  # fmt: skip
        (folder / "record.json").write_text(pmo.json.dumps(result), encoding="utf-8")
    options = pmo.argparse.Namespace(output=tmp_path, header=True)
    pmo.rows(options)
    written = capsys.readouterr().out
    assert [row["auc"] for row in csv.DictReader(written.splitlines())] == ["0.5", "0.7"]
    pmo.table(options)
    table = capsys.readouterr().out
    assert "| 0.600 ± 0.141 |" in table
    (tmp_path / "pmo.csv").write_text(written, encoding="utf-8")
    pmo.table(pmo.argparse.Namespace(output=tmp_path / "pmo.csv"))
    assert capsys.readouterr().out == table


def test_the_tables_in_the_documentation_are_those_of_the_script(pmo, capsys):
    docs = BENCH.parents[1] / "docs"
    pmo.table(pmo.argparse.Namespace(output=docs / "results" / "pmo.csv"))
    tables = capsys.readouterr().out.strip().split("\n\n")
    assert all(table in (docs / "benchmarks.md").read_text(encoding="utf-8") for table in tables)
    # Published sums of the 20 tasks (InVirtuoGen's repository) are those of our copies.
    sums = tables[1].splitlines()[-1].split(" | ")[2:]
    assert sums == ["13.912", "13.594", "12.227", "14.063", "15.475", "16.111 |"]


def test_later_methods_begin_with_the_tasks_that_we_lose(pmo, capsys):
    pmo.table(pmo.argparse.Namespace(output=BENCH.parents[1] / "docs" / "results" / "pmo.csv"))
    rows = [line.split(" | ") for line in capsys.readouterr().out.split("\n\n")[1].splitlines()[2:]]
    leads = [float(row[1].split(" ± ")[0]) - max(map(float, row[2:5])) for row in rows[:-1]]
    assert leads[0] < 0 < leads[-1]
    assert leads == pytest.approx(sorted(leads), abs=0.0011)  # printed with three digits
