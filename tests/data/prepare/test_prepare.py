"""From files to a dataset folder: every row is accounted for, and the bytes do not wander."""

import csv
import gzip
import itertools
import json
import random

import numpy as np
import pandas as pd
import pytest

from molvae.chem.vocabulary import SPECIAL_TOKENS
from molvae.config import CleaningConfig, DataConfig
from molvae.data.dataset import Dataset
from molvae.data.prepare import cached_dataset, prepare, summary_lines
from molvae.data.prepare.conditions import condition_names
from molvae.errors import FileError, OutputExistsError, PropertyError
from molvae.runtime.cache import cache_folder

ARRAYS = ("tokens.bin", "offsets.npy", "properties.npy", "split.npy", "molecules.csv.gz")
LOGP = DataConfig(conditions=("logp",))
LABELLED = DataConfig(properties={"y": "measured"}, conditions=("logp", "y"))


def table(path, lines, header="smiles,id,measured"):
    path.write_text("\n".join([header, *lines]) + "\n", encoding="utf-8")
    return path


@pytest.fixture
def messy(tmp_path):
    """Nine rows: three molecules kept, two merged, four refused."""
    lines = [
        "CCOC,a,1", "c1ccccc1O,b,", "COCC,c,3", "not a molecule,d,2", ",e,2",
        "C[As](C)C,f,2", "OC1=CC=CC=C1,g,5.5", "CCCCN,h,NA", "CC,i,4",
    ]  # fmt: skip
    return table(tmp_path / "messy.csv", lines)


def rejects(folder):
    with open(folder / "rejects.csv", encoding="utf-8", newline="") as handle:
        return list(csv.DictReader(handle))


def labels(folder, name="y"):
    dataset = Dataset(folder)
    smiles = pd.read_csv(folder / "molecules.csv.gz")["smiles"]
    return dict(zip(smiles, dataset.values[:, dataset.names.index(name)].tolist(), strict=True))


def test_every_row_is_kept_merged_or_rejected(messy, tmp_path):
    m = prepare([messy], tmp_path / "ds", LOGP, workers=0).manifest
    assert (m["rows_read"], m["kept"], m["merged"], m["rejected"]) == (9, 3, 2, 4)
    assert sum(m["reasons"].values()) == m["rejected"]
    assert sum(m["split"].values()) == m["kept"]


def test_rejected_rows_are_listed_with_their_place_and_reason(messy, tmp_path):
    prepare([messy], tmp_path / "ds", LOGP, workers=0)
    result = [(r["file"], r["row"], r["text"], r["reason"]) for r in rejects(tmp_path / "ds")]
    assert result == [
        (str(messy), "4", "not a molecule", "not a valid SMILES"),
        (str(messy), "5", "", "empty"),
        (str(messy), "6", "C[As](C)C", "element not allowed"),
        (str(messy), "9", "CC", "too few heavy atoms"),
    ]


def test_labels_of_equal_molecules_are_averaged(messy, tmp_path):
    prepare([messy], tmp_path / "ds", LABELLED, workers=0)
    result = labels(tmp_path / "ds")
    assert result["CCOC"] == 2.0  # 1 and 3
    assert result["Oc1ccccc1"] == 5.5  # nothing and 5.5
    assert np.isnan(result["CCCCN"])


def test_yes_and_no_for_one_molecule_is_missing(tmp_path):
    path = table(tmp_path / "in.csv", ["CCOC,,yes", "COCC,,no", "CCCO,,TRUE", "OCCC,,1", "CCCN,,0"])
    dataset = prepare([path], tmp_path / "ds", LABELLED, workers=0)
    result = labels(tmp_path / "ds")
    assert np.isnan(result["CCOC"])
    assert (result["CCCO"], result["CCCN"]) == (1.0, 0.0)
    assert dataset.kinds["y"] == "yesno"


def test_censored_values_are_counted_and_missing(tmp_path):
    path = table(tmp_path / "in.csv", ["CCOC,,>10", "CCCO,,< 3", "CCCN,,7", "CCCF,,8"])
    dataset = prepare([path], tmp_path / "ds", LABELLED, workers=0)
    assert dataset.manifest["properties"]["y"]["censored"] == 2
    assert dataset.manifest["properties"]["y"]["known"] == 2
    assert any("2 censored" in line for line in summary_lines(dataset))


@pytest.mark.parametrize("text", ["high", "1,5", "inf", "7 uM"])
def test_a_label_that_is_no_number_is_named_with_its_row(tmp_path, text):
    path = table(tmp_path / "in.csv", ["CCOC,,1", f'CCCO,,"{text}"', "CCCN,,7"])
    with pytest.raises(FileError) as error:
        prepare([path], tmp_path / "ds", LABELLED, workers=0)
    assert "row 2" in str(error.value)
    assert f"column 'measured' holds '{text}'" in str(error.value)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in.csv"]


def test_a_column_may_go_by_two_names(tmp_path):
    path = table(tmp_path / "in.csv", ["CCOC,,1", "CCCO,,2"])
    config = DataConfig(properties={"y": "measured", "z": "measured"}, conditions=("y", "z"))
    dataset = prepare([path], tmp_path / "ds", config, workers=0)
    assert dataset.names == ["y", "z"]
    assert dataset.values.tolist() == [[1, 1], [2, 2]]


def test_a_dataset_may_have_no_properties_at_all(messy, tmp_path):
    dataset = prepare([messy], tmp_path / "ds", DataConfig(conditions=()), workers=0)
    assert dataset.values.shape == (3, 0)
    assert dataset.names == []


def test_stored_properties_are_those_of_rdkit(messy, tmp_path):
    from rdkit.Chem import Crippen, Descriptors, MolFromSmiles

    config = DataConfig(conditions=("mw", "logp"))
    dataset = prepare([messy], tmp_path / "ds", config, workers=0)
    for smiles, row in zip(("CCOC", "Oc1ccccc1", "CCCCN"), dataset.values.tolist(), strict=True):
        mol = MolFromSmiles(smiles)
        assert row == pytest.approx([Descriptors.MolWt(mol), Crippen.MolLogP(mol)], rel=1e-5)


def test_the_vocabulary_is_sorted_behind_its_special_tokens(tiny_dataset):
    tokens = json.loads((tiny_dataset / "vocab.json").read_text())["tokens"]
    assert tuple(tokens[:3]) == SPECIAL_TOKENS
    assert tokens[3:] == sorted(set(tokens[3:]))


def test_the_split_belongs_to_the_molecule_not_to_its_row(demo_csv, tmp_path):
    header, *lines = demo_csv.read_text().splitlines()
    random.Random(5).shuffle(lines)
    shuffled = table(tmp_path / "shuffled.csv", lines, header)
    parts = []
    for i, path in enumerate((demo_csv, shuffled)):
        dataset = prepare([path], tmp_path / f"ds{i}", LOGP, workers=0)
        smiles = pd.read_csv(dataset.folder / "molecules.csv.gz")["smiles"]
        parts.append(dict(zip(smiles, dataset.split.tolist(), strict=True)))
    assert parts[0] == parts[1]
    assert set(parts[0].values()) == {0, 1, 2}


def test_shares_of_the_split_are_those_requested(demo_csv, tmp_path):
    config = DataConfig(conditions=("logp",), valid_fraction=0.3, test_fraction=0.2)
    split = prepare([demo_csv], tmp_path / "ds", config, workers=0).manifest["split"]
    assert split["valid"] / 300 == pytest.approx(0.3, abs=0.08)
    assert split["test"] / 300 == pytest.approx(0.2, abs=0.08)


def test_two_molecules_are_enough(tmp_path):
    for i, pair in enumerate(itertools.combinations(["CCCO", "CCCN", "CCCS", "CCCF", "CCCl"], 2)):
        path = tmp_path / f"{i}.smi"
        path.write_text("\n".join(pair))
        dataset = prepare([path], tmp_path / f"ds{i}", LOGP, workers=0)
        assert (len(dataset.part("train")), len(dataset.part("valid"))) == (1, 1)


@pytest.mark.process
def test_two_workers_write_the_same_bytes(demo_csv, tmp_path):
    header, *lines = demo_csv.read_text().splitlines()
    longer = table(tmp_path / "longer.csv", [*lines, "bad,x,1", *lines[:250]], header)
    config = DataConfig(properties={"assay": "assay"}, conditions=("logp", "assay"))
    for workers in (1, 2):
        prepare([longer], tmp_path / f"ds{workers}", config, workers=workers)
    for name in (*ARRAYS, "vocab.json", "rejects.csv", "manifest.json"):
        one, two = (tmp_path / f"ds{workers}" / name for workers in (1, 2))
        assert one.read_bytes() == two.read_bytes(), name


def test_several_files_become_one_dataset(tmp_path):
    (tmp_path / "a.smi").write_text("CCCO first\nCCCN second\n")
    with gzip.open(tmp_path / "b.csv.gz", "wt") as handle:
        handle.write("smiles\nOCCC\nCCCS\n")
    dataset = prepare([tmp_path / "a.smi", tmp_path / "b.csv.gz"], tmp_path / "ds", LOGP, workers=0)
    molecules = pd.read_csv(tmp_path / "ds" / "molecules.csv.gz")
    assert molecules["smiles"].tolist() == ["CCCO", "CCCN", "CCCS"]
    assert dataset.manifest["merged"] == 1


def test_a_column_called_like_a_builtin_property_is_refused():
    with pytest.raises(PropertyError, match="-p my_logp=measured"):
        condition_names(DataConfig(properties={"logp": "measured"}))


@pytest.mark.parametrize("name", ["pIC50_low", "pIC50_predicted", "x_minus_target", "similarity"])
def test_a_column_called_like_one_that_molvae_writes_is_refused(name):
    with pytest.raises(PropertyError, match=f"'{name}' is a column that molvae writes.*my_{name}"):
        condition_names(DataConfig(properties={"pIC50": "a", name: "b"}))
    if not name.startswith("pIC50"):
        return
    with_other = condition_names(DataConfig(properties={"Ki": "a", name: "b"}))
    assert with_other[1] == ["Ki", name]  # nothing else is named so


def test_an_unknown_condition_names_the_nearest():
    with pytest.raises(PropertyError, match="'logp'"):
        condition_names(DataConfig(conditions=("lgop",)))


def test_a_column_without_any_value_is_refused(tmp_path):
    path = table(tmp_path / "in.csv", ["CCOC,,", "CCCO,,-"])
    with pytest.raises(PropertyError, match="'y'"):
        prepare([path], tmp_path / "ds", LABELLED, workers=0)
    assert not (tmp_path / "ds").exists()


def test_nothing_usable_is_one_clear_error_and_no_folder(tmp_path):
    path = table(tmp_path / "in.csv", ["nonsense,,1", "C,,1", "rubbish,,1"])
    with pytest.raises(FileError) as error:
        prepare([path], tmp_path / "ds", LOGP, workers=0)
    assert "3 rows gave 0 usable molecules" in str(error.value)
    assert "2 × not a valid SMILES" in str(error.value)
    assert str(error.value).endswith("(row 1: 'nonsense')")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in.csv"]


def test_a_missing_file_is_an_error_before_any_work(tmp_path):
    with pytest.raises(FileError, match=r"absent\.csv': no such file"):
        prepare([tmp_path / "absent.csv"], tmp_path / "ds", LOGP)
    assert list(tmp_path.iterdir()) == []


def test_an_existing_dataset_is_replaced_only_when_forced(messy, tmp_path):
    prepare([messy], tmp_path / "ds", LOGP, workers=0)
    with pytest.raises(OutputExistsError, match="--force"):
        prepare([messy], tmp_path / "ds", LOGP, workers=0)
    assert prepare([messy], tmp_path / "ds", LABELLED, workers=0, force=True).names == ["logp", "y"]


def test_a_folder_that_is_no_dataset_is_never_replaced(messy, tmp_path):
    (tmp_path / "precious").mkdir()
    with pytest.raises(FileError, match="dataset folder"):
        prepare([messy], tmp_path / "precious", LOGP, workers=0, force=True)
    assert (tmp_path / "precious").is_dir()


def test_cleaning_options_are_obeyed(tmp_path):
    path = table(tmp_path / "in.csv", ["C[C@H](O)N,,", "C[C@@H](O)N,,", "CCCCCCCCCO,,", "CCCS,,"])
    config = DataConfig(
        conditions=(), cleaning=CleaningConfig(stereo=False, elements=("C", "N", "O"))
    )
    m = prepare([path], tmp_path / "ds", config, workers=0).manifest
    assert (m["kept"], m["merged"]) == (2, 1)
    assert m["reasons"] == {"element not allowed": 1}


def test_too_long_molecules_are_counted(tmp_path):
    path = table(tmp_path / "in.csv", ["CCCO,,", "CCCN,,", "C" * 12 + ",,"])
    m = prepare(
        [path], tmp_path / "ds", DataConfig(conditions=(), max_tokens=10), workers=0
    ).manifest
    assert m["reasons"] == {"too many tokens": 1}
    assert m["longest"] == 4


def test_the_cache_is_hit_by_content_and_options(messy, tmp_path, monkeypatch, capsys):
    first = cached_dataset([messy], LOGP, workers=0)
    assert first.folder.is_relative_to(cache_folder())
    copy = tmp_path / "elsewhere" / messy.name
    copy.parent.mkdir()
    copy.write_bytes(messy.read_bytes())
    monkeypatch.setattr("molvae.data.prepare.prepare", None)  # a second preparation would fail
    assert cached_dataset([copy], LOGP, workers=0).folder == first.folder
    assert "using the prepared dataset" in capsys.readouterr().err


def test_other_options_or_content_miss_the_cache(messy):
    first = cached_dataset([messy], LOGP, workers=0)
    assert cached_dataset([messy], LABELLED, workers=0).folder != first.folder
    messy.write_text(messy.read_text() + "CCCCl,z,1\n")
    assert cached_dataset([messy], LOGP, workers=0).folder != first.folder
