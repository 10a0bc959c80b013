"""Substructures: scaffolds with attachment points, the ways to write them, SMARTS."""

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
    """A SMILES of a molecule, in one of many atom orders."""

    smiles: str
    hydrogens: tuple[int, ...]  # implicit ones of each atom, in that order


MARKS = "[1At]", "[2At]"  # symbols of an attachment point; the second at stereo centers


def writings(smiles: str, count: int) -> list[Writing]:
    """About ``count`` SMILES of a molecule, from every atom at least once, always the same ones.

    Attachment points (``*``) are written as `MARKS`, the second at stereo centers and stereo double
    bonds, and no SMILES begins with one. There is none for a text that is not a connected SMILES or
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
    shuffle, by_smiles = random.Random(0), {}
    roots = [i for i in range(mol.GetNumAtoms()) if i not in points]
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
    return list(by_smiles.values())


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

    An atom of a SMILES must match in charge and aromaticity; stereo matters if the text has any.
    With attachment points (``*``), no other atom may have more neighbors than in the SMILES.
    """
    pattern = _pattern(text)
    if pattern is None:
        raise TargetError(f"'{text}' is neither a SMILES nor a SMARTS")
    return bool(mol.HasSubstructMatch(*pattern))


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
    requirements = [
        None if a.GetAtomicNum() == 0 else (a.GetFormalCharge(), a.GetIsAromatic(), degree)
        for a, degree in zip(core.GetAtoms(), degrees, strict=True)
    ]

    def fits(molecule: Mol, match: Sequence[int]) -> bool:
        for i, required in zip(match, requirements, strict=True):
            atom = molecule.GetAtomWithIdx(i)
            if required is not None and (
                (atom.GetFormalCharge(), atom.GetIsAromatic()) != required[:2]
                or atom.GetDegree() > required[2]
            ):
                return False
        return True

    options.setExtraFinalCheck(fits)
    return core.GetMol(), options


def _is_stereo(atom: Chem.Atom) -> bool:
    return atom.GetChiralTag() != Chem.ChiralType.CHI_UNSPECIFIED or any(
        bond.GetStereo() > Chem.BondStereo.STEREOANY for bond in atom.GetBonds()
    )
