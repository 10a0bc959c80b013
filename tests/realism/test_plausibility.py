"""The table of what training molecules have: reasons, exemptions, files."""

import pickle

import numpy as np
import pytest
from rdkit import Chem
from safetensors.numpy import load, save

from molvae.chem.realism_features import describe
from molvae.errors import ModelFolderError
from molvae.realism import plausibility as module
from molvae.realism.plausibility import (
    KINDS,
    Exempt,
    Plausibility,
    load_plausibility,
    save_plausibility,
)
from tests.molecules import demo_smiles

TRAINING = ("Cc1ccccc1", "CCO", "CC(=O)NC", "Cc1ccccc1C", "CCN1CCCCC1")


def mol(smiles):
    return Chem.MolFromSmiles(smiles)


def table_of(*smiles):
    return Plausibility.of(describe(mol(text)) for text in smiles)


@pytest.fixture(scope="module")
def table():
    return table_of(*TRAINING)


def count(counts, key):
    return int(counts.molecules[np.searchsorted(counts.ids, np.uint64(key))])


def test_training_molecules_are_plausible(table):
    assert all(table.refused(mol(text)) is None for text in TRAINING)
    assert table.molecules == len(TRAINING)


def test_molecules_are_counted_and_not_rings(table):
    benzene = describe(mol("c1ccccc1")).ring_systems[0]
    assert count(table.ring_systems, benzene) == 2
    assert count(table_of("c1ccccc1-c1ccccc1").ring_systems, benzene) == 1


def test_the_reason_names_the_ring_system(table):
    reason = table.refused(mol("CCC1CCSNCCCC1"))
    assert reason == "ring system without training molecules: C1CCCNSCCC1"


def test_the_reason_names_the_environment(table):
    reason = table.refused(mol("CCOO"))
    assert reason == "atom environment without training molecules: O(-C)(-O)"


def test_what_start_molecules_have_is_allowed(table):
    exempt = Exempt.of([mol("CCC1CCSNCCCC1")])
    assert table.refused(mol("CCC1CCSNCCCC1"), exempt) is None
    assert table.refused(mol("CCC1CCSSCCCC1"), exempt) is not None


def test_what_is_made_of_the_scaffold_is_allowed(table):
    whole = mol("CCC1CCSNCCCC1")
    table = Plausibility.joined([table, table_of("CCC")])
    assert table.refused(whole) is not None
    scaffold = frozenset(whole.GetSubstructMatch(mol("C1CCSNCCCC1")))
    assert table.refused(whole, atoms=scaffold) is None
    fused = mol("C1CCC2C1CCSNCCC2")  # a ring system that the scaffold is only a part of
    scaffold = frozenset(fused.GetSubstructMatch(mol("C1CCSNCCCC1")))
    assert scaffold
    assert "ring system" in (table.refused(fused, atoms=scaffold) or "")


def test_tables_merge(table):
    other = table_of("C1CCSNCCCC1", "Cc1ccccc1")
    both = Plausibility.joined([table, other])
    assert both.molecules == table.molecules + 2
    benzene = describe(mol("c1ccccc1")).ring_systems[0]
    assert count(both.ring_systems, benzene) == 3
    assert both.refused(mol("C1CCSNCCCC1")) is None
    for counts in (both.ring_systems, both.environments):
        assert (np.diff(counts.ids.astype(object)) > 0).all()


def test_many_tables_are_those_of_all_molecules_at_once():
    texts = demo_smiles(200)
    whole, joined = table_of(*texts), Plausibility.joined(map(table_of, texts))
    assert joined.molecules == whole.molecules == 200
    for kind in KINDS:
        assert (getattr(joined, kind).ids == getattr(whole, kind).ids).all()
        assert (getattr(joined, kind).molecules == getattr(whole, kind).molecules).all()
    assert Plausibility.joined([]).molecules == 0


def test_shares_have_numerator_and_denominator(table):
    facts = [describe(mol(text)) for text in ("CCO", "C1CCSNCCCC1", "CCOO", "Cc1ccccc1")]
    shares = table.shares(facts)
    assert shares["ring_systems"] == {"value": 0.25, "numerator": 1, "denominator": 4}
    assert shares["environments"]["numerator"] == 2
    assert np.isnan(table.shares([])["ring_systems"]["value"])


def test_a_table_is_the_same_after_loading(table, tmp_path):
    save_plausibility(tmp_path, table)
    loaded = load_plausibility(tmp_path)
    for kind in module.KINDS:
        mine, other = getattr(table, kind), getattr(loaded, kind)
        np.testing.assert_array_equal(mine.ids, other.ids)
        np.testing.assert_array_equal(mine.molecules, other.molecules)
    assert loaded.molecules == table.molecules
    first = (tmp_path / module.PLAUSIBILITY_FILE).read_bytes()
    save_plausibility(tmp_path, loaded)
    assert (tmp_path / module.PLAUSIBILITY_FILE).read_bytes() == first
    assert loaded.refused(mol("CCO")) is None  # fills the set, which is not to be pickled
    assert len(pickle.dumps(loaded)) < 2 * len(pickle.dumps(table)) + 1000


def change(path, **tensors):
    result = {**load(path.read_bytes()), **tensors}
    path.write_bytes(save({name: value for name, value in result.items() if value is not None}))


@pytest.mark.parametrize(
    "tensors",
    [
        {"version": np.asarray([9, 1])},
        {"version": np.asarray([1.0, 1.0])},
        {"version": None},
        {"more": np.zeros(3)},
        {"ring_systems.ids": np.asarray([5, 3], dtype=np.uint64)},
        {"ring_systems.molecules": np.zeros(1, dtype=np.uint32)},
        {"environments.ids": np.zeros(2)},
    ],
)
def test_a_changed_table_is_refused(table, tmp_path, tensors):
    save_plausibility(tmp_path, table)
    change(tmp_path / module.PLAUSIBILITY_FILE, **tensors)
    with pytest.raises(ModelFolderError):
        load_plausibility(tmp_path)


def test_a_damaged_or_missing_table_is_refused(table, tmp_path):
    with pytest.raises(ModelFolderError, match="missing"):
        load_plausibility(tmp_path)
    path = tmp_path / module.PLAUSIBILITY_FILE
    path.write_bytes(b"\x80\x04")
    with pytest.raises(ModelFolderError, match="not a safetensors file"):
        load_plausibility(tmp_path)
    with open(path, "wb") as handle:
        handle.truncate(module.MAX_BYTES + 1)
    with pytest.raises(ModelFolderError, match="at most"):
        load_plausibility(tmp_path)
