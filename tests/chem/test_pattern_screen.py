"""The screen before a search for many SMARTS may leave out only those that cannot match."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rdkit import Chem
from rdkit.Chem import QED

from molvae import chem
from molvae.chem.pattern_screen import PatternScreen
from tests.molecules import demo_and_hard

SMARTS = """[#6] c C [c,n] [!#1] [F,Cl] [#6X4] [$(cO)] [c;!H0,$(c-[#7])] [#7+] [N;+,H1] *
    CC C=C C#C c:c cc C=,:C C~N [#6]=&!@[#6] [#6]!-[#6] [#6]:,-[#7] [#1]-[#6] [#1][O,N] N-N
    c1ccccc1 [#6]:1:[#6]:[#6]:[#6]:[#6]:[#6]:1 [a] [A] [a;#6] [#6;a]-[#8] [H]C([H])O [2H] [#0]
    [c,C] [C,c]=[O,N] [!c] [!$(C=O)] [r6] [R]@[R] O.O N.c [#8]-[#8] [#16] S(=O)(=O) n1cccc1
    [!#6,#6] [D3,C] [R,N] [!N&C] [#6;c,C] [#6,#6] [C&R,c] C-;!@N [#6]-,:[#7] [#6]!=[#8] C/C C!-C
    [$(CO),C]-[#8] [#6]:&@[#6] [#6]-&@[#6] [#1]C[#1] [#1][#1] [#1]C([#1])[#1]"""
MOLECULES = """CCO c1ccccc1 c1ccncc1O CC(=O)Nc1ccc(O)cc1 OO CS(=O)(=O)N [NH4+] C[N+](=O)[O-] C#CC=C
    c1cc[nH]c1 Cn1cnc2c1c(=O)n(C)c(=O)n2C [2H]O[2H] FC(F)Cl C1CC1 [Na+].[Cl-] N=Nc1ccco1 *CC NN
    O=C1C=CC(=O)C=C1 CSc1nc2ccccc2s1 [H][H] C"""


def matched(queries, mol):
    return [i for i, query in enumerate(queries) if mol.HasSubstructMatch(query)]


@given(
    st.lists(st.sampled_from(SMARTS.split()), min_size=1, max_size=8),
    st.sampled_from(MOLECULES.split()),
)
def test_no_match_is_left_out(smarts, smiles):
    queries = [Chem.MolFromSmarts(text) for text in smarts]
    mol = Chem.MolFromSmiles(smiles)
    for searched in (mol, Chem.AddHs(mol)):
        for screened in (mol, searched):
            possible = PatternScreen(queries).possible(screened)
            assert set(matched(queries, searched)) <= set(possible)
            assert possible == sorted(possible)


def test_all_pairs_of_patterns_and_molecules():
    """One screen for all, which has met other molecules before."""
    queries = [Chem.MolFromSmarts(text) for text in SMARTS.split()]
    screen = PatternScreen(queries)
    for mol in [*map(Chem.MolFromSmiles, MOLECULES.split()), *demo_and_hard()]:
        assert set(matched(queries, Chem.AddHs(mol))) <= set(screen.possible(mol))


@pytest.mark.parametrize(
    ("smarts", "smiles", "possible"),
    [
        ("[Cl,Br]", "CCF", False),
        ("[Cl,Br]", "CCBr", True),
        ("[OH]c", "CCO", False),  # no such bond
        ("[OH]c", "COc1ccccc1", False),  # no such hydrogens
        ("[OH]c", "Oc1ccccc1", True),
        ("C(=O)C(=O)", "CC(=O)N", False),  # only one C=O
        ("C(=O)C(=O)", "CC(=O)CCC(C)=O", True),  # the screen sees bonds, not what joins them
        ("c1ccc2ccccc2c1", "c1ccccc1C1CC1", False),  # too few aromatic atoms
        ("C1CC2CC1CC2", "C1CCCCC1", False),  # too few rings
        ("[N+](=O)[O-]", "NC=O", False),
        ("[$(CO)]F", "CF", True),  # more than the kind of an atom says: taken to match
        ("[CR2]", "C1CC1", True),
        ("[CR2]", "CCC", False),
        ("[CD3]", "CC", True),
        ("[13C]", "CC", True),
        ("[13C]", "O", False),
    ],
)
def test_what_is_left_out(smarts, smiles, possible):
    screen = PatternScreen([Chem.MolFromSmarts(smarts)])
    assert screen.possible(Chem.MolFromSmiles(smiles)) == [0] * possible


def test_it_leaves_out_most_alerts():
    """Of QED's 116 alerts: those that match, and fewer than a quarter of the others."""
    screen = PatternScreen(QED.StructuralAlerts)
    mols = demo_and_hard()
    left = [screen.possible(mol) for mol in mols]
    for mol, possible in zip(mols, left, strict=True):
        assert set(matched(QED.StructuralAlerts, mol)) <= set(possible)
    assert sum(map(len, left)) < 0.25 * len(mols) * len(QED.StructuralAlerts)


def test_without_patterns():
    assert PatternScreen([]).possible(chem.parse("CCO")) == []
