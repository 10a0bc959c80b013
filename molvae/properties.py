"""The built-in molecular properties: name → meaning, unit, typical range, function."""

from __future__ import annotations

import contextlib
import functools
import gzip
import io
import itertools
import math
import pickle
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rdkit import Chem
from rdkit.Chem import QED, FilterCatalog, rdFingerprintGenerator, rdMolDescriptors, rdqueries

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


class _Facts:
    """What several properties of one molecule share: each computed once, when first asked for."""

    def __init__(self, mol: Mol) -> None:
        self.mol = mol

    @functools.cached_property
    def plain(self) -> bool:
        """Whether all atoms are heavy and few enough that no search of RDKit meets its limit."""
        atoms = self.mol.GetNumAtoms()
        return 0 < atoms == self.mol.GetNumHeavyAtoms() and atoms <= 250

    @functools.cached_property
    def quantum_numbers(self) -> list[int]:
        """The 42 counts of Nguyen et al. 2009: elements, bonds, charges, degrees, ring sizes."""
        return list(rdMolDescriptors.MQNs_(self.mol))

    @functools.cached_property
    def arom(self) -> int:
        return rdMolDescriptors.CalcNumAromaticRings(self.mol)

    @functools.cached_property
    def hbd(self) -> int:
        return rdMolDescriptors.CalcNumHBD(self.mol)

    @functools.cached_property
    def logp(self) -> float:
        return _crippen_logp(self)

    @functools.cached_property
    def mw(self) -> float:
        return rdMolDescriptors._CalcMolWt(self.mol)

    @functools.cached_property
    def rings(self) -> tuple[tuple[int, ...], ...]:
        members: tuple[tuple[int, ...], ...] = self.mol.GetRingInfo().AtomRings()
        return members

    @functools.cached_property
    def rotb(self) -> int:
        if _quantum_numbers_hold_rotatable_bonds():
            return self.quantum_numbers[_ROTATABLE]
        return rdMolDescriptors.CalcNumRotatableBonds(self.mol)

    @functools.cached_property
    def tpsa(self) -> float:
        return rdMolDescriptors.CalcTPSA(self.mol)

    @functools.cached_property
    def fragments(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Identifiers and counts of the atom environments of radius 2, as RDKit orders them."""
        found = _environments().GetSparseCountFingerprint(self.mol).GetNonzeroElements()
        size = len(found)
        if not size:
            raise ValueError("no atoms, no fragments")
        return np.fromiter(found, np.int64, size), np.fromiter(found.values(), np.int64, size)


@dataclass(frozen=True)
class _Rule:
    """The function of a property that shares facts with others; works alone, too."""

    of: Callable[[_Facts], float]

    def __call__(self, mol: Mol) -> float:
        return self.of(_Facts(mol))


# Where a shortcut of ours must give what RDKit's own function gives before it is used at all: if
# a later RDKit changes a definition or a table that it rests on, we fall back on that function.
_PROBES = (
    "CC(=O)Oc1ccccc1C(=O)O",
    "CN1CCC[C@H]1c1cccnc1",
    "NS(=O)(=O)c1cc(Cl)c(N)cc1[N+](=O)[O-]",
    "OCC1OC(O)C(O)C(O)C1O",
    "C=CC(=O)NN=Cc1c[nH]c2ccc(C#N)cc12",
    "C[N+](C)(C)CC(=O)[O-].[Cl-]",
    "C1CC2CCC1C21CC1",
    "CSC(F)(F)C(F)(F)CCCCOP(=O)(O)CS",
)


def _agree(ours: Callable[[Mol], float], public: Callable[[Mol], float]) -> bool:
    try:
        return all(ours(mol) == public(mol) for mol in map(Chem.MolFromSmiles, _PROBES))
    except Exception:
        return False  # whatever has changed, the public function is still there


_ROTATABLE = 18  # the place of the rotatable bonds in the quantum numbers


@functools.cache
def _quantum_numbers_hold_rotatable_bonds() -> bool:
    return _agree(
        lambda mol: list(rdMolDescriptors.MQNs_(mol))[_ROTATABLE],
        rdMolDescriptors.CalcNumRotatableBonds,
    )


# Crippen's log P ---------------------------------------------------------------------------------


def _public_logp(mol: Mol) -> float:
    return float(rdMolDescriptors.CalcCrippenDescriptors(mol)[0])


@functools.cache
def _bears_hydrogen() -> Mol:
    return Chem.MolFromSmarts("[!#6;!H0]")


@functools.cache
def _hydrogen_contributions() -> tuple[float, float, float, float]:
    """Of a hydrogen on carbon, aliphatic nitrogen, aromatic nitrogen and an alcohol or phenol."""
    values = []
    for smiles in ("C", "N", "c1ccc[nH]1", "CO"):
        mol = Chem.AddHs(Chem.MolFromSmiles(smiles))
        # Hydrogens come last, in the order of their heavy atoms.
        last = rdMolDescriptors._CalcCrippenContribs(mol)[-1]
        values.append(last[0])
    return values[0], values[1], values[2], values[3]


def _hydrogen_contribution(atom: Chem.Atom) -> float | None:
    """Of one hydrogen on this heteroatom; None where that takes RDKit to tell."""
    number = atom.GetAtomicNum()
    if number == 7:
        return _hydrogen_contributions()[2 if atom.GetIsAromatic() else 1]
    if number == 8 and atom.GetDegree() == 1 and atom.GetTotalNumHs() == 1:
        neighbour = atom.GetNeighbors()[0]
        saturated = neighbour.GetTotalDegree() == 4
        if neighbour.GetAtomicNum() == 6 and (neighbour.GetIsAromatic() or saturated):
            return _hydrogen_contributions()[3]
    return None


def _fast_logp(facts: _Facts) -> float:
    """Octanol-water partition of Wildman & Crippen 1999, hydrogens left implicit.

    The type of a heavy atom depends on how many hydrogens it has, not on whether they are
    written as atoms; that of a hydrogen on its heavy atom (and, for O-H, on the next one). RDKit
    adds the contributions of the heavy atoms up first, then those of the hydrogens in the order
    of their heavy atoms, and so do we: rounding is the same.
    """
    mol = facts.mol
    if not facts.plain:
        return _public_logp(mol)
    atom_with = mol.GetAtomWithIdx
    polar = []
    for (index,) in mol.GetSubstructMatches(_bears_hydrogen()):
        contribution = _hydrogen_contribution(atom_with(index))
        if contribution is None:
            return _public_logp(mol)
        polar.append((index, contribution))
    total = 0.0
    for contribution, _ in rdMolDescriptors._CalcCrippenContribs(mol):
        total += contribution
    on_carbon = _hydrogen_contributions()[0]
    done = hydrogens = 0
    for index, contribution in sorted(polar):
        here = atom_with(index).GetTotalNumHs()
        between = sum(atom_with(i).GetTotalNumHs() for i in range(done, index))
        for _ in range(between):
            total += on_carbon
        for _ in range(here):
            total += contribution
        hydrogens += between + here
        done = index + 1
    for _ in range(rdMolDescriptors.CalcNumAtoms(mol) - mol.GetNumAtoms() - hydrogens):
        total += on_carbon
    return total


@functools.cache
def _fast_logp_agrees() -> bool:
    return _agree(lambda mol: _fast_logp(_Facts(mol)), _public_logp)


def _crippen_logp(facts: _Facts) -> float:
    return _fast_logp(facts) if _fast_logp_agrees() else _public_logp(facts.mol)


# Quantitative drug-likeness ----------------------------------------------------------------------

_Tree = tuple[str, list["_Tree"]]  # a query as RDKit describes it: its text, and its parts


def _tree(query: Chem.Atom) -> _Tree:
    root: _Tree = ("AtomAnd", [])
    path = [(-1, root)]
    for line in query.DescribeQuery().splitlines():
        depth = len(line) - len(line.lstrip())
        while path[-1][0] >= depth:
            path.pop()
        node: _Tree = (line.strip(), [])
        path[-1][1][1].append(node)
        path.append((depth, node))
    return root


def _allowed(tree: _Tree, *facts: str) -> frozenset[int] | None:
    """The values one of ``facts`` must have for the query to match; None if any may do.

    Whatever is negated, recursive or unheard of may match anything.
    """
    text, parts = tree
    known = [_allowed(part, *facts) for part in parts]
    if text == "AtomAnd":
        limits = [values for values in known if values is not None]
        return frozenset.intersection(*limits) if limits else None
    if text == "AtomOr":
        either = [values for values in known if values is not None]
        return frozenset().union(*either) if len(either) == len(known) else None
    words = text.split()
    if not parts and len(words) == 4 and words[0] in facts and words[2:] == ["=", "val"]:
        return frozenset({int(words[1])})
    return None


# Places in the quantum numbers, followed by those of our own counts.
_ELEMENTS = {
    6: (0,),
    9: (1,),
    17: (2,),
    35: (3,),
    53: (4,),
    16: (5,),
    15: (6,),
    7: (7, 8),
    8: (9, 10),
}
_HEAVY, _NEGATIVE, _POSITIVE, _DONORS, _OPEN_DEGREE_2, _IN_TWO_RINGS = 11, 23, 24, 22, 26, 40
_OPEN_DOUBLE, _TRIPLE, _OPEN_NITROGEN, _OPEN_OXYGEN = (13,), (14, 17), (7,), (9,)
_RING_SIZES = range(32, 39)  # of 3 to 9 atoms
_OTHER, _DOUBLE_CN, _BOND_NO, _ISOTOPE = 42, 43, 44, 45
_PLACES = 46
_FAMILY = 15  # alerts

_Needs = dict[tuple[int, ...], int]  # a sum of counts → how many a molecule needs at least


def _needs(pattern: Mol) -> _Needs:
    """Counts without which a molecule cannot match; each atom of a pattern needs one of its own."""
    atoms = []
    for atom in pattern.GetAtoms():
        tree = _tree(atom)
        elements = _allowed(tree, "AtomType", "AtomAtomicNum")
        if elements is not None:
            elements = frozenset(e % 1000 for e in elements)  # RDKit adds 1000 to aromatic ones
        atoms.append((tree, elements))
    needs: _Needs = {}

    def need(places: Iterable[int], number: int) -> None:
        key = tuple(sorted(set(places)))
        needs[key] = max(needs.get(key, 0), number)

    def within(values: frozenset[int] | None, limits: Iterable[int]) -> bool:
        return values is not None and values <= set(limits)

    def count(*facts: str, limits: Iterable[int], elements: Iterable[int] | None = None) -> int:
        return sum(
            within(_allowed(tree, *facts), limits) and (elements is None or within(mine, elements))
            for tree, mine in atoms
        )

    def is_open(tree: _Tree) -> bool:
        return within(_allowed(tree, "AtomInNRings"), {0}) or within(
            _allowed(tree, "AtomInRing"), {0}
        )

    for elements in {mine for _, mine in atoms if mine is not None}:
        if 1 not in elements and 0 not in elements:
            places = [p for e in elements for p in _ELEMENTS.get(e, (_OTHER,))]
            need(places, sum(within(mine, elements) for _, mine in atoms))
    minus, plus = range(-9, 0), range(1, 10)
    need((_NEGATIVE,), count("AtomFormalCharge", limits=minus))
    need((_POSITIVE,), count("AtomFormalCharge", limits=plus))
    need((_NEGATIVE, _POSITIVE), count("AtomFormalCharge", limits=(*minus, *plus)))
    need((_DONORS,), count("AtomHCount", limits=range(1, 5), elements=(7, 8)))
    need((_IN_TWO_RINGS,), count("AtomInNRings", limits=range(2, 9)))
    need((_ISOTOPE,), min(1, count("AtomIsotope", limits=range(1, 999))))
    need(_OPEN_NITROGEN, sum(is_open(tree) and within(mine, {7}) for tree, mine in atoms))
    need(_OPEN_OXYGEN, sum(is_open(tree) and within(mine, {8}) for tree, mine in atoms))
    need(
        (_OPEN_DEGREE_2,),
        sum(is_open(t) and within(_allowed(t, "AtomExplicitDegree"), {2}) for t, _ in atoms),
    )
    bonds = {"open double": 0, "triple": 0}
    for bond in pattern.GetBonds():
        ends = [atoms[bond.GetBeginAtomIdx()], atoms[bond.GetEndAtomIdx()]]
        order = bond.DescribeQuery().strip()
        if order == "BondOrder 2 = val":
            bonds["open double"] += any(is_open(tree) for tree, _ in ends)
            if all(within(mine, {6, 7}) for _, mine in ends):
                need((_DOUBLE_CN,), 1)
        bonds["triple"] += order == "BondOrder 3 = val"
        if all(within(mine, {7, 8}) for _, mine in ends):
            need((_BOND_NO,), 1)
    need(_OPEN_DOUBLE, bonds["open double"])
    need(_TRIPLE, bonds["triple"])
    # A cycle is a sum of the smallest rings that are no larger than itself.
    cycles = Chem.GetSymmSSSR(Chem.Mol(pattern))
    smallest = min((len(cycle) for cycle in cycles), default=0)
    if 3 <= smallest <= 9:
        need(_RING_SIZES[: smallest - 2], 1)
    return {places: number for places, number in needs.items() if number > 0}


class _Alerts:
    """Counts QED's structural alerts in a molecule, trying those only that it has the atoms for."""

    def __init__(self) -> None:
        # Those of like needs side by side: what is tried of a family varies little.
        pairs = [(alert, _needs(alert)) for alert in QED.StructuralAlerts]
        pairs.sort(key=lambda pair: sorted(pair[1].items()))
        tests = sorted({test for _, needs in pairs for test in needs.items()})
        # float32 products of small whole numbers are exact, at the speed of a matrix product.
        self._sums = np.zeros((len(tests), _PLACES), dtype=np.float32)
        for row, (places, _) in enumerate(tests):
            self._sums[row, list(places)] = 1
        self._least = np.array([number for _, number in tests], dtype=np.float32)
        self._needed = np.array(
            [[test in needs.items() for test in tests] for _, needs in pairs], dtype=np.float32
        )
        self._all = self._needed.sum(axis=1)
        self._entries = [
            FilterCatalog.FilterCatalogEntry(str(i), FilterCatalog.SmartsMatcher(str(i), alert))
            for i, (alert, _) in enumerate(pairs)
        ]
        self._families = [
            (start, start + _FAMILY) for start in range(0, len(self._entries), _FAMILY)
        ]
        # Tables by what is tried, not by molecule; bounded, as a strange library needs many.
        self._catalog = functools.lru_cache(maxsize=4096)(self._some)
        self._double_cn = Chem.MolFromSmarts("[#6,#7]=[#6,#7]")
        self._bond_no = Chem.MolFromSmarts("[#7,#8]~[#7,#8]")
        self._isotope = Chem.MolFromSmarts("[!0*]")

    def _some(self, start: int, wanted: bytes) -> FilterCatalog.FilterCatalog | None:
        if not any(wanted):
            return None
        catalog = FilterCatalog.FilterCatalog()
        for entry, want in zip(self._entries[start:], wanted, strict=False):
            if want:
                catalog.AddEntry(entry)
        return catalog

    def count(self, facts: _Facts) -> int:
        mol, numbers = facts.mol, facts.quantum_numbers
        has = mol.HasSubstructMatch
        counts = [
            *numbers,
            numbers[_HEAVY] - sum(numbers[:_HEAVY]),
            has(self._double_cn),
            has(self._bond_no),
            has(self._isotope),
        ]
        passed = self._sums @ np.array(counts, dtype=np.float32) >= self._least
        possible = (self._needed @ passed.astype(np.float32) == self._all).tobytes()
        found = 0
        for start, end in self._families:
            catalog = self._catalog(start, possible[start:end])
            if catalog is not None:
                found += len(catalog.GetMatches(mol))
        return found


@functools.cache
def _alerts() -> _Alerts:
    return _Alerts()


_EXACT_FACTS = (
    "AtomType", "AtomHCount", "AtomTotalDegree", "AtomTotalValence", "AtomFormalCharge"
)  # fmt: skip


@functools.cache
def _acceptors() -> list[Mol]:
    """QED's acceptors, joined into one query where no atom can match two of them.

    QED adds the matches of all its patterns up; of patterns that exclude each other, one query
    for any of them has as many.
    """
    joined: list[tuple[Chem.RWMol, list[_Tree]]] = []
    for pattern in QED.Acceptors:
        atom = pattern.GetAtomWithIdx(0)
        tree = _tree(atom)
        for mol, trees in joined if pattern.GetNumAtoms() == 1 else []:
            if all(_exclude(tree, other) for other in trees):
                mol.GetAtomWithIdx(0).ExpandQuery(atom, how=Chem.CompositeQueryType.COMPOSITE_OR)
                trees.append(tree)
                break
        else:
            # More than one atom: nothing is known to exclude it.
            joined.append(
                (Chem.RWMol(pattern), [tree] if pattern.GetNumAtoms() == 1 else [("", [])])
            )
    return [mol for mol, _ in joined]


def _exclude(one: _Tree, other: _Tree) -> bool:
    for fact in _EXACT_FACTS:
        mine, theirs = _allowed(one, fact), _allowed(other, fact)
        if mine is not None and theirs is not None and not mine & theirs:
            return True
    return False


def _aromatic_systems(facts: _Facts) -> int:
    """QED's count of aromatic rings: those left without the saturated atoms of rings."""
    mol = facts.mol
    rings = mol.GetRingInfo().NumRings()
    if rings == 0:
        return 0
    # As many rings as a connected molecule has independent cycles: no ring is redundant.
    independent = rings == mol.GetNumBonds() - mol.GetNumAtoms() + 1
    if independent and facts.arom == rings:
        return rings  # nothing to take away
    saturated = {index for (index,) in mol.GetSubstructMatches(QED.AliphaticRings)}
    if independent:
        members = facts.rings
        often = Counter(itertools.chain.from_iterable(members))
        alone = {index for index in saturated if often[index] == 1}
        opened = sum(not saturated.isdisjoint(ring) for ring in members)
        # An atom in no other ring takes its own ring away and nothing else.
        if opened == sum(not alone.isdisjoint(ring) for ring in members):
            return rings - opened
    return len(Chem.GetSSSR(Chem.DeleteSubstructs(Chem.Mol(mol), QED.AliphaticRings)))


@functools.cache
def _desirabilities() -> tuple[list[tuple[float, ...]], list[float], float]:
    """Of QED's eight terms the parameters and weights, and the sum of the weights."""
    weights = [float(weight) for weight in QED.WEIGHT_MEAN]
    names = QED.QEDproperties._fields
    parameters: list[tuple[float, ...]] = []
    for name in names:
        p = QED.adsParameters[name]
        parameters.append((p.A, p.B, p.C, p.D / 2, p.E, p.F, p.DMAX))
    if names != ("MW", "ALOGP", "HBA", "HBD", "PSA", "ROTB", "AROM", "ALERTS"):
        raise LookupError(f"QED has other terms: {names}")
    return parameters, weights, float(sum(weights))


@functools.cache
def _unusual() -> Mol:
    """Atoms that neutralising, which does not sanitise, may have left in a state RDKit refuses."""
    other_elements = "!#6&!#7&!#8&!#9&!#16&!#17&!#35&!#53"
    return Chem.MolFromSmarts(f"[{other_elements},c&!X3,F&!D1,Cl&!D1,Br&!D1,I&!D1]")


def _fast_qed(facts: _Facts) -> float:
    """Quantitative drug-likeness of Bickerton et al. 2012 from RDKit's patterns and parameters.

    The weighted geometric mean of eight desirabilities, each an asymmetric double sigmoid.
    """
    mol = facts.mol
    if not facts.plain or mol.HasSubstructMatch(_unusual()):
        return float(QED.qed(mol))  # it takes hydrogens away first, and sanitises again
    terms = (
        facts.mw,
        facts.logp,
        sum(len(mol.GetSubstructMatches(acceptor)) for acceptor in _acceptors()),
        facts.hbd,
        facts.tpsa,
        facts.rotb,
        _aromatic_systems(facts),
        _alerts().count(facts),
    )
    parameters, weights, whole = _desirabilities()
    logarithms = []
    for x, weight, (a, b, c, half_d, e, f, top) in zip(terms, weights, parameters, strict=True):
        rise = 1 + math.exp(-(x - c + half_d) / e)
        fall = 1 + math.exp(-(x - c - half_d) / f)
        logarithms.append(weight * math.log((a + b / rise * (1 - 1 / fall)) / top))
    return math.exp(sum(logarithms) / whole)


@functools.cache
def _fast_qed_agrees() -> bool:
    return _agree(lambda mol: _fast_qed(_Facts(mol)), QED.qed)


def _qed(facts: _Facts) -> float:
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
        last = np.append(ordered[1:] != ordered[:-1], True)  # of several the last one counts
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


def _public_sas(mol: Mol) -> float:
    from rdkit.Contrib.SA_Score import sascorer

    return float(sascorer.calculateScore(mol))


# What reading a table raises that is no longer where or what it was; RDKit's own function may
# still know better.
_CHANGED_DATA = (
    AttributeError, IndexError, LookupError, OSError, OverflowError, TypeError, ValueError
)  # fmt: skip


@functools.cache
def _sas_scores() -> _FragmentScores | None:
    from rdkit.Contrib.SA_Score import sascorer

    try:
        with gzip.open(Path(sascorer.__file__).with_name("fpscores.pkl.gz")) as handle:
            rows = pickle.load(handle)  # RDKit's own file: each row a score and its fragments
        size = sum(len(row) - 1 for row in rows)
        fragments = np.fromiter((f for row in rows for f in row[1:]), np.int64, size)
        scores = np.repeat([float(row[0]) for row in rows], [len(row) - 1 for row in rows])
        return _FragmentScores(fragments, scores)
    except _CHANGED_DATA:
        return None


@functools.cache
def _stereo_marks() -> Chem.QueryAtom:
    marked = rdqueries.HasPropQueryAtom("_CIPCode")
    marked.ExpandQuery(
        rdqueries.HasPropQueryAtom("_ChiralityPossible"), how=Chem.CompositeQueryType.COMPOSITE_OR
    )
    return marked


def _stereocentres(mol: Mol) -> int:
    """Tetrahedral centres, assigned or not, as ``Chem.FindMolChiralCenters`` lists them."""
    if not Chem.GetUseLegacyStereoPerception():
        return len(Chem.FindMolChiralCenters(mol, includeUnassigned=True))
    Chem.AssignStereochemistry(mol, cleanIt=True, force=True, flagPossibleStereoCenters=True)
    return len(mol.GetAtomsMatchingQuery(_stereo_marks()))


def _fast_sas(facts: _Facts, table: _FragmentScores) -> float:
    """Synthetic accessibility of Ertl & Schuffenhauer 2009 as RDKit defines it, 1 (easy) to 10.

    The mean score of the fragments, less penalties for size, stereocentres, spiro and bridgehead
    atoms and macrocycles, plus a correction for symmetry that RDKit added; then scaled.
    """
    mol = facts.mol
    fragments, counts = facts.fragments
    atoms = mol.GetNumAtoms()
    # Added up one by one, as RDKit does: rounding is the same.
    contributions = table.of(fragments, -4.0) * counts
    score = float(np.add.accumulate(contributions)[-1]) / int(counts.sum())
    macrocycle = any(len(ring) > 8 for ring in facts.rings)
    penalties = (
        atoms**1.005 - atoms,
        math.log10(_stereocentres(mol) + 1),
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


def _synthetic_accessibility(facts: _Facts) -> float:
    scores = _sas_scores()
    return _public_sas(facts.mol) if scores is None else _fast_sas(facts, scores)


@functools.cache
def _np_model() -> dict[int, float]:
    from rdkit.Contrib.NP_Score import npscorer

    # The loader reports on the standard streams; nobody asked.
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        model: dict[int, float] = npscorer.readNPModel()
        return model


def _public_np(mol: Mol) -> float:
    from rdkit.Contrib.NP_Score import npscorer

    return float(npscorer.scoreMol(mol, _np_model()))


@functools.cache
def _np_scores() -> _FragmentScores | None:
    try:
        model = _np_model.__wrapped__()  # not kept
        fragments = np.fromiter(model, np.int64, len(model))
        return _FragmentScores(fragments, np.fromiter(model.values(), np.float64, len(model)))
    except _CHANGED_DATA:
        return None


def _fast_np(facts: _Facts, scores: _FragmentScores) -> float:
    """Natural-product likeness of Ertl, Roggo & Schuffenhauer 2008 as RDKit defines it.

    The sum of the scores of the fragments by the number of atoms; beyond ±4 it grows as a
    logarithm.
    """
    fragments, _ = facts.fragments
    # Added up one by one, as RDKit does: rounding is the same.
    score = float(np.add.accumulate(scores.of(fragments, 0.0))[-1]) / facts.mol.GetNumAtoms()
    if score > 4:
        return 4.0 + math.log10(score - 4.0 + 1.0)
    if score < -4:
        return -4.0 - math.log10(-4.0 - score + 1.0)
    return score


def _np_likeness(facts: _Facts) -> float:
    scores = _np_scores()
    return _public_np(facts.mol) if scores is None else _fast_np(facts, scores)


# The table ---------------------------------------------------------------------------------------


def _table(*properties: Property) -> dict[str, Property]:
    return {p.name: p for p in properties}


PROPERTIES: dict[str, Property] = _table(
    Property("arom", "aromatic rings", "", 0, 5, _Rule(lambda facts: facts.arom), True),
    Property("fsp3", "fraction of sp3 carbons", "", 0, 1, rdMolDescriptors.CalcFractionCSP3),
    Property("hba", "hydrogen-bond acceptors", "", 0, 10, rdMolDescriptors.CalcNumHBA, True),
    Property("hbd", "hydrogen-bond donors", "", 0, 5, _Rule(lambda facts: facts.hbd), True),
    Property("heavy", "heavy atoms", "", 10, 40, lambda mol: mol.GetNumHeavyAtoms(), True),
    Property(
        "logp", "octanol-water partition (Crippen)", "", -2, 6, _Rule(lambda facts: facts.logp)
    ),
    Property("mw", "average molecular weight", "Da", 150, 550, _Rule(lambda facts: facts.mw)),
    Property("npscore", "natural-product likeness (Ertl 2008)", "", -4, 4, _Rule(_np_likeness)),
    Property("qed", "quantitative drug-likeness (Bickerton 2012)", "", 0, 1, _Rule(_qed)),
    Property("rings", "rings", "", 0, 6, rdMolDescriptors.CalcNumRings, True),
    Property("rotb", "rotatable bonds", "", 0, 12, _Rule(lambda facts: facts.rotb), True),
    Property(
        "sas", "synthetic accessibility (Ertl 2009)", "", 1, 6, _Rule(_synthetic_accessibility)
    ),
    Property(
        "tpsa", "topological polar surface area", "Å²", 0, 150, _Rule(lambda facts: facts.tpsa)
    ),
)


def get_property(name: str) -> Property:
    """The built-in property of that name; an unknown name is an error naming the nearest."""
    if name not in PROPERTIES:
        raise PropertyError(f"unknown property '{name}': {suggest(name, PROPERTIES)}")
    return PROPERTIES[name]


def compute(mol: Mol, names: Iterable[str]) -> NDArray[np.float64]:
    """Values of the named built-in properties of one molecule, NaN where RDKit fails."""
    facts = _Facts(mol)
    values = []
    for name in names:
        function = get_property(name).function
        try:
            value = float(function.of(facts) if isinstance(function, _Rule) else function(mol))
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
