"""Files in, report out: what is counted, what is refused, and that processes change nothing."""

import gzip
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from molvae import chem, evaluate, metrics
from molvae.errors import FileError, PropertyError, TargetError
from molvae.samples import Inputs

# The data of the published parity case are too large to ship.
SHARED = Path(__file__).parents[3] / "shared" / "data"


@pytest.fixture(autouse=True)
def silent(monkeypatch):
    monkeypatch.setitem(evaluate.Progress.__init__.__globals__["_state"], "quiet", True)


def write(path, lines):
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


@pytest.fixture
def hits(tmp_path):
    """Seven rows: ethanol twice, benzoic acid, a salt, an empty cell, a broken ring, a torn row."""
    return write(
        tmp_path / "hits.csv",
        [
            "smiles,id,pIC50,active",
            "CCO,a,5.0,yes",
            "OCC,b,6.0,no",
            "OC(=O)c1ccccc1,c,8.0,yes",
            "[Na+].[Cl-],d,,yes",
            ",e,9.0,no",
            "C1CC,f,9.0,no",
            "CC,g,1,no,more cells,than the header",
        ],
    )


def values(found):
    return {name: metric.value for name, metric in found.metrics.items()}


def test_a_small_file_by_hand(hits, tmp_path):
    train = write(tmp_path / "train.smi", ["OCC x", "CCN y", "broken("])
    test = write(tmp_path / "test.tsv", ["smiles", "OC(=O)c1ccccc1"])
    found = evaluate.evaluate(hits, train=train, test=test)
    assert found.n == 7
    assert found.metrics["valid"].to_json() == {
        "value": 4 / 7, "n": 7, "numerator": 4, "denominator": 7,
        "note": "1 of them have disconnected parts",
    }  # fmt: skip
    got = values(found)
    assert got["unique"] == got["unique@1000"] == got["unique@10000"] == 3 / 4
    assert got["novelty"] == 2 / 3  # of ethanol, benzoic acid and the salt, one is known
    prints = chem.fingerprints(
        [chem.parse(s) for s in ("CCO", "CCO", "OC(=O)c1ccccc1", "[Na+].[Cl-]")]
    )
    to_test = metrics.tanimoto(prints, prints[2:3])[:, 0]
    assert got["SNN/Test"] == pytest.approx(to_test.mean())
    assert got["IntDiv"] == pytest.approx(1 - metrics.tanimoto(prints, prints).mean())
    assert "SNN/TestSF" not in got
    assert found.reference == "test"
    assert found.properties["heavy"].to_json()["mean"] == (3 + 3 + 9 + 2) / 4
    assert found.properties["heavy"].w1.value == (6 + 6 + 0 + 7) / 4
    assert found.inputs["generated"]["rows"] == 7
    assert found.inputs["train"]["valid"] == 2
    assert len(found.inputs["train"]["files"][0]["sha256"]) == 64


def test_without_references_the_reason_stands_in_for_the_number(hits):
    found = evaluate.evaluate(hits)
    for name in ("novelty", "SNN/Test", "Frag/Test", "Scaf/Test"):
        assert found.metrics[name].value is None
        assert "--t" in found.metrics[name].note
    assert found.properties["qed"].w1.note == "needs a reference set (--test or --train)"
    assert found.reference is None


def test_training_set_is_the_reference_where_there_is_no_test_set(hits):
    found = evaluate.evaluate(hits, train=hits)
    assert found.reference == "train"
    assert found.properties["mw"].w1.value == 0
    assert found.metrics["novelty"].value == 0


def test_scaffold_test_set(hits):
    found = evaluate.evaluate(hits, test=hits, test_scaffolds=hits)
    assert found.metrics["SNN/TestSF"] == found.metrics["SNN/Test"]
    assert found.metrics["Frag/TestSF"].value == pytest.approx(1)


# -- targets --------------------------------------------------------------------------------------


def test_targets_on_properties_and_on_columns(hits):
    found = evaluate.evaluate(hits, targets=["heavy=3", "pIC50=6:", "active=yes"])
    heavy = found.targets["heavy"]
    assert (heavy.metric.value, heavy.source) == ((0 + 0 + 6 + 1) / 4, "RDKit")
    potency = found.targets["pIC50"]
    # Invalid rows do not count, whatever their cells say; the salt has no value.
    assert (potency.metric.numerator, potency.metric.denominator) == (2, 3)
    assert potency.missing == 1
    assert "prediction of the model" in potency.source
    assert found.targets["active"].metric.value == pytest.approx(1 / 4)
    data = found.to_json()["targets"]
    assert data["pIC50"]["target"] == "pIC50=6:"
    assert data["pIC50"]["hit rate"]["value"] == pytest.approx(2 / 3)


def test_rdkit_is_believed_rather_than_a_column_of_the_same_name(tmp_path):
    path = write(tmp_path / "a.csv", ["smiles,heavy", "CCO,99"])
    found = evaluate.evaluate(path, targets=["heavy=3"])
    assert found.targets["heavy"].metric.value == 0


def test_a_misspelt_target_is_an_error_that_helps(hits):
    with pytest.raises(TargetError, match=r"'lgop' is neither.*did you mean 'logp'.*hits\.csv"):
        evaluate.evaluate(hits, targets=["lgop=2"])


def test_a_column_of_a_smi_file_cannot_be_a_target(tmp_path):
    path = write(tmp_path / "a.smi", ["CCO"])
    with pytest.raises(TargetError, match=r"'pIC50' is neither.*\.smi file has no column"):
        evaluate.evaluate(path, targets=["pIC50=2"])


def test_lists_of_unequal_length_are_refused():
    inputs = Inputs(["C", "CC"], columns={"pIC50": np.array([1.0])})
    with pytest.raises(FileError, match=r"'pIC50' has 1 values for 2 molecules"):
        evaluate.evaluate_smiles(inputs)


def test_an_unknown_target_for_lists():
    with pytest.raises((TargetError, PropertyError), match="did you mean 'logp'"):
        evaluate.evaluate_smiles(Inputs(["C"]), targets=["lgop=1"])


# -- edges ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["empty.smi", "empty.csv", "header.csv"])
def test_an_empty_file_is_an_error(tmp_path, name):
    path = tmp_path / name
    path.write_text("smiles,id\n" if name == "header.csv" else "")
    with pytest.raises(FileError, match=name):
        evaluate.evaluate(path)


def test_an_empty_reference_is_an_error(hits, tmp_path):
    empty = tmp_path / "none.smi"
    empty.write_text("")
    with pytest.raises(FileError, match=r"none\.smi.*the train set has no molecule"):
        evaluate.evaluate(hits, train=empty)


def test_no_path_and_no_molecule_are_errors():
    with pytest.raises(FileError, match="no file was given"):
        evaluate.evaluate([])
    with pytest.raises(FileError, match="no molecule to evaluate"):
        evaluate.evaluate_smiles(Inputs([]))


def test_one_molecule_is_enough():
    found = evaluate.evaluate_smiles(Inputs(["CCO"], train=["CC"], test=["CCO"]))
    got = values(found)
    assert (got["valid"], got["unique"], got["novelty"], got["SNN/Test"]) == (1, 1, 1, 1)
    assert got["IntDiv"] is None
    assert found.metrics["IntDiv"].note == "needs at least 2 valid molecules"


def test_nothing_valid_is_a_result_too(tmp_path):
    found = evaluate.evaluate_smiles(
        Inputs(["", "C1CC"], train=["C"], test=["C"]), targets=["qed=0.5"], draw=5
    )
    assert found.metrics["valid"].value == 0
    assert found.targets["qed"].metric.value is None
    assert found.cards == []
    evaluate.write_json(found, tmp_path / "r.json")
    evaluate.write_html(found, tmp_path / "r.html")
    assert evaluate.table_rows(found)


def test_only_duplicates():
    got = values(evaluate.evaluate_smiles(Inputs(["CCO"] * 10)))
    assert got["unique"] == 0.1
    assert got["IntDiv"] == pytest.approx(0, abs=1e-7)


def test_invalid_references_give_reasons():
    found = evaluate.evaluate_smiles(Inputs(["CCO"], train=["C1CC"], test=["C1CC"]), draw=1)
    assert found.metrics["SNN/Test"].note == "no valid molecule in the reference"
    assert found.metrics["novelty"].value == 1
    assert found.properties["mw"].w1.value is None
    assert found.cards[0].similarity is None


def test_formats_agree(tmp_path):
    lines = ["CCO", "c1ccccc1O", "CC(=O)N"]
    smi = write(tmp_path / "a.smi", lines)
    table = write(tmp_path / "a.csv", ["SMILES", *lines])
    packed = tmp_path / "a.smi.gz"
    packed.write_bytes(gzip.compress(smi.read_bytes()))
    sdf = tmp_path / "a.sdf"
    sdf.write_text("".join(chem.sdf_block(s, "x", {}) for s in lines))
    wanted = values(evaluate.evaluate(smi))
    for path in (table, packed, sdf):
        assert values(evaluate.evaluate(path)) == wanted


def test_several_files_are_one_set(tmp_path):
    a, b = write(tmp_path / "a.smi", ["CCO"]), write(tmp_path / "b.csv", ["smiles", "OCC"])
    found = evaluate.evaluate([a, b])
    assert (found.n, found.metrics["unique"].value) == (2, 0.5)


# -- processes and seeds --------------------------------------------------------------------------


def many(n, start=1):
    return ["C" * i + "O" * (j + 1) for i in range(start, n) for j in range(10)][:n]


def test_worker_processes_change_nothing(monkeypatch):
    monkeypatch.setattr(evaluate, "INLINE", 10)
    monkeypatch.setattr(evaluate, "CHUNK", 7)
    inputs = Inputs([*many(40), "broken("], train=many(60, 3), test=many(30, 2))
    one = evaluate.evaluate_smiles(inputs, workers=1, draw=5, targets=["logp=1"])
    two = evaluate.evaluate_smiles(inputs, workers=2, draw=5, targets=["logp=1"])
    assert one.to_json() == two.to_json()
    assert one.cards == two.cards


def test_few_molecules_start_no_process(monkeypatch):
    def refuse(workers):
        raise AssertionError("a process was started")

    monkeypatch.setattr(evaluate, "worker_pool", refuse)
    evaluate.evaluate_smiles(Inputs(many(20)), workers=2)


def test_samples_follow_the_seed_and_are_reported(monkeypatch):
    monkeypatch.setattr(evaluate, "PAIRWISE_SAMPLE", 10)
    monkeypatch.setattr(evaluate, "REFERENCE_SAMPLE", 10)
    inputs = Inputs(many(40), test=many(30, 2))
    first, again, other = (evaluate.evaluate_smiles(inputs, seed=s, draw=5) for s in (1, 1, 2))
    assert first.to_json() == again.to_json()
    assert first.cards == again.cards
    assert first.metrics["IntDiv"].value != other.metrics["IntDiv"].value
    assert first.metrics["IntDiv"].n == 10
    assert any("sample of 10 of 40 valid" in note for note in first.notes)
    assert any("sample of 10 of 30 test" in note for note in first.notes)


def test_order_of_the_rows_does_not_matter():
    texts = [*many(30), "", "CCO"]
    a, b = (evaluate.evaluate_smiles(Inputs(t, test=many(9))) for t in (texts, texts[::-1]))
    assert values(a) == pytest.approx(values(b), abs=1e-6)


# -- what is written ------------------------------------------------------------------------------


def test_json_has_the_agreed_shape(hits, tmp_path):
    found = evaluate.evaluate(hits, train=hits, targets=["qed=0.3:"], seed=4)
    evaluate.write_json(found, tmp_path / "r.json")
    data = json.loads((tmp_path / "r.json").read_text(encoding="utf-8"))
    assert data == found.to_json()
    assert (data["schema"], data["n"], data["seed"]) == (1, 7, 4)
    assert {"metrics", "properties", "targets", "versions", "inputs"} <= set(data)
    for entry in data["metrics"].values():
        assert {"value", "n"} <= set(entry)
    assert {"mean", "sd", "min", "max", "W1", "reference"} <= set(data["properties"]["qed"])
    assert "rdkit" in data["versions"]


def test_the_page_shows_the_numbers_and_the_neighbours(hits, tmp_path):
    train = write(tmp_path / "train.smi", ["CCO", "CCCC"])
    found = evaluate.evaluate(hits, train=train, targets=["pIC50=6:"], draw=60)
    assert [card.smiles for card in found.cards] == ["CCO", "O=C(O)c1ccccc1", "[Cl-].[Na+]"]
    ethanol = found.cards[0]
    assert (ethanol.similarity, ethanol.neighbour) == (1, "CCO")
    assert list(ethanol.values) == ["pIC50", "mw", "logp", "qed", "sas"]
    assert ethanol.values["pIC50"] == 5
    evaluate.write_html(found, tmp_path / "r.html", title="<b>Mine</b>", command="molvae evaluate")
    html = (tmp_path / "r.html").read_text(encoding="utf-8")
    for text in (
        "0.5714",
        "4/7",
        "7 rows, 4 valid",
        "pIC50=6: hit rate",
        "&lt;b&gt;Mine",
        "3 of 3",
    ):
        assert text in html


def test_cards_are_distinct_molecules_and_no_more_than_asked():
    found = evaluate.evaluate_smiles(Inputs(many(50) * 2), draw=8)
    texts = [card.smiles for card in found.cards]
    assert len(texts) == len(set(texts)) == 8
    assert evaluate.evaluate_smiles(Inputs(["CC"])).cards == []


def test_no_torch_and_no_pandas():
    code = (
        "import sys, molvae.evaluate; sys.exit('torch' in sys.modules or 'pandas' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# -- published figures ----------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_the_published_figures_of_a_known_sample():
    sample, test = SHARED / "jtvae_moses_sample.smi.gz", SHARED / "moses_test.csv.gz"
    if not (sample.exists() and test.exists()):
        pytest.skip(f"no JT-VAE sample and MOSES test set in {SHARED}")
    got = values(evaluate.evaluate(sample, test=test))
    assert got["valid"] == 1
    assert got["unique@10000"] == 0.9992
    assert got["SNN/Test"] == pytest.approx(0.5560595345050097, abs=1e-6)
    assert got["Frag/Test"] == pytest.approx(0.996223352989786, abs=1e-6)
    assert got["Scaf/Test"] == pytest.approx(0.8924981494347503, abs=1e-6)
    # MOSES adds the similarities up in float32.
    assert got["IntDiv"] == pytest.approx(0.8511712225340441, abs=1e-6)
    assert got["IntDiv2"] == pytest.approx(0.8453088593783662, abs=1e-6)
