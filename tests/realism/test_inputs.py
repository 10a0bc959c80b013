"""Inputs of the critic: against RDKit's fingerprints, other definitions, and damaged files."""

import json

import numpy as np
import pytest
from rdkit.Chem import rdFingerprintGenerator

from molvae.chem.realism_features import FACTS, FINGERPRINT_SIZE, describe
from molvae.errors import ModelFolderError
from molvae.realism.inputs import FactTable, InputDefinition
from tests.molecules import demo_and_hard, facts


@pytest.fixture(scope="module")
def molecules():
    return demo_and_hard()


@pytest.fixture(scope="module")
def table(molecules):
    return FactTable.of([describe(mol) for mol in molecules])


def test_rows_are_fingerprint_and_one_hot_bins(table, molecules):
    inputs = InputDefinition.of(table)
    rows = inputs.rows(table)
    dense = np.zeros((len(table), rows.width))
    for i in range(len(table)):
        part = slice(rows.offsets[i], rows.offsets[i + 1])
        dense[i, rows.columns[part]] += rows.values[part]
    generator = rdFingerprintGenerator.GetMorganGenerator(radius=2, fpSize=FINGERPRINT_SIZE)
    for i, mol in enumerate(molecules):
        expected = np.log1p(generator.GetCountFingerprintAsNumPy(mol).astype(float))
        np.testing.assert_allclose(dense[i, :FINGERPRINT_SIZE], expected)
    bins = dense[:, FINGERPRINT_SIZE:]
    assert set(np.unique(bins)) == {0.0, 1.0}
    assert (bins.sum(axis=1) == 1 + len(FACTS)).all()


def test_one_molecule_scores_as_its_row(table, molecules):
    inputs = InputDefinition.of(table)
    weights = np.random.default_rng(0).normal(size=inputs.width)
    rows = inputs.rows(table)
    expected = np.add.reduceat(rows.values * weights[rows.columns], rows.offsets[:-1])
    result = [inputs.score(describe(mol), weights) for mol in molecules]
    np.testing.assert_allclose(result, expected, atol=1e-10)


def test_finer_bins_take_weights_over_exactly(table):
    half = FactTable.of([facts(text) for text in ("CCO", "c1ccccc1", "CCCCN")])
    coarse, fine = InputDefinition.of(half), InputDefinition.of(table)
    both = fine.refined(coarse)
    weights = np.random.default_rng(0).normal(size=coarse.width)
    moved = weights[both.origins(coarse)]
    for before, after in ((coarse.rows(table), both.rows(table)),):
        expected = np.add.reduceat(before.values * weights[before.columns], before.offsets[:-1])
        result = np.add.reduceat(after.values * moved[after.columns], after.offsets[:-1])
        np.testing.assert_allclose(result, expected, atol=1e-10)


def test_a_hard_limit_of_the_data_gets_an_edge():
    some = FactTable.of([facts("C" * n) for n in range(5, 15)])
    inputs = InputDefinition.of(some)
    assert inputs.mass_edges[0] <= some.mass.min() < some.mass.max() <= inputs.mass_edges[-1]
    assert inputs.mass_edges[0] > some.mass.min() - 1.001
    columns = {int(inputs.rows(some).columns[-1 - len(FACTS)])}
    outside = FactTable.of([facts("C" * 15)])
    assert int(inputs.rows(outside).columns[-1 - len(FACTS)]) not in columns


def test_tables_join(table):
    joined = FactTable.joined([table, FactTable.of([]), table])
    assert len(joined) == 2 * len(table)
    inputs = InputDefinition.of(table)
    np.testing.assert_array_equal(
        inputs.rows(joined).columns, np.tile(inputs.rows(table).columns, 2)
    )


def test_a_definition_survives_json(table):
    inputs = InputDefinition.of(table)
    assert InputDefinition.from_json(json.loads(json.dumps(inputs.to_json()))) == inputs


@pytest.mark.parametrize(
    "change",
    [
        {"version": 99},
        {"mass_edges": [3.0, 2.0]},
        {"mass_edges": []},
        {"mass_edges": [float("nan")]},
        {"mass_edges": "many"},
        {"facts": {"heavy_atoms": 3}},
        {"facts": dict.fromkeys(FACTS, 10**9)},
        {"fingerprint": {"radius": 3, "size": FINGERPRINT_SIZE}},
    ],
)
def test_a_damaged_definition_is_refused(table, change):
    with pytest.raises(ModelFolderError, match="realism inputs"):
        InputDefinition.from_json({**InputDefinition.of(table).to_json(), **change})
