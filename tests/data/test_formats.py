"""The name of a file says its format."""

import pytest

from molvae.data.formats import file_format
from molvae.data.readers import read_rows
from molvae.data.writers import write_rows
from molvae.errors import FileError


def rows(path, **options):
    return list(read_rows(path, **options))


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a.smi", "smi"), ("a.smiles", "smi"), ("a.txt", "smi"), ("a.csv", "csv"),
        ("a.tsv.gz", "tsv"), ("a.tab", "tsv"), ("A.SDF.GZ", "sdf"),
        ("a.sd", "sdf"), ("my.old.data.csv", "csv"),
    ],
)  # fmt: skip
def test_the_name_says_the_format(tmp_path, name, kind):
    assert file_format(tmp_path / name) == kind


@pytest.mark.parametrize(
    ("name", "part"), [("a.docx", "'docx'"), ("a.gz", "'a.gz'"), ("smiles", "'smiles'")]
)
def test_an_unknown_suffix_lists_the_known_ones(tmp_path, name, part):
    with pytest.raises(FileError, match=r"\.smi, \.csv, \.tsv or \.sdf") as caught:
        rows(tmp_path / name)
    assert part in str(caught.value)
    with pytest.raises(FileError, match="file type"):
        write_rows(tmp_path / name, ["smiles"], [])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("name", "kind"), [("a.mol", "sdf"), ("a.xlsx", "xlsx")])
def test_some_formats_are_read_only(tmp_path, name, kind):
    assert file_format(tmp_path / name, reading=True) == kind
    with pytest.raises(FileError, match="file type"):
        file_format(tmp_path / name)


def test_an_old_spreadsheet_says_what_to_do(tmp_path):
    with pytest.raises(FileError, match=r"save it as \.xlsx or \.csv"):
        rows(tmp_path / "a.xls")
