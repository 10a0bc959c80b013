"""Which fragment of a salt, solvate or mixture is the molecule: real drugs and their salts."""

import pytest
from rdkit import Chem

from molvae.chem import Cleaned, canonical_smiles, clean
from molvae.chem.fragments import MIXTURE, STEREOISOMERS
from molvae.config import CleaningConfig

PAMOATE = "O=C(O)c1cc2ccccc2c(Cc2c(O)c(C(=O)O)cc3ccccc23)c1O"
LACTOBIONATE = "OC[C@H]1O[C@@H](O[C@H]([C@H](O)CO)[C@H](O)[C@@H](O)C(O)=O)[C@H](O)[C@@H](O)[C@H]1O"
IMIPRAMINE = "CN(C)CCCN1c2ccccc2CCc2ccccc21"
GLUCAMINE = "CNC[C@H](O)[C@@H](O)[C@H](O)[C@H](O)CO"
DIBENZOYLTARTRATE = "O=C(O[C@@H](C(=O)O)[C@@H](OC(=O)c1ccccc1)C(=O)O)c1ccccc1"
THEOPHYLLINE = "Cn1c(=O)c2[nH]cnc2n(C)c1=O"
# Drug, as written in the salt; its counter-ions.
SALTS = {
    "hydroxyzine pamoate": ("OCCOCCN1CCN(C(c2ccccc2)c2ccc(Cl)cc2)CC1", PAMOATE),
    "imipramine pamoate 2:1": (IMIPRAMINE, f"{IMIPRAMINE}.{PAMOATE}"),
    "pyrantel pamoate": ("CN1CCCN=C1/C=C/c1cccs1", PAMOATE),
    "pyrvinium pamoate": ("Cc1cc(C=Cc2ccc3cc(ccc3[n+]2C)N(C)C)c(C)n1-c1ccccc1", PAMOATE),
    "dobutamine lactobionate": ("CC(CCc1ccc(O)cc1)NCCc1ccc(O)c(O)c1", LACTOBIONATE),
    "erythromycin lactobionate": (
        "CC[C@@H]1[C@@]([C@@H]([C@H](C(=O)[C@@H](C[C@@]([C@@H]([C@H]([C@@H]([C@H](C(=O)O1)C)O[C@H]2C["
        "C@@]([C@H]([C@@H](O2)C)O)(C)OC)C)O[C@H]3[C@@H]([C@H](C[C@H](O3)C)N(C)C)O)(C)O)C)C)O)(C)O",
        LACTOBIONATE,
    ),
    "amfetamine adipate": ("CC(N)Cc1ccccc1", "O=C(O)CCCCC(=O)O"),
    "piperazine adipate": ("C1CNCCN1", "O=C(O)CCCCC(=O)O"),
    "piperazine citrate 3:2": ("C1CNCCN1", "C1CNCCN1.OC(=O)CC(O)(CC(=O)O)C(=O)O"),
    "methenamine hippurate": ("C1N2CN3CN1CN(C2)C3", "O=C(O)CNC(=O)c1ccccc1"),
    "methenamine mandelate": ("C1N2CN3CN1CN(C2)C3", "OC(C(=O)O)c1ccccc1"),
    "amlodipine besylate": (
        "CCOC(=O)C1=C(COCCN)NC(C)=C(C(=O)OC)C1c1ccccc1Cl", "OS(=O)(=O)c1ccccc1"
    ),
    "bretylium tosylate": ("CC[N+](C)(C)Cc1ccccc1Br", "Cc1ccc(S(=O)(=O)[O-])cc1"),
    "imatinib mesylate": (
        "Cc1ccc(NC(=O)c2ccc(CN3CCN(C)CC3)cc2)cc1Nc1nccc(-c2cccnc2)n1", "CS(=O)(=O)O"
    ),
    "chlorphenamine maleate": ("CN(C)CCC(c1ccc(Cl)cc1)c1ccccn1", r"OC(=O)/C=C\C(=O)O"),
    "clemastine fumarate": ("CN1CCC[C@@H]1CCO[C@](C)(c1ccccc1)c1ccc(Cl)cc1", "OC(=O)/C=C/C(=O)O"),
    "phenethylamine trifluoroacetate": ("NCCc1ccccc1", "OC(=O)C(F)(F)F"),
    "meglumine flunixin": ("Cc1c(Nc2ncccc2C(=O)O)cccc1C(F)(F)F", GLUCAMINE),
    "ibuprofen tromethamine": ("CC(C)Cc1ccc(C(C)C(=O)O)cc1", "NC(CO)(CO)CO"),
    "choline theophyllinate": (THEOPHYLLINE, "C[N+](C)(C)CCO"),
    "choline salicylate": ("O=C(O)c1ccccc1O", "C[N+](C)(C)CCO"),
    "aminophylline": (THEOPHYLLINE, f"{THEOPHYLLINE}.NCCN.O.O"),
    "promethazine teoclate": ("CC(CN1c2ccccc2Sc2ccccc21)N(C)C", "Cn1c(=O)c2[nH]c(Cl)nc2n(C)c1=O"),
    "benzathine benzylpenicillin": (
        "CC1(C)S[C@@H]2[C@H](NC(=O)Cc3ccccc3)C(=O)N2[C@H]1C(=O)O",
        "C(CNCc1ccccc1)NCc1ccccc1",
    ),
    "bephenium hydroxynaphthoate": ("C[N+](C)(CCOc1ccccc1)Cc1ccccc1", "OC(=O)c1cc2ccccc2cc1O"),
    "cetrimonium bromide": ("CCCCCCCCCCCCCCCC[N+](C)(C)C", "[Br-]"),
    "deanol aceglumate": ("CN(C)CCO", "CC(=O)N[C@@H](CCC(=O)O)C(=O)O"),
    "lysine acetylsalicylate": ("CC(=O)Oc1ccccc1C(=O)O", "NCCCCC(N)C(=O)O"),
    "amine with a resolving acid": ("CC(N)c1ccc(F)cc1", DIBENZOYLTARTRATE),
    "hydrochloride of a toluene solvate": ("CNCCC(Oc1ccccc1)c1ccccc1", "Cl.Cc1ccccc1"),
    "tetrabutylammonium salt": ("CCC(=O)N", "CCCC[N+](CCCC)(CCCC)CCCC"),
}  # fmt: skip


def cleaned(smiles, **options):
    result = clean(smiles, CleaningConfig(**options))
    assert isinstance(result, Cleaned), result
    return result


@pytest.mark.parametrize("name", SALTS)
def test_of_a_salt_the_drug_is_kept(name):
    drug, partner = SALTS[name]
    for text in (f"{drug}.{partner}", f"{partner}.{drug}"):
        result = cleaned(text)
        assert result.smiles == canonical_smiles(drug)
        assert result.note == ""


def test_charges_of_both_ions_do_not_hide_the_counter_ion():
    text = (
        "C[NH+](C)CCCN1c2ccccc2CCc2ccccc21.[O-]C(=O)c1cc2ccccc2c(Cc2c(O)c(C(=O)[O-])cc3ccccc23)c1O"
    )
    assert cleaned(text).smiles == canonical_smiles("CN(C)CCCN1c2ccccc2CCc2ccccc21")


@pytest.mark.parametrize("alone", ["O=C(O)c1ccccc1", PAMOATE, "CCN(CC)CC", "C[N+](C)(C)CCO"])
def test_a_counter_ion_alone_is_a_molecule(alone):
    for text in (alone, f"{alone}.Cl", f"{alone}.{alone}"):
        assert cleaned(text).smiles == canonical_smiles(alone)


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("CCCCCO.CCCCCCN", "CCCCCCN"),  # more heavy atoms
        ("CCCCCCO.CCCCCCS", "CCCCCCS"),  # as many: the greater mass
        ("CCCC(C)CCO.CCC(C)CCCO", "CCC(C)CCCO"),  # and as heavy: the first in the alphabet
    ],
)
def test_of_a_mixture_the_largest_is_kept_with_a_note(text, kept):
    for order in (text, ".".join(text.split(".")[::-1])):
        result = cleaned(order)
        assert (result.smiles, result.note) == (kept, MIXTURE)


RACEMATES = [
    ("C[C@H](N)c1ccccc1 |&1:1|", "CC(N)c1ccccc1"),
    ("C[C@H](N)c1ccccc1 |o1:1|", "CC(N)c1ccccc1"),  # one enantiomer, not known which
    ("C[C@H](N)c1ccccc1.C[C@@H](N)c1ccccc1", "CC(N)c1ccccc1"),
    ("C[C@H](N)c1ccccc1.C[C@@H](N)c1ccccc1.Cl", "CC(N)c1ccccc1"),
    ("C/C=C/c1ccccc1.C/C=C\\c1ccccc1", "CC=Cc1ccccc1"),
    # of three centers, one is certain
    ("C[C@H](O)[C@@H](C)[C@H](F)Cl |a:1,&1:3,5|", "CC(C(F)Cl)[C@H](C)O"),
]


@pytest.mark.parametrize(("text", "flat"), RACEMATES)
def test_a_racemate_is_no_enantiomer(text, flat):
    result = cleaned(text)
    assert (result.smiles, result.note) == (canonical_smiles(flat), STEREOISOMERS)
    assert cleaned(text, stereo=False).note == ""  # nothing is left open then


def test_an_absolute_group_is_an_enantiomer():
    result = cleaned("C[C@H](N)c1ccccc1 |a:1|")
    assert (result.smiles, result.note) == (canonical_smiles("C[C@H](N)c1ccccc1"), "")


OSCILLATES = [
    "COC(=O)CC[C@@H](C)[C@H]1CC[C@H]2[C@H]3[C@H](CC[C@@]21C)[C@@]1(C)CC[C@]2(C[C@H]1C[C@H]3OC(C)=O)"
    "OOC1(CC[C@@H](C)CC1)OO2",
    "COC(=O)CC[C@@H](C)[C@H]1CC[C@H]2[C@@H]3[C@H](OC(C)=O)C[C@@H]4C[C@]5(CC[C@]4(C)[C@H]3CC[C@]12C)"
    "OOC1(CC[C@H](C)CC1)OO5",
]


def test_equal_molecules_have_one_smiles_where_rdkit_writes_two():
    assert len({Chem.MolToInchiKey(Chem.MolFromSmiles(text)) for text in OSCILLATES}) == 1
    assert len({Chem.CanonSmiles(text) for text in OSCILLATES}) == 2
    assert len({cleaned(text).smiles for text in OSCILLATES}) == 1
    assert len({canonical_smiles(text) for text in OSCILLATES}) == 1
    once = canonical_smiles(OSCILLATES[0])
    assert canonical_smiles(once) == once


@pytest.mark.parametrize("solvate", ["CS(C)=O.NC(N)=S", "NC(N)=S.CS(C)=O", "CS(=O)C.OCC#N"])
def test_dmso_is_a_solvent_however_it_is_written(solvate):
    cleaned = clean(solvate, CleaningConfig())
    assert isinstance(cleaned, Cleaned)
    assert "S(" not in cleaned.smiles.replace("NC(N)=S", "")
    assert cleaned.smiles in {canonical_smiles("NC(N)=S"), canonical_smiles("OCC#N")}
