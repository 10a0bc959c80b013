"""The beginning of a file: what its columns hold, without unpacking what it claims to hold."""

import gzip
import zipfile

import pytest

from molvae.data.preview import BYTES, preview
from molvae.data.readers import excel, field_names
from molvae.errors import FileError

TABLE = """smiles,id,pIC50,active,relation,unit,species,empty
CCO,a,6.1,yes,=,nM,human,
CCN,b,,no,>,uM,rat,
CCC,c,>5,yes,'=',nM,human,NA
"""


def test_columns_by_their_cells(tmp_path):
    path = tmp_path / "mine.csv"
    path.write_text(TABLE)
    seen = preview(path)
    assert (seen.rows, seen.complete) == (3, True)
    assert {column.name: column.content for column in seen.columns} == {
        "id": "text", "pIC50": "number", "active": "yesno", "relation": "relation",
        "unit": "unit", "species": "text", "empty": "empty",
    }  # fmt: skip
    assert seen.having("number", "yesno") == ["pIC50", "active"]
    potency = next(column for column in seen.columns if column.name == "pIC50")
    assert (potency.known, potency.missing, potency.censored) == (2, 1, 1)
    species = next(column for column in seen.columns if column.name == "species")
    assert species.values == {"human": 2, "rat": 1}
    assert seen.head[1]["molecule"] == "CCN"
    assert seen.head[1]["species"] == "rat"


def test_fields_of_an_sdf(tmp_path):
    from rdkit import Chem

    path = tmp_path / "mine.sdf"
    with Chem.SDWriter(str(path)) as writer:
        for text, value in {"CCO": "1.5", "CCN": "2.5"}.items():
            mol = Chem.MolFromSmiles(text)
            mol.SetProp("assay", value)
            if text == "CCN":
                mol.SetProp("later", "x")
            writer.write(mol)
    assert field_names(path) == ["assay", "later"]
    assert preview(path).having("number") == ["assay"]


def test_a_list_has_no_columns(tmp_path):
    path = tmp_path / "mine.smi"
    path.write_text("CCO ethanol\nCCN\n")
    seen = preview(path)
    assert (seen.rows, seen.columns) == (2, [])


def test_a_column_named_twice_is_not_offered(tmp_path):
    path = tmp_path / "mine.csv"
    path.write_text("smiles,x,x,y\nCCO,1,2,3\n")
    assert [column.name for column in preview(path).columns] == ["y"]


@pytest.mark.parametrize("start", ["", "smiles,x\nCCO,1\n", "CCO\n\n\nM  END\n> <x>\n1\n\n$$$$\n"])
def test_a_gzip_bomb_is_unpacked_no_further_than_needed(tmp_path, start, monkeypatch):
    suffix = "sdf.gz" if "$$$$" in start else "csv.gz"
    path = tmp_path / f"bomb.{suffix}"
    with gzip.open(path, "wb") as file:
        file.write(start.encode())
        for _ in range(200):
            file.write(b"C" * 1_000_000)
    read = 0
    whole = gzip.GzipFile.read

    def counted(self, size=-1):
        nonlocal read
        data = whole(self, size)
        read += len(data)
        return data

    monkeypatch.setattr(gzip.GzipFile, "read", counted)
    if start:
        assert preview(path).rows <= 2
    else:
        with pytest.raises(FileError, match="no SMILES column"):
            preview(path)
    assert read <= 2 * BYTES + 100_000


def test_a_workbook_that_unpacks_to_more_than_memory_holds(tmp_path, monkeypatch):
    monkeypatch.setattr(excel, "LARGEST", 1_000_000)
    path = tmp_path / "bomb.xlsx"
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as parts,
        parts.open("xl/sharedStrings.xml", "w", force_zip64=True) as file,
    ):
        for _ in range(3):
            file.write(b" " * 1_000_000)
    with pytest.raises(FileError, match=r"sharedStrings.xml unpacks to 3 MB, expected at most 1;"):
        preview(path)


def test_untrusted_cells_stay_short(tmp_path):
    path = tmp_path / "mine.csv"
    path.write_text("smiles,<script>alert(1)</script>\nCCO," + "x" * 5000 + "\n")
    (column,) = preview(path).columns
    assert column.name == "<script>alert(1)</script>"
    assert max(map(len, column.values)) == 120
    assert all(len(text) <= 120 for text in preview(path).head[0].values())
