"""Substructures: scaffolds with attachment points, the ways to write them, SMARTS.

A text is read as a SMILES where it is the SMILES of a molecule, else as a SMARTS. ``[#7]`` and
``~`` are SMARTS, and so is an atom in brackets without all its hydrogens (``[NH]C(=O)C``): read as
a SMILES it would have unpaired electrons.
"""

from __future__ import annotations

import functools
import random
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from rdkit import Chem, rdBase
from rdkit.Chem import rdqueries

from molvae.chem.fragments import is_counter_ion
from molvae.chem.molecules import Mol, has_radical, parse, to_smiles
from molvae.errors import TargetError

__all__ = [
    "MARKS",
    "Writing",
    "contains",
    "has_points",
    "is_pattern",
    "matched_atoms",
    "matches",
    "require_scaffold",
    "templates",
    "writings",
]


class Writing(NamedTuple):
    """A SMILES of a molecule, in one of many atom orders."""

    smiles: str
    hydrogens: tuple[int, ...]  # implicit ones of each atom, in that order


MARKS = "[1At]", "[2At]"  # symbols of an attachment point; the second at one that must be used
ONLY_SMARTS = re.compile(r"\[#(?!0[\]:])|~")  # RDKit also takes these in a SMILES

_BRANCHED_MARK = re.compile(r"\(([/\\]?\[[12]At\])\)")


def writings(smiles: str, count: int, *, fill: bool = False, linked: bool = False) -> list[Writing]:
    """About ``count`` SMILES of a molecule, from every atom at least once, always the same ones.

    Attachment points (``*``) are written as `MARKS`, the second at stereo centers and stereo double
    bonds, with ``fill`` everywhere. SMILES begin with one only if ``linked``; then there are also
    some that end with one. There is none for a text that is not a connected SMILES or has a
    ``*`` that is not at the end of a single bond.
    """
    mol = parse(smiles)
    points = None if mol is None else _attachment_points(mol)
    if mol is None or points is None or len(Chem.GetMolFrags(mol)) > 1:
        return []
    for atom in mol.GetAtoms():
        atom.SetAtomMapNum(0)
        if atom.GetIdx() in points:
            atom.SetAtomicNum(85)
            atom.SetIsotope(1 + (fill or _is_stereo(atom.GetNeighbors()[0])))
    shuffle, by_smiles = random.Random(0), {}
    roots = [i for i in range(mol.GetNumAtoms()) if linked or i not in points]
    for turn in range(-(-count // len(roots))):
        for root in roots:
            order = list(range(mol.GetNumAtoms()))
            if turn:
                shuffle.shuffle(order)
            renumbered = Chem.RenumberAtoms(mol, order)
            text = Chem.MolToSmiles(renumbered, canonical=not turn, rootedAtAtom=order.index(root))
            # RDKit stores the order in which it wrote the atoms.
            written = renumbered.GetPropsAsDict(True, True)["_smilesAtomOutputOrder"]
            atoms = [renumbered.GetAtomWithIdx(i) for i in written]
            by_smiles[text] = Writing(text, tuple(a.GetNumImplicitHs() for a in atoms))
    if linked:
        for moved in [moved for text in by_smiles for moved in _mark_last(text)]:
            atoms = list(Chem.MolFromSmiles(moved).GetAtoms())
            by_smiles[moved] = Writing(moved, tuple(a.GetNumImplicitHs() for a in atoms))
    return list(by_smiles.values())


def _mark_last(smiles: str) -> Iterator[str]:
    """The SMILES with a mark in a branch of its main chain moved to the end.

    RDKit writes a substituent of a ring before the rest of the ring, so none of its SMILES of
    ``*N1CCN(*)CC1`` begins and ends with a mark.
    """
    same = parse(smiles)
    for group in _BRANCHED_MARK.finditer(smiles):
        head, at = smiles[: group.start()], group.end()
        if head.count("(") > head.count(")"):
            continue
        while smiles[at] == "(":  # other branches of the atom stay before the chain
            depth = 0
            while (depth := depth + (smiles[at] == "(") - (smiles[at] == ")")) > 0:
                at += 1
            at += 1
        rest = f"{smiles[group.end() : at]}({smiles[at:]}){group[1]}"
        # The order of the neighbors of a stereocenter has changed, perhaps by an odd number.
        atom = head.rfind("[") + 1
        flipped = head[atom:].replace("@@", "#").replace("@", "@@").replace("#", "@")
        for start in (head, head[:atom] + flipped):
            mol = parse(start + rest)
            if mol is not None and same is not None and to_smiles(mol) == to_smiles(same):
                yield start + rest
                break


def _attachment_points(mol: Mol) -> list[int] | None:
    """The atoms ``*``, or None if one of them is anything but the end of a single bond."""
    points = [atom for atom in mol.GetAtoms() if atom.GetAtomicNum() == 0]
    for atom in points:
        if [bond.GetBondType() for bond in atom.GetBonds()] != [Chem.BondType.SINGLE]:
            return None
        if atom.GetNeighbors()[0].GetAtomicNum() == 0:
            return None
    return [atom.GetIdx() for atom in points]


def is_pattern(text: str) -> bool:
    """Whether a text is a SMILES or a SMARTS with at least one atom."""
    return _pattern(text) is not None


def has_points(text: str) -> bool:
    """Whether a text is a SMILES with attachment points."""
    mol = _molecule(text)
    return mol is not None and bool(_attachment_points(mol))


def require_scaffold(text: str) -> None:
    """Refuse what is no substructure, and what no molecule of one part can contain.

    Raises:
        TargetError: the text is neither a SMILES nor a SMARTS, has an attachment point on a double
            bond, a counter-ion, or a part without an attachment point beside parts with one.
    """
    if not is_pattern(text):
        raise TargetError(
            f"scaffold: got '{text}', expected a SMILES such as c1ccc2[nH]ccc2c1, optionally "
            "with attachment points (*), or a SMARTS"
        )
    mol = parse(text)
    if mol is None or ONLY_SMARTS.search(text):
        return
    for atom in mol.GetAtoms():
        bonds = [bond.GetBondType() for bond in atom.GetBonds()]
        if atom.GetAtomicNum() == 0 and len(bonds) < 2 and bonds != [Chem.BondType.SINGLE]:
            place = "is not bound to anything" if not bonds else "is on a multiple bond"
            raise TargetError(
                f"scaffold: an attachment point (*) of '{text}' {place}, expected a single bond; "
                "write the atom that is to be there, or a list of atoms such as [C,N,O]"
            )
    parts = Chem.GetMolFrags(mol, asMols=True, sanitizeFrags=False)
    if len(parts) == 1:
        return
    pointed = [any(atom.GetAtomicNum() == 0 for atom in part.GetAtoms()) for part in parts]
    for part, has_point in zip(parts, pointed, strict=True):
        name = to_smiles(part)
        inorganic = all(atom.GetAtomicNum() != 6 for atom in part.GetAtoms())
        ion = inorganic or Chem.GetFormalCharge(part) or is_counter_ion(part)
        if ion and not has_point:
            raise TargetError(
                f"scaffold: '{name}' in '{text}' is a counter-ion or solvent; leave it out, "
                "or, to join it, mark where with * or give it as a second scaffold"
            )
        if any(pointed) and not has_point:
            raise TargetError(
                f"scaffold: '{name}' in '{text}' has no attachment point (*), and the other part "
                "may only grow at its own; mark where the parts are to be joined"
            )


def templates(text: str) -> tuple[str, ...]:
    """SMILES of the parts that molecules are built around; empty if they can only be checked.

    A SMARTS has one if it is the SMILES of a molecule without some of its hydrogens: these are
    added, so ``[#7]C(=O)C`` gives ``NC(=O)C``.
    """
    mol = _molecule(text)
    if mol is None:
        mol = parse(text)
        if mol is None or not _is_plain(mol):
            return ()
        for atom in mol.GetAtoms():
            if atom.GetNumRadicalElectrons():
                atom.SetNumRadicalElectrons(0)
                atom.SetNoImplicit(False)
        text = to_smiles(mol)
        if (mol := parse(text)) is None or has_radical(mol):
            return ()
    parts = Chem.GetMolFrags(mol, asMols=True)
    return (text,) if len(parts) == 1 else tuple(map(to_smiles, parts))


def _is_plain(mol: Mol) -> bool:
    """Whether all atoms and bonds of a text are those of a molecule."""
    return all(atom.GetAtomicNum() > 0 and not atom.HasQuery() for atom in mol.GetAtoms()) and all(
        bond.GetBondType() != Chem.BondType.UNSPECIFIED for bond in mol.GetBonds()
    )


def contains(mol: Mol, text: str, *, fill: bool = False) -> bool:
    """Whether a molecule has the substructure of a SMILES or, if it is none, of a SMARTS.

    An atom of a SMILES must match in charge and aromaticity; stereo matters if the text has any.
    With attachment points (``*``), no other atom may have more neighbors than in the SMILES; with
    ``fill`` none may have fewer either. Parts of a text may not share atoms.
    """
    return bool(matched_atoms(mol, text, fill=fill))


def matched_atoms(mol: Mol, text: str, *, fill: bool = False) -> frozenset[int]:
    """Atom indices of the first match of the substructure of :func:`contains`; empty if none."""
    pattern = _pattern(text)
    if pattern is None:
        raise TargetError(f"'{text}' is neither a SMILES nor a SMARTS")
    options = pattern.filled if fill else pattern.options
    return frozenset(mol.GetSubstructMatch(pattern.query, options))


def matches(mol: Mol, smarts: str) -> bool:
    """Whether a molecule has a substructure given as SMARTS (never read as SMILES)."""
    query = _query(smarts)
    if query is None:
        raise TargetError(f"'{smarts}' is not a valid SMARTS")
    return bool(mol.HasSubstructMatch(query))


@functools.lru_cache(maxsize=64)
def _query(text: str) -> Mol | None:
    if len(text.strip().splitlines()) > 1 or "\0" in text:
        return None
    with rdBase.BlockLogs():
        query = Chem.MolFromSmarts(text)
    return query if query is not None and query.GetNumAtoms() else None


def _molecule(text: str) -> Mol | None:
    """The molecule of a text that is a SMILES with attachment points, if any, at single bonds."""
    mol = None if ONLY_SMARTS.search(text) else parse(text)
    if mol is None or has_radical(mol) or _attachment_points(mol) is None:
        return None
    return mol


@dataclass(frozen=True)
class _Pattern:
    """What a molecule is searched for."""

    query: Mol
    options: Chem.SubstructMatchParameters
    filled: Chem.SubstructMatchParameters  # the same, with every attachment point used


@functools.lru_cache(maxsize=64)
def _pattern(text: str) -> _Pattern | None:
    mol = _molecule(text)
    if mol is None:
        query, plain = _query(text), _options(text)
        return None if query is None else _Pattern(query, plain, plain)
    points = _attachment_points(mol) or []
    core = Chem.RWMol(mol)
    degrees = [a.GetDegree() if points else sys.maxsize for a in mol.GetAtoms()]
    # At a stereo center or double bond the point orders the other neighbors: it stays, as any atom.
    loose = [i for i in points if not _is_stereo(mol.GetAtomWithIdx(i).GetNeighbors()[0])]
    for i in sorted(loose, reverse=True):
        core.RemoveAtom(i)
        del degrees[i]
    for atom in core.GetAtoms():
        if atom.GetAtomicNum() == 0:
            anything = rdqueries.AtomNumGreaterQueryAtom(1)
            core.ReplaceAtom(atom.GetIdx(), anything)
    required = [
        None if a.GetAtomicNum() == 0 else (a.GetFormalCharge(), a.GetIsAromatic(), degree)
        for a, degree in zip(core.GetAtoms(), degrees, strict=True)
    ]

    def fits(fill: bool) -> Callable[[Mol, Sequence[int]], bool]:
        def check(molecule: Mol, match: Sequence[int]) -> bool:
            for i, wanted in zip(match, required, strict=True):
                if wanted is None:
                    continue
                atom, (charge, aromatic, degree) = molecule.GetAtomWithIdx(i), wanted
                if (atom.GetFormalCharge(), atom.GetIsAromatic()) != (charge, aromatic):
                    return False
                if atom.GetDegree() > degree or (fill and points and atom.GetDegree() < degree):
                    return False
            return True

        return check

    return _Pattern(core.GetMol(), _options(text, fits(False)), _options(text, fits(True)))


def _options(text: str, check: Callable[[Mol, Sequence[int]], bool] | None = None) -> Any:
    options: Any = Chem.SubstructMatchParameters()  # the stubs name wrong types
    options.useChirality = any(mark in text for mark in "@/\\")
    if check is not None:
        options.setExtraFinalCheck(check)
    return options


def _is_stereo(atom: Chem.Atom) -> bool:
    return atom.GetChiralTag() != Chem.ChiralType.CHI_UNSPECIFIED or any(
        bond.GetStereo() > Chem.BondStereo.STEREOANY for bond in atom.GetBonds()
    )
