"""What contains what, and how a substructure can be written."""

import pytest
from rdkit import Chem

from molvae.chem import MARKS, contains, is_pattern, writings
from molvae.errors import TargetError


@pytest.fixture(params=["CCO", "c1ccccc1", "CC(=O)Oc1ccccc1C(=O)O", "C[C@H](N)C(=O)O"])
def mol(request):
    return Chem.MolFromSmiles(request.param)


@pytest.mark.parametrize(
    ("smiles", "text", "held"),
    [
        ("Cc1ccccc1", "c1ccccc1", True),
        ("CC1CCCCC1", "c1ccccc1", False),
        ("C[NH3+]", "CN", False),
        ("Cc1ccccc1", "CC", False),
        ("CC[C@H](N)O", "C[C@H](N)O", True),
        ("CC[C@@H](N)O", "C[C@H](N)O", False),
        ("CCC(N)O", "C[C@H](N)O", False),
        ("CCC/C=C/CC", "C/C=C/C", True),
        ("CCC/C=C\\CC", "C/C=C/C", False),
        # attachment points: everything else is as it is written; they may stay free
        ("Cc1ccc(C)cc1", "*c1ccc(*)cc1", True),
        ("Cc1ccccc1", "*c1ccc(*)cc1", True),
        ("Cc1cccc(C)c1", "*c1ccc(*)cc1", False),
        ("c1ccc2[nH]cnc2c1", "c1ccc2c(c1)ncn2*", True),
        ("CCn1cnc2ccccc21", "c1ccc2c(c1)ncn2[*:1]", True),
        ("CCn1cnc2ccc(C)cc21", "c1ccc2c(c1)ncn2*", False),
        ("N[C@@H](CC)C(=O)O", "N[C@@H](*)C(=O)O", True),
        ("N[C@H](CC)C(=O)O", "N[C@@H](*)C(=O)O", False),
        ("NCC(=O)O", "N[C@@H](*)C(=O)O", False),
        ("CC/C=C/C", "*/C=C/C", True),
        ("CC/C=C\\C", "*/C=C/C", False),
        # SMARTS
        ("CO", "[#6]-[O,N]", True),
        ("CS", "[#6]-[O,N]", False),
        ("CNC", "C*C", True),
    ],
)
def test_what_contains_what(smiles, text, held):
    assert contains(Chem.MolFromSmiles(smiles), text) is held


@pytest.mark.parametrize("text", ["", " ", "xyz", "C(", "CC\nCC"])
def test_what_is_no_pattern_is_contained_in_nothing(text, capfd):
    assert not is_pattern(text)
    assert writings(text, 3) == []
    with pytest.raises(TargetError, match=r"SMILES.* SMARTS"):
        contains(Chem.MolFromSmiles("CC"), text)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    "smiles",
    ["c1ccc2[nH]ccc2c1", "C[C@H](N)C(=O)O", "*N[C@@H](C)C(=O)*", "N[C@@H](*)C(=O)O", "*/C=C/C"],
)
def test_writings_are_one_molecule(smiles):
    marked = Chem.MolFromSmiles(smiles)
    found = writings(smiles, 40)
    assert found == writings(smiles, 40)
    assert len(found) >= 4
    for text, hydrogens in found:
        mol = Chem.MolFromSmiles(text)
        assert [atom.GetNumImplicitHs() for atom in mol.GetAtoms()] == list(hydrogens)
        assert not text.startswith(MARKS)
        for atom in mol.GetAtoms():
            if atom.GetSymbol() == "At":
                atom.SetAtomicNum(0)
                atom.SetIsotope(0)
        assert Chem.MolToSmiles(mol) == Chem.MolToSmiles(marked)


@pytest.mark.parametrize("text", ["C*C", "*=C", "**", "*", "CC.CC", "[#6,#7]"])
def test_what_has_no_writings(text):
    assert writings(text, 5) == []


def test_points_that_stereo_needs_have_a_mark_of_their_own():
    assert all(MARKS[1] in text for text, _ in writings("N[C@@H](*)C(=O)O", 9))
    assert all(MARKS[1] in text for text, _ in writings("*/C=C/C", 9))
    assert all(MARKS[0] in text for text, _ in writings("*CCO", 9))
