"""Molecules in molecules: scaffolds with attachment points, their writings, SMARTS."""

from __future__ import annotations

import functools
import random
import sys
from collections.abc import Sequence
from typing import Any, NamedTuple

from rdkit import Chem, rdBase
from rdkit.Chem import rdqueries

from molvae.chem.molecules import Mol, fragment_count, parse
from molvae.errors import TargetError

__all__ = ["MARKS", "Writing", "contains", "is_pattern", "matches", "writings"]


class Writing(NamedTuple):
    """A molecule written down in one of many orders."""

    smiles: str
    hydrogens: tuple[int, ...]  # of each atom, in that order; those that brackets name left out


MARKS = "[1At]", "[2At]"  # written for an attachment point; the second where others need it


def writings(smiles: str, count: int) -> list[Writing]:
    """About ``count`` ways to write a molecule, from every atom at least once; none is random.

    Attachment points (``*``) are written as `MARKS`, the second at stereo centres and stereo double
    bonds, and no writing begins with one. There is no way to write what is no connected SMILES or
    has a ``*`` that is not at the end of a single bond.
    """
    mol = parse(smiles)
    points = None if mol is None else _attachment_points(mol)
    if mol is None or points is None or fragment_count(mol) > 1:
        return []
    for atom in mol.GetAtoms():
        atom.SetAtomMapNum(0)
        if atom.GetIdx() in points:
            atom.SetAtomicNum(85)
            atom.SetIsotope(1 + _is_stereo(atom.GetNeighbors()[0]))
    shuffle, found = random.Random(0), {}
    roots = [i for i in range(mol.GetNumAtoms()) if i not in points]
    for turn in range(-(-count // len(roots))):
        for root in roots:
            order = list(range(mol.GetNumAtoms()))
            if turn:
                shuffle.shuffle(order)
            other = Chem.RenumberAtoms(mol, order)
            text = Chem.MolToSmiles(other, canonical=not turn, rootedAtAtom=order.index(root))
            # Where RDKit leaves the order in which it wrote the atoms.
            written = other.GetPropsAsDict(True, True)["_smilesAtomOutputOrder"]
            atoms = [other.GetAtomWithIdx(i) for i in written]
            found[text] = Writing(text, tuple(a.GetNumImplicitHs() for a in atoms))
    return list(found.values())


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


def contains(mol: Mol, text: str) -> bool:
    """Whether a molecule has the substructure of a SMILES or, if it is none, of a SMARTS.

    An atom of a SMILES wants its charge and its aromaticity; stereo counts if the text has any.
    With attachment points (``*``), no other atom may have more neighbours than in the SMILES.
    """
    found = _pattern(text)
    if found is None:
        raise TargetError(f"'{text}' is neither a SMILES nor a SMARTS")
    return bool(mol.HasSubstructMatch(*found))


def matches(mol: Mol, smarts: str) -> bool:
    """Whether a molecule has a substructure given as SMARTS, and read as nothing else."""
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


@functools.lru_cache(maxsize=64)
def _pattern(text: str) -> tuple[Mol, Chem.SubstructMatchParameters] | None:
    options: Any = Chem.SubstructMatchParameters()  # the stubs name wrong types
    options.useChirality = any(mark in text for mark in "@/\\")
    mol = parse(text)
    points = None if mol is None else _attachment_points(mol)
    if mol is None or points is None:
        query = _query(text)
        return None if query is None else (query, options)

    core = Chem.RWMol(mol)
    room = [a.GetDegree() if points else sys.maxsize for a in mol.GetAtoms()]
    # At a stereo centre or double bond the point says where the others are: it stays, as any atom.
    loose = [i for i in points if not _is_stereo(mol.GetAtomWithIdx(i).GetNeighbors()[0])]
    for i in sorted(loose, reverse=True):
        core.RemoveAtom(i)
        del room[i]
    for atom in core.GetAtoms():
        if atom.GetAtomicNum() == 0:
            anything = rdqueries.AtomNumGreaterQueryAtom(1)
            core.ReplaceAtom(atom.GetIdx(), anything)
    wanted = [
        None if a.GetAtomicNum() == 0 else (a.GetFormalCharge(), a.GetIsAromatic(), degree)
        for a, degree in zip(core.GetAtoms(), room, strict=True)
    ]

    def fits(other: Mol, match: Sequence[int]) -> bool:
        for i, want in zip(match, wanted, strict=True):
            atom = other.GetAtomWithIdx(i)
            if want is not None and (
                (atom.GetFormalCharge(), atom.GetIsAromatic()) != want[:2]
                or atom.GetDegree() > want[2]
            ):
                return False
        return True

    options.setExtraFinalCheck(fits)
    return core.GetMol(), options


def _is_stereo(atom: Chem.Atom) -> bool:
    return atom.GetChiralTag() != Chem.ChiralType.CHI_UNSPECIFIED or any(
        bond.GetStereo() > Chem.BondStereo.STEREOANY for bond in atom.GetBonds()
    )
