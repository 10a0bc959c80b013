"""Public benchmark objectives, written from their published definitions.

GuacaMol (Brown et al. 2019) as the practical molecular optimization benchmark (PMO, Gao et al.
2022) uses it: 20 of its 23 oracles. The other three, ``drd2``, ``gsk3b`` and ``jnk3``, are trained
classifiers that only their authors may distribute; they are named in :data:`ABSENT`. Scores are
from 0 to 1. ``plogp`` (Gómez-Bombarelli et al. 2018) has no such bounds.
"""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Callable, Iterable
from typing import NamedTuple

from molvae import chem
from molvae.chem import Mol
from molvae.chem.properties import compute
from molvae.objectives.shapes import AtLeast, AtMost, Gaussian, Ramp, Shape

__all__ = ["ABSENT", "PMO", "TASKS", "Task", "Term", "isomer", "mean", "plogp"]

ABSENT = ("drd2", "gsk3b", "jnk3")
LARGEST = 38  # heavy atoms of the largest molecule of ZINC250k, on which plogp is defined

_Measure = Callable[[Mol], float]


class Term(NamedTuple):
    """One measure of a task, and its desirability."""

    measure: _Measure
    shape: Shape | None = None

    def __call__(self, mol: Mol) -> float:
        """The desirability of a molecule."""
        value = self.measure(mol)
        return value if self.shape is None else self.shape(value)


class Task(NamedTuple):
    """A benchmark objective: its terms, and whether their mean is geometric."""

    terms: Callable[[], list[Term]]
    geometric: bool = True
    bounded: bool = True  # from 0 to 1


def mean(values: Iterable[float], *, geometric: bool = True) -> float:
    """The geometric or arithmetic mean."""
    numbers = list(values)
    if not geometric:
        return math.fsum(numbers) / len(numbers)
    return float(math.prod(numbers) ** (1.0 / len(numbers)))


def _like(smiles: str, kind: chem.Features, shape: Shape | None = None) -> Term:
    return Term(chem.Likeness(smiles, kind), shape)


def _property(name: str, shape: Shape | None = None) -> Term:
    return Term(functools.partial(_value, name), shape)


def _value(name: str, mol: Mol) -> float:
    return float(compute(mol, [name])[0])


def _pattern(smarts: str, *, wanted: bool = True) -> Term:
    return Term(lambda mol: float(chem.matches(mol, smarts) == wanted))


def isomer(formula: str) -> list[Term]:
    """Closeness to a formula such as ``C7H8N2O2``: each element's count, and that of all atoms.

    The total includes hydrogens. (One published code base counts the letters of the SMILES.)
    """
    counts = {
        symbol: int(count or 1) for symbol, count in re.findall(r"([A-Z][a-z]?)(\d*)", formula)
    }
    terms = [
        Term(functools.partial(_atoms, symbol), Gaussian(count, 1.0))
        for symbol, count in counts.items()
    ]
    return [*terms, Term(_all_atoms, Gaussian(sum(counts.values()), 2.0))]


def _atoms(symbol: str, mol: Mol) -> float:
    return float(chem.atom_counts(mol)[symbol])


def _all_atoms(mol: Mol) -> float:
    return float(chem.atom_counts(mol).total())


def _one_isomer(formula: str) -> Term:
    """The closeness to a formula as a single term."""
    terms = isomer(formula)
    return Term(lambda mol: mean(term(mol) for term in terms))


def plogp(mol: Mol) -> float:
    """Penalized logP: logP − synthetic accessibility − size of rings above six, standardized.

    With the usual constants of ZINC250k. It grows without bound with the molecule, and a search
    would end in long chains: above 38 heavy atoms, the most in ZINC250k, it is NaN.
    """
    if mol.GetNumHeavyAtoms() > LARGEST:
        return math.nan
    logp, sas = compute(mol, ["logp", "sas"]).tolist()
    cycle = -max(chem.largest_ring(mol) - 6, 0)
    return float(
        (logp - 2.4570953396190123) / 1.434324401111988
        + (-sas + 3.0525811293166134) / 0.8335207024513095
        + (cycle + 0.0485696876403053) / 0.2860212110245455
    )


SITAGLIPTIN = "Fc1cc(c(F)cc1F)CC(N)CC(=O)N3Cc2nnc(n2CC3)C(F)(F)F"
HOPPER = "CCCOc1cc2ncnc(Nc3ccc4ncsc4c3)c2cc1S(=O)(=O)C(C)(C)C"
CORE = "[#7]-c1n[c;h1]nc2[c;h1]c(-[#8])[c;h0][c;h1]c12"


def _around_sitagliptin() -> tuple[Term, Term]:
    """Terms for the logP and TPSA of sitagliptin."""
    mol = chem.parse(SITAGLIPTIN)
    assert mol is not None
    logp, tpsa = compute(mol, ["logp", "tpsa"]).tolist()
    return _property("logp", Gaussian(logp, 0.2)), _property("tpsa", Gaussian(tpsa, 5.0))


def _sitagliptin() -> list[Term]:
    likeness = _like(SITAGLIPTIN, "ECFP4", Gaussian(0.0, 0.1))
    return [likeness, *_around_sitagliptin(), _one_isomer("C16H15F6N5O")]


def _valsartan() -> list[Term]:
    mol = chem.parse(SITAGLIPTIN)
    assert mol is not None
    bertz = Term(chem.bertz_complexity, Gaussian(chem.bertz_complexity(mol), 30.0))
    return [_pattern("CN(C=O)Cc1ccc(c2ccccc2)cc1"), *_around_sitagliptin(), bertz]


OSIMERTINIB = "COc1cc(N(C)CCN(C)C)c(NC(=O)C=C)cc1Nc2nccc(n2)c3cn(C)c4ccccc34"
_TERMS: dict[str, Callable[[], list[Term]]] = {
    "albuterol_similarity": lambda: [
        _like("CC(C)(C)NCC(O)c1ccc(O)c(CO)c1", "FCFP4", Ramp(0, 0.75))
    ],
    "amlodipine_mpo": lambda: [
        _like(r"Clc1ccccc1C2C(=C(/N/C(=C2/C(=O)OCC)COCCN)C)\C(=O)OC", "ECFP4"),
        _property("rings", Gaussian(3, 0.5)),
    ],
    "celecoxib_rediscovery": lambda: [
        _like("CC1=CC=C(C=C1)C1=CC(=NN1C1=CC=C(C=C1)S(N)(=O)=O)C(F)(F)F", "ECFP4")
    ],
    "deco_hop": lambda: [
        _like(HOPPER, "PHCO", Ramp(0, 0.85)),
        _pattern("CS([#6])(=O)=O", wanted=False),
        _pattern("[#7]-c1ccc2ncsc2c1", wanted=False),
        _pattern(CORE),
    ],
    "fexofenadine_mpo": lambda: [
        _like("CC(C)(C(=O)O)c1ccc(cc1)C(O)CCCN2CCC(CC2)C(O)(c3ccccc3)c4ccccc4", "AP", Ramp(0, 0.8)),
        _property("tpsa", AtLeast(90, 10)),
        _property("logp", AtMost(4, 1)),
    ],
    "isomers_c7h8n2o2": lambda: isomer("C7H8N2O2"),
    "isomers_c9h10n2o2pf2cl": lambda: isomer("C9H10N2O2PF2Cl"),
    "median1": lambda: [
        _like("CC1(C)C2CCC1(C)C(=O)C2", "ECFP4"),
        _like("CC(C)C1CCC(C)CC1O", "ECFP4"),
    ],
    "median2": lambda: [
        _like("O=C1N(CC(N2C1CC3=C(C2C4=CC5=C(OCO5)C=C4)NC6=C3C=CC=C6)=O)C", "ECFP6"),
        _like("CCCC1=NN(C2=C1N=C(NC2=O)C3=C(C=CC(=C3)S(=O)(=O)N4CCN(CC4)C)OCC)C", "ECFP6"),
    ],
    "mestranol_similarity": lambda: [
        _like("COc1ccc2[C@H]3CC[C@@]4(C)[C@@H](CC[C@@]4(O)C#C)[C@@H]3CCc2c1", "AP", Ramp(0, 0.75))
    ],
    "osimertinib_mpo": lambda: [
        _like(OSIMERTINIB, "FCFP4", Ramp(0, 0.8)),
        _like(OSIMERTINIB, "ECFP6", AtMost(0.85, 0.1)),
        _property("tpsa", AtLeast(100, 10)),
        _property("logp", AtMost(1, 1)),
    ],
    "perindopril_mpo": lambda: [
        _like("O=C(OCC)C(NC(C(=O)N1C(C(=O)O)CC2CCCCC12)C)CCC", "ECFP4"),
        _property("arom", Gaussian(2, 0.5)),
    ],
    "qed": lambda: [_property("qed")],
    "ranolazine_mpo": lambda: [
        _like("COc1ccccc1OCC(O)CN2CCN(CC(=O)Nc3c(C)cccc3C)CC2", "AP", Ramp(0, 0.7)),
        _property("logp", AtLeast(7, 1)),
        _property("tpsa", AtLeast(95, 20)),
        Term(functools.partial(_atoms, "F"), Gaussian(1, 1)),
    ],
    "scaffold_hop": lambda: [
        _like(HOPPER, "PHCO", Ramp(0, 0.75)),
        _pattern("[#6]-[#6]-[#6]-[#8]-[#6]~[#6]~[#6]~[#6]~[#6]-[#7]-c1ccc2ncsc2c1"),
        _pattern(CORE, wanted=False),
    ],
    "sitagliptin_mpo": _sitagliptin,
    "thiothixene_rediscovery": lambda: [
        _like("CN(C)S(=O)(=O)c1ccc2Sc3ccccc3C(=CCCN4CCN(C)CC4)c2c1", "ECFP4")
    ],
    "troglitazone_rediscovery": lambda: [
        _like("Cc1c(C)c2OC(C)(COc3ccc(CC4SC(=O)NC4=O)cc3)CCc2c(C)c1O", "ECFP4")
    ],
    "valsartan_smarts": _valsartan,
    "zaleplon_mpo": lambda: [
        _like("O=C(C)N(CC)C1=CC=CC(C2=CC=NC3=C(C=NN23)C#N)=C1", "ECFP4"),
        _one_isomer("C19H17N3O2"),
    ],
}
PMO = tuple(_TERMS)  # those of the benchmark, in its order
_TERMS |= {
    "aripiprazole_similarity": lambda: [
        _like("Clc4cccc(N3CCN(CCCCOc2ccc1c(NC(=O)CC1)c2)CC3)c4Cl", "ECFP4", Ramp(0, 0.75))
    ],
    "isomers_c11h24": lambda: isomer("C11H24"),
    "plogp": lambda: [Term(plogp)],
}  # two more of GuacaMol's suite, and penalized logP
TASKS = {
    name: Task(terms, geometric=name not in ("deco_hop", "scaffold_hop"), bounded=name != "plogp")
    for name, terms in _TERMS.items()
}
