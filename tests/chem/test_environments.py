"""The environments of atoms, and values kept by them."""

import pytest
from rdkit import Chem

from molvae.chem import environments as module
from molvae.chem.environments import AtomTable, environments
from tests.molecules import demo_and_hard


def described(mol):
    return [atom.GetSymbol() for atom in mol.GetAtoms()]


@pytest.mark.parametrize(
    ("smiles", "equal", "different"),
    [
        ("CCCCC", [(0, 4), (1, 2, 3)], (0, 1)),  # a carbon sees elements, not their hydrogens
        ("CCO.CCF", [(0, 3)], (1, 4)),
        ("CC=CC", [(0, 3), (1, 2)], (0, 1)),
        ("C1CC=CCC1.C1CCCCC1", [(0, 6), (1, 6)], (2, 6)),  # and nothing two bonds away
        ("c1ccccc1C.C1CCCCC1C", [(0, 1)], (6, 13)),
        ("C[NH3+].CN", [], (1, 3)),
        ("C[NH3+].CN", [], (0, 2)),
        ("C.[13CH4].N", [(0, 1)], (0, 2)),  # isotopes do not count
    ],
)
def test_what_environments_tell_apart(smiles, equal, different):
    for hashes in environments(Chem.MolFromSmiles(smiles)):
        assert all(len({hashes[i] for i in atoms}) == 1 for atoms in equal)
        assert hashes[different[0]] != hashes[different[1]]


def test_oxygen_and_nitrogen_see_more():
    oxygen = environments(Chem.MolFromSmiles("CC(=O)O.CC(O)O.CO.CO")).oxygen
    assert len({oxygen[3], oxygen[6], oxygen[9]}) == 3
    assert oxygen[6] == oxygen[7]
    assert oxygen[9] == oxygen[11]
    found = environments(Chem.MolFromSmiles("CC(=O)N.CS(=O)(=O)N.CS(=O)N.CCN.CC(=S)N.CCCN"))
    nitrogen = [found.nitrogen[i] for i in (3, 8, 12, 15, 19, 23)]
    assert len(set(nitrogen)) == 4  # amide, two sulfonamides, the others
    assert nitrogen[3] == nitrogen[4] == nitrogen[5]


@pytest.mark.parametrize("smiles", ["[2H]C", "*C", "CN(C)(C)->O", "C~O", "[H][H]"])
def test_where_they_do_not_say_enough(smiles):
    assert environments(Chem.MolFromSmiles(smiles)) is None


def test_no_atoms():
    assert environments(Chem.Mol()) is None


def test_the_order_of_the_atoms_does_not_matter():
    for mol in demo_and_hard():
        hashes, order = environments(mol), list(range(mol.GetNumAtoms()))[::-1]
        turned = environments(Chem.RenumberAtoms(mol, order))
        assert turned == (hashes and tuple(part[::-1] for part in hashes))


def test_values_are_computed_once_and_in_bounded_memory(monkeypatch):
    seen = []
    table = AtomTable(lambda mol: seen.append(mol) or described(mol))
    mols = [mol for mol in demo_and_hard() if environments(mol)]
    for mol in mols * 2:
        assert table.values(mol, environments(mol).oxygen) == described(mol)
    assert len(seen) < len(mols)
    assert len(table) == len({key for mol in mols for key in environments(mol).oxygen})
    monkeypatch.setattr(module, "MOST", 60)
    small = AtomTable(described)
    for mol in mols:
        assert small.values(mol, environments(mol).oxygen) == described(mol)
        assert len(small) <= 60 + mol.GetNumAtoms()


def test_too_many_kinds_of_atoms(monkeypatch):
    few = module._Kinds()
    monkeypatch.setattr(module, "_kinds", lambda: few)
    monkeypatch.setattr(module, "KINDS", 10)
    results = [environments(mol) for mol in demo_and_hard()]
    assert any(results)
    assert None in results
    assert len(few.numbers) == 10
