"""Changes of molecular graphs: always molecules, one step away, and reachable from both parents."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rdkit import Chem

from molvae.chem import mutations
from molvae.chem.molecules import canonical_smiles, fragment_count, largest_ring, parse
from molvae.chem.mutations import LARGEST, crossed, edited

ELEMENTS = ("C", "N", "O", "F", "S", "Cl", "P")
MOLECULES = [
    "CCOC(=O)C(CCc1cc[nH]c1)NC(=O)C1CC2CCCCC2N1C(C)=O",
    "Cc1ccc(-c2cc(C(F)(F)F)nn2-c2ccc(S(N)(=O)=O)cc2)cc1",
    "C[C@H]([NH3+])c1ccccc1C(=O)[O-]",
    "CC(C)/C=C/C#N",
    "O=C1CCCCCCCCCCCCCC1",
]


def many(change, *given, n=300, seed=0):
    rng = np.random.default_rng(seed)
    return [change(*given, rng) for _ in range(n)]


@pytest.mark.parametrize("smiles", [canonical_smiles(one) for one in MOLECULES])
def test_an_edit_gives_another_molecule_one_step_away(smiles):
    result = {one for one in many(edited, smiles, ELEMENTS) if one}
    assert len(result) > 30
    before = parse(smiles)
    largest = max(LARGEST, largest_ring(before))
    for one in result:
        mol = parse(one)
        assert one == canonical_smiles(one) != smiles
        assert fragment_count(mol) == 1
        assert largest_ring(mol) <= largest
        assert abs(mol.GetNumAtoms() - before.GetNumAtoms()) <= 1
        assert abs(mol.GetNumBonds() - before.GetNumBonds()) <= 1


def test_an_edit_does_not_depend_on_earlier_ones():
    """The parent is read once; edits change copies of it."""
    smiles = canonical_smiles(MOLECULES[0])
    first = edited(smiles, ELEMENTS, np.random.default_rng(5))
    many(edited, smiles, ELEMENTS, n=50)
    crossed(smiles, canonical_smiles(MOLECULES[1]), np.random.default_rng(1))
    assert edited(smiles, ELEMENTS, np.random.default_rng(5)) == first
    mutations._bare.cache_clear()
    assert edited(smiles, ELEMENTS, np.random.default_rng(5)) == first


def test_edits_of_every_kind_are_made():
    """From butane all molecules that one edit can make, listed by hand."""
    expected = {
        "CCCCC", "CCCC=C", "CCCC#C", "CC(C)CC", "C=C(C)CC",  # an atom appended
        "CCC",  # taken out
        "CCCN", "CCOC", "CCCO", "CNCC",  # made another (and put in: CCCCN is appended)
        "C=CCC", "C#CCC", "CC=CC", "CC#CC",  # another bond
        "C1CCC1",  # a ring closed
        "CC(C)C",  # a group moved
    }  # fmt: skip
    result = set(many(edited, "CCCC", ("C", "N", "O"), n=1000))
    assert {canonical_smiles(one) for one in expected} <= result
    assert "CCCC" not in result
    rings = set(many(edited, "c1ccccc1", ("C", "N"), n=200))
    assert canonical_smiles("c1ccncc1") in rings
    assert canonical_smiles("C=CC=CC=C") in rings  # opened


def test_isomers_of_position_are_one_step_apart():
    """All of 5-methylpyridin-3-ol that differ in one place, listed by hand."""
    expected = {
        "Cc1ncccc1O", "Cc1ccncc1O", "Cc1ccc(O)cn1",  # the methyl moved
        "Cc1cccnc1O", "Cc1cnccc1O", "Cc1ccc(O)nc1",  # the hydroxyl
        "Cc1ccnc(O)c1", "Cc1cccc(O)n1", "Cc1cc(O)ccn1",  # the nitrogen
    }  # fmt: skip
    result = set(many(edited, canonical_smiles("Cc1cncc(O)c1"), ("C",), n=500))
    assert {canonical_smiles(one) for one in expected} <= result


def test_children_hold_parts_of_both_parents():
    """Of a chain of bromines and one of iodines."""
    first, second = "BrCC(Br)C(Br)C(Br)CBr", "ICC(I)C(I)C(I)CI"
    result = {one for one in many(crossed, first, second) if one}
    assert len(result) > 5
    for one in result:
        assert "Br" in one
        assert "I" in one
        assert 5 <= parse(one).GetNumAtoms() <= 15


def test_rings_are_cut_and_joined():
    """Two monocyclic molecules without chains can only be cut through their rings."""
    result = {one for one in many(crossed, "C1CCNCC1", "C1CSCCO1") if one}
    assert result
    for one in result:
        mol = parse(one)  # which its rings do not keep alive
        assert mol.GetRingInfo().NumRings() == 1
    assert any("N" in one and ("S" in one or "O" in one) for one in result)


@pytest.mark.parametrize("smiles", ["Cc1ccccc1[N+](=O)[O-]", "C[N+](C)([O-])CC", "CCN=[N+]=[N-]"])
def test_groups_with_two_charges_lose_both_or_none(smiles):
    smiles = canonical_smiles(smiles)
    result = {*many(edited, smiles, ELEMENTS), *many(crossed, smiles, "CCOc1ccccc1")} - {""}
    assert len(result) > 10
    assert {Chem.GetFormalCharge(parse(one)) for one in result} == {0}
    ion = {Chem.GetFormalCharge(parse(one)) for one in many(edited, "CC[NH3+]", ELEMENTS) if one}
    assert ion == {0, 1}


def test_what_cannot_be_cut_gives_nothing():
    assert crossed("C", "CCO", np.random.default_rng(0)) == ""
    assert crossed("c1ccccc1", "CCO", np.random.default_rng(1)) == ""
    assert crossed("no molecule", "CCO", np.random.default_rng(0)) == ""
    assert edited("no molecule", ELEMENTS, np.random.default_rng(0)) == ""


@pytest.mark.parametrize("smiles", [canonical_smiles(one) for one in MOLECULES[:2]])
def test_no_strained_rings_are_made(smiles):
    bent = [Chem.MolFromSmarts(one) for one in ("[r]#[r]", "[r]=[r]=[r]")]
    for one in many(edited, smiles, ELEMENTS) + many(crossed, smiles, MOLECULES[0]):
        if one:
            mol = parse(one)
            small = [ring for ring in mol.GetRingInfo().BondRings() if len(ring) < 5]
            bonds = [mol.GetBondWithIdx(b).GetBondTypeAsDouble() for ring in small for b in ring]
            assert set(bonds) <= {1.0}
            assert not any(mol.HasSubstructMatch(pattern) for pattern in bent)


@given(st.integers(0, 2**32), st.sampled_from(MOLECULES), st.sampled_from(MOLECULES))
def test_the_same_numbers_give_the_same_molecule(seed, first, second):
    for change, given_ in ((edited, (first, ELEMENTS)), (crossed, (first, second))):
        once, again = (change(*given_, np.random.default_rng(seed)) for _ in range(2))
        assert once == again
        assert once == "" or canonical_smiles(once) == once
