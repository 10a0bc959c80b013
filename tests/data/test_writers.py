"""Every format there and back; what is odd in a file ends in a stated row or a named error."""

import csv
import gzip
import math
import sys
import tracemalloc
from importlib.util import find_spec

import numpy as np
import pytest
from rdkit import Chem

from molvae.data import writers
from molvae.data.readers import read_rows, smiles_of
from molvae.data.writers import format_cell, require_writer, write_rows
from molvae.errors import FileError

MOLECULES = ["CCO", "C[C@H](N)C(=O)O", "F/C=C\\F", "c1ccc(cc1)S(=O)(=O)N"]
SUFFIXES = [s + z for s in (".smi", ".csv", ".tsv", ".sdf") for z in ("", ".gz")]
needs_pyarrow = pytest.mark.skipif(find_spec("pyarrow") is None, reason="the extra 'parquet'")
PARQUET = pytest.param(".parquet", marks=needs_pyarrow)


def rows(path, **options):
    return list(read_rows(path, **options))


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_every_format_is_read_as_it_was_written(tmp_path, suffix):
    path = tmp_path / f"out{suffix}"
    labelled = "smi" not in suffix
    values = [(s, 0.5 * i, f"note, {i}") for i, s in enumerate(MOLECULES)]
    assert write_rows(path, ["smiles", "logp", "note"], iter(values)) == 4
    assert (path.read_bytes()[:2] == b"\x1f\x8b") == suffix.endswith(".gz")
    read = rows(path, columns=["logp", "note"] if labelled else [])
    assert [Chem.CanonSmiles(smiles_of(r)) for r in read] == [
        Chem.CanonSmiles(s) for s in MOLECULES
    ]
    assert [r.number for r in read] == [1, 2, 3, 4]
    assert {r.file for r in read} == {str(path)}
    if labelled:
        assert [dict(r.labels) for r in read] == [
            {"logp": f"{0.5 * i:g}", "note": f"note, {i}"} for i in range(4)
        ]
    if "csv" not in suffix and "tsv" not in suffix:
        assert [r.name for r in read] == [f"molvae-{i}" for i in (1, 2, 3, 4)]


@pytest.mark.parametrize("suffix", [*SUFFIXES, PARQUET])
def test_equal_content_gives_equal_bytes(tmp_path, suffix):
    for name in ("a", "b"):
        write_rows(tmp_path / f"{name}{suffix}", ["smiles", "x"], [("CCO", 1.5), ("C", None)])
    first, second = ((tmp_path / f"{n}{suffix}").read_bytes() for n in "ab")
    assert first == second


@pytest.mark.parametrize("suffix", [*SUFFIXES, PARQUET])
def test_no_molecules_make_an_empty_file_that_reads_back(tmp_path, suffix):
    path = tmp_path / f"none{suffix}"
    assert write_rows(path, ["smiles", "x"], []) == 0
    assert rows(path) == []


@pytest.mark.parametrize(
    "name", ["a.csv", "a.csv.gz", pytest.param("a.parquet", marks=needs_pyarrow)]
)
def test_a_failed_writing_leaves_nothing_and_the_old_file_alone(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(b"old")
    before = path.read_bytes()

    def molecules():
        yield ("CCO",)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_rows(path, ["smiles"], molecules())
    assert [p.name for p in tmp_path.iterdir()] == [name]
    assert path.read_bytes() == before


# -- parquet ------------------------------------------------------------------------------------

CELLS = [
    ("CCO", 1 / 3, None, "a, b", 7), ("C", math.nan, None, None, None), ("N", -0.0, None, "é", 2.5),
    ("O", math.inf, None, 1, -1), ("[13CH4]", 5e-324, None, "", 2**53),
]  # fmt: skip
NAMES = ["smiles", "x", "gap", "note", "n"]


@pytest.fixture
def parquet():
    return pytest.importorskip("pyarrow.parquet", reason="the extra 'parquet'")


def test_parquet_has_types_nulls_and_all_digits(tmp_path, parquet, monkeypatch):
    monkeypatch.setattr(writers, "GROUP", 4)
    path = tmp_path / "a.parquet"
    assert write_rows(path, NAMES, iter(CELLS)) == 5
    result = parquet.ParquetFile(path)
    assert result.metadata.num_row_groups == 2
    assert [str(field.type) for field in result.schema_arrow] == [
        "string", "double", "double", "string", "double",
    ]  # fmt: skip
    table = result.read().to_pydict()
    assert table["smiles"] == [row[0] for row in CELLS]
    assert list(map(repr, table["x"])) == ["0.3333333333333333", "None", "-0.0", "inf", "5e-324"]
    assert table["gap"] == [None] * 5
    assert table["note"] == ["a, b", None, "é", "1", ""]
    assert table["n"] == [7, None, 2.5, -1, 2**53]


def test_parquet_is_read_by_our_reader_and_by_pandas(tmp_path, parquet):
    pandas = pytest.importorskip("pandas")
    path = tmp_path / "a.pq"
    write_rows(path, NAMES, CELLS)
    read = rows(path, columns=["x", "note", "gap"])
    assert [row.smiles for row in read] == [row[0] for row in CELLS]
    assert [row.labels["note"] for row in read] == ["a, b", "", "é", "1", ""]
    assert [row.labels["x"] for row in read] == ["0.3333333333333333", "", "-0.0", "inf", "5e-324"]
    assert {row.labels["gap"] for row in read} == {""}
    frame = pandas.read_parquet(path)
    assert list(frame.columns) == NAMES
    assert [str(frame[name].dtype) for name in ("x", "gap", "n")] == ["float64"] * 3
    assert frame["x"].isna().tolist() == [False, True, False, False, False]
    assert frame["smiles"].tolist() == [row[0] for row in CELLS]


def test_late_text_in_a_column_of_numbers_is_an_error(tmp_path, parquet, monkeypatch):
    monkeypatch.setattr(writers, "GROUP", 2)
    path = tmp_path / "a.parquet"
    assert write_rows(path, ["smiles", "x"], [("C", 1.0), ("N", "a"), ("O", 2.0)]) == 3
    assert parquet.read_table(path)["x"].to_pylist() == ["1", "a", "2"]
    path.unlink()
    with pytest.raises(FileError, match=r"'x'.* 2 rows.*'a'"):
        write_rows(path, ["smiles", "x"], [("C", 1.0), ("N", None), ("O", "a")])
    assert list(tmp_path.iterdir()) == []


def test_parquet_is_written_in_flat_memory(tmp_path, parquet, monkeypatch):
    monkeypatch.setattr(writers, "GROUP", 100)

    def peak(count):
        tracemalloc.start()
        write_rows(
            tmp_path / "a.parquet", ["smiles", "x"], (("C" * 999, 1.0) for _ in range(count))
        )
        result = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return result

    peak(100)  # imports
    assert peak(20_000) < peak(1000) + 5_000_000  # the SMILES of all would be 20 MB


@pytest.mark.parametrize("name", ["a.parquet.gz", "a.PQ.GZ"])
def test_parquet_is_not_packed_again(tmp_path, name):
    for work in (
        lambda: write_rows(tmp_path / name, ["smiles"], []),
        lambda: rows(tmp_path / name),
    ):
        with pytest.raises(FileError, match="compressed"):
            work()


def test_writing_parquet_without_its_library_names_the_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(FileError, match=r"pip install 'molvae\[parquet\]'"):
        require_writer(tmp_path / "a.parquet")
    assert require_writer(tmp_path / "a.csv.gz") == "csv"


# -- whole or not at all ------------------------------------------------------------------------


def test_an_invalid_molecule_stops_an_sdf_file_and_leaves_nothing(tmp_path):
    with pytest.raises(FileError, match=r"'xyz'.*SDF"):
        write_rows(tmp_path / "a.sdf", ["smiles"], [("CCO",), ("xyz",)])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, ""), (math.nan, ""), (np.float32("nan"), ""), (np.float64("nan"), ""),
        (1.0, "1"), (2.5, "2.5"), (1 / 3, "0.333333"), (1234567.0, "1.23457e+06"),
        (np.float32(0.1), "0.1"), (np.float32(1 / 3), "0.333333"), (np.float64(2), "2"),
        (7, "7"), (np.int64(1234567890), "1234567890"), (True, "True"), ("CCO", "CCO"), ("", ""),
    ],
)  # fmt: skip
def test_cells(value, text):
    assert format_cell(value) == text


@pytest.mark.parametrize("suffix", ["csv", "tsv", "csv.gz"])
def test_no_cell_and_no_header_is_a_formula(tmp_path, suffix):
    texts = [
        "=1+1",
        "+cmd|' /C calc'!A0",
        "-2+3",
        "@SUM(A1)",
        "\t=1",
        "＝1",
        "-",
        "-1.5",
        "+2",
        "C",
    ]
    path = tmp_path / f"a.{suffix}"
    write_rows(path, ["smiles", "=x", "+x", "-1"], [["C", text, -1.5, None] for text in texts])
    opened = gzip.open if suffix.endswith("gz") else open
    with opened(path, "rt", encoding="utf-8", newline="") as file:
        header, *rows = csv.reader(file, delimiter="\t" if suffix == "tsv" else ",")
    assert header == ["smiles", "'=x", "'+x", "-1"]
    assert [row[1] for row in rows] == [f"'{text}" for text in texts[:6]] + texts[6:]
    assert {row[2] for row in rows} == {"-1.5"}
    with read_rows(path, columns=["+x"]) as again:  # the reader knows the name
        assert {row.labels["+x"] for row in again} == {"-1.5"}
