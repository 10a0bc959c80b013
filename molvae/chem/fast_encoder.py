"""A fast encoder of SELFIES: a fraction of the time of ``selfies.encoder``, the same text.

It reads usual SMILES itself and leaves all else to the library: several molecules in one text,
unknown atoms, explicit aromatic bonds, and whatever is an error there.

Atoms are numbered in the order of the text. Aromatic bonds are single until some become double.
"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass, field
from typing import NamedTuple

from selfies.constants import AROMATIC_VALENCES, VALENCE_ELECTRONS
from selfies.grammar_rules import get_selfies_from_index
from selfies.utils.matching_utils import find_perfect_matching
from selfies.utils.smiles_utils import atom_to_smiles, smiles_to_atom

from molvae.chem.bonding import table_of

__all__ = ["encode_smiles"]

_TOKEN = re.compile(r"([-/\\=#]?)(?:(\[[^\]]*\]|Br|Cl|[A-Za-z])|(\d|%\d\d))|([()])")
_ORDERS = {"": 1, "-": 1, "/": 1, "\\": 1, "=": 2, "#": 3}
_SIGNS = ("", "", "=", "#")  # of bonds by order, without stereo
_STEREO = ("/", "\\")


def encode_smiles(smiles: str) -> str | None:
    """SELFIES of a SMILES under the bonding limits in force; None if the library must decide."""
    tokens = _TOKEN.findall(smiles)
    if sum(map(len, map("".join, tokens))) != len(smiles):
        return None
    molecule = _read(tokens)
    if molecule is None or not _kekulized(molecule):
        return None
    if any(n > atom.capacity for n, atom in zip(molecule.orders, molecule.atoms, strict=True)):
        return None
    return "".join(_written(molecule, 0, ""))


class _Atom(NamedTuple):
    """What an atom of a SMILES is; atoms of equal text are equal."""

    text: str  # in a SELFIES symbol
    inverted: str  # with the other chirality
    chiral: bool
    capacity: int  # bonds it can have
    aromatic: bool
    element: str
    hydrogens: int | None  # None: implicit
    charge: int


def _atom(text: str) -> _Atom | None:
    """None where the library knows no such atom."""
    atom = smiles_to_atom(text)
    if atom is None or (atom.is_aromatic and atom.element not in AROMATIC_VALENCES):
        return None
    aromatic, atom.is_aromatic = atom.is_aromatic, False
    plain = atom_to_smiles(atom, brackets=False)
    atom.invert_chirality()
    return _Atom(
        plain, atom_to_smiles(atom, brackets=False), atom.chirality is not None,
        atom.bonding_capacity, aromatic, atom.element, atom.h_count, atom.charge,
    )  # fmt: skip


@dataclass(slots=True)
class _Bond:
    """A bond from an atom to a later one; that of a ring is in the lists of both."""

    begin: int
    end: int
    order: int
    ring: bool
    mark: str  # of its stereo at the beginning: / or \\
    end_mark: str = ""  # of a ring, where it is closed


@dataclass(slots=True)
class _Molecule:
    """Atoms, and of each its bonds in the order of the text."""

    atoms: list[_Atom] = field(default_factory=list)
    out: list[list[_Bond]] = field(default_factory=list)
    orders: list[int] = field(default_factory=list)  # their sum, aromatic ones counted as single
    between: dict[tuple[int, int], _Bond] = field(default_factory=dict)
    aromatic: dict[int, list[int]] = field(default_factory=dict)  # atom → those it is bound to

    def add(self, atom: _Atom, last: int, sign: str) -> int:
        """Add an atom behind the last one (-1: none); its number."""
        here = len(self.atoms)
        self.atoms.append(atom)
        self.out.append([])
        self.orders.append(0)
        if atom.aromatic:
            self.aromatic[here] = []
        if last >= 0:
            bond = _Bond(last, here, _ORDERS[sign], False, sign if sign in _STEREO else "")
            self.out[last].append(bond)
            self.join(bond, sign)
        return here

    def join(self, bond: _Bond, signs: str) -> None:
        """Enter a bond with both ends, written with these signs."""
        a, b = bond.begin, bond.end
        self.between[a, b] = bond
        self.orders[a] += bond.order
        self.orders[b] += bond.order
        if not signs and self.atoms[a].aromatic and self.atoms[b].aromatic:
            self.aromatic[a].append(b)
            self.aromatic[b].append(a)

    def close(self, bond: _Bond, last: int, sign: str) -> bool:
        """Close a ring at the last atom; False where the library must decide."""
        begin_sign = bond.mark
        if last == bond.begin or (bond.begin, last) in self.between:
            return False
        marks = begin_sign in _STEREO and sign in _STEREO
        if begin_sign and sign and begin_sign != sign and not marks:
            return False
        bond.end, bond.order = last, max(bond.order, _ORDERS[sign])
        bond.mark = begin_sign if begin_sign in _STEREO else ""
        bond.end_mark = sign if sign in _STEREO else ""
        self.out[last].append(bond)
        self.join(bond, begin_sign + sign)
        return True


def _read(tokens: list[tuple[str, str, str, str]]) -> _Molecule | None:
    """The molecule; None if the text has an error or something unusual."""
    known = table_of(_atom)
    molecule = _Molecule()
    rings: dict[str, _Bond] = {}  # that wait for their end, by number
    outer: list[int] = []  # atoms to which a branch returns
    last, must_follow = -1, True  # whether an atom must follow
    for sign, text, number, bracket in tokens:
        if text:
            atom = known[text]
            if atom is None or (sign and last < 0):
                return None
            last, must_follow = molecule.add(atom, last, sign), False
        elif must_follow:
            return None
        elif number in rings:
            if not molecule.close(rings.pop(number), last, sign):
                return None
        elif number:
            # Its place among the bonds of the atom is that of the number.
            rings[number] = _Bond(last, -1, _ORDERS[sign], True, sign)
            molecule.out[last].append(rings[number])
        elif bracket == "(":
            outer.append(last)
            must_follow = True
        elif outer:
            last = outer.pop()
        else:
            return None
    return None if outer or rings or must_follow else molecule


# -- aromatic bonds -------------------------------------------------------------------------------


def _kekulized(molecule: _Molecule) -> bool:
    """Make some of the aromatic bonds double, as the library does; False if that is impossible."""
    if not molecule.aromatic:
        return True
    atoms, orders = molecule.atoms, molecule.orders
    kept = [
        number
        for number, partners in molecule.aromatic.items()
        if partners
        and _takes_part(
            atoms[number].element, atoms[number].hydrogens, atoms[number].charge,
            orders[number], len(partners),
        )
    ]  # fmt: skip
    place = {number: k for k, number in enumerate(kept)}
    pairs = _matching(
        tuple(tuple([place[b] for b in molecule.aromatic[a] if b in place]) for a in kept)
    )
    if pairs is None:
        return False
    for a, k in zip(kept, pairs, strict=True):
        b = kept[k]
        orders[a] += 1
        if a < b:
            molecule.between[a, b].order = 2
    return True


@functools.lru_cache(maxsize=1 << 14)
def _matching(graph: tuple[tuple[int, ...], ...]) -> list[int] | None:
    """The partner of each atom by a double bond; aromatic systems of the same shape recur."""
    found: list[int] | None = find_perfect_matching([list(partners) for partners in graph])
    return found


@functools.lru_cache(maxsize=1 << 12)
def _takes_part(
    element: str, hydrogens: int | None, charge: int, orders: int, partners: int
) -> bool:
    """Whether an aromatic atom has a double bond in its system, by the library's rules."""
    valences = AROMATIC_VALENCES[element]
    if hydrogens is None:
        return orders not in valences
    used = orders + hydrogens
    bound = max(0, charge) + used + partners // 2 + partners % 2
    radical = max(0, VALENCE_ELECTRONS[element] - bound) % 2
    free = valences[-1] - charge - used - radical
    return used + charge not in valences and free >= 0 and free % 2 != 0


# -- symbols --------------------------------------------------------------------------------------


def _written(molecule: _Molecule, here: int, sign: str) -> list[str]:
    """The symbols of the chain that begins at an atom, with its branches."""
    symbols: list[str] = []
    while True:
        bonds, atom = molecule.out[here], molecule.atoms[here]
        inverted = atom.chiral and _is_inverted(bonds, here)
        symbols.append(f"[{sign}{atom.inverted if inverted else atom.text}]")
        following = None
        for bond in bonds:
            if bond.ring:
                if bond.end == here:
                    number = _number(here - bond.begin - 1)
                    symbols += (f"[{_ring_sign(bond)}Ring{len(number)}]", *number)
            elif bond is bonds[-1]:
                following = bond
            else:
                branch = _written(molecule, bond.end, bond.mark or _SIGNS[bond.order])
                number = _number(len(branch) - 1)
                symbols += (f"[{_SIGNS[bond.order]}Branch{len(number)}]", *number, *branch)
        if following is None:
            return symbols
        here, sign = following.end, following.mark or _SIGNS[following.order]


@functools.cache
def _number(number: int) -> tuple[str, ...]:
    return tuple(get_selfies_from_index(number))


def _ring_sign(bond: _Bond) -> str:
    if bond.order > 1 or not (bond.mark or bond.end_mark):
        return _SIGNS[bond.order]
    return (bond.mark or "-") + (bond.end_mark or "-")


def _is_inverted(bonds: list[_Bond], here: int) -> bool:
    """Whether the neighbors of a center come in another order (odd) when SELFIES are decoded.

    Rings closed here are then first, rings opened here follow by where they close, then the rest.
    """
    if not any(bond.ring for bond in bonds):
        return False
    places = range(len(bonds))
    order = [k for k in places if bonds[k].ring and bonds[k].end == here]
    order += sorted(
        (k for k in places if bonds[k].ring and bonds[k].begin == here), key=lambda k: bonds[k].end
    )
    order += [k for k in places if not bonds[k].ring]
    swaps = sum(a > b for k, a in enumerate(order) for b in order[k + 1 :])
    return swaps % 2 != 0
