"""Unseen ring systems and atom environments, and the two-sample test, in an evaluation."""

import json

import pytest
from rdkit import Chem

from molvae.chem.realism_features import describe, kinds
from molvae.evaluate import Options, compare, evaluate, references, report
from molvae.realism.critic import two_sample_auc
from molvae.realism.inputs import FactTable
from molvae.realism.plausibility import Plausibility
from molvae.runtime.pool import WorkerPool
from tests.molecules import HARD, demo_smiles

SMILES = demo_smiles(110)
TRAIN, MADE = SMILES[:55], [*SMILES[55:], "C1CCCCCCCCC1", "CCO[Na]", "C1CC", "C[Se]C"]


def facts(smiles):
    return [describe(mol) for mol in map(Chem.MolFromSmiles, smiles) if mol is not None]


@pytest.fixture
def files(tmp_path, monkeypatch):
    monkeypatch.setenv("MOLVAE_CACHE", str(tmp_path / "cache"))
    paths = []
    for name, smiles in (("train", TRAIN), ("made", MADE)):
        paths.append(tmp_path / f"{name}.smi")
        paths[-1].write_text("\n".join(smiles) + "\n")
    return paths


def test_shares_and_auc_are_those_of_the_table_and_of_the_test(files):
    train, made = files
    result = evaluate(made, train=train, options=Options(replicates=0, chemnet=False))
    table = Plausibility.of(facts(TRAIN))
    unseen = [table.unseen(molecule) for molecule in facts(MADE)]
    for name, kind in (("ring systems", "ring_systems"), ("environments", "environments")):
        metric = result.metrics[f"unseen {name}"]
        assert metric.numerator == sum(bool(getattr(new, kind)) for new in unseen) > 1
        assert metric.denominator == len(MADE) - 1
        assert metric.value == metric.numerator / metric.denominator
    # The order of the rows is that of the files, whatever was drawn.
    expected = two_sample_auc(FactTable.of(facts(TRAIN)), FactTable.of(facts(MADE)))
    assert result.metrics["realism AUC"].value == pytest.approx(expected, abs=1e-12)
    same = evaluate(train, train=train, options=Options(replicates=0, chemnet=False))
    assert same.metrics["unseen ring systems"].numerator == 0
    assert same.metrics["unseen environments"].numerator == 0
    data = json.loads(json.dumps(result.to_json()))
    assert data["metrics"]["unseen environments"]["value"] > 0
    assert any(line.startswith("unseen ring systems") for line in report.lines(result, None))


def test_molecules_of_the_training_set_are_not_separable_from_it(files):
    train, _ = files
    result = evaluate(train, train=train, options=Options(replicates=0, chemnet=False))
    assert result.metrics["realism AUC"].value == pytest.approx(0.5, abs=1e-9)


def test_what_is_computed_from_the_training_set_is_kept(files, monkeypatch):
    train, made = files
    options = Options(replicates=0, chemnet=False)
    first = evaluate(made, train=train, options=options)
    for name in ("description", "fact_arrays"):  # nothing is computed
        monkeypatch.setattr(references, name, None)
    again = evaluate(made, train=train, options=options)
    assert again.metrics == first.metrics


def test_a_training_set_is_read_once(files, monkeypatch):
    passes = []
    original = WorkerPool.map_texts

    def recorded(self, label, *arguments):
        passes.append(label)
        return original(self, label, *arguments)

    monkeypatch.setattr(WorkerPool, "map_texts", recorded)
    train, made = files
    evaluate(made, train=train, options=Options(replicates=0, chemnet=False))
    assert [label for label in passes if "train" in label] == ["train", "train facts"]


def test_without_enough_molecules_the_reason_is_stated(files, tmp_path):
    train, made = files
    few = tmp_path / "few.smi"
    few.write_text("CCO\nC1CC1\n")
    options = Options(replicates=0, chemnet=False)
    metric = evaluate(few, train=train, options=options).metrics["realism AUC"]
    assert metric.value is None
    assert "got 2" in metric.note
    nothing = evaluate(made, options=options).metrics
    assert nothing["realism AUC"].note == "needs a training set (--train)"
    assert nothing["unseen environments"].value is None
    none = tmp_path / "none.smi"
    none.write_text("C1CC\n")
    assert evaluate(none, train=train, options=options).metrics["unseen ring systems"].value is None


def test_shares_have_intervals_and_differences(files, tmp_path):
    train, made = files
    options = Options(replicates=100, chemnet=False)
    compared = compare([made, train], train=train, options=options)
    first = compared.reports[0]
    low, high = first.metrics["unseen environments"].interval
    assert low <= first.metrics["unseen environments"].value <= high
    gap = next(iter(compared.differences().values()))["unseen ring systems"]
    assert gap["value"] == -first.metrics["unseen ring systems"].value
    assert gap["interval"][0] < 0


@pytest.mark.parametrize("smiles", [*HARD, *SMILES[:40]])
def test_the_light_pass_finds_what_the_whole_one_finds(smiles):
    mol = Chem.MolFromSmiles(smiles)
    whole = describe(mol)
    assert kinds(mol) == (whole.ring_systems, whole.ring_atoms, whole.environments)
