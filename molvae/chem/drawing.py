"""Molecules as pictures, and as records of an SDF file with 2D coordinates."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from rdkit import Chem
from rdkit.Chem import rdDepictor

from molvae.chem.molecules import Mol, parse
from molvae.errors import ConfigError, FileError

__all__ = ["draw_grid", "draw_svg", "sdf_block"]


def draw_svg(mol: Mol, *, width: int = 220, height: int = 170, legend: str = "") -> str:
    """The molecule as an SVG element without XML header, for use inside HTML."""
    from rdkit.Chem.Draw import rdMolDraw2D  # slow to import, and rarely needed

    drawer = rdMolDraw2D.MolDraw2DSVG(width, height)
    options = drawer.drawOptions()
    options.clearBackground = False  # type: ignore[assignment]  # the stubs name the wrong type
    options.padding = 0.08  # type: ignore[assignment]
    rdMolDraw2D.PrepareAndDrawMolecule(drawer, mol, legend=legend)
    drawer.FinishDrawing()
    text: str = drawer.GetDrawingText()
    return text[text.index("<svg") :]


_CELL = 220, 200  # pixels of a cell of a grid
_GRID, _ROWS, _COLUMNS = 500, 150, 100  # most cells; PNGs end at 32,767 pixels either way


def draw_grid(
    smiles: Sequence[str],
    legends: Sequence[str],
    *,
    columns: int = 5,
    kind: Literal["svg", "png"] = "svg",
) -> bytes:
    """A picture file of molecules in rows of ``columns``, a legend below each.

    Invalid SMILES leave their cell empty. Legends may have several lines; RDKit's fonts are
    ASCII, other characters become ``?``. Equal molecules and legends give equal bytes.
    """
    rows = max(1, -(-len(smiles) // max(columns, 1)))
    if len(smiles) > _GRID or rows > _ROWS or not 1 <= columns <= _COLUMNS:
        raise ConfigError(
            f"grid: got {len(smiles)} molecules in {columns} columns, expected at most {_GRID} in "
            f"1 to {_COLUMNS} columns and at most {_ROWS} rows"
        )
    mols = [parse(text) for text in smiles]
    texts = [
        "" if mol is None else legend.encode("ascii", "replace").decode()
        for mol, legend in zip(mols, legends, strict=True)
    ]
    from rdkit.Chem.Draw import rdMolDraw2D  # slow to import, and rarely needed

    width, height = _CELL
    canvas = rdMolDraw2D.MolDraw2DSVG if kind == "svg" else rdMolDraw2D.MolDraw2DCairo
    drawer = canvas(width * max(1, min(columns, len(smiles))), height * rows, width, height)
    options: Any = drawer.drawOptions()  # the stubs name wrong types
    options.includeMetadata = False  # it holds the version of RDKit
    options.drawMolsSameScale = False  # one large molecule would make all others small
    options.fixedBondLength = 24.0  # pixels, less if the molecule does not fit
    options.legendFraction = 0.2
    options.legendFontSize = 14
    drawer.DrawMolecules(mols, legends=texts)
    drawer.FinishDrawing()
    picture: str | bytes = drawer.GetDrawingText()
    return picture.encode("ascii") if isinstance(picture, str) else picture


def sdf_block(smiles: str, name: str, values: dict[str, str]) -> str:
    """One SDF record with 2D coordinates, a title line and data fields."""
    mol = parse(smiles)
    if mol is None:
        raise FileError(f"cannot write '{smiles}' to an SDF file: not a valid SMILES")
    rdDepictor.Compute2DCoords(mol)
    mol.SetProp("_Name", name)
    fields = "".join(f">  <{key}>\n{value}\n\n" for key, value in values.items())
    return f"{Chem.MolToMolBlock(mol)}{fields}$$$$\n"
