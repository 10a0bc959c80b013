"""Conformers of a molecule as an SDF text."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence

from rdkit import Chem

from molvae.chem.molecules import Mol

__all__ = ["conformers_sdf"]


def conformers_sdf(mol: Mol, title: str, properties: Mapping[str, Sequence[str]]) -> str:
    """All conformers in their order, with ``title`` and one value of each property per conformer.

    Raises:
        ValueError: there are more or fewer values than conformers.
    """
    count = mol.GetNumConformers()
    if wrong := [name for name, values in properties.items() if len(values) != count]:
        raise ValueError(f"{len(properties[wrong[0]])} values of {wrong[0]} for {count} conformers")
    text, record = io.StringIO(), Chem.Mol(mol)
    record.SetProp("_Name", title)
    with Chem.SDWriter(text) as writer:
        writer.SetProps(list(properties))
        for number, conformer in enumerate(record.GetConformers()):
            for name, values in properties.items():
                record.SetProp(name, values[number])
            writer.write(record, confId=conformer.GetId())
    return text.getvalue()
