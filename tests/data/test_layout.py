"""What is in a text file, not its name, says how it is to be read."""

import pytest

from molvae.data.readers import read_rows, smiles_of
from molvae.data.readers.layout import smiles_cell
from molvae.errors import FileError

MOLECULES = {"ethanol": "CCO", "benzoic acid": "OC(=O)c1ccccc1", "salt": "[Na+].[O-]C(=O)C"}
NAMES = list(MOLECULES)


def table(delimiter, header=True, first=("name", "SMILES", "IC50")):
    rows = [(name, smiles, f"{i}.5") for i, (name, smiles) in enumerate(MOLECULES.items())]
    return "".join(delimiter.join(row) + "\n" for row in ([first] * header + rows))


def read(tmp_path, name, text, **options):
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with read_rows(path, **options) as rows:
        return [(row.name, smiles_of(row), *row.labels.values()) for row in rows]


@pytest.mark.parametrize("name", ["a.csv", "a.tsv", "a.tab", "a.txt", "a.smi"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_any_separator_in_any_file(tmp_path, name, delimiter):
    expected = [(*pair, f"{i}.5") for i, pair in enumerate(MOLECULES.items())]
    assert read(tmp_path, name, table(delimiter), columns=["IC50"]) == expected
    assert read(tmp_path, name, table(delimiter)) == [row[:2] for row in expected]


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("line", ["sep=;", '"sep=;"', "\nsep=;"])
def test_excels_line_about_the_separator(tmp_path, line, end):
    text = f"{line}\n{table(';')}".replace("\n", end)
    assert read(tmp_path, "a.csv", text) == list(MOLECULES.items())


@pytest.mark.parametrize("name", ["a.csv", "a.tsv"])
@pytest.mark.parametrize("first", ["name", "#name"])
def test_comments_above_the_header(tmp_path, name, first):
    expected = [(*pair, f"{i}.5") for i, pair in enumerate(MOLECULES.items())]
    text = "# exported\n\n#\n" + table(",", first=(first, "SMILES", "IC50"))
    assert [row[1:] for row in read(tmp_path, name, text, columns=["IC50"])] == [
        row[1:] for row in expected
    ]


@pytest.mark.parametrize("name", ["a.csv", "a.tsv", "a.txt", "a.smi"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("first", ["name", "smiles"])
def test_a_table_without_header_line(tmp_path, name, delimiter, first):
    pairs = MOLECULES.items() if first == "name" else [(s, n) for n, s in MOLECULES.items()]
    text = "".join(delimiter.join(pair) + "\n" for pair in pairs)
    assert read(tmp_path, name, text) == list(MOLECULES.items())
    with pytest.raises(FileError, match="no header line"):
        read(tmp_path, name, text, columns=["IC50"])


def test_a_list_of_smiles_in_a_csv_file(tmp_path):
    assert read(tmp_path, "a.csv", "CCO\nCCN\n") == [("", "CCO"), ("", "CCN")]


@pytest.mark.parametrize(
    ("header", "taken"),
    [
        (["CID", "CanonicalSMILES"], "CanonicalSMILES"),
        (["CID", "CanonicalSMILES", "IsomericSMILES"], "IsomericSMILES"),  # PubChem's; with stereo
        (["BindingDB Reactant_set_id", "Ligand SMILES", "Ki (nM)"], "Ligand SMILES"),
        (["PUBCHEM_RESULT_TAG", "PUBCHEM_EXT_DATASOURCE_SMILES"], "PUBCHEM_EXT_DATASOURCE_SMILES"),
        (["canonical_smiles", "isomeric_smiles"], "canonical_smiles"),  # as it always was
        (["id", "desalted smiles (2019)"], "desalted smiles (2019)"),
        (["id", "y"], None),
    ],
)
def test_usual_names_of_the_smiles_column(header, taken):
    assert smiles_cell(header) == taken


def test_two_unusual_names_are_an_error_that_lists_them(tmp_path):
    with pytest.raises(FileError, match=r"'Start SMILES', 'End SMILES'.*--smiles-column"):
        read(tmp_path, "a.csv", "Start SMILES,End SMILES\nCCO,CCN\n")


def test_a_column_that_looks_like_smiles_is_suggested(tmp_path):
    with pytest.raises(FileError, match="--smiles-column Struktur, which looks like it"):
        read(tmp_path, "a.csv", table(",", first=("Nr", "Struktur", "IC50")))


def test_bytes_that_are_no_utf8_are_windows_1252(tmp_path):
    text = "Name;SMILES;IC50 (µM)\nnaïve “A”;CCO;1\n".encode("cp1252")
    assert read(tmp_path, "a.csv", text, columns=["IC50 (µM)"]) == [("naïve “A”", "CCO", "1")]


def test_extended_smiles_in_a_plain_list(tmp_path):
    text = "C[C@H](N)CO |&1:1| alaninol\nCCO |a| b\nCCN |c\n"
    assert read(tmp_path, "a.smi", text) == [
        ("alaninol", "C[C@H](N)CO |&1:1|"), ("b", "CCO |a|"), ("|c", "CCN"),
    ]  # fmt: skip


def test_a_mol_file_is_one_record(tmp_path):
    from molvae.chem import sdf_block

    block = sdf_block("CCO", "ethanol", {}).split("$$$$")[0]
    assert read(tmp_path, "a.mol", block) == [("ethanol", "CCO")]


def test_a_workbook_reads_as_its_table(tmp_path):
    openpyxl = pytest.importorskip("openpyxl", reason="the extra 'excel'")
    book = openpyxl.Workbook()
    for row in [["name", "SMILES", "IC50"], ["a", "CCO", 1.5], ["b", "CCN", None], [None, None, 2]]:
        book.active.append(row)
    book.save(tmp_path / "a.xlsx")
    with read_rows(tmp_path / "a.xlsx", columns=["IC50"]) as rows:
        result = [(row.number, row.name, row.smiles, row.labels["IC50"]) for row in rows]
    assert result == [(1, "a", "CCO", "1.5"), (2, "b", "CCN", ""), (3, "", "", "2")]
    (tmp_path / "b.xlsx").write_bytes(b"no workbook")
    with pytest.raises(FileError, match=r"damaged \.xlsx"):
        read_rows(tmp_path / "b.xlsx")


def test_without_its_library_a_workbook_says_what_to_do(tmp_path, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "openpyxl", None)
    (tmp_path / "a.xlsx").write_bytes(b"PK")
    with pytest.raises(FileError, match=r"molvae\[excel\].*\.csv"):
        read_rows(tmp_path / "a.xlsx")


@pytest.mark.parametrize("delimiter", [";", "\t"])
def test_a_comma_in_a_name_is_no_separator(tmp_path, delimiter):
    text = "ID;My SMILES;Value, nM\n1;CCO;1,5\n2;CCN;2,5\n".replace(";", delimiter)
    expected = [("1", "CCO", "1,5"), ("2", "CCN", "2,5")]
    assert read(tmp_path, "a.csv", text, columns=["Value, nM"]) == expected


@pytest.mark.parametrize("name", ["a.txt", "a.smi"])
def test_identifiers_that_could_be_smiles_do_not_hide_the_header(tmp_path, name):
    text = "ID\tSMILES\n" + "".join(f"C{i}\tCC{'O' * (i % 2)}\n" for i in range(1, 30))
    assert [smiles for _, smiles in read(tmp_path, name, text)][:2] == ["CCO", "CC"]


def test_a_line_break_in_the_first_name(tmp_path):
    text = '"Activity\n(nM)";SMILES;x\n5;CCO;2\n'
    assert read(tmp_path, "a.csv", text, columns=["x"]) == [("", "CCO", "2")]


def test_class_letters_of_a_table_without_header_line_are_no_smiles(tmp_path):
    rows = read(tmp_path, "a.csv", "P,CCO\nN,CCCN\nP,CCCC\n")
    assert [smiles for _, smiles in rows] == ["CCO", "CCCN", "CCCC"]


def test_a_column_of_pictures_is_not_taken_for_the_smiles():
    assert smiles_cell(["Structure", "SMILES", "x"]) in ("SMILES", 1)
    assert smiles_cell(["Structure", "Canonical SMILES"]) in ("Canonical SMILES", 1)
