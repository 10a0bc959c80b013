"""Exports of assay databases: relations, units and endpoints in columns of their own."""

import csv
import math

import pandas as pd
import pytest

from molvae.config import DataConfig, validate
from molvae.data.columns import parse_transform, read_label
from molvae.data.prepare import jobs, prepare, summary_lines
from molvae.errors import ConfigError, FileError, PropertyError

CHEMBL = ("Molecule ChEMBL ID", "Smiles", "Standard Type", "Standard Relation", "Standard Value",
          "Standard Units")  # fmt: skip
ROWS = [
    ("C1", "CCOc1ccccc1", "IC50", "'='", "10", "ug.mL-1"),
    ("C2", "CC(=O)Nc1ccc(O)cc1", "IC50", "'<'", "0.1", "nM"),
    ("C3", "CCN(CC)CC", "IC50", "'~'", "50", "nM"),
    ("C4", "Clc1ccccc1", "IC50", "'>'", "30000", "nM"),
    ("C5", "CCCCCO", "IC50", "'='", "4", "uM"),
    ("C6", "CC(C)Cc1ccc(C(C)C(=O)O)cc1", "IC50", "'='", "55", "nM"),
    ("C6", "CC(C)Cc1ccc(C(C)C(=O)O)cc1", "Ki", "'='", "5", "nM"),
    ("C7", "O=C1CCCN1", "Ki", "'='", "20000", "nM"),
    ("C8", "c1ccncc1C", "IC50", "", "7", "nM"),
]
READ = {
    "properties": {"y": "Standard Value"}, "transforms": {"y": "neglog10:nM"},
    "relations": {"y": "Standard Relation"}, "units": {"y": "Standard Units"},
}  # fmt: skip


def made(tmp_path, rows=ROWS, header=CHEMBL, **options):
    path = tmp_path / "in.csv"
    with open(path, "w", encoding="utf-8", newline="") as handle:
        csv.writer(handle, delimiter=";").writerows([header, *rows])
    config = DataConfig(conditions=("logp", *options.get("properties", ())), **options)
    return prepare([path], tmp_path / "ds", config, workers=0, force=True)


def values(dataset, name="y"):
    names = pd.read_csv(dataset.folder / "molecules.csv.gz")["id"]
    result = dict(zip(names, dataset.values[:, dataset.names.index(name)].tolist(), strict=True))
    return {key: value for key, value in result.items() if not math.isnan(value)}


def test_only_exact_values_in_units_of_concentration_count(tmp_path):
    dataset = made(tmp_path, **READ, where={"Standard Type": ("IC50",)})
    assert values(dataset) == pytest.approx(
        {"C5": 6 - math.log10(4), "C6": 9 - math.log10(55), "C8": 9 - math.log10(7)}
    )
    assert dataset.manifest["reasons"] == {"left out by --where Standard Type": 2}
    text = "\n".join(summary_lines(dataset))
    assert "3 censored cells" in text
    assert "1 values in units that cannot be converted" in text


def test_limits_count_where_they_are_requested(tmp_path):
    dataset = made(tmp_path, **READ, censored="limit", where={"Standard Type": ("ic50",)})
    assert values(dataset)["C4"] == pytest.approx(9 - math.log10(30000))
    assert values(dataset)["C2"] == pytest.approx(10)


def test_one_of_several_values_is_enough_and_all_columns_count(tmp_path):
    where = {"Standard Type": ("IC50", "Ki"), "Standard Units": ("nM",)}
    dataset = made(tmp_path, **READ, where=where)
    assert dataset.manifest["reasons"] == {"left out by --where Standard Units": 2}
    assert values(dataset)["C6"] == pytest.approx((9 - math.log10(55) + 9 - math.log10(5)) / 2)


def test_several_units_without_a_conversion_are_an_error(tmp_path):
    options = {**READ, "transforms": {}}
    with pytest.raises(FileError, match=r"several units: 'nM' in 4, .*'uM' in 1.*--where"):
        made(tmp_path, **options)
    dataset = made(tmp_path, **options, where={"Standard Units": ("nM",)})
    assert values(dataset)["C8"] == 7


def test_the_options_that_an_export_calls_for_are_suggested(tmp_path, capsys):
    made(tmp_path, properties={"y": "Standard Value"}, transforms={"y": "neglog10:nM"})
    note = capsys.readouterr().err
    assert "looks like a ChEMBL export" in note
    assert "--relation 'Standard Relation' --unit 'Standard Units'" in note
    assert "--where 'Standard Type=IC50'" in note
    made(tmp_path, **READ, where={"Standard Type": ("IC50",)})
    assert "note:" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("header", "options", "suggested"),
    [
        (("BindingDB MonomerID", "Ligand SMILES", "Ki (nM)"), {"y": "Ki (nM)"},
         "BindingDB export and has values in nM over many powers of ten for column 'Ki (nM)'; to "
         "read them add --transform neglog10:nM"),
        (("PUBCHEM_CID", "PUBCHEM_EXT_DATASOURCE_SMILES", "Standard Value", "Standard Relation"),
         {"y": "Standard Value"}, "PubChem export and has relations"),
        (("id", "smiles", "IC50", "IC50_qualifier", "Ki", "Ki_units"), {"a": "IC50", "b": "Ki"},
         "--relation a=IC50_qualifier"),
        (("id", "smiles", "value", "operator"), {"y": "value"}, "--relation operator"),
        (("id", "smiles", "IC50", "type"), {"y": "IC50"}, None),
    ],
)  # fmt: skip
def test_usual_exports_are_recognized(tmp_path, capsys, header, options, suggested):
    rows = [(f"m{i}", "C" * i + "O", *(str(i + n) for n in range(len(header) - 2)))
            for i in range(3, 9)]  # fmt: skip
    made(tmp_path, rows, header, properties=options)
    notes = [line for line in capsys.readouterr().err.splitlines() if line.startswith("note")]
    assert (suggested is None) == (notes == [])
    assert suggested is None or suggested in notes[0]


def test_values_of_one_molecule_that_disagree_are_reported(tmp_path):
    rows = [("a", "CCO", "5.0"), ("=b", "CCN", "6.0"), ("c", "OCC", "9.0"), ("d", "NCC", "6.5"),
            ("e", "CCCC", "7.0")]  # fmt: skip
    dataset = made(tmp_path, rows, ("id", "smiles", "y"), properties={"y": "y"})
    # means 7, 6.25 and 7: their standard deviation is 0.354
    entry = dataset.manifest["properties"]["y"]["disagreements"]
    assert entry == {"count": 2, "first": "CCO", "low": 5.0, "high": 9.0}
    assert any("2 molecules have values that differ by more than" in line and "CCO: 5 to 9" in line
               for line in summary_lines(dataset))  # fmt: skip
    listed = dataset.folder / "disagreements.csv"
    assert listed.read_text() == (
        "column,smiles,id,values,low,high\ny,CCO,a,2,5,9\ny,CCN,'=b,2,6,6.5\n"
    )
    assert f"  see {listed}" in summary_lines(dataset)


def test_words_among_numbers(tmp_path):
    rows = [("a", "CCO", "5.0"), ("b", "CCN", "Inactive"), ("c", "CCC", "0"), ("d", "CCF", "1")]
    options = {"header": ("id", "smiles", "y"), "properties": {"y": "y"}}
    with pytest.raises(FileError, match=r"'Inactive' .*--bad-labels missing.*1 words"):
        made(tmp_path, rows, **options)
    dataset = made(tmp_path, rows, **options, bad_labels="missing")
    assert values(dataset) == {"a": 5, "c": 0, "d": 1}
    assert dataset.manifest["properties"]["y"]["bad"] == 1


def test_a_column_without_variation_is_pointed_out(tmp_path):
    rows = [("a", "CCO", "5.0"), ("b", "CCN", "5"), ("c", "CCC", "")]
    dataset = made(tmp_path, rows, ("id", "smiles", "y"), properties={"y": "y"})
    assert any("every known value is 5" in line for line in summary_lines(dataset))


@pytest.mark.parametrize(
    ("text", "transform", "value", "kind"),
    [
        ("53 nM", "neglog10:nM", 9 - math.log10(53), "number"),
        ("53 nM", "neglog10:uM", 9 - math.log10(53), "number"),
        ("0.2uM", "neglog10:nM", 6 - math.log10(0.2), "number"),
        ("> 10 µM", "neglog10:nM", 5, "censored"),
        ("3 nmol/L", "neglog10:M", 9 - math.log10(3), "number"),
        ("1,100.5", "log10", math.log10(1100.5), "number"),
        ("1,234,567", "log10", math.log10(1234567), "number"),
        ("53 ug/mL", "neglog10:nM", None, "bad"),
        ("53 %", "neglog10:nM", None, "bad"),
        ("1,100", "log10", None, "bad"),  # thousands in one country, decimals in the other
        ("1.100,5", "log10", None, "bad"),
    ],
)
def test_units_and_thousands_in_a_cell(text, transform, value, kind):
    label = read_label(text, parse_transform(transform), limit=True)
    assert label.kind == kind
    assert math.isnan(label.value) if value is None else label.value == pytest.approx(value)


def test_per_cent_of_a_plain_column():
    from molvae.data.columns import Transform

    assert read_label("87 %", Transform()).value == 87
    assert read_label("~ 100 %", Transform()).kind == "censored"
    assert read_label("~ 100 %", Transform(), limit=True).value == 100


@pytest.mark.parametrize("relation", ["?", "about", "=="])
def test_an_unknown_relation_is_a_bad_label(relation):
    assert read_label("5", parse_transform("log10"), relation=relation).kind == "bad"


def test_relations_and_units_belong_to_a_column():
    with pytest.raises(ConfigError, match="relation of 'z'"):
        validate({"data": {"properties": {"y": "y"}, "relations": {"z": "r"}}})


def test_the_most_frequent_endpoint_is_proposed(tmp_path, capsys):
    rows = [("C0", "CCO", "Activity", "'='", "3", "nM"), *ROWS]
    made(tmp_path, rows, **{**READ, "censored": "limit"})
    note = capsys.readouterr().err
    assert "several endpoints (IC50 in 7, Ki in 2, Activity in 1 of the first rows)" in note
    assert "--where 'Standard Type=IC50'" in note


def test_a_value_of_where_that_no_row_has_is_met_with_the_values_there_are(tmp_path, monkeypatch):
    monkeypatch.setattr(jobs, "CHUNK", 3)
    with pytest.raises(FileError, match=r"holds 'IC50' in 2, 'Ki' in 1 of the first rows") as error:
        made(tmp_path, ROWS[4:], **READ, where={"Standard Type": ("IC-50",)})
    assert "5 × left out by --where Standard Type" in str(error.value)
    assert [path.name for path in tmp_path.iterdir()] == ["in.csv"]  # no parts that help nobody


def test_a_column_without_a_value_says_what_its_cells_are(tmp_path):
    rows = [("C1", "CCOc1ccccc1", "IC50", "", "8,80", "nM"), ("C2", "CCN", "IC50", ">", "5", "nM"),
            ("C3", "CCCO", "IC50", "", "7", "ug.mL-1")]  # fmt: skip
    with pytest.raises(PropertyError, match="no molecule has a value") as error:
        made(tmp_path, rows, **READ, bad_labels="missing")
    for part in ("1 cells are no number", "1 are censored (--censored limit", "1 are in units"):
        assert part in str(error.value)


def test_units_that_cannot_be_converted_are_named(tmp_path):
    text = "\n".join(summary_lines(made(tmp_path, **READ, where={"Standard Type": ("IC50",)})))
    assert "1 values in units that cannot be converted count as missing (ug.mL-1)" in text
