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
