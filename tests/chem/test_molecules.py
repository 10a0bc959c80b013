"""What becomes of every kind of molecule, and what is found out about it."""

import sys

import pytest
from rdkit import Chem

from molvae.chem import (
    Cleaned,
    Rejected,
    block_smiles,
    brics_fragments,
    canonical_smiles,
    clean,
    fragment_count,
    parse,
    ring_scaffold,
    scaffold,
    sdf_block,
    standardize,
    to_smiles,
)
from molvae.config import CleaningConfig

DEFAULT = CleaningConfig()


def options(**changes):
    return CleaningConfig(**{"min_heavy_atoms": 1, **changes})


def outcome(smiles, config=DEFAULT):
    result = clean(smiles, config)
    return result.smiles if isinstance(result, Cleaned) else f"! {result.reason}"


@pytest.fixture(params=["CCO", "c1ccccc1", "CC(=O)Oc1ccccc1C(=O)O", "C[C@H](N)C(=O)O"])
def mol(request):
    return Chem.MolFromSmiles(request.param)


@pytest.mark.parametrize(
    ("smiles", "expected"),
    [
        # salts, counter-ions and solvents
        ("CC(=O)[O-].[Na+]", "CC(=O)O"),
        ("CCN(CC)CC.Cl", "CCN(CC)CC"),
        ("CC[NH+](CC)CC.[Cl-]", "CCN(CC)CC"),
        ("CCCP(=O)(O)[O-].[K+]", "CCCP(=O)(O)O"),
        ("CC(=O)Oc1ccccc1C(=O)O.O.O", "CC(=O)Oc1ccccc1C(=O)O"),
        ("[Na+].[Cl-]", "! too few heavy atoms"),
        # mixtures: the largest part
        ("CCO.CCCCN", "CCCCN"),
        ("CCO.CCO", "CCO"),
        # charges that can go, and those that cannot
        ("C[NH2+]C", "CNC"),
        ("[NH3+][C@@H](C)C(=O)[O-]", "C[C@H](N)C(=O)O"),
        ("C[N+](C)(C)CC(=O)[O-]", "C[N+](C)(C)CC(=O)[O-]"),
        ("C[N+](C)(C)CCO.[Cl-]", "C[N+](C)(C)CCO"),
        ("[O-][n+]1ccccc1", "[O-][n+]1ccccc1"),
        # several ways to write one thing
        ("C[N+](=O)[O-]", "C[N+](=O)[O-]"),
        ("CN(=O)=O", "C[N+](=O)[O-]"),
        ("CN=[N+]=[N-]", "CN=[N+]=[N-]"),
        ("CN=N#N", "CN=[N+]=[N-]"),
        ("CS(C)=O", "CS(C)=O"),
        ("C[S+](C)[O-]", "CS(C)=O"),
        ("CS(C)=O.Cl", "CS(C)=O"),
        ("CS(=O)c1ccccc1[N+](=O)[O-]", "CS(=O)c1ccccc1[N+](=O)[O-]"),
        ("C[S@@+]([O-])CC", "CC[S@@](C)=O"),
        ("CS(C)(=O)=O", "CS(C)(=O)=O"),
        ("C[S+](C)C.[Cl-]", "C[S+](C)C"),
        # metals: bonds to them are broken, what is left is judged
        ("CCO[Na]", "CCO"),
        ("CCC(=O)O[Ag]", "CCC(=O)O"),
        ("CC[Fe]CC", "! organometallic"),
        ("C[Mg]Br", "! organometallic"),
        ("CCC[As]", "! element not allowed"),
        # labels, open shells, placeholders
        ("[13CH3]CO", "! isotope label"),
        ("[2H]C(C)O", "! isotope label"),
        ("CC[CH2]", "! radical"),
        ("CC[O]", "! radical"),
        ("*CCO", "! wildcard or R-group"),
        ("[*:1]CCO", "! wildcard or R-group"),
        # hydrogens written out
        ("[H]C([H])([H])CO", "CCO"),
        ("[H][H]", "! too few heavy atoms"),
        # not a molecule
        ("", "! empty"),
        ("  \t", "! empty"),
        ("hello", "! not a valid SMILES"),
        ("c1cccc1", "! not a valid SMILES"),
        ("CF(C)C", "! not a valid SMILES"),
        ("CCO\nCCN", "! not a valid SMILES"),
        # stereo stays
        ("F/C=C\\F", "F/C=C\\F"),
        (" OCC ", "CCO"),
    ],
)
def test_what_becomes_of(smiles, expected):
    assert outcome(smiles) == expected


@pytest.mark.parametrize(
    ("smiles", "changes", "expected"),
    [
        ("[13CH3]CO", {"isotopes": True}, "[13CH3]CO"),
        ("C[N+](C)(C)CCO", {"charged": False}, "! charged"),
        ("C[N+](=O)[O-]", {"charged": False}, "C[N+](=O)[O-]"),
        ("C[C@H](N)C(=O)O", {"stereo": False}, "CC(N)C(=O)O"),
        ("F/C=C/F", {"stereo": False}, "FC=CF"),
        ("CCO.CCN", {"standardize": "none"}, "! more than one fragment"),
        ("CC(=O)[O-]", {"standardize": "none"}, "CC(=O)[O-]"),
        ("C[S+](C)[O-]", {"standardize": "none"}, "C[S+](C)[O-]"),
        ("CCO", {"elements": ("C",)}, "! element not allowed"),
        ("CCCl", {"elements": ("C", "Cl")}, "CCCl"),
        ("CCO", {"min_heavy_atoms": 4}, "! too few heavy atoms"),
        ("CCO", {"min_heavy_atoms": 3, "max_heavy_atoms": 3}, "CCO"),
        ("CCCO", {"max_heavy_atoms": 3}, "! too many heavy atoms"),
        # Size is that of the largest part: the counter-ion does not count.
        ("CCCCN.OCC", {"max_heavy_atoms": 5}, "CCCCN"),
    ],
)
def test_the_options_decide(smiles, changes, expected):
    assert outcome(smiles, options(**changes)) == expected


@pytest.mark.parametrize(
    "smiles",
    [
        "CC(=O)[O-].[Na+]", "CS(C)=O.Cl", "C[S@+]([O-])CC", "C[N+](C)(C)CCS(C)=O.[Br-]",
        "[NH3+]CC(=O)[O-]", "CC(=O)Oc1ccccc1C(=O)O", "C[C@@H]([NH3+])C(=O)[O-].O", "CCO[Na]",
        "COc1ccc2[nH]c([S@@](=O)Cc3ncc(C)c(OC)c3C)nc2c1.[Na]", "O=[N+]([O-])c1ccccc1S(C)=O",
    ],
)  # fmt: skip
def test_cleaning_twice_is_cleaning_once(smiles):
    once = clean(smiles, options())
    assert isinstance(once, Cleaned)
    assert to_smiles(once.mol) == once.smiles
    assert clean(once.smiles, options()) != Rejected("radical")
    assert outcome(once.smiles, options()) == once.smiles
    assert canonical_smiles(once.smiles) == once.smiles


def test_the_salt_of_a_chiral_sulfoxide_keeps_its_hand():
    for hand in ("@", "@@"):
        plain = f"C[S{hand}](=O)CCN"
        assert outcome(f"{plain}.Cl") == outcome(plain) == Chem.CanonSmiles(plain)


def test_a_failing_standardization_is_counted(monkeypatch):
    def fail(mol, profile):
        raise RuntimeError("kekulise")

    module = sys.modules["molvae.chem.standardize"]  # the package has a function of that name
    monkeypatch.setattr(module, "_standardized", fail)
    assert outcome("CC[O-]") == "! standardization failed"


def test_standardizing_leaves_the_molecule_it_was_given_alone():
    salt = Chem.MolFromSmiles("C[S+](C)[O-].[Na+].[Cl-]")
    before = Chem.MolToSmiles(salt)
    assert to_smiles(standardize(salt)) == "CS(C)=O"
    assert Chem.MolToSmiles(salt) == before
    assert standardize(salt, "none") is salt


@pytest.mark.parametrize("text", ["", " ", "xyz", "C(", "CCO\nCCN", "CCO\r\nCCN"])
def test_what_is_no_molecule_is_none(text):
    assert parse(text) is None
    assert canonical_smiles(text) is None


def test_parsing_prints_nothing(capfd):
    assert parse("c1cccc1") is None
    assert parse("C(C)(C)(C)(C)C") is None
    assert capfd.readouterr() == ("", "")


def test_a_line_end_around_a_smiles_does_no_harm():
    assert canonical_smiles("OCC\n") == canonical_smiles("C(O)C") == "CCO"


def test_every_way_to_write_a_molecule_gives_one_text():
    m = Chem.MolFromSmiles("C[C@H](N)C(=O)Nc1ccc2ccccc2c1")
    ways = {Chem.MolToSmiles(m, doRandom=True) for _ in range(50)}
    assert len(ways) > 10
    assert len({canonical_smiles(way) for way in ways}) == 1


@pytest.mark.parametrize(
    ("smiles", "core", "rings"),
    [
        ("CCO", "", ""),
        ("Cc1ccccc1", "c1ccccc1", ""),
        ("O=C(Nc1ccccc1)C1CCCCC1CC", "O=C(Nc1ccccc1)C1CCCCC1", "O=C(Nc1ccccc1)C1CCCCC1"),
        ("CC[C@H]1CC[C@@]2(CC1)CCCN2C", "C1CCC2(CC1)CCCN2", "C1CCC2(CC1)CCCN2"),
    ],
)
def test_scaffolds(smiles, core, rings):
    m = Chem.MolFromSmiles(smiles)
    assert scaffold(m) == core
    assert ring_scaffold(m) == rings


def test_scaffolds_drop_and_ring_scaffolds_keep_stereo():
    m = Chem.MolFromSmiles("C1CC[C@H]2CNCC[C@H]2C1")
    assert "@" not in scaffold(m)
    assert "@" in ring_scaffold(m)
    assert ring_scaffold(Chem.MolFromSmiles("Cc1ccccc1"), min_rings=1) == "c1ccccc1"


def test_brics_cuts_an_amide_and_a_benzylic_carbon_but_no_ring():
    assert brics_fragments(Chem.MolFromSmiles("c1ccccc1")) == ["c1ccccc1"]
    m = Chem.MolFromSmiles("CC(=O)NCc1ccccc1")
    pieces = brics_fragments(m)
    assert len(pieces) == 4
    heavy = [sum(a.GetAtomicNum() > 0 for a in Chem.MolFromSmiles(p).GetAtoms()) for p in pieces]
    assert sum(heavy) == m.GetNumHeavyAtoms()


@pytest.mark.parametrize(("smiles", "count"), [("CCO", 1), ("[Na+].[Cl-]", 2), ("C.C.C", 3)])
def test_fragments_are_counted(smiles, count):
    assert fragment_count(Chem.MolFromSmiles(smiles)) == count


@pytest.mark.parametrize(
    "smiles",
    ["CCO", "C[C@H](N)C(=O)O", "F/C=C/F", "C[N+](C)(C)CC(=O)[O-]", "c1ccc2[nH]ccc2c1"],
)
def test_a_mol_block_gives_its_molecule(smiles):
    block = sdf_block(smiles, "one", {}).partition("$$$$")[0]
    assert block_smiles(block) == Chem.CanonSmiles(smiles)


@pytest.mark.parametrize(
    "block",
    ["", "no block", sdf_block("CCO", "a", {}).replace(" C ", " Xx", 1),
     "\n\n\n  0  0  0  0  0  0            999 V2000\nM  END\n"],
)  # fmt: skip
def test_a_broken_or_empty_mol_block_gives_none(block, capfd):
    assert block_smiles(block) is None
    assert capfd.readouterr() == ("", "")
