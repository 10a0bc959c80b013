"""What becomes of every kind of molecule, and that fingerprints and records are RDKit's own."""

import re
import struct
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from rdkit import Chem, rdBase
from rdkit.Chem import rdFingerprintGenerator

from molvae.chem import (
    MARKS,
    Cleaned,
    Rejected,
    block_smiles,
    brics_fragments,
    canonical_smiles,
    clean,
    contains,
    draw_grid,
    draw_svg,
    fingerprints,
    fragment_count,
    is_pattern,
    parse,
    ring_scaffold,
    scaffold,
    sdf_block,
    standardize,
    to_smiles,
    writings,
)
from molvae.config import CleaningConfig
from molvae.errors import ConfigError, FileError, TargetError

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


def test_a_failing_standardisation_is_counted(monkeypatch):
    def fail(mol, profile):
        raise RuntimeError("kekulise")

    monkeypatch.setattr("molvae.chem.cleaning.standardize", fail)
    assert outcome("CC[O-]") == "! standardisation failed"


def test_standardising_leaves_the_molecule_it_was_given_alone():
    salt = Chem.MolFromSmiles("C[S+](C)[O-].[Na+].[Cl-]")
    before = Chem.MolToSmiles(salt)
    assert to_smiles(standardize(salt)) == "CS(C)=O"
    assert Chem.MolToSmiles(salt) == before
    assert standardize(salt, "none") is salt


@pytest.mark.parametrize("text", ["", " ", "xyz", "C(", "CCO\nCCN", "CCO\r\nCCN"])
def test_what_is_no_molecule_is_none(text):
    assert parse(text) is None
    assert canonical_smiles(text) is None


def test_parsing_says_nothing(capfd):
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


def test_scaffolds_forget_and_ring_scaffolds_keep_stereo():
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


@pytest.mark.parametrize(("radius", "size"), [(2, 1024), (3, 2048)])
def test_fingerprint_bits_are_rdkits(radius, size):
    mols = [Chem.MolFromSmiles(s) for s in ("CCO", "Cc1ccccc1C(=O)N2CCOCC2", "C")]
    packed = fingerprints(mols, radius=radius, size=size)
    assert packed.shape == (3, size // 8)
    generator = rdFingerprintGenerator.GetMorganGenerator(radius=radius, fpSize=size)
    for m, row in zip(mols, packed, strict=True):
        # Bit i of the packed row is RDKit's bit i within bytes of little-endian order.
        on = np.flatnonzero(np.unpackbits(row, bitorder="little"))
        assert on.tolist() == list(generator.GetFingerprint(m).GetOnBits())


def test_no_molecules_no_fingerprints():
    assert fingerprints([]).shape == (0, 128)


def some_mols():
    return [
        Chem.MolFromSmiles(s)
        for s in (
            "CCO", "CCN", "CCOC", "c1ccccc1", "Cc1ccccc1", "c1ccncc1", "CC(=O)Oc1ccccc1C(=O)O",
            "Cc1ccccc1C", "O=C(O)c1ccccc1", "CC(=O)O",
        )
    ]  # fmt: skip


def test_pictures_are_well_formed_and_carry_the_legend(mol):
    root = ET.fromstring(draw_svg(mol, width=101, height=102, legend="logP 2"))
    assert root.tag.endswith("svg")
    assert root.get("viewBox") == "0 0 101 102"
    assert len(root.findall(".//{http://www.w3.org/2000/svg}path")) >= mol.GetNumBonds()


def png_size(data):
    """From the IHDR chunk, which stands first (PNG specification, 5.6 and 11.2.2)."""
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    assert data[12:16] == b"IHDR"
    return struct.unpack(">II", data[16:24])


def svg_size(data):
    root = ET.fromstring(data)
    return int(root.get("width")[:-2]), int(root.get("height")[:-2])


@pytest.mark.parametrize(("kind", "size"), [("svg", svg_size), ("png", png_size)])
@pytest.mark.parametrize(
    ("count", "columns", "cells"),
    [(0, 5, (1, 1)), (1, 5, (1, 1)), (5, 5, (5, 1)), (6, 5, (5, 2)), (3, 1, (1, 3))],
)
def test_a_grid_has_as_many_cells_as_it_needs(kind, size, count, columns, cells):
    picture = draw_grid(["CCO"] * count, ["x"] * count, columns=columns, kind=kind)
    assert size(picture) == (220 * cells[0], 200 * cells[1])


@pytest.mark.parametrize("kind", ["svg", "png"])
def test_equal_molecules_give_equal_grids(kind):
    def draw(legend):
        return draw_grid(["CCO", "c1ccccc1C(N)=O", "xyz"], [legend, "b", "c"], kind=kind)

    assert draw("a") == draw("a") != draw("b")
    assert draw("a\nb") != draw("a b")


def test_each_molecule_of_a_grid_is_in_its_cell_and_an_invalid_one_leaves_it_empty():
    picture = draw_grid(["CCO", "xyz", "CCN", "", "C" * 80], list("abcde"), columns=3)
    root = ET.fromstring(picture)
    cells = set()
    for path in root.iter("{http://www.w3.org/2000/svg}path"):
        numbers = [float(n) for n in re.findall(r"-?\d+(?:\.\d+)?", path.get("d"))]
        c = int(min(numbers[::2]) // 220), int(min(numbers[1::2]) // 200)
        assert max(numbers[::2]) <= (c[0] + 1) * 220
        assert max(numbers[1::2]) <= (c[1] + 1) * 200
        cells.add(c)
    assert cells == {(0, 0), (2, 0), (1, 1)}


def test_a_legend_cannot_break_a_grid():
    odd = 'a <b> & "c" σ \ud800'
    picture = draw_grid(["CCO"], [odd])
    ET.fromstring(picture)
    assert picture == draw_grid(["CCO"], ['a <b> & "c" ? ?'])  # what the font lacks is seen


@pytest.mark.parametrize(("count", "columns"), [(501, 5), (151, 1), (1, 0), (1, 101)])
def test_a_grid_has_its_limits(count, columns):
    with pytest.raises(ConfigError, match=f"got {count} molecules in {columns} columns"):
        draw_grid(["C"] * count, [""] * count, columns=columns)


@pytest.mark.parametrize(("count", "columns"), [(150, 1), (100, 100)])
def test_a_grid_can_be_drawn_up_to_its_limits(count, columns):
    assert png_size(draw_grid(["C"] * count, [""] * count, columns=columns, kind="png"))


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


def test_an_sdf_record_is_flat_and_has_a_place_for_every_atom():
    with rdBase.BlockLogs():
        m = Chem.MolFromMolBlock(sdf_block("CC(=O)Oc1ccccc1C(=O)O", "aspirin", {}))
    at = m.GetConformer().GetPositions()
    assert (at[:, 2] == 0).all()
    gaps = np.linalg.norm(at[:, None] - at[None], axis=-1) + np.eye(len(at)) * 9
    assert gaps.min() > 0.5


@pytest.mark.parametrize("smiles", ["", "xyz"])
def test_no_sdf_record_without_a_molecule(smiles):
    with pytest.raises(FileError, match=f"cannot write '{smiles}'"):
        sdf_block(smiles, "x", {})


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
    with pytest.raises(TargetError, match="neither a SMILES nor a SMARTS"):
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
