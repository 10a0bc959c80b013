"""What becomes of each kind of messy input: the table of the usage page, row by row."""

import pytest
from rdkit import Chem
from rdkit.Chem.MolStandardize import rdMolStandardize

from molvae import chem
from molvae.chem import Cleaned, clean
from molvae.chem.standardize import _rdkit_cleanup
from molvae.config import CleaningConfig
from molvae.errors import ConfigError

DEFAULT = CleaningConfig()
AS_WRITTEN = CleaningConfig(standardize="none")


def outcome(smiles, options=DEFAULT):
    """The canonical SMILES, or the reason of the refusal."""
    result = clean(smiles, options)
    return result.smiles if isinstance(result, Cleaned) else result.reason


@pytest.mark.parametrize(
    ("what", "smiles", "expected"),
    [
        ("salt", "[Na+].CC(=O)[O-]", "CC(=O)O"),
        ("salt drawn with a bond", "CC(=O)O[Na]", "CC(=O)O"),
        ("hydrochloride", "Cl.CCCN", "CCCN"),
        ("counter-ion larger than the drug", "F[P-](F)(F)(F)(F)F.CC[NH3+]", "CCN"),
        ("organic counter-ion", "OC(=O)C(F)(F)F.NCCc1ccccc1", "NCCc1ccccc1"),
        ("hydrate", "O.O.CCCO", "CCCO"),
        ("solvate", "CO.c1ccccc1O", "Oc1ccccc1"),
        ("mixture", "CCCCO.CCCCCN", "CCCCCN"),
        ("charged acid", "CC(=O)[O-]", "CC(=O)O"),
        ("zwitterion", "[NH3+]CC(=O)[O-]", "NCC(=O)O"),
        ("permanent charge", "C[N+](C)(C)C.[Br-]", "C[N+](C)(C)C"),
        ("nitro group", "CCN(=O)=O", "CC[N+](=O)[O-]"),
        ("sulfoxide", "CS(=O)C", "CS(C)=O"),
        ("charge-separated sulfoxide of a salt", "C[S+]([O-])CC[NH3+].[Cl-]", "CS(=O)CCN"),
        ("mesoionic ring", "C[n+]1noc([O-])c1CC", "CCc1c([O-])on[n+]1C"),
        ("salt of a mesoionic ring", "C[n+]1noc([O-])c1CCN.Cl", "C[n+]1noc([O-])c1CCN"),
        ("stereo", "N[C@@H](C)C(=O)O", "C[C@H](N)C(=O)O"),
        ("kekulised ring", "C1=CC=CC=C1", "c1ccccc1"),
        ("white space", "  CCCO \t", "CCCO"),
        ("explicit hydrogens", "[H]OC([H])([H])CC", "CCCO"),
        ("boron, silicon, selenium", "C[Si](C)(C)B(O)C[Se]C", "C[Se]CB(O)[Si](C)(C)C"),
        ("isotope", "[2H]CCC", "isotope label"),
        ("isotope of carbon", "[13CH3]CC", "isotope label"),
        ("metal bound to carbon", "[Fe]CCCC", "organometallic"),
        ("Grignard", "CCC[Mg]Br", "organometallic"),
        ("complex of ammonia", "N[Pt](N)(Cl)Cl", "too few heavy atoms"),
        ("arsenic", "C[As](C)C", "element not allowed"),
        ("radical", "[CH2]CC", "radical"),
        ("wildcard", "CC*", "wildcard or R-group"),
        ("attachment point", "CC[*:1]", "wildcard or R-group"),
        ("R-group", "CC[R1]", "wildcard or R-group"),
        ("R-group without number", "CC[R]", "wildcard or R-group"),
        ("empty", "", "empty"),
        ("blank", "   ", "empty"),
        ("not SMILES", "aspirin", "not a valid SMILES"),
        ("pentavalent carbon", "CC(C)(C)(C)C", "not a valid SMILES"),
        ("two lines", "CCO\nCCN", "not a valid SMILES"),
        ("atom map", "[CH3:1][CH2:2][OH:3]", "CCO"),
        ("mapped stereo", "[CH3:1][C@H:2]([NH2:3])[C:4](=[O:5])[OH:6]", "C[C@H](N)C(=O)O"),
        ("aromatic bonds", "c1:c:c:c:c:c:1", "c1ccccc1"),
        ("NUL", "CCO\0CCN", "not a valid SMILES"),
        ("small", "CO", "too few heavy atoms"),
        ("large", "C" * 61, "too many heavy atoms"),
        ("noble gas", "[He]", "too few heavy atoms"),
    ],
)
def test_default_outcomes(what, smiles, expected):
    assert outcome(smiles) == expected


@pytest.mark.parametrize(
    ("smiles", "expected"),
    [
        ("[Na+].CC(=O)[O-]", "element not allowed"),
        ("Cl.CCCN", "more than one fragment"),
        ("CC(=O)[O-]", "CC(=O)[O-]"),
        ("[NH3+]CC(=O)[O-]", "[NH3+]CC(=O)[O-]"),
    ],
)
def test_left_as_written(smiles, expected):
    assert outcome(smiles, AS_WRITTEN) == expected


@pytest.mark.parametrize(
    ("options", "smiles", "expected"),
    [
        ({"isotopes": True}, "[2H]CCC", "[2H]CCC"),
        ({"charged": False}, "C[N+](C)(C)C", "charged"),
        ({"charged": False}, "CC[N+](=O)[O-]", "CC[N+](=O)[O-]"),  # no net charge
        ({"stereo": False}, "N[C@@H](C)C(=O)O", "CC(N)C(=O)O"),
        ({"stereo": False}, "C/C=C/C", "CC=CC"),
        ({"elements": ("C", "O")}, "CCCN", "element not allowed"),
        ({"min_heavy_atoms": 1}, "C", "C"),
        ({"max_heavy_atoms": 4}, "CCCCC", "too many heavy atoms"),
    ],
)
def test_flags_change_outcomes(options, smiles, expected):
    assert outcome(smiles, CleaningConfig(**options)) == expected


CHEMBL = CleaningConfig(standardize="chembl")


@pytest.mark.parametrize(
    ("smiles", "expected"),
    [
        ("Cl.CCCN", "CCCN"),
        ("C[N+](C)(C)CC.[Cl-]", "CC[N+](C)(C)C"),
        ("OC(=O)CN.Cl", "NCC(=O)O"),
        ("CS(=O)C", "C[S+](C)[O-]"),  # ChEMBL's way to write it
        ("N[Pt](N)(Cl)Cl", "excluded by the ChEMBL pipeline"),
        ("[Fe]CCCC", "organometallic"),
    ],
)
def test_chembl_profile(smiles, expected):
    pytest.importorskip("chembl_structure_pipeline", reason="the extra 'chembl'")
    assert outcome(smiles, CHEMBL) == expected


def test_molecules_of_the_chembl_profile_have_all_their_properties(tmp_path):
    pytest.importorskip("chembl_structure_pipeline", reason="the extra 'chembl'")
    from molvae.config import DataConfig
    from molvae.data.prepare import prepare

    path = tmp_path / "in.smi"
    path.write_text("Cl.NCCc1ccccc1\nCC(=O)Oc1ccccc1C(=O)[O-].[K+]\nCN1CCC[C@H]1c1cccnc1\n")
    plain = prepare([path], tmp_path / "a", DataConfig(), workers=0)
    chembl = prepare([path], tmp_path / "b", DataConfig(cleaning=CHEMBL), workers=0)
    assert (plain.values == chembl.values).all()


def test_a_profile_without_its_library_names_the_extra(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "chembl_structure_pipeline", None)
    with pytest.raises(ConfigError, match=r"pip install 'molvae\[chembl\]'"):
        chem.require_profile("chembl")
    chem.require_profile("rdkit")


@pytest.mark.parametrize(
    "smiles",
    [
        "[Na+].CC(=O)[O-]",
        "CS(=O)C",
        "O=C1NC=CN1",
        "C[S+]([O-])CC[NH3+].[Cl-]",
        "c1cc[nH]c1",
        "CCCO",
    ],
)
def test_a_clean_molecule_stays_as_it_is(smiles):
    once = outcome(smiles)
    assert outcome(once) == once
    assert outcome(once, AS_WRITTEN) == once


CHARGED = """[Na+].[Cl-] [NH3+]CC(=O)[O-] CC(=O)O[Na] C[Mg]Br [Fe+2].[Cl-].[Cl-]
    CS(=O)(=O)[O-].[NH4+] C[N+](C)(C)C.[OH-] [K] [Cl] Cl [Ca] CN(=O)=O CS(C)=O C[S@](=O)CC
    C[S@+]([O-])CC [H]O[H] *C O=c1o[n-][n+]c1C [2H]C([2H])[NH3+] CN=[N+]=[N-] C[n+]1c([N-]C)cccc1
    [O-][n+]1ccccc1
    CC(=O)[O-].OS(=O)(=O)c1ccccc1 [O-]c1ccccc1.OC(=O)C [Na+].[O-]c1ccc(C(=O)O)cc1 F/C=C/C[NH3+]
    C[C@H]([NH3+])C(=O)[O-] [Na]OC(=O)c1ccccc1 C[Hg]Cl [Zn+2].[O-]C(=O)C.[O-]C(=O)C
    [Pt](N)(N)(Cl)Cl [O-]P(=O)(O)OP(=O)([O-])O c1cc[n-]c1.OC(=O)C CC([O-])=[OH+] NC=[N+](C)C
    C[C@H]1CC[C@@H]([NH3+])CC1 C[NH+]1CC[C@@H](O)[C@H](c2ccsc2)C1 C[S+](C)[O-].[Cl-]
    O=[N+]([O-])c1ccc(O)cc1S(=O)(=O)[O-]"""


def test_the_cleanup_in_steps_is_that_of_rdkit():
    """To the last property of atoms and bonds, whatever steps are left out."""
    different = []
    for smiles in CHARGED.split():
        mol = Chem.MolFromSmiles(smiles)
        cleaned = [_rdkit_cleanup(mol), rdMolStandardize.Cleanup(mol)]
        for molecule in cleaned:
            Chem.SanitizeMol(molecule, catchErrors=True)  # as the caller does
        binaries = {molecule.ToBinary(int(Chem.AllProps)) for molecule in cleaned}
        different += [smiles] * (len(binaries) - 1)
    assert different == []
