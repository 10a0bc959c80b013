"""QED, synthetic accessibility and natural-product likeness as RDKit defines them, but faster.

`qed`, `sas` and `npscore` share what they need of a molecule in `Facts` and give RDKit's values to
the last bit; where this RDKit defines QED differently, its own function is called.
"""

from __future__ import annotations

import contextlib
import functools
import gzip
import io
import math
import pickle
from collections import Counter
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rdkit import Chem
from rdkit.Chem import QED, rdFingerprintGenerator, rdMolDescriptors, rdqueries

from molvae.chem.crippen import crippen
from molvae.chem.environments import AtomTable, Environments, environments
from molvae.chem.molecules import Mol
from molvae.chem.pattern_screen import PatternScreen

__all__ = ["Facts", "npscore", "qed", "sas"]


class Facts:
    """What several properties of one molecule share; each value is computed once, on demand."""

    def __init__(self, mol: Mol) -> None:
        self.mol = mol

    @functools.cached_property
    def arom(self) -> int:
        """Aromatic rings."""
        return rdMolDescriptors.CalcNumAromaticRings(self.mol)

    @functools.cached_property
    def environments(self) -> Environments | None:
        """The environments of the atoms, if environments say enough."""
        return environments(self.mol)

    @functools.cached_property
    def hbd(self) -> int:
        """Hydrogen-bond donors."""
        return rdMolDescriptors.CalcNumHBD(self.mol)

    @functools.cached_property
    def logp(self) -> float:
        """Octanol-water partition coefficient (Crippen)."""
        return crippen(self.mol, self.environments, refractivity=False)[0]

    @functools.cached_property
    def mw(self) -> float:
        """Average molecular weight in Da."""
        return rdMolDescriptors._CalcMolWt(self.mol)

    @functools.cached_property
    def rotb(self) -> int:
        """Rotatable bonds."""
        return rdMolDescriptors.CalcNumRotatableBonds(self.mol)

    @functools.cached_property
    def tpsa(self) -> float:
        """Topological polar surface area in Å²."""
        return rdMolDescriptors.CalcTPSA(self.mol)

    @functools.cached_property
    def fragments(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Identifiers and counts of the atom environments of radius 2, as RDKit orders them."""
        counts = _environments().GetSparseCountFingerprint(self.mol).GetNonzeroElements()
        size = len(counts)
        if not size:
            raise ValueError("no atoms, no fragments")
        return np.fromiter(counts, np.int64, size), np.fromiter(counts.values(), np.int64, size)


# Quantitative drug-likeness ----------------------------------------------------------------------


@functools.cache
def _alert_screen() -> PatternScreen:
    return PatternScreen(QED.StructuralAlerts)


def _alerts(mol: Mol) -> int:
    """QED's count of structural alerts that a molecule has."""
    possible = _alert_screen().possible(mol)
    return sum(mol.HasSubstructMatch(QED.StructuralAlerts[i]) for i in possible)


@functools.cache
def _unusual() -> Mol:
    """Atoms that neutralization, which does not sanitize, may leave in a state RDKit refuses."""
    other_elements = "!#6&!#7&!#8&!#9&!#16&!#17&!#35&!#53"
    return Chem.MolFromSmarts(f"[{other_elements},c&!X3,F&!D1,Cl&!D1,Br&!D1,I&!D1]")


def _matches(mol: Mol) -> list[tuple[int, bool]]:
    """Of each atom: how many of QED's acceptor patterns it matches, and whether it is unusual."""
    acceptors = Counter(i for p in QED.Acceptors for (i,) in mol.GetSubstructMatches(p))
    unusual = {i for (i,) in mol.GetSubstructMatches(_unusual())}
    return [(acceptors[i], i in unusual) for i in range(mol.GetNumAtoms())]


_MATCHES = AtomTable(_matches)


def _aromatic_systems(facts: Facts) -> int:
    """QED's count of aromatic rings: those left when the aliphatic rings are deleted."""
    mol = facts.mol
    rings = mol.GetRingInfo().NumRings()
    if rings == 0:
        return 0
    # No aliphatic ring, and as many rings as a connected molecule has independent cycles.
    if rings == facts.arom == mol.GetNumBonds() - mol.GetNumAtoms() + 1:
        return rings
    return len(Chem.GetSSSR(Chem.DeleteSubstructs(Chem.Mol(mol), QED.AliphaticRings)))


def _fast_qed(facts: Facts) -> float:
    """QED from facts that other properties share."""
    mol = facts.mol
    if facts.environments is None:
        return float(QED.qed(mol))  # it removes hydrogens first and sanitizes again
    acceptors, unusual = zip(*_MATCHES.values(mol, facts.environments.nitrogen), strict=True)
    if any(unusual):
        return float(QED.qed(mol))
    terms = QED.QEDproperties(
        MW=facts.mw,
        ALOGP=facts.logp,
        HBA=sum(acceptors),
        HBD=facts.hbd,
        PSA=facts.tpsa,
        ROTB=facts.rotb,
        AROM=_aromatic_systems(facts),
        ALERTS=_alerts(mol),
    )
    return float(QED.qed(mol, qedProperties=terms))


_PROBES = (
    "CC(=O)Oc1ccccc1C(=O)O",
    "CN1CCC[C@H]1c1cccnc1",
    "NS(=O)(=O)c1cc(Cl)c(N)cc1[N+](=O)[O-]",
    "OCC1OC(O)C(O)C(O)C1O",
    "C=CC(=O)NN=Cc1c[nH]c2ccc(C#N)cc12",
    "CSC(F)(F)C(F)(F)CCCCOC(=O)CS",
)


@functools.cache
def _fast_qed_agrees() -> bool:
    """Whether this RDKit still defines QED as `_fast_qed` does; if not, RDKit computes it."""
    try:
        molecules = [Chem.MolFromSmiles(smiles) for smiles in _PROBES]
        return all(_fast_qed(Facts(mol)) == QED.qed(mol) for mol in molecules)
    except Exception:
        return False  # whatever has changed, the public function still works


def qed(facts: Facts) -> float:
    """Quantitative drug-likeness of Bickerton et al. 2012 as RDKit defines it, 0 to 1."""
    return _fast_qed(facts) if _fast_qed_agrees() else float(QED.qed(facts.mol))


# Fragment scores ---------------------------------------------------------------------------------


@functools.cache
def _environments() -> rdFingerprintGenerator.FingerprintGenerator64:
    return rdFingerprintGenerator.GetMorganGenerator(radius=2)


class _FragmentScores:
    """Fragment → score in a twentieth of the memory of a dictionary."""

    def __init__(self, fragments: NDArray[np.int64], scores: NDArray[np.float64]) -> None:
        order = np.argsort(fragments, kind="stable")
        ordered = fragments[order]
        last = np.append(ordered[1:] != ordered[:-1], True)  # of duplicates the last one counts
        if ordered[0] < 0 or ordered[-1] >= 2**32:
            raise ValueError("fragment identifiers have more than 32 bits")
        self._fragments = ordered[last].astype(np.uint32)
        self._values, places = np.unique(scores[order][last], return_inverse=True)
        self._places = places.astype(np.uint16 if len(self._values) < 2**16 else np.uint32)

    def of(self, fragments: NDArray[np.int64], missing: float) -> NDArray[np.float64]:
        """Scores in the order of ``fragments``, ``missing`` for unknown ones."""
        wanted = fragments.astype(np.uint32)
        places = self._fragments.searchsorted(wanted)
        np.minimum(places, len(self._fragments) - 1, out=places)
        scores: NDArray[np.float64] = self._values[self._places[places]]
        scores[self._fragments[places] != wanted] = missing
        return scores


@functools.cache
def _sas_scores() -> _FragmentScores:
    from rdkit.Contrib.SA_Score import sascorer

    with gzip.open(Path(sascorer.__file__).with_name("fpscores.pkl.gz")) as handle:
        rows = pickle.load(handle)  # RDKit's own file: each row a score and its fragments
    size = sum(len(row) - 1 for row in rows)
    fragments = np.fromiter((f for row in rows for f in row[1:]), np.int64, size)
    scores = np.repeat([float(row[0]) for row in rows], [len(row) - 1 for row in rows])
    return _FragmentScores(fragments, scores)


@functools.cache
def _stereo_marks() -> Chem.QueryAtom:
    marked = rdqueries.HasPropQueryAtom("_CIPCode")
    marked.ExpandQuery(
        rdqueries.HasPropQueryAtom("_ChiralityPossible"), how=Chem.CompositeQueryType.COMPOSITE_OR
    )
    return marked


def _stereocenters(mol: Mol) -> int:
    """Tetrahedral centers, assigned or not, as ``Chem.FindMolChiralCenters`` lists them."""
    if not Chem.GetUseLegacyStereoPerception():
        return len(Chem.FindMolChiralCenters(mol, includeUnassigned=True))
    Chem.AssignStereochemistry(mol, cleanIt=True, force=True, flagPossibleStereoCenters=True)
    return len(mol.GetAtomsMatchingQuery(_stereo_marks()))


def sas(facts: Facts) -> float:
    """Synthetic accessibility of Ertl & Schuffenhauer 2009 as RDKit defines it, 1 (easy) to 10.

    The mean score of the fragments, less penalties for size, stereocenters, spiro and bridgehead
    atoms and macrocycles, plus a correction for symmetry that RDKit added; then scaled.
    """
    mol = facts.mol
    fragments, counts = facts.fragments
    atoms = mol.GetNumAtoms()
    # Summed one by one, as RDKit does, for the same rounding.
    contributions = _sas_scores().of(fragments, -4.0) * counts
    score = float(np.add.accumulate(contributions)[-1]) / int(counts.sum())
    macrocycle = any(len(ring) > 8 for ring in mol.GetRingInfo().AtomRings())
    penalties = (
        atoms**1.005 - atoms,
        math.log10(_stereocenters(mol) + 1),
        math.log10(rdMolDescriptors.CalcNumSpiroAtoms(mol) + 1),
        math.log10(rdMolDescriptors.CalcNumBridgeheadAtoms(mol) + 1),
        math.log10(2) if macrocycle else 0.0,
    )
    complexity = 0.0
    for penalty in penalties:
        complexity -= penalty
    symmetry = 0.0
    if atoms > len(fragments):
        symmetry = math.log(atoms / len(fragments)) * 0.5
    scaled = 11.0 - (score + complexity + symmetry + 4.0 + 1) / 6.5 * 9.0
    if scaled > 8.0:
        scaled = 8.0 + math.log(scaled + 1.0 - 9.0)
    return min(max(scaled, 1.0), 10.0)


@functools.cache
def _np_scores() -> _FragmentScores:
    from rdkit.Contrib.NP_Score import npscorer

    # The loader prints to the standard streams.
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        model: dict[int, float] = npscorer.readNPModel()
    fragments = np.fromiter(model, np.int64, len(model))
    return _FragmentScores(fragments, np.fromiter(model.values(), np.float64, len(model)))


def npscore(facts: Facts) -> float:
    """Natural-product likeness of Ertl, Roggo & Schuffenhauer 2008 as RDKit defines it.

    The sum of the scores of the fragments by the number of atoms; beyond ±4 it grows as a
    logarithm.
    """
    fragments, _ = facts.fragments
    # Summed one by one, as RDKit does, for the same rounding.
    contributions = _np_scores().of(fragments, 0.0)
    score = float(np.add.accumulate(contributions)[-1]) / facts.mol.GetNumAtoms()
    if score > 4:
        return 4.0 + math.log10(score - 4.0 + 1.0)
    if score < -4:
        return -4.0 - math.log10(-4.0 - score + 1.0)
    return score
