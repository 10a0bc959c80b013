"""GuacaMol's benchmarks on files of samples."""

import importlib.util
import json
from pathlib import Path

import pytest

from molvae.evaluate.metrics import frechet, guacamol

BENCH = Path(__file__).parents[2] / "scripts" / "bench"
TRAIN = ["CCO", "CCN", "C[C@H](N)C(=O)O", "c1ccccc1O", "CCCC", "CC(=O)Nc1ccc(O)cc1"]
SAMPLES = ["OCC", "CCCl", "not a molecule", "C[C@@H](N)C(=O)O", "CCCl", "c1ccncc1"]


@pytest.mark.skipif(not frechet.available(), reason="the extra 'fcd'")
def test_results_are_those_of_the_metrics(tmp_path):
    spec = importlib.util.spec_from_file_location("guacamol_bench", BENCH / "guacamol.py")
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    for name, texts in (("train", TRAIN), ("samples", SAMPLES)):
        (tmp_path / f"{name}.smi").write_text("\n".join(texts) + "\n", encoding="utf-8")
    script.evaluate(tmp_path / "train.smi", [tmp_path / "samples.smi"], tmp_path / "out", 0)
    written = json.loads((tmp_path / "out" / "samples.json").read_text(encoding="utf-8"))
    values = {name: metric["value"] for name, metric in written["metrics"].items()}
    fcd = frechet.chemnet_distance([text for text in SAMPLES if " " not in text], TRAIN)
    expected = guacamol.assess(SAMPLES, TRAIN, fcd=fcd)
    assert values == {f"GuacaMol/{name}": metric.value for name, metric in expected.items()}
    # Six are wanted: one is no molecule, one a repeat, and ethanol and alanine are known.
    assert values["GuacaMol/validity"] == pytest.approx(5 / 6)
    assert values["GuacaMol/novelty"] == pytest.approx(2 / 6)
