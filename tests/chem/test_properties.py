"""Values against published ones, hand counts and RDKit's other functions."""

import functools
import gzip
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from rdkit import Chem
from rdkit.Chem import QED, Crippen, Descriptors, Lipinski, rdMolDescriptors

from molvae import chem
from molvae.chem import fast_scores
from molvae.chem.properties import (
    BUILTIN,
    PROPERTIES,
    Measured,
    Property,
    compute,
    get_property,
    measure_selfies,
)
from molvae.chem.selfies import constraints, to_selfies, use_constraints
from molvae.errors import PropertyError
from tests.molecules import UNUSUAL, random_molecules

# Standard atomic weights of IUPAC, abridged.
WEIGHTS = {"H": 1.008, "C": 12.011, "N": 14.007, "O": 15.999, "F": 18.998, "S": 32.06, "Cl": 35.45}

ASPIRIN = "CC(=O)Oc1ccccc1C(=O)O"
CAFFEINE = "Cn1c(=O)c2c(ncn2C)n(C)c1=O"
IBUPROFEN = "CC(C)Cc1ccc(C(C)C(=O)O)cc1"
CIPROFLOXACIN = "O=C(O)c1cn(C2CC2)c2cc(N3CCNCC3)c(F)cc2c1=O"
CHOLESTEROL = "C[C@H](CCCC(C)C)[C@H]1CC[C@@H]2[C@@]1(CC[C@H]3[C@H]2CC=C4[C@@]3(CC[C@@H](C4)O)C)C"
MOLECULES = [ASPIRIN, CAFFEINE, IBUPROFEN, CIPROFLOXACIN, CHOLESTEROL, "C", "CCO", "c1ccccc1Cl"]


def mol(smiles):
    return Chem.MolFromSmiles(smiles)


def value(name, smiles):
    return float(compute(mol(smiles), [name])[0])


# PubChem lists these (XLogP is another method, so no logP here).
@pytest.mark.parametrize(
    ("smiles", "mw", "tpsa", "hbd"),
    [
        (ASPIRIN, 180.16, 63.6, 1),
        (IBUPROFEN, 206.28, 37.3, 1),
        (CIPROFLOXACIN, 331.34, 72.9, 2),
        (CHOLESTEROL, 386.7, 20.2, 1),
    ],
)
def test_published_values(smiles, mw, tpsa, hbd):
    assert value("mw", smiles) == pytest.approx(mw, abs=0.06)
    # The published surface of ciprofloxacin is 72.9; Ertl's contributions add up to 74.6.
    assert value("tpsa", smiles) == pytest.approx(tpsa, abs=2.0 if smiles == CIPROFLOXACIN else 0.1)
    assert value("hbd", smiles) == hbd


@pytest.mark.parametrize(
    ("smiles", "formula"),
    [
        (ASPIRIN, {"C": 9, "H": 8, "O": 4}),
        (CAFFEINE, {"C": 8, "H": 10, "N": 4, "O": 2}),
        (CIPROFLOXACIN, {"C": 17, "H": 18, "F": 1, "N": 3, "O": 3}),
        (CHOLESTEROL, {"C": 27, "H": 46, "O": 1}),
        ("c1ccsc1Cl", {"C": 4, "H": 3, "S": 1, "Cl": 1}),
    ],
)
def test_weight_is_the_sum_of_the_atomic_weights(smiles, formula):
    weight = sum(WEIGHTS[element] * n for element, n in formula.items())
    assert value("mw", smiles) == pytest.approx(weight, abs=0.02)
    assert value("heavy", smiles) == sum(n for e, n in formula.items() if e != "H")


# Counted by hand on paper. rotb is strict: no amide bonds, no bonds to triple-bonded atoms.
@pytest.mark.parametrize(
    ("smiles", "counts"),
    [
        (ASPIRIN, {"rings": 1, "arom": 1, "hba": 3, "hbd": 1, "rotb": 2, "fsp3": 1 / 9}),
        (CAFFEINE, {"rings": 2, "arom": 2, "hbd": 0, "rotb": 0, "fsp3": 3 / 8}),
        (IBUPROFEN, {"rings": 1, "arom": 1, "hba": 1, "rotb": 4, "fsp3": 6 / 13}),
        (CIPROFLOXACIN, {"rings": 4, "arom": 2, "hbd": 2, "fsp3": 7 / 17}),
        (CHOLESTEROL, {"rings": 4, "arom": 0, "hba": 1, "rotb": 5, "fsp3": 25 / 27}),
        ("C", {"rings": 0, "arom": 0, "hba": 0, "hbd": 0, "rotb": 0, "fsp3": 1}),
        ("O", {"fsp3": 0, "heavy": 1}),
    ],
)
def test_hand_counts(smiles, counts):
    for name, expected in counts.items():
        assert value(name, smiles) == pytest.approx(expected, abs=1e-6), name


@pytest.mark.parametrize("smiles", MOLECULES)
def test_the_other_doors_of_rdkit_agree(smiles):
    m = mol(smiles)
    expected = {
        "arom": sum(
            all(m.GetBondWithIdx(b).GetIsAromatic() for b in ring)
            for ring in m.GetRingInfo().BondRings()
        ),
        "fsp3": Lipinski.FractionCSP3(m),
        "hba": Lipinski.NumHAcceptors(m),
        "hbd": Lipinski.NumHDonors(m),
        "heavy": sum(a.GetAtomicNum() > 1 for a in m.GetAtoms()),
        "logp": sum(a for a, _ in rdMolDescriptors._CalcCrippenContribs(Chem.AddHs(m))),
        "mw": Descriptors.MolWt(m),
        "qed": QED.default(m),
        "rings": m.GetRingInfo().NumRings(),
        "rotb": Lipinski.NumRotatableBonds(m),
        "tpsa": sum(rdMolDescriptors._CalcTPSAContribs(m)),
    }
    got = compute(m, list(expected))
    np.testing.assert_allclose(got, list(expected.values()), rtol=1e-5, atol=1e-5)
    log_p = Crippen.MolLogP(m)  # type: ignore[attr-defined]  # the stubs lack it
    assert got[list(expected).index("logp")] == pytest.approx(log_p, abs=1e-5)


def test_published_drug_likeness_and_its_order():
    # Bickerton et al. 2012: drugs score above lipids and sugars; RDKit gives 0.55 for aspirin.
    assert value("qed", ASPIRIN) == pytest.approx(0.55, abs=0.01)
    assert value("qed", CIPROFLOXACIN) > 0.8 > value("qed", "CCCCCCCCCCCCCCCCCC(=O)O")


def test_synthetic_accessibility_and_natural_product_likeness_order_molecules_as_published():
    # Ertl & Schuffenhauer 2009: 1 easy … 10 hard. Aspirin is far easier than a steroid.
    assert 1 <= value("sas", ASPIRIN) < 2.5 < value("sas", CHOLESTEROL) <= 10
    # Ertl 2008: -5 synthetic … 5 natural.
    assert value("npscore", CHOLESTEROL) > 2
    assert value("npscore", "Cc1ccc(NC(=O)c2ccc(Cl)cc2)cc1S(=O)(=O)N1CCCC1") < -1


@pytest.mark.parametrize("name", PROPERTIES)
def test_every_property_is_described_and_usual_for_a_usual_molecule(name):
    p = PROPERTIES[name]
    assert p.name == name
    assert p.description
    assert p.low < p.high
    got = value(name, CIPROFLOXACIN)
    assert p.low <= got <= p.high
    if p.integer:
        assert all(value(name, s) == round(value(name, s)) for s in MOLECULES)


def test_the_design_names_are_all_there_in_order():
    named = [
        "mw",
        "logp",
        "tpsa",
        "qed",
        "sas",
        "hbd",
        "hba",
        "rotb",
        "rings",
        "arom",
        "fsp3",
        "heavy",
        "npscore",
    ]
    assert list(PROPERTIES) == sorted(named)
    assert (PROPERTIES["mw"].unit, PROPERTIES["tpsa"].unit) == ("Da", "Å²")
    counts = {name for name, p in PROPERTIES.items() if p.integer}
    assert counts == {"hbd", "hba", "rotb", "rings", "arom", "heavy"}


def test_properties_of_a_molecule_do_not_depend_on_how_it_is_written():
    other = Chem.MolFromSmiles(Chem.MolToSmiles(mol(CHOLESTEROL), doRandom=True))
    np.testing.assert_allclose(
        compute(mol(CHOLESTEROL), PROPERTIES), compute(other, PROPERTIES), rtol=1e-5
    )


@pytest.mark.parametrize(("name", "near"), [("lgop", "logp"), ("LogP", "logp"), ("hbb", "hb")])
def test_an_unknown_name_suggests_the_nearest(name, near):
    with pytest.raises(PropertyError, match=f"'{name}'.*'{near}"):
        get_property(name)
    with pytest.raises(PropertyError, match="arom"):
        compute(mol("CCO"), ["mw", name])


def test_values_come_in_the_order_asked_for():
    forwards = compute(mol(ASPIRIN), ["mw", "rings"])
    assert forwards.dtype == np.float64
    assert compute(mol(ASPIRIN), ["rings", "mw"]).tolist() == forwards[::-1].tolist()
    assert compute(mol(ASPIRIN), []).shape == (0,)


@pytest.mark.parametrize(
    "error", [ValueError("x"), RuntimeError("x"), ZeroDivisionError("x"), None]
)
def test_what_cannot_be_computed_is_missing(monkeypatch, error):
    def broken(mol):
        if error is None:
            return math.inf
        raise error

    broken_property = Property("bad", "broken", "", 0, 1, broken)
    monkeypatch.setitem(BUILTIN, "bad", broken_property)
    values = compute(mol("CCO"), ["bad", "heavy"])
    assert math.isnan(values[0])
    assert values[1] == 3


def test_selfies_are_measured_as_the_molecules_they_are():
    texts = [to_selfies("OCC") or "", "", "[nop]", to_selfies(ASPIRIN) or ""]
    measured = measure_selfies(texts, ("heavy", "mw"), constraints())
    assert [m.smiles for m in measured] == ["CCO", "", "", Chem.CanonSmiles(ASPIRIN)]
    assert measured[1] == measured[2] == Measured("", ())
    assert measured[0].values == pytest.approx((3, 46.069), abs=1e-3)
    assert measured[3].values == pytest.approx((13, 180.159), abs=1e-2)


def test_selfies_that_rdkit_refuses_are_not_valid():
    loose = {**constraints(), "C": 6}
    with use_constraints(loose):
        text = to_selfies("CC(C)(C)(C)C")  # five bonds
    assert text is not None
    before = constraints()
    assert measure_selfies([text], ("mw",), loose) == [Measured("", ())]
    assert constraints() == before


def test_the_given_limits_decide_what_selfies_mean():
    tight = {**constraints(), "C": 1}
    assert measure_selfies(["[C][C][C]"], (), tight)[0].smiles == "CC"
    assert measure_selfies(["[C][C][C]"], (), constraints())[0].smiles == "CCC"


DEMO = Path(__file__).parents[2] / "data" / "demo.csv.gz"
AWKWARD_TEXT = """
C O N [H][H] [2H]O[2H] [H+] [Na+] [Cl-] [NH4+] [OH3+] [CH3] [OH] [Xe] *CC N#N O=O [C-]#[O+]
[13CH3]C(=O)[O-] [18O]=C C[15NH2] CC[34SH] C[2H] CCO.CCN [Na+].[Cl-] F.F.F.F N.N.N.N
C[N+](C)(C)CC(=O)[O-] [O-]C(=O)C[NH3+] C[n+]1ccccc1 [nH+]1ccccc1 c1cc[o+]cc1 C[S+](C)C
[cH-]1cccc1 [cH+]1cccccc1 F[P-](F)(F)(F)(F)F F[B-](F)(F)F C[I+]C [S-]C CC[O-]
C1CCCCCCCCCCC1 O=C1CCCCCCCCCCCCCCO1 C1CC11CC1 C1CC2(C1)CCC1(CC2)OCCO1
C1CC2CCC1C2 C12C3C4C1C5C2C3C45 C1C2CC3CC1CC(C2)C3 C1CCC2CCCCC2C1
c1ccc2cc3cc4cc5ccccc5cc4cc3cc2c1 c1cc2ccc3cccc4ccc(c1)c2c34 c1ccn2cccc2c1 C1=Cc2cccn2C1
N1C2=CC=CC=C2SC3=C1C=CC4=C3C=CC=C4 CC(C)C1=CC2=C(C)C=CC2=C(C)C=C1
OC1=C(O)C=C2C(=C1)OC3=CC(=O)C(=CC3=C2C4=CC=CC=C4)O C1=CC=CC=CC=C1 c1cc[se]c1
C[C@H](F)Cl CC(F)Cl C/C=C/C F/C=C\\Cl CC1CCC(C)CC1 C[S@](=O)CC C[C@@H](O)[C@H](O)C CC1CC(C)C1
CN=[N+]=[N-] C[N+](=O)[O-] C=[N+]=[N-] O=[N+]([O-])c1ccccc1 CC#N C#CC C=CC#N C=C=C C=C=O N=C=O
CS(=O)(=O)OC FC(F)(F)S(=O)(=O)OC CSSC CS CP(=O)(O)O OO C1OO1 C1CN1 C1CO1 CN(C)N C=NN C=NO C=NOC=O
ClCCl ICI ClI O=Cl(=O)(=O)[O-] FS(F)(F)(F)(F)F C[Si](C)(C)F OB(O)c1ccccc1 C[As](C)C C[Hg]C
C=CO CC(O)=CC OC#N OS(=O)(=O)O OC=O ONC OC(F)(F)F CC(O)(O)C c1cc[nH]c1 Oc1ccncc1 O=c1cc[nH]cc1
O=C1C=CC(=O)C=C1 O=C1C=CC=CC1=O O=C1CCN1 O=C1NC(=O)NC(=O)C1 SC1=Nc2ccccc2S1 S=C1SC=CS1
C[C@H]1C=CC=CC=CC=CC=CC=CC(CC2C(C(CC(O2)(CC(CC(C(CCC(CC(CC(=O)OC(C)C1)O)O)O)O)O)O)O)C(=O)O)O
"""
AWKWARD = [*AWKWARD_TEXT.split(), "C" * 200, "C" * 300, "N" + "CC(=O)N" * 30 + "C", "CCO" * 90]


@functools.cache
def np_model():
    from rdkit.Contrib.NP_Score import npscorer

    return npscorer.readNPModel()


def public_values(m):
    """By RDKit's own functions, each on a separate molecule; NaN where one fails."""
    from rdkit.Contrib.NP_Score import npscorer
    from rdkit.Contrib.SA_Score import sascorer

    functions = {
        "arom": rdMolDescriptors.CalcNumAromaticRings,
        "fsp3": rdMolDescriptors.CalcFractionCSP3,
        "hba": rdMolDescriptors.CalcNumHBA,
        "hbd": rdMolDescriptors.CalcNumHBD,
        "heavy": lambda m: m.GetNumHeavyAtoms(),
        "logp": lambda m: rdMolDescriptors.CalcCrippenDescriptors(m)[0],
        "mw": rdMolDescriptors._CalcMolWt,
        "npscore": lambda m: npscorer.scoreMol(m, np_model()),
        "qed": QED.qed,
        "rings": rdMolDescriptors.CalcNumRings,
        "rotb": rdMolDescriptors.CalcNumRotatableBonds,
        "sas": sascorer.calculateScore,
        "tpsa": rdMolDescriptors.CalcTPSA,
    }
    values = {}
    for name, function in functions.items():
        try:
            values[name] = float(function(Chem.Mol(m)))
        except (ValueError, RuntimeError, OverflowError):
            values[name] = math.nan
    return values


def assert_as_rdkit_has_them(molecules):
    for m in molecules:
        expected = public_values(m)
        got = dict(zip(PROPERTIES, compute(Chem.Mol(m), PROPERTIES).tolist(), strict=True))
        np.testing.assert_equal(got, expected, err_msg=Chem.MolToSmiles(m))  # to the last bit


@pytest.mark.parametrize("count", [100, pytest.param(1000, marks=pytest.mark.slow)])
def test_values_are_those_of_rdkit_to_the_last_bit(count):
    with gzip.open(DEMO, "rt") as lines:
        smiles = [line.split(",")[0] for line in lines][1:]
    smiles = smiles[:: len(smiles) // count]
    assert len(smiles) >= count
    assert_as_rdkit_has_them(map(mol, smiles))


def test_values_of_awkward_molecules_are_those_of_rdkit_to_the_last_bit():
    assert_as_rdkit_has_them(map(mol, [*AWKWARD, *MOLECULES]))
    assert_as_rdkit_has_them(filter(None, map(mol, UNUSUAL.split())))
    assert_as_rdkit_has_them(random_molecules(100))


def test_values_of_neutralized_molecules_are_those_of_rdkit_to_the_last_bit():
    # Neutralising does not sanitize; what it leaves of some ions RDKit would not read.
    molecules = [mol(s) for s in AWKWARD if "+" in s or "-" in s]
    assert len(molecules) > 20
    assert_as_rdkit_has_them(map(chem.standardize, molecules))


def test_the_fast_way_to_drug_likeness_is_taken():
    assert fast_scores._fast_qed_agrees()


def test_without_the_fast_way_drug_likeness_stays_the_same(monkeypatch):
    before = [value("qed", s) for s in MOLECULES]
    monkeypatch.setattr(fast_scores, "_fast_qed", lambda facts: 0.5)
    assert not fast_scores._fast_qed_agrees.__wrapped__()
    monkeypatch.setattr(fast_scores, "_fast_qed_agrees", lambda: False)
    assert [value("qed", s) for s in MOLECULES] == before


def test_a_fast_way_that_breaks_is_not_taken(monkeypatch):
    monkeypatch.delattr(fast_scores.QED, "StructuralAlerts")
    assert not fast_scores._fast_qed_agrees.__wrapped__()


def test_each_property_alone_equals_all_together():
    for smiles in MOLECULES:
        together = compute(mol(smiles), PROPERTIES)
        backwards = compute(mol(smiles), reversed(list(PROPERTIES)))
        alone = [PROPERTIES[name].function(mol(smiles)) for name in PROPERTIES]
        assert together.tolist() == backwards[::-1].tolist() == alone


def test_a_molecule_of_no_atoms_has_no_scores():
    values = dict(zip(PROPERTIES, compute(Chem.Mol(), PROPERTIES).tolist(), strict=True))
    assert values["heavy"] == 0
    assert math.isnan(values["sas"])
    assert math.isnan(values["npscore"])


def test_computing_leaves_no_wrong_value_behind():
    m = mol(CHOLESTEROL)
    first = compute(m, PROPERTIES)
    np.testing.assert_array_equal(compute(m, PROPERTIES), first)
    assert rdMolDescriptors.CalcCrippenDescriptors(m)[0] == value("logp", CHOLESTEROL)


@pytest.mark.process
def test_a_table_is_loaded_only_when_needed():
    code = (
        "from molvae.chem import fast_scores as f, properties as p; from molvae.chem import parse;"
        "p.compute(parse('CCO'), ['mw', 'logp', 'qed', 'rotb']);"
        "print(f._sas_scores.cache_info().misses, f._np_scores.cache_info().misses);"
        "p.compute(parse('CCO'), ['sas']);"
        "print(f._sas_scores.cache_info().misses, f._np_scores.cache_info().misses)"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.split() == ["0", "0", "1", "0"]
