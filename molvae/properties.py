"""The built-in molecular properties: name → meaning, unit, typical range, function."""

from __future__ import annotations

import contextlib
import functools
import io
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from rdkit.Chem import QED, rdMolDescriptors

from molvae import tokens
from molvae.chem import Mol, canonical_smiles, has_radical, parse
from molvae.errors import PropertyError, suggest

__all__ = ["PROPERTIES", "Measured", "Property", "compute", "get_property", "measure_selfies"]


@dataclass(frozen=True)
class Property:
    """A number RDKit computes from a molecule.

    ``low`` and ``high`` bound what is usual for drug-like molecules; they are for axes and hints,
    never a limit. ``integer`` marks counts.
    """

    name: str
    description: str
    unit: str
    low: float
    high: float
    function: Callable[[Mol], float]
    integer: bool = False


def _crippen_logp(mol: Mol) -> float:
    return float(rdMolDescriptors.CalcCrippenDescriptors(mol)[0])


def _qed(mol: Mol) -> float:
    return float(QED.qed(mol))


def _synthetic_accessibility(mol: Mol) -> float:
    # Imported here: the fragment table takes a third of a second to load.
    from rdkit.Contrib.SA_Score import sascorer

    return float(sascorer.calculateScore(mol))


@functools.cache
def _np_model() -> object:
    from rdkit.Contrib.NP_Score import npscorer

    # The loader reports on the standard streams; nobody asked.
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        return npscorer.readNPModel()


def _np_likeness(mol: Mol) -> float:
    from rdkit.Contrib.NP_Score import npscorer

    return float(npscorer.scoreMol(mol, _np_model()))


def _table(*properties: Property) -> dict[str, Property]:
    return {p.name: p for p in properties}


PROPERTIES: dict[str, Property] = _table(
    Property("arom", "aromatic rings", "", 0, 5, rdMolDescriptors.CalcNumAromaticRings, True),
    Property("fsp3", "fraction of sp3 carbons", "", 0, 1, rdMolDescriptors.CalcFractionCSP3),
    Property("hba", "hydrogen-bond acceptors", "", 0, 10, rdMolDescriptors.CalcNumHBA, True),
    Property("hbd", "hydrogen-bond donors", "", 0, 5, rdMolDescriptors.CalcNumHBD, True),
    Property("heavy", "heavy atoms", "", 10, 40, lambda mol: mol.GetNumHeavyAtoms(), True),
    Property("logp", "octanol-water partition (Crippen)", "", -2, 6, _crippen_logp),
    Property("mw", "average molecular weight", "Da", 150, 550, rdMolDescriptors._CalcMolWt),
    Property("npscore", "natural-product likeness (Ertl 2008)", "", -4, 4, _np_likeness),
    Property("qed", "quantitative drug-likeness (Bickerton 2012)", "", 0, 1, _qed),
    Property("rings", "rings", "", 0, 6, rdMolDescriptors.CalcNumRings, True),
    Property("rotb", "rotatable bonds", "", 0, 12, rdMolDescriptors.CalcNumRotatableBonds, True),
    Property("sas", "synthetic accessibility (Ertl 2009)", "", 1, 6, _synthetic_accessibility),
    Property("tpsa", "topological polar surface area", "Å²", 0, 150, rdMolDescriptors.CalcTPSA),
)


def get_property(name: str) -> Property:
    """The built-in property of that name; an unknown name is an error naming the nearest."""
    if name not in PROPERTIES:
        raise PropertyError(f"unknown property '{name}': {suggest(name, PROPERTIES)}")
    return PROPERTIES[name]


def compute(mol: Mol, names: Iterable[str]) -> NDArray[np.float64]:
    """Values of the named built-in properties of one molecule, NaN where RDKit fails."""
    values = []
    for name in names:
        try:
            value = float(get_property(name).function(mol))
        except (ValueError, RuntimeError, ZeroDivisionError, OverflowError):
            value = math.nan
        values.append(value if math.isfinite(value) else math.nan)
    return np.asarray(values, dtype=np.float64)


@dataclass(frozen=True)
class Measured:
    """A generated molecule after RDKit looked at it; ``smiles`` is empty if it is not valid."""

    smiles: str
    values: tuple[float, ...]
    radical: bool = False  # it has unpaired electrons
    selfies: str = ""  # of the canonical SMILES, if asked for and expressible


def measure_selfies(
    texts: list[str],
    names: tuple[str, ...],
    constraints: dict[str, int],
    *,
    rewrite: bool = False,
) -> list[Measured]:
    """Canonical SMILES and built-in properties of SELFIES strings; runs in worker processes.

    ``rewrite`` adds the SELFIES of the canonical SMILES, as an encoder was trained to read it.

    A SELFIES can describe no atom at all; such a one, and any RDKit refuses, is not valid.
    """
    results = []
    with tokens.use_constraints(constraints):
        for text in texts:
            # Parsed twice: what is measured is what the written SMILES says.
            smiles = canonical_smiles(tokens.from_selfies(text))
            mol = None if smiles is None else parse(smiles)
            if smiles is None or mol is None:
                results.append(Measured("", ()))
                continue
            values = tuple(compute(mol, names).tolist())
            again = tokens.to_selfies(smiles) if rewrite else None
            results.append(Measured(smiles, values, has_radical(mol), again or ""))
    return results
