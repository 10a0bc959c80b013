"""Drawings are well-formed and show what they should; records are RDKit's own."""

import re
import struct
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from rdkit import Chem, rdBase

from molvae.chem import draw_grid, draw_svg, sdf_block
from molvae.errors import ConfigError, FileError


@pytest.fixture(params=["CCO", "c1ccccc1", "CC(=O)Oc1ccccc1C(=O)O", "C[C@H](N)C(=O)O"])
def mol(request):
    return Chem.MolFromSmiles(request.param)


def test_pictures_are_well_formed_and_carry_the_legend(mol):
    root = ET.fromstring(draw_svg(mol, width=101, height=102, legend="logP 2"))
    assert root.tag.endswith("svg")
    assert root.get("viewBox") == "0 0 101 102"
    assert len(root.findall(".//{http://www.w3.org/2000/svg}path")) >= mol.GetNumBonds()


def png_size(data):
    """From the IHDR chunk, which stands first (PNG specification, 5.6 and 11.2.2)."""
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    assert data[12:16] == b"IHDR"
    return struct.unpack(">II", data[16:24])


def svg_size(data):
    root = ET.fromstring(data)
    return int(root.get("width")[:-2]), int(root.get("height")[:-2])


@pytest.mark.parametrize(("kind", "size"), [("svg", svg_size), ("png", png_size)])
@pytest.mark.parametrize(
    ("count", "columns", "cells"),
    [(0, 5, (1, 1)), (1, 5, (1, 1)), (5, 5, (5, 1)), (6, 5, (5, 2)), (3, 1, (1, 3))],
)
def test_a_grid_has_as_many_cells_as_it_needs(kind, size, count, columns, cells):
    picture = draw_grid(["CCO"] * count, ["x"] * count, columns=columns, kind=kind)
    assert size(picture) == (220 * cells[0], 200 * cells[1])


@pytest.mark.parametrize("kind", ["svg", "png"])
def test_equal_molecules_give_equal_grids(kind):
    def draw(legend):
        return draw_grid(["CCO", "c1ccccc1C(N)=O", "xyz"], [legend, "b", "c"], kind=kind)

    assert draw("a") == draw("a") != draw("b")
    assert draw("a\nb") != draw("a b")


def test_each_molecule_of_a_grid_is_in_its_cell_and_an_invalid_one_leaves_it_empty():
    picture = draw_grid(["CCO", "xyz", "CCN", "", "C" * 80], list("abcde"), columns=3)
    root = ET.fromstring(picture)
    cells = set()
    for path in root.iter("{http://www.w3.org/2000/svg}path"):
        numbers = [float(n) for n in re.findall(r"-?\d+(?:\.\d+)?", path.get("d"))]
        c = int(min(numbers[::2]) // 220), int(min(numbers[1::2]) // 200)
        assert max(numbers[::2]) <= (c[0] + 1) * 220
        assert max(numbers[1::2]) <= (c[1] + 1) * 200
        cells.add(c)
    assert cells == {(0, 0), (2, 0), (1, 1)}


def test_a_legend_cannot_break_a_grid():
    odd = 'a <b> & "c" σ \ud800'
    picture = draw_grid(["CCO"], [odd])
    ET.fromstring(picture)
    assert picture == draw_grid(["CCO"], ['a <b> & "c" ? ?'])  # what the font lacks is seen


@pytest.mark.parametrize(("count", "columns"), [(501, 5), (151, 1), (1, 0), (1, 101)])
def test_a_grid_has_its_limits(count, columns):
    with pytest.raises(ConfigError, match=f"{count} .*{columns} "):
        draw_grid(["C"] * count, [""] * count, columns=columns)


@pytest.mark.parametrize(("count", "columns"), [(150, 1), (100, 100)])
def test_a_grid_can_be_drawn_up_to_its_limits(count, columns):
    assert png_size(draw_grid(["C"] * count, [""] * count, columns=columns, kind="png"))


def test_an_sdf_record_is_flat_and_has_a_place_for_every_atom():
    with rdBase.BlockLogs():
        m = Chem.MolFromMolBlock(sdf_block("CC(=O)Oc1ccccc1C(=O)O", "aspirin", {}))
    at = m.GetConformer().GetPositions()
    assert (at[:, 2] == 0).all()
    gaps = np.linalg.norm(at[:, None] - at[None], axis=-1) + np.eye(len(at)) * 9
    assert gaps.min() > 0.5


@pytest.mark.parametrize("smiles", ["", "xyz"])
def test_no_sdf_record_without_a_molecule(smiles):
    with pytest.raises(FileError, match=f"'{smiles}'"):
        sdf_block(smiles, "x", {})
