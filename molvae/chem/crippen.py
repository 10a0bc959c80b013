"""logP and molar refractivity of Wildman & Crippen 1999 as RDKit defines them, but faster.

RDKit adds hydrogens and searches for 110 SMARTS. What an atom and its hydrogens contribute depends
on the environment alone. The sums are taken in RDKit's order, for the same rounding.
"""

from __future__ import annotations

import functools
import itertools
import math
import operator

from rdkit import Chem
from rdkit.Chem import rdMolDescriptors

from molvae.chem.environments import AtomTable, Environments
from molvae.chem.molecules import Mol

__all__ = ["crippen"]

VERSION = "1.2.0"  # of RDKit's definition, whose SMARTS see no more than the environments
# What an atom adds to logP and what each of its hydrogens adds; the same of the refractivity.
_Entry = tuple[float, list[float], float, list[float]]


def _contributions(mol: Mol) -> list[_Entry]:
    """The contributions of each atom, by RDKit."""
    pairs = rdMolDescriptors._CalcCrippenContribs(Chem.AddHs(mol), True)
    hydrogens = iter(pairs[mol.GetNumAtoms() :])  # those of the first atom, of the second, ...
    entries: list[_Entry] = []
    for (logp, refractivity), atom in zip(pairs, mol.GetAtoms(), strict=False):
        more = list(itertools.islice(hydrogens, atom.GetTotalNumHs()))
        entries.append((logp, [h[0] for h in more], refractivity, [h[1] for h in more]))
    return entries


_TABLE = AtomTable(_contributions)


def crippen(
    mol: Mol, environments: Environments | None, *, refractivity: bool = True
) -> tuple[float, float]:
    """logP (octanol-water partition) and molar refractivity in cm³/mol of a sanitized molecule.

    Without ``environments``, those of its atoms, RDKit itself computes both. Without
    ``refractivity`` only logP is computed, and the other is NaN.
    """
    if environments is None or rdMolDescriptors._CalcCrippenDescriptors_version != VERSION:
        logp, molar = rdMolDescriptors.CalcCrippenDescriptors(mol)
        return float(logp), float(molar)
    entries = _TABLE.values(mol, environments.oxygen)
    logp = _total([e[0] for e in entries], [e[1] for e in entries])
    if not refractivity:
        return logp, math.nan
    return logp, _total([e[2] for e in entries], [e[3] for e in entries])


def _total(atoms: list[float], hydrogens: list[list[float]]) -> float:
    """The sum in RDKit's order; not ``sum``, which rounds differently in some Pythons."""
    return functools.reduce(operator.add, itertools.chain(atoms, *hydrogens), 0.0)
