"""Which of many SMARTS can match a molecule at all: faster than a search for each.

Every atom of a pattern needs an atom of the molecule that it matches, and every bond two bonded
ones. Whether a kind of atom (element, aromaticity, charge, hydrogens, neighbors, in a ring or not)
matches an atom of a pattern is asked once, and kept. Of what depends on more than the kind, such
as the number of rings or a recursive SMARTS, the screen takes the part that the kind decides, or
none.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from rdkit import Chem
from rdkit.Chem import rdMolDescriptors

from molvae.chem.molecules import Mol

__all__ = ["PatternScreen"]

_AROMATIC = 1.5
_ANY = frozenset({1.0, _AROMATIC, 2.0, 3.0})
_ORDERS = {
    "": frozenset({1.0, _AROMATIC}),
    "-": frozenset({1.0}),
    "=": frozenset({2.0}),
    "#": frozenset({3.0}),
    ":": frozenset({_AROMATIC}),
}
_IN_RING = re.compile(r"&?!?@$")
# Atoms of a pattern that depend on the kind alone and match no hydrogen, once conditions that
# depend on more are left out: that makes a pattern more general, except behind "!".
_MORE = re.compile(r"&(?:v\d|D\d|\d+\*)|(?<=&R)[1-9]")
_ELEMENT = r"(?:Cl|Br|se|[BCNOPSFIbcnops]|a|#(?!1(?!\d))\d+)"
_CONDITION = r"!?(?:X\d|H\d|R0|R(?!\d)|[+-]\d?)"
_CHOICE = rf"{_ELEMENT}(?:&{_CONDITION})*"
_KNOWN = re.compile(rf"{_ELEMENT}|\[{_CHOICE}(?:,{_CHOICE})*(?:;{_CONDITION}(?:,{_CONDITION})*)*\]")
_SURELY_AROMATIC = re.compile(r"[bcnopsa]|\[[bcnopsa]\b[^,]*\]")


class PatternScreen:
    """Skips the patterns for which a molecule lacks atoms, bonds, aromatic atoms or rings.

    What a molecule has, and what a pattern needs, are the bits of an integer: of each different
    atom and bond of the patterns, once and twice, and one for each aromatic atom and ring.
    """

    def __init__(self, queries: Sequence[Mol]) -> None:
        # Text → its bit, and such an atom; the first stands for those that the screen cannot judge.
        self._atoms: dict[str, tuple[int, Chem.Atom]] = {"*": (0, Chem.AtomFromSmarts("*"))}
        self._pairs: dict[tuple[int, int, frozenset[float]], int] = {}  # bits of atoms, orders
        self._kinds: dict[int, int] = {}  # kind of an atom → bits of what it matches
        self._bonds: dict[tuple[int, int, float], int] = {}  # kinds of its atoms, order → bits
        bits = [list(self._bits(query)) for query in queries]
        aromatic = [_aromatic_atoms(query) for query in queries]
        rings = [q.GetNumBonds() - q.GetNumAtoms() + len(Chem.GetMolFrags(q)) for q in queries]
        self._width = self._next
        self._most = max(aromatic, default=0), max(rings, default=0)
        needs = zip(bits, aromatic, rings, strict=True)
        self._needs = [self._counted(*need) for need in needs]

    def possible(self, mol: Mol) -> list[int]:
        """Numbers of the patterns that may match a molecule, also with its hydrogens, in order."""
        invariants = rdMolDescriptors.GetConnectivityInvariants(mol)
        orders = Chem.GetAdjacencyMatrix(mol, True, 0, True, "PatternScreen")
        begins, ends = orders.nonzero()  # each bond in both directions
        directed = zip(begins.tolist(), ends.tolist(), orders[begins, ends].tolist(), strict=True)
        bonds = [bond for bond in directed if bond[0] < bond[1]]
        # The kind does not say which neighbors are hydrogens, and a bond may have no order.
        if mol.GetNumHeavyAtoms() < len(invariants) or len(bonds) < mol.GetNumBonds():
            return list(range(len(self._needs)))
        aromatic = {atom for *both, order in bonds if order == _AROMATIC for atom in both}
        kinds = [2 * invariant + (i in aromatic) for i, invariant in enumerate(invariants)]
        bits = []
        for i, kind in enumerate(kinds):
            if kind not in self._kinds:
                self._kinds[kind] = self._matched(mol.GetAtomWithIdx(i))
            bits.append(self._kinds[kind])
        for i, j, order in bonds:
            bond = kinds[i], kinds[j], order
            if bond not in self._bonds:
                self._bonds[bond] = self._joined(*bond)
            bits.append(self._bonds[bond])
        missing = ~self._counted(bits, len(aromatic), mol.GetRingInfo().NumRings())
        return [i for i, need in enumerate(self._needs) if not need & missing]

    def _bits(self, query: Mol) -> Iterable[int]:
        """The bits of the atoms and bonds of a pattern that the screen looks for."""
        atoms = [self._bit(atom.GetSmarts()) for atom in query.GetAtoms()]
        yield from (1 << bit for bit in atoms if bit)  # any may be a hydrogen
        for bond in query.GetBonds():
            ends = sorted((atoms[bond.GetBeginAtomIdx()], atoms[bond.GetEndAtomIdx()]))
            orders = _ORDERS.get(_IN_RING.sub("", Chem.Bond.GetSmarts(bond)), _ANY)
            if ends[0] or 1.0 not in orders:  # else it may be a bond to hydrogen
                yield 1 << self._pairs.setdefault((ends[0], ends[1], orders), self._next)

    def _bit(self, text: str) -> int:
        """The number of an atom of a pattern among those that the screen looks for; 0 for any."""
        text = _MORE.sub("", text)
        if not _KNOWN.fullmatch(text):
            text = f"{text.partition(';')[0]}]"  # without some conditions
        if not _KNOWN.fullmatch(text):
            return 0
        if text not in self._atoms:
            self._atoms[text] = self._next, Chem.AtomFromSmarts(text)
        return self._atoms[text][0]

    @property
    def _next(self) -> int:
        return len(self._atoms) + len(self._pairs)

    def _counted(self, bits: Iterable[int], aromatic: int, rings: int) -> int:
        """The bits that occur, those that occur twice, and those of so many atoms and rings."""
        once = twice = 0
        for bit in bits:
            twice |= once & bit
            once |= bit
        total = once | twice << self._width
        for count, most in zip((aromatic, rings), self._most, strict=True):
            total = total << most | (1 << min(count, most)) - 1
        return total

    def _matched(self, atom: Chem.Atom) -> int:
        """The bits of the atoms of patterns that atoms of this kind match."""
        return sum(1 << bit for bit, query in self._atoms.values() if query.Match(atom))

    def _joined(self, one: int, two: int, order: float) -> int:
        """The bits of the bonds of patterns that a bond between these kinds of atoms matches."""
        first, second, bits = self._kinds[one], self._kinds[two], 0
        for (a, b, orders), bit in self._pairs.items():
            both = first >> a & second >> b | first >> b & second >> a
            if both & 1 and order in orders:
                bits |= 1 << bit
        return bits


def _aromatic_atoms(query: Mol) -> int:
    """How many aromatic atoms a pattern needs at least."""
    return sum(bool(_SURELY_AROMATIC.fullmatch(atom.GetSmarts())) for atom in query.GetAtoms())
