"""What contains what, and how a substructure can be written."""

import pytest
from rdkit import Chem

from molvae.chem import (
    MARKS,
    contains,
    has_points,
    is_pattern,
    require_scaffold,
    templates,
    writings,
)
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
        # SMARTS that RDKit also parses as SMILES, of molecules with unpaired electrons
        ("CNC(=O)c1ccccc1", "[#7]C(=O)c1ccccc1", True),
        ("CNC(=O)c1ccccc1", "[NH]C(=O)c1ccccc1", True),
        ("NC(=O)c1ccccc1", "[NH]C(=O)c1ccccc1", False),
        ("Cc1ccncc1", "[#7]~[#6]", True),
        ("Cc1ccccc1", "[#6]:1:[#6]:[#6]:[#6]:[#6]:[#6]:1", True),
        ("C[Si](C)(C)OC", "[Si](C)(C)C", True),
        ("CO[N+](C)C", "[#8][#7]", True),
        # several parts, none of whose atoms is shared
        ("O=C(NCCN1CCOCC1)c1ccccc1", "*c1ccccc1.*N1CCOCC1", True),
        ("c1ccc(N2CCOCC2)cc1", "*c1ccccc1.*N1CCOCC1", True),
        ("Cc1ccc(N2CCOCC2)cc1", "*c1ccccc1.*N1CCOCC1", False),
        ("CCc1ccccc1", "c1ccccc1.c1ccccc1", False),
        ("C(c1ccccc1)c1ccccc1", "c1ccccc1.c1ccccc1", True),
    ],
)
def test_what_contains_what(smiles, text, held):
    assert contains(Chem.MolFromSmiles(smiles), text) is held


@pytest.mark.parametrize(
    ("smiles", "text", "held"),
    [
        ("Cc1ccc(C)cc1", "*c1ccc(*)cc1", True),
        ("Cc1ccccc1", "*c1ccc(*)cc1", False),
        ("Cc1ccccc1", "c1ccccc1", True),
        ("NC(=O)c1ccccc1", "*NC(=O)c1ccccc1", False),
        # a ring through both points, and one atom at both
        ("C1CCc2ccc(cc2)C1", "*c1ccc(*)cc1", True),
        ("C(c1ccccc1)N1CCOCC1", "*c1ccccc1.*N1CCOCC1", True),
        ("NCC(=O)O", "[NH2]C(*)(*)C(=O)O", False),
        ("NC(C)(C)C(=O)O", "[NH2]C(*)(*)C(=O)O", True),
    ],
)
def test_filled_points_all_have_an_atom(smiles, text, held):
    assert contains(Chem.MolFromSmiles(smiles), text, fill=True) is held


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("c1ccccc1", ("c1ccccc1",)),
        ("*CCO", ("*CCO",)),
        ("[#7]C(=O)c1ccccc1", ("NC(=O)c1ccccc1",)),
        ("[NH]C(=O)C", ("CC(N)=O",)),
        ("[Si](C)(C)C", ("C[SiH](C)C",)),
        ("*c1ccccc1.*N1CCOCC1", ("*c1ccccc1", "*N1CCOCC1")),
        ("[#6]~[#7]", ()),
        ("[#7]C*", ()),
        ("[c;R2]", ()),
        ("C*C", ()),
    ],
)
def test_what_molecules_are_built_around(text, parts):
    assert templates(text) == parts


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("*=Cc1ccccc1", "multiple bond"),
        ("C#[*:1]", "multiple bond"),
        ("*.CC", "not bound"),
        ("[Na+].[O-]C(=O)c1ccccc1", r"'\[Na\+\]' .*counter-ion"),
        ("*c1ccccc1.Cl", "'Cl' .*counter-ion"),
        ("C[N+](C)(C)*.[Br-]", r"'\[Br-\]' .*counter-ion"),
        ("OC(=O)C(F)(F)F.c1ccc2[nH]ccc2c1", r"'O=C\(O\)C\(F\)\(F\)F' .*counter-ion"),
        ("*c1ccccc1.CC", "'CC' .*no attachment point"),
        ("xyz", "SMILES .*SMARTS"),
    ],
)
def test_scaffolds_that_no_molecule_can_have_are_refused(text, match):
    with pytest.raises(TargetError, match=match):
        require_scaffold(text)


@pytest.mark.parametrize(
    "text", ["*CC", "C*C", "c1cc*cc1", "CCS.NC(=O)c1ccccc1", "[#7]=*", "[O-]C(=O)C"]
)
def test_other_scaffolds_are_taken(text):
    require_scaffold(text)


def test_only_a_smiles_has_attachment_points():
    assert has_points("[*:1]CC")
    assert not any(map(has_points, ["CC", "C*C", "[#7]C*", "[c;R2]"]))


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
    result = writings(smiles, 40)
    assert result == writings(smiles, 40)
    assert len(result) >= 4
    for text, hydrogens in result:
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


def test_points_that_stereo_needs_have_their_own_mark():
    assert all(MARKS[1] in text for text, _ in writings("N[C@@H](*)C(=O)O", 9))
    assert all(MARKS[1] in text for text, _ in writings("*/C=C/C", 9))
    assert all(MARKS[0] in text for text, _ in writings("*CCO", 9))
    assert all(MARKS[1] in text for text, _ in writings("*CCO", 9, fill=True))


@pytest.mark.parametrize(
    "smiles",
    ["*N1CCN(*)CC1", "*[C@H]1CC[C@@H](*)CC1", "*[C@](F)(Cl)c1ccc(*)cc1", "*/C=C/CC(*)C", "*C*"],
)
def test_a_linked_part_has_a_mark_at_both_ends(smiles):
    result = [text for text, _ in writings(smiles, 64, linked=True)]
    both = [text for text in result if text.startswith(MARKS) and text.endswith(MARKS)]
    assert both
    for text in result:
        unmarked = text.replace(MARKS[0], "*").replace(MARKS[1], "*")
        assert Chem.CanonSmiles(unmarked) == Chem.CanonSmiles(smiles)
