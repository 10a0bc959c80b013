"""Every format there and back; what is odd in a file ends in a stated row or a named error."""

import csv
import gzip
import math
import stat

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rdkit import Chem

from molvae.chem import sdf_block
from molvae.errors import FileError, OutputExistsError
from molvae.files import (
    Row,
    atomic_text,
    file_format,
    format_cell,
    read_rows,
    read_smiles,
    require_absent,
    write_rows,
)

MOLECULES = ["CCO", "C[C@H](N)C(=O)O", "F/C=C\\F", "c1ccc(cc1)S(=O)(=O)N"]
SUFFIXES = [s + z for s in (".smi", ".csv", ".tsv", ".sdf") for z in ("", ".gz")]


def put(tmp_path, name, text):
    """A file of that name; text is packed if the name says so."""
    path = tmp_path / name
    data = text if isinstance(text, bytes) else text.encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


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
    assert [Chem.CanonSmiles(r.smiles or "") for r in read] == [
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


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_equal_content_gives_equal_bytes(tmp_path, suffix):
    for name in ("a", "b"):
        write_rows(tmp_path / f"{name}{suffix}", ["smiles", "x"], [("CCO", 1.5), ("C", None)])
    first, second = ((tmp_path / f"{n}{suffix}").read_bytes() for n in "ab")
    assert first == second


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_no_molecules_make_an_empty_file_that_reads_back(tmp_path, suffix):
    path = tmp_path / f"none{suffix}"
    assert write_rows(path, ["smiles", "x"], []) == 0
    assert rows(path) == []


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a.smi", "smi"), ("a.smiles", "smi"), ("a.txt", "smi"), ("a.csv", "csv"),
        ("a.tsv.gz", "tsv"), ("A.SDF.GZ", "sdf"), ("a.sd", "sdf"), ("my.old.data.csv", "csv"),
    ],
)  # fmt: skip
def test_the_name_says_the_format(tmp_path, name, kind):
    assert file_format(tmp_path / name) == kind


@pytest.mark.parametrize(
    ("name", "part"), [("a.xlsx", "'xlsx'"), ("a.gz", "'a.gz'"), ("smiles", "'smiles'")]
)
def test_an_unknown_suffix_lists_the_known_ones(tmp_path, name, part):
    with pytest.raises(FileError, match=r"expected \.smi, \.csv, \.tsv or \.sdf") as caught:
        rows(tmp_path / name)
    assert part in str(caught.value)
    with pytest.raises(FileError, match="unknown file type"):
        write_rows(tmp_path / name, ["smiles"], [])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_missing_files_and_folders_are_named(tmp_path, suffix):
    with pytest.raises(FileError, match=f"none{suffix}': no such file"):
        rows(tmp_path / f"none{suffix}")
    (tmp_path / f"folder{suffix}").mkdir()
    with pytest.raises(FileError, match=f"folder{suffix}'"):
        rows(tmp_path / f"folder{suffix}")


@pytest.mark.parametrize("suffix", [".smi.gz", ".csv.gz", ".tsv.gz", ".sdf.gz"])
@pytest.mark.parametrize("damage", ["not gzip", "cut off", "checksum", "inside"])
def test_damaged_gzip_files_are_named(tmp_path, suffix, damage):
    path = tmp_path / f"m{suffix}"
    write_rows(path, ["smiles", "x"], [("C" * (1 + i % 40), i * 0.37) for i in range(2000)])
    data = path.read_bytes()
    half = len(data) // 2
    path.write_bytes(
        {
            "not gzip": b"smiles,x\nCCO,1\n" * 20,
            "cut off": data[:half],
            "checksum": data[:-8] + bytes(8),
            "inside": data[:half] + b"\xff\x00" * 300 + data[half + 600 :],
        }[damage]
    )
    with pytest.raises(FileError, match="damaged gzip file") as caught:
        rows(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("bom", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz", "a.tsv", "a.smi", "a.smi.gz"])
def test_byte_order_marks_and_line_ends_do_no_harm(tmp_path, name, end, bom):
    tab = {"c": ",", "t": "\t", "s": " "}[name[2]]
    lines = ["smiles" + tab + "id", "CCO" + tab + "one", "CCN" + tab + "two", ""]
    read = rows(put(tmp_path, name, bom + end.join(lines).encode()))
    assert [(r.smiles, r.name) for r in read] == [("CCO", "one"), ("CCN", "two")]


@pytest.mark.parametrize(
    ("first", "kept"),
    [
        ("smiles", False),
        ("SMILES name", False),
        ("canonical_smiles\tid", False),
        ('"smiles", id', False),
        ("CCO ethanol", True),
        ("S", True),  # sulfur, not a heading
        ("nonsense", True),  # left for the cleaning to refuse and count
    ],
)
def test_a_smi_header_is_recognised(tmp_path, first, kept):
    read = rows(put(tmp_path, "a.smi", f"{first}\nCCN amine 2\n"))
    assert len(read) == 1 + kept
    assert read[-1] == Row(str(tmp_path / "a.smi"), 1 + kept, "CCN", "amine 2", {})
    assert not kept or read[0].smiles == first.split()[0]


def test_a_header_word_further_down_is_a_record(tmp_path):
    assert [r.smiles for r in rows(put(tmp_path, "a.smi", "CCO\nsmiles\n"))] == ["CCO", "smiles"]


def test_blank_lines_of_a_smi_file_are_records_to_be_refused(tmp_path):
    read = rows(put(tmp_path, "a.smi", "CCO\n\n  \nCCN"))
    assert [(r.number, r.smiles) for r in read] == [(1, "CCO"), (2, ""), (3, ""), (4, "CCN")]


def test_a_smi_file_has_no_columns(tmp_path):
    with pytest.raises(FileError, match=r"has no column 'logp'; use \.csv"):
        rows(put(tmp_path, "a.smi", "CCO 1\n"), columns=["logp"])


@pytest.mark.parametrize("heading", ["smiles", "SMILES", "canonical_smiles", " Smi ", "Structure"])
def test_the_smiles_column_is_found_by_its_usual_names(tmp_path, heading):
    path = put(tmp_path, "a.csv", f"x,{heading},Compound_ID\n1, CCO ,a b\n")
    (row,) = rows(path, columns=["x"])
    assert row == Row(str(path), 1, "CCO", "a b", {"x": "1"})


def test_the_smiles_column_can_be_named(tmp_path):
    path = put(tmp_path, "a.tsv", "smiles\tproduct\nC\tCCO\n")
    assert read_smiles([path], smiles_column="product") == ["CCO"]


def test_a_missing_smiles_column_names_the_columns_there_are(tmp_path):
    path = put(tmp_path, "a.csv", "molecule,logp\nCCO,1\n")
    with pytest.raises(FileError, match=r"no SMILES column among \['molecule', 'logp'\]") as caught:
        rows(path)
    assert "--smiles-column" in str(caught.value)
    with pytest.raises(FileError, match=r"no column 'molecul': did you mean 'molecule'\?"):
        rows(path, smiles_column="molecul")


def test_a_missing_label_column_names_the_columns_there_are(tmp_path):
    path = put(tmp_path, "a.csv", "smiles,ic50\nCCO,1\n")
    with pytest.raises(FileError, match=r"no column 'ic5O': did you mean 'ic50'.*ic50, smiles"):
        rows(path, columns=["ic5O"])


@pytest.mark.parametrize("name", ["a.csv", "a.tsv.gz"])
def test_a_file_without_header_line_is_an_error(tmp_path, name):
    with pytest.raises(FileError, match="the file is empty, expected a header line"):
        rows(put(tmp_path, name, ""))


def test_quoted_cells_may_hold_commas_quotes_and_line_ends(tmp_path):
    path = put(tmp_path, "a.csv", 'smiles,note\n"CC\nO","a ""b"", c"\nCCN,\n')
    first, second = rows(path, columns=["note"])
    assert (first.smiles, first.labels["note"], first.number) == ("CC\nO", 'a "b", c', 1)
    assert (second.smiles, second.labels["note"], second.number) == ("CCN", "", 2)


def test_ragged_lines_short_ones_have_empty_cells_long_ones_are_broken(tmp_path):
    path = put(tmp_path, "a.csv", "id,smiles,x\na,CCO\nb,CCN,1,2\n\nc\nd,CCC,3\n")
    read = rows(path, columns=["x"])
    assert [(r.number, r.smiles, r.name, r.labels.get("x")) for r in read] == [
        (1, "CCO", "a", ""),
        (2, None, "", None),
        (3, "", "", ""),
        (4, "", "c", ""),
        (5, "CCC", "d", "3"),
    ]
    assert read[1].text == "4 cells where the header has 3"


def test_a_monstrous_cell_is_a_broken_record_and_reading_goes_on(tmp_path):
    path = put(tmp_path, "a.csv", "smiles,id\n" + "C" * 1_000_001 + ",big\nCCO,fine\n")
    read = rows(path)
    assert read[0].smiles is None
    assert "malformed line" in read[0].text
    assert (read[-1].smiles, read[-1].name) == ("CCO", "fine")


def test_bytes_that_are_no_text_do_not_stop_the_reading(tmp_path):
    read = rows(put(tmp_path, "a.csv", b"smiles,id\nCCO,caf\xe9\nCCN,b\n"))
    assert [(r.smiles, r.name) for r in read] == [("CCO", "caf\ufffd"), ("CCN", "b")]


@pytest.mark.parametrize("suffix", [".smi", ".csv", ".sdf"])
def test_a_file_that_may_not_be_read_is_named(tmp_path, monkeypatch, suffix):
    def closed(*arguments, **options):  # root may read anything
        raise PermissionError(13, "Permission denied")

    path = put(tmp_path, f"a{suffix}", "smiles\n")
    monkeypatch.setattr("builtins.open", closed)
    with pytest.raises(FileError, match=f"a{suffix}': permission denied"):
        rows(path)


def test_a_broken_sdf_record_keeps_its_place(tmp_path):
    good = sdf_block("CCO", "one", {"x": "1"})
    path = put(tmp_path, "a.sdf", good + good.replace(" C ", " Xx", 1) + good)
    read = rows(path, columns=["x", "y"])
    assert [(r.number, r.smiles, r.text) for r in read] == [
        (1, "CCO", ""),
        (2, None, "broken SDF record"),
        (3, "CCO", ""),
    ]
    assert dict(read[0].labels) == {"x": "1", "y": ""}


def test_files_are_streamed(tmp_path):
    path = put(tmp_path, "a.csv", "smiles\nCCO\n" + "C" * 50 + "\n")
    stream = read_rows(path)
    assert next(stream).smiles == "CCO"
    with open(path, "a", encoding="utf-8") as handle:  # not read yet, so it still counts
        handle.write("CCN\n")
    assert [r.smiles for r in stream] == ["C" * 50, "CCN"]


def test_smiles_of_several_files_come_in_order_broken_ones_empty(tmp_path):
    a = put(tmp_path, "a.smi", "CCO\nCCN x\n")
    b = put(tmp_path, "b.csv", "smiles,id\nC,1,2\nCC,1\n")
    assert read_smiles([a, str(b)]) == ["CCO", "CCN", "", "CC"]


@given(
    st.lists(
        st.tuples(
            st.text("CNO()=#[]@+-/\\.1", min_size=1),
            st.text(st.characters(codec="utf-8", exclude_categories=("C", "Z"))),
        ),
        max_size=8,
    )
)
def test_any_text_survives_a_csv_file(tmp_path_factory, table):
    path = tmp_path_factory.mktemp("any") / "t.csv"
    write_rows(path, ["smiles", "note"], table)
    with open(path, encoding="utf-8", newline="") as handle:
        assert list(csv.reader(handle))[1:] == [list(row) for row in table]
    assert [(r.smiles, r.labels["note"]) for r in rows(path, columns=["note"])] == table


@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz"])
def test_a_failed_writing_leaves_nothing_and_the_old_file_alone(tmp_path, name):
    path = put(tmp_path, name, "old")
    before = path.read_bytes()

    def molecules():
        yield ("CCO",)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_rows(path, ["smiles"], molecules())
    assert [p.name for p in tmp_path.iterdir()] == [name]
    assert path.read_bytes() == before


def test_an_invalid_molecule_stops_an_sdf_file_and_leaves_nothing(tmp_path):
    with pytest.raises(FileError, match="cannot write 'xyz' to an SDF file"):
        write_rows(tmp_path / "a.sdf", ["smiles"], [("CCO",), ("xyz",)])
    assert list(tmp_path.iterdir()) == []


def test_a_file_appears_only_when_it_is_complete(tmp_path):
    path = tmp_path / "below" / "a.txt"
    with atomic_text(path) as text:
        text.write("é\nline\r\n")
        assert not path.exists()
    assert path.read_bytes() == "é\nline\r\n".encode()
    assert [p.name for p in path.parent.iterdir()] == ["a.txt"]


def test_a_new_file_has_the_usual_permissions(tmp_path):
    with atomic_text(tmp_path / "a.txt") as text:
        text.write("x")
    (tmp_path / "usual").touch()
    modes = {stat.S_IMODE((tmp_path / n).stat().st_mode) for n in ("a.txt", "usual")}
    assert len(modes) == 1


def test_overwriting_needs_force(tmp_path):
    path = put(tmp_path, "a.csv", "x")
    with pytest.raises(OutputExistsError, match=r"a\.csv' exists already; .* --force"):
        require_absent(path, force=False)
    require_absent(path, force=True)
    require_absent(tmp_path / "new.csv", force=False)
    require_absent(tmp_path / "no" / "such" / "folder" / "new.csv", force=False)
    assert path.read_text() == "x"


def test_a_file_in_the_place_of_a_folder_is_named(tmp_path):
    path = put(tmp_path, "a.csv", "x")
    with pytest.raises(FileError, match=r"a\.csv' is not a folder"):
        require_absent(path / "deep" / "new.csv", force=False)


def test_a_folder_that_cannot_be_written_to_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr("os.access", lambda path, mode: False)  # root may write anywhere
    with pytest.raises(FileError, match="is not writable"):
        require_absent(tmp_path / "new.csv", force=False)


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
