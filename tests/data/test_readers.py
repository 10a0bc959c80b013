"""Molecule files in: what is odd in a file ends in a stated row or a named error."""

import csv
import gzip
import io
import sys
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from molvae.chem import sdf_block
from molvae.data import readers
from molvae.data.readers import Row, read_rows, read_smiles, save_stdin, smiles_of
from molvae.data.writers import write_rows
from molvae.errors import FileError

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
    with pytest.raises(FileError, match="gzip") as caught:
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
    with pytest.raises(FileError, match=r"'logp'.*\.csv"):
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
    with pytest.raises(FileError, match=r"SMILES column.*\['molecule', 'logp'\]") as caught:
        rows(path)
    assert "--smiles-column" in str(caught.value)
    with pytest.raises(FileError, match=r"'molecul'.*'molecule'"):
        rows(path, smiles_column="molecul")


def test_a_missing_label_column_names_the_columns_there_are(tmp_path):
    path = put(tmp_path, "a.csv", "smiles,ic50\nCCO,1\n")
    with pytest.raises(FileError, match=r"'ic5O'.*'ic50'.*ic50, smiles"):
        rows(path, columns=["ic5O"])


@pytest.mark.parametrize("name", ["a.csv", "a.tsv.gz"])
def test_a_file_without_header_line_is_an_error(tmp_path, name):
    with pytest.raises(FileError, match=r"empty.*header"):
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
        (2, "b,CCN,1,2", "", None),
        (3, "", "", ""),
        (4, "", "c", ""),
        (5, "CCC", "d", "3"),
    ]
    assert read[1].fault == "more cells than the header"


def test_a_huge_cell_is_a_broken_record_and_reading_continues(tmp_path):
    path = put(tmp_path, "a.csv", "smiles,id\n" + "C" * 1_000_001 + ",big\nCCO,fine\n")
    read = rows(path)
    assert read[0].fault == "malformed line"
    assert read[0].text == "C" * 1000
    assert (read[-1].smiles, read[-1].name) == ("CCO", "fine")


def test_bytes_that_are_no_text_do_not_stop_the_reading(tmp_path):
    read = rows(put(tmp_path, "a.csv", b"smiles,id\nCCO,caf\xe9\nCCN,b\n"))
    assert [(r.smiles, r.name) for r in read] == [("CCO", "café"), ("CCN", "b")]


@pytest.mark.parametrize("suffix", [".smi", ".csv", ".sdf"])
def test_a_file_that_may_not_be_read_is_named(tmp_path, monkeypatch, suffix):
    def closed(*arguments, **options):  # root may read anything
        raise PermissionError(13, "Permission denied")

    path = put(tmp_path, f"a{suffix}", "smiles\n")
    monkeypatch.setattr("builtins.open", closed)
    with pytest.raises(FileError, match=f"a{suffix}': permission denied"):
        rows(path)


def test_files_are_streamed(tmp_path):
    path = put(tmp_path, "a.csv", "smiles\n" + "CCO\n" * 60)  # more than what shows the layout
    stream = read_rows(path)
    assert next(stream).smiles == "CCO"
    with open(path, "a", encoding="utf-8") as handle:  # not read yet, so it still counts
        handle.write("CCN\n")
    assert [r.smiles for r in stream] == ["CCO"] * 59 + ["CCN"]


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
        written = [tuple(row) for row in list(csv.reader(handle))[1:]]
    for cells, texts in zip(written, table, strict=True):
        for cell, text in zip(cells, texts, strict=True):  # a formula begins with a quote
            assert cell in (text, f"'{text}")
            assert cell == text or text[0] in "=+-@"
    assert [(r.smiles, r.labels["note"]) for r in rows(path, columns=["note"])] == written


# -- SDF ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["m.sdf", "m.sdf.gz", "m.SD"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_an_sdf_has_titles_fields_and_blocks(tmp_path, name, end):
    text = sdf_block("C[C@H](N)C(=O)O", "one", {"logp": "1.25", "note": "two\nlines", "no": ""})
    text += sdf_block("CC", "", {})
    path = put(tmp_path, name, text.replace("\n", end))
    first, second = rows(path, columns=["logp", "note", "no"])
    assert smiles_of(first) == "C[C@H](N)C(=O)O"
    assert first.name == "one"
    assert dict(first.labels) == {"logp": "1.25", "note": "two\nlines", "no": ""}
    assert smiles_of(second) == "CC"
    assert dict(second.labels) == {"logp": "", "note": "", "no": ""}


def test_odd_field_headers_are_understood(tmp_path):
    block = sdf_block("CCO", "a", {}).replace("$$$$\n", "")
    text = block + ">  25 <pIC50> (7)\n6.5\n\n>  <IC50 (>10)>\n8\n\n> <x y>\n1\n2\n\n>  <last>\n3\n"
    [row] = rows(put(tmp_path, "a.sdf", text), columns=["pIC50", "IC50 (>10)", "x y", "last"])
    assert list(row.labels.values()) == ["6.5", "8", "1\n2", "3"]


def test_a_broken_sdf_record_is_counted_and_the_rest_is_read(tmp_path):
    good = sdf_block("CCO", "a", {})
    cut = "\n".join(good.splitlines()[:5]) + "\n$$$$\n"
    odd = good.replace(" C ", " Xx", 1)
    table = rows(put(tmp_path, "a.sdf", good + cut + odd + good + "\n\n"))
    assert [smiles_of(row) for row in table] == ["CCO", None, None, "CCO"]
    assert [row.fault for row in table] == ["", "broken SDF record", "", ""]
    assert [row.number for row in table] == [1, 2, 3, 4]


def test_a_monstrous_sdf_record_is_not_kept_in_memory(tmp_path, monkeypatch):
    monkeypatch.setattr("molvae.data.readers.sdf.MAX_RECORD", 2000)
    good = sdf_block("CCO", "a", {})
    monster = "monster\n" + "x" * 100 + "\n"
    table = rows(put(tmp_path, "a.sdf", good + monster + "y\n" * 5000 + "$$$$\n" + good))
    assert [row.fault for row in table] == ["", "broken SDF record", ""]
    assert table[1].text == "monster"


def test_fields_in_another_encoding_are_readable(tmp_path):
    path = tmp_path / "m.sdf"
    path.write_bytes(sdf_block("CCO", "café", {"n": "naïve"}).encode("latin-1"))
    [row] = rows(path, columns=["n"])
    assert (row.name, dict(row.labels)) == ("café", {"n": "naïve"})


# -- parquet ------------------------------------------------------------------------------------


def parquet(path, **columns):
    pyarrow = pytest.importorskip("pyarrow", reason="the extra 'parquet'")
    from pyarrow import parquet

    parquet.write_table(pyarrow.table(columns), path, row_group_size=3)
    return path


def test_parquet_cells_are_text_as_in_a_csv_file(tmp_path):
    pyarrow = pytest.importorskip("pyarrow", reason="the extra 'parquet'")
    path = parquet(
        tmp_path / "a.parquet",
        smiles=pyarrow.array(["CCO", None, "CCN", "CC"]).dictionary_encode(),
        id=[7, 8, 9, 10], pic50=[5.25, None, float("nan"), 1e-9], active=[True, False, None, True],
        note=pyarrow.array(["a", "b", None, " c "], pyarrow.large_string()),
    )  # fmt: skip
    table = rows(path, columns=["pic50", "active", "note"])
    assert [row.smiles for row in table] == ["CCO", "", "CCN", "CC"]
    assert [row.name for row in table] == ["7", "8", "9", "10"]
    assert [tuple(row.labels.values()) for row in table] == [
        ("5.25", "true", "a"), ("", "false", "b"), ("", "", ""), ("1e-09", "true", "c"),
    ]  # fmt: skip


def test_parquet_faults_are_named(tmp_path):
    parquet(tmp_path / "n.parquet", smiles=[1, 2])
    with pytest.raises(FileError, match=r"'smiles'.*int64"):
        read_rows(tmp_path / "n.parquet")
    with pytest.raises(FileError, match="'x'"):
        read_rows(parquet(tmp_path / "m.parquet", smiles=["C"]), columns=["x"])
    with pytest.raises(FileError, match="SMILES column"):
        read_rows(parquet(tmp_path / "o.parquet", text=["C"]))
    with pytest.raises(FileError, match="parquet"):
        read_rows(put(tmp_path, "d.parquet", "no parquet at all"))


def test_without_pyarrow_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(FileError, match=r"pip install 'molvae\[parquet\]'"):
        read_rows(put(tmp_path, "a.parquet", "x"))


# -- tables as they come ------------------------------------------------------------------------


def test_the_public_zinc250k_file_has_line_ends_in_its_cells(tmp_path):
    text = 'smiles,logP\n"CC(C)CO\n",5.05\n"CCN\n",3.1\n'
    table = rows(put(tmp_path, "a.csv", text), columns=["logP"])
    assert [(r.smiles, r.labels["logP"]) for r in table] == [("CC(C)CO", "5.05"), ("CCN", "3.1")]


def test_a_table_may_be_separated_by_semicolons(tmp_path):
    table = rows(put(tmp_path, "a.csv", "id;SMILES;y\n1;CCO;1,5\n2;CCN;2\n"), columns=["y"])
    assert [(r.name, r.smiles, r.labels["y"]) for r in table] == [
        ("1", "CCO", "1,5"), ("2", "CCN", "2"),
    ]  # fmt: skip


def test_a_needed_column_must_have_its_name_alone(tmp_path):
    path = put(tmp_path, "a.csv", "smiles,y,y\nCCO,1,2\n")
    with pytest.raises(FileError, match=r"2 columns.*'y'"):
        read_rows(path, columns=["y"])
    assert len(rows(path)) == 1


def test_utf16_is_said(tmp_path):
    with pytest.raises(FileError, match=r"UTF-16.*UTF-8"):
        read_rows(put(tmp_path, "a.csv", "smiles\nCCO\n".encode("utf-16")))


def test_comments_above_a_smi_file_are_skipped(tmp_path):
    table = rows(put(tmp_path, "a.smi", "# made by us\n#\nSMILES name\nCCO ethanol\n#C\n"))
    assert [(r.number, r.smiles, r.name) for r in table] == [(1, "CCO", "ethanol"), (2, "#C", "")]


def test_concatenated_gzip_members_are_one_file(tmp_path):
    path = tmp_path / "a.smi.gz"
    path.write_bytes(gzip.compress(b"CCO\n") + gzip.compress(b"CCN\n"))
    assert [row.smiles for row in rows(path)] == ["CCO", "CCN"]


def test_nul_bytes_do_not_stop_the_reading(tmp_path):
    table = rows(put(tmp_path, "a.csv", b"smiles,id\nCCO,1\nC\0C,2\nCCN,3\n"))
    assert [row.smiles for row in table if "\0" not in row.smiles and not row.fault] == [
        "CCO",
        "CCN",
    ]
    assert len(table) == 3


def test_an_unclosed_quote_rejects_its_own_line_alone(tmp_path):
    text = 'smiles,id\nCCO,"open\n' + "".join(f"{'C' * i},n{i}\n" for i in range(1, 60))
    table = rows(put(tmp_path, "a.csv", text))
    assert [row.fault for row in table] == ["malformed line"] + [""] * 59
    assert table[0].text == 'CCO,"open'
    assert [row.smiles for row in table[1:]] == ["C" * i for i in range(1, 60)]


def test_an_unclosed_quote_does_not_reach_for_the_next_one(tmp_path):
    text = 'smiles,id\nCCO,"open\nCCN,b\nCCC,"c"\nCCCC,"two\nlines"\n'
    table = rows(put(tmp_path, "a.csv", text))
    assert [(row.smiles, row.name) for row in table if not row.fault] == [
        ("CCN", "b"), ("CCC", "c"), ("CCCC", "two\nlines"),
    ]  # fmt: skip
    assert [row.text for row in table if row.fault] == ['CCO,"open']


def test_many_lines_after_a_forgotten_quote_are_all_read(tmp_path):
    text = 'smiles,id\nCCO,"open\n' + "CCN,b\n" * 5000 + 'CCC,"c"\n'
    table = rows(put(tmp_path, "a.csv", text))
    assert len(table) == 5002
    assert [row.number for row in table if row.fault] == [1]


@pytest.mark.parametrize("suffix", [".smi", ".csv", ".sdf"])
def test_monstrous_lines_are_cut(tmp_path, monkeypatch, suffix):
    monkeypatch.setattr(readers, "MAX_LINE", 5000)
    monster = "C" * 17_000
    text = {
        ".smi": f"CCO\n{monster}\nCCN\n",
        ".csv": f"smiles\nCCO\n{monster}\nCCN\n",
        ".sdf": sdf_block("CCO", "", {}) + monster + "\n$$$$\n" + sdf_block("CCN", "", {}),
    }[suffix]
    table = rows(put(tmp_path, f"a{suffix}", text))
    assert [smiles_of(table[i]) for i in (0, 2)] == ["CCO", "CCN"]
    assert table[1].text.startswith("CCC")
    assert len(table[1].text) < 1100
    assert len(table) == 3


def test_packed_data_are_recognised_whatever_their_name(tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes(gzip.compress(b"smiles\nCCO\n"))
    assert [row.smiles for row in rows(path)] == ["CCO"]


def test_packed_utf16_is_a_named_error(tmp_path):
    with pytest.raises(FileError, match="UTF-16"):
        read_rows(put(tmp_path, "a.csv.gz", "smiles\nCCO\n".encode("utf-16")))


def test_two_columns_of_smiles_are_refused(tmp_path):
    with pytest.raises(FileError, match=r"2 columns.*'smiles'"):
        read_rows(put(tmp_path, "a.csv", "smiles,smiles\nCCO,CCN\n"))


def test_blank_lines_above_the_header_do_no_harm(tmp_path):
    assert [row.smiles for row in rows(put(tmp_path, "a.csv", "\n\nsmiles\nCCO\n"))] == ["CCO"]


def test_damaged_packed_standard_input_is_named(tmp_path, monkeypatch):
    given_stdin(monkeypatch, b"\x1f\x8b" + b"rubbish" * 9)
    with pytest.raises(FileError, match=r"'-'.*gzip"):
        save_stdin(tmp_path / "stdin")


# -- positions, pickles, standard input -----------------------------------------------------------


@pytest.mark.parametrize("suffix", [*SUFFIXES, ".parquet"])
def test_the_position_grows_to_the_size(tmp_path, suffix):
    many = [(s, i) for i in range(3000) for s in MOLECULES[: 1 if "sdf" in suffix else 4]]
    path = tmp_path / f"a{suffix}"
    if suffix == ".parquet":
        parquet(path, smiles=[s for s, _ in many])
    else:
        write_rows(path, ["smiles", "n"], many)
    stream = read_rows(path)
    places = [(stream.position(), next(stream)) and stream.position() for _ in many]
    assert places == sorted(places)
    half = places[len(places) // 2]
    assert 0 < half <= stream.size == path.stat().st_size
    if not suffix.endswith(".gz"):  # Python 3.12 reads a packed file of this size at once
        assert half < stream.size
    assert next(stream, None) is None
    assert stream.position() == stream.size


def test_a_closed_file_gives_nothing_more(tmp_path):
    with read_rows(put(tmp_path, "a.smi", "CCO\nCCN\n")) as stream:
        assert next(stream).smiles == "CCO"
    assert list(stream) == []


def test_rows_can_be_sent_to_another_process(tmp_path):
    import pickle

    path = put(tmp_path, "a.csv", "smiles,id,y\nCCO,1,2\n")
    for columns in ([], ["y"]):
        [row] = rows(path, columns=columns)
        assert pickle.loads(pickle.dumps(row)) == row


class Stdin(SimpleNamespace):
    def isatty(self):
        return self.terminal


def given_stdin(monkeypatch, data, terminal=False):
    monkeypatch.setattr(sys, "stdin", Stdin(buffer=io.BytesIO(data), terminal=terminal))


SDF = sdf_block("CCO", "a", {}) + sdf_block("CCN", "b", {})


@pytest.mark.parametrize(
    ("text", "kind"),
    [("CCO a\nCCN b\n", "smi"), ("smiles\nCCO\nCCN\n", "csv"), ("id,Smiles\na,CCO\nb,CCN\n", "csv"),
     ("id\tSMILES\na\tCCO\nb\tCCN\n", "tsv"), ("smiles;id\nCCO;a\nCCN;b\n", "csv"), (SDF, "sdf"),
     ("SMILES name\nCCO a\nCCN b\n", "smi")],
)  # fmt: skip
@pytest.mark.parametrize("packed", [False, True])
def test_standard_input_is_recognised(tmp_path, monkeypatch, text, kind, packed):
    given_stdin(monkeypatch, gzip.compress(text.encode()) if packed else text.encode())
    path = save_stdin(tmp_path / "stdin")
    assert path.name == f"stdin.{kind}{'.gz' if packed else ''}"
    assert [smiles_of(row) for row in read_rows(path, shown="-")] == ["CCO", "CCN"]
    assert {row.file for row in read_rows(path, shown="-")} == {"-"}
    assert sorted(p.name for p in tmp_path.iterdir()) == [path.name]


def test_a_named_column_makes_a_table_of_standard_input(tmp_path, monkeypatch):
    given_stdin(monkeypatch, b"product,yield\nCCO,5\n")
    path = save_stdin(tmp_path / "stdin", smiles_column="product")
    assert [row.smiles for row in read_rows(path, smiles_column="product")] == ["CCO"]


@pytest.mark.parametrize(
    ("data", "terminal", "message"),
    [(b"", False, "empty"), (b"PAR1xxxx", False, "name"),
     (b"CCO", True, "terminal")],
)  # fmt: skip
def test_what_standard_input_cannot_be(tmp_path, monkeypatch, data, terminal, message):
    given_stdin(monkeypatch, data, terminal)
    with pytest.raises(FileError, match=message):
        save_stdin(tmp_path / "stdin")


CELLS = st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=12)


@given(table=st.lists(st.tuples(CELLS, CELLS, CELLS), min_size=1, max_size=8))
def test_any_table_reads_the_same_from_every_format(table, tmp_path_factory):
    pyarrow = pytest.importorskip("pyarrow", reason="the extra 'parquet'")
    from pyarrow import parquet

    folder = tmp_path_factory.mktemp("same")
    header = ("smiles", "id", "y")
    for name, delimiter in (("a.csv", ","), ("a.tsv", "\t")):
        with open(folder / name, "w", encoding="utf-8", newline="") as handle:
            csv.writer(handle, delimiter=delimiter).writerows([header, *table])
    columns = dict(zip(header, map(list, zip(*table, strict=True)), strict=True))
    parquet.write_table(pyarrow.table(columns), folder / "a.parquet")
    result = [
        [(row.smiles, row.name, row.labels["y"]) for row in rows(folder / name, columns=["y"])]
        for name in ("a.csv", "a.tsv", "a.parquet")
    ]
    assert result == [table] * 3


def test_sdf_fields_need_no_blank_line_between_them(tmp_path):
    block = sdf_block("CCO", "a", {}).replace("$$$$\n", "")
    text = block + ">  <IC50>\n1.5\n>  25 <Ki> (7)\n10\n> <IC50 (>10)>\n>50 <c>\ntwo\n$$$$\n"
    [row] = rows(put(tmp_path, "a.sdf", text), columns=["IC50", "Ki", "IC50 (>10)"])
    assert list(row.labels.values()) == ["1.5", "10", ">50 <c>\ntwo"]


def test_an_identifier_names_an_untitled_sdf_record(tmp_path):
    text = sdf_block("CCO", "", {"y": "1", "Compound_ID": "X-17"})
    [row] = rows(put(tmp_path, "a.sdf", text))
    assert row.name == "X-17"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"PK\x03\x04 sheet", r"is an Excel file or another ZIP archive.*\.xlsx"),
        (b"\xd0\xcf\x11\xe0 sheet", "old Excel"),
        (b"PAR1 columns", r"Parquet.*\.parquet"),
        (b"%PDF-1.4", "is a PDF, expected text; save its table as CSV"),
    ],
)
@pytest.mark.parametrize("name", ["a.csv", "a.smi", "a.sdf", "a.csv.gz"])
def test_a_file_that_is_no_text_is_named(tmp_path, name, content, words):
    packed = gzip.compress(content) if name.endswith(".gz") else content
    (tmp_path / name).write_bytes(packed)
    with pytest.raises(FileError, match=words):
        read_rows(tmp_path / name)
