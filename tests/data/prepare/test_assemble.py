"""Equal molecules merged, labels combined, splits made: against plain Python that does the same."""

import csv
import math
import sys

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rdkit import Chem
from rdkit.Chem.Scaffolds import MurckoScaffold

from molvae.chem.vocabulary import Vocabulary
from molvae.config import DataConfig
from molvae.data.manifest import SPLITS
from molvae.data.prepare import jobs, merge, prepare, prepare_shard, summary_lines
from molvae.data.shard import Shard
from molvae.errors import ConfigError, FileError, PropertyError

LOGP = ("logp",)


def write(path, rows, header=("smiles", "id", "y")):
    with open(path, "w", encoding="utf-8", newline="") as handle:
        csv.writer(handle).writerows([header, *rows])
    return path


def config(**options):
    """One built-in property, the column y, and what the test is about."""
    options = {"properties": {"y": "y"}, **options}
    return DataConfig(conditions=(*LOGP, *options["properties"]), **options)


def made(tmp_path, rows, header=("smiles", "id", "y"), **options):
    path = write(tmp_path / "in.csv", rows, header)
    return prepare([path], tmp_path / "ds", config(**options), workers=0, force=True)


def values(dataset, name="y"):
    smiles = pd.read_csv(dataset.folder / "molecules.csv.gz")["smiles"]
    return dict(zip(smiles, dataset.values[:, dataset.names.index(name)].tolist(), strict=True))


def sides(dataset):
    smiles = pd.read_csv(dataset.folder / "molecules.csv.gz")["smiles"]
    return {s: SPLITS[i] for s, i in zip(smiles, dataset.split, strict=True)}


# Several ways to write each of five molecules.
WRITINGS = {
    "CCO": ["CCO", "OCC", "C(O)C"], "c1ccccc1": ["c1ccccc1", "C1=CC=CC=C1"],
    "CC(=O)O": ["CC(=O)O", "[Na+].CC(=O)[O-]"], "CCN": ["CCN", "Cl.NCC"], "CCCC": ["CCCC"],
}  # fmt: skip
ROWS = st.lists(
    st.tuples(
        st.sampled_from([w for ways in WRITINGS.values() for w in ways]),
        st.one_of(st.none(), st.integers(-50, 50)),
    ),
    min_size=4,
    max_size=40,
).filter(
    lambda rows: len({canonical(s) for s, _ in rows}) > 1 and any(v is not None for _, v in rows)
)


def canonical(written):
    return next(Chem.CanonSmiles(s) for s, ways in WRITINGS.items() if written in ways)


@settings(max_examples=min(60, settings.default.max_examples))
@given(rows=ROWS, chunk=st.integers(1, 9), bucket=st.integers(1, 9))
def test_equal_molecules_are_merged_as_by_hand(rows, chunk, bucket, tmp_path_factory):
    tmp_path = tmp_path_factory.mktemp("merged")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jobs, "CHUNK", chunk)
        patch.setattr(sys.modules["molvae.data.prepare.assemble"], "BUCKET", bucket)
        cells = [(s, i, "" if v is None else v) for i, (s, v) in enumerate(rows)]
        dataset = made(tmp_path, cells)
    expected = {}
    for i, (written, value) in enumerate(rows):
        known = expected.setdefault(canonical(written), (i, []))[1]
        if value is not None:
            known.append(value)
    binary = all(v in (0, 1) for _, known in expected.values() for v in known)

    def together(known):
        if not known or (binary and len(set(known)) > 1):
            return math.nan
        return np.float32(sum(known) / len(known))

    table = pd.read_csv(dataset.folder / "molecules.csv.gz")
    assert table["smiles"].tolist() == list(expected)  # in the order of their first rows
    assert table["id"].tolist() == [i for i, _ in expected.values()]
    numbers = values(dataset)
    np.testing.assert_array_equal(
        [numbers[s] for s in expected], [together(known) for _, known in expected.values()]
    )
    m = dataset.manifest
    assert m["merged"] == len(rows) - len(expected)
    conflicts = sum(binary and len(set(k)) > 1 for _, k in expected.values())
    several = sum(len(k) > 1 for _, k in expected.values())
    assert m["properties"]["y"]["conflicts"] == conflicts
    assert m["properties"]["y"]["combined"] == several - conflicts


def test_hashes_are_read_once_however_many_there_are(tmp_path, monkeypatch):
    """Read once for each bucket, the time would grow with the square of the molecules."""
    module, read = sys.modules["molvae.data.prepare.assemble"], []
    blocks = module._blocks

    def recorded(path, *arguments):
        read.append(path.name)
        return blocks(path, *arguments)

    monkeypatch.setattr(module, "BUCKET", 2)
    monkeypatch.setattr(module, "_blocks", recorded)
    dataset = made(tmp_path, [("C" * n, n, n) for n in range(3, 23)])
    assert read.count(".keys") == 1
    assert not list(dataset.folder.glob(".keys*"))


def test_conflicts_and_combined_values_are_reported(tmp_path):
    rows = [("CCO", 1, "yes"), ("OCC", 2, "no"), ("CCN", 3, "yes"), ("NCC", 4, "yes"),
            ("CCC", 5, "0"), ("CCCC", 6, "")]  # fmt: skip
    dataset = made(tmp_path, rows)
    assert dataset.kinds["y"] == "yesno"
    lines = "\n".join(summary_lines(dataset))
    assert "column y: yes/no, 1 yes of 2 known, 2 missing" in lines
    assert "  1 molecules have both yes and no, and count as missing" in lines
    assert "  1 molecules have several values" in lines


def test_statistics_are_those_of_the_known_values(tmp_path):
    rows = [("C" * (i + 3), i, v) for i, v in enumerate([1, 4, "", 7.5, "-", -2])]
    result = made(tmp_path, rows).manifest["properties"]["y"]
    known = np.float32([1, 4, 7.5, -2])
    assert result["known"] == 4
    assert result["mean"] == pytest.approx(known.mean())
    assert result["std"] == pytest.approx(known.std())
    assert (result["min"], result["max"]) == (-2, 7.5)


# -- labels -------------------------------------------------------------------------------------

BAD = [("CCO", 1, "5"), ("CCN", 2, "about 6"), ("CCC", 3, "7"), ("CCCC", 4, ">8")]


def test_a_bad_label_is_an_error_that_says_where(tmp_path):
    with pytest.raises(FileError, match=r"in.csv' row 2: .*'y'.*'about 6'"):
        made(tmp_path, BAD)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in.csv"]


def test_a_decimal_comma_is_pointed_out(tmp_path):
    with pytest.raises(FileError, match=r"'5,5'.*'\.'"):
        made(tmp_path, [("CCO", 1, "5,5"), ("CCN", 2, "1")])


def test_bad_labels_can_be_missing(tmp_path):
    dataset = made(tmp_path, BAD, bad_labels="missing")
    numbers = values(dataset)
    assert numbers["CCO"] == 5
    assert math.isnan(numbers["CCN"])
    assert math.isnan(numbers["CCCC"])
    y = dataset.manifest["properties"]["y"]
    assert (y["bad"], y["censored"], y["known"]) == (1, 1, 2)


def test_bad_labels_can_reject_their_rows(tmp_path):
    dataset = made(tmp_path, BAD, bad_labels="reject")
    assert "CCN" not in values(dataset)
    assert dataset.manifest["reasons"] == {"column y holds no value": 1}


def test_censored_values_can_count_as_their_limit(tmp_path):
    dataset = made(tmp_path, BAD, bad_labels="missing", censored="limit")
    assert values(dataset)["CCCC"] == 8
    assert dataset.manifest["properties"]["y"]["censored"] == 1


def test_transformed_values_are_averaged_after_the_transform(tmp_path):
    rows = [("CCO", 1, "10"), ("OCC", 2, "1000"), ("CCN", 3, "1"), ("CCC", 4, "")]
    numbers = values(made(tmp_path, rows, transforms={"y": "neglog10:nM"}))
    assert numbers["CCO"] == pytest.approx(7)  # of 8 and 6
    assert numbers["CCN"] == pytest.approx(9)


def test_a_transform_of_ones_is_a_number(tmp_path):
    rows = [("CCO", 1, "1"), ("CCN", 3, "10"), ("CCC", 4, "")]
    assert made(tmp_path, rows, transforms={"y": "log10"}).kinds["y"] == "number"


def test_words_and_numbers_in_one_column_are_refused(tmp_path):
    rows = [("CCO", 1, "yes"), ("CCN", 3, "2.5"), ("CCC", 4, "")]
    with pytest.raises(FileError, match=r"yes/no.*'yes'.*row 1.*number"):
        made(tmp_path, rows)


def test_a_column_without_any_value_is_refused(tmp_path):
    with pytest.raises(PropertyError, match="'y'"):
        made(tmp_path, [("CCO", 1, ""), ("CCN", 2, "-"), ("CCC", 3, ">3")])


def test_two_names_may_share_a_column(tmp_path):
    rows = [("CCO", 1, "10"), ("CCN", 3, "1000"), ("CCC", 4, "")]
    dataset = made(tmp_path, rows, properties={"y": "y", "p": "y"}, transforms={"p": "neglog10:nM"})
    assert values(dataset)["CCO"] == 10
    assert values(dataset, "p")["CCO"] == pytest.approx(8)


def test_a_transform_needs_its_column():
    from molvae.config import validate

    with pytest.raises(ConfigError, match=r"'x'.* -p"):
        validate({"data": {"transforms": {"x": "log10"}}})


# -- splits -------------------------------------------------------------------------------------

SIDE_CHAINS = ["", "C", "CC", "CCC", "O", "N", "F", "Cl", "OC", "CO", "C#N", "CCO", "C(=O)O", "Br"]
CORES = [
    "c1ccccc1", "c1ccncc1", "C1CCCCC1", "C1CCNCC1", "c1ccc2ccccc2c1", "c1ccsc1", "c1ccoc1",
    "C1CC1", "C1CCOC1", "c1ccc2[nH]ccc2c1", "C1CCC1", "c1cncnc1", "C1COCCN1", "c1ccc2ncccc2c1",
]  # fmt: skip


def library():
    """Cores with side chains, one molecule of each core, and some without a ring."""
    rings = [f"{chain}{core}" for core in CORES for chain in SIDE_CHAINS if chain != "C(=O)O"]
    chains = [f"C{'C' * i}{end}" for i in range(2, 12) for end in ("O", "N", "F", "=O")]
    return [s for s in rings + chains if Chem.MolFromSmiles(s) is not None]


def core_of(smiles):
    return MurckoScaffold.MurckoScaffoldSmiles(smiles, includeChirality=False)


def test_no_scaffold_is_on_two_sides(tmp_path):
    rows = [(s, i, 1.5 * i) for i, s in enumerate(library())]
    dataset = made(tmp_path, rows, split="scaffold", valid_fraction=0.2, test_fraction=0.2)
    result = sides(dataset)
    of_core = {}
    for smiles, side in result.items():
        of_core.setdefault(core_of(smiles), set()).add(side)
    assert all(len(s) == 1 for s in of_core.values())
    assert of_core[""] == {"train"}
    n = len(result)
    for side in ("valid", "test"):
        count = sum(s == side for s in result.values())
        assert 0.1 * n <= count <= 0.3 * n


def test_a_scaffold_split_does_not_depend_on_the_order(tmp_path):
    rows = [(s, i, i) for i, s in enumerate(library())]
    options = {"split": "scaffold", "valid_fraction": 0.2, "test_fraction": 0.2}
    first = sides(made(tmp_path, rows, **options))
    second = sides(made(tmp_path, rows[::-1], **options))
    assert first == second


def test_a_scaffold_split_of_one_scaffold_is_refused(tmp_path):
    rows = [(f"{chain}c1ccccc1", i, i) for i, chain in enumerate(SIDE_CHAINS)]
    with pytest.raises(FileError, match="--split random"):
        made(tmp_path, rows, split="scaffold")


def test_a_column_may_hold_the_split(tmp_path):
    header = ("smiles", "id", "y", "set")
    rows = [("CCO", 1, 1, "train"), ("CCN", 2, 2, "TEST"), ("CCC", 3, 3, "val"),
            ("CCCC", 4, 4, "training"), ("NCC", 5, 5, "train")]  # fmt: skip
    dataset = made(tmp_path, rows, header, split="set")
    # ethylamine is in test and train: it stays held out
    assert sides(dataset) == {"CCO": "train", "CCN": "test", "CCC": "valid", "CCCC": "train"}
    assert dataset.manifest["split_conflicts"] == 1
    assert any("1 molecules are on two sides" in line for line in summary_lines(dataset))
    assert dataset.names == ["logp", "y"]


@pytest.mark.parametrize(
    ("word", "message"),
    [("holdout", "row 2: .*'set'.*'holdout'.*train, valid or test"),
     ("", "row 2: .*'set'.*''")],
)  # fmt: skip
def test_a_split_column_is_checked(tmp_path, word, message):
    rows = [("CCO", 1, 1, "train"), ("CCN", 2, 2, word), ("CCC", 3, 3, "train")]
    with pytest.raises(FileError, match=message):
        made(tmp_path, rows, ("smiles", "id", "y", "set"), split="set")


@pytest.mark.parametrize("held", ["train", "test"])
def test_a_split_column_without_validation_draws_it_from_training(tmp_path, held):
    rows = [("C" * n, n, n, held if n % 4 == 0 else "train") for n in range(3, 43)]
    dataset = made(tmp_path, rows, ("smiles", "id", "y", "set"), split="set", valid_fraction=0.2)
    counts = dataset.manifest["split"]
    assert counts["test"] == (10 if held == "test" else 0)
    assert 1 <= counts["valid"] <= 0.4 * (counts["train"] + counts["valid"])
    side = sides(dataset)
    assert all(side["C" * n] == "test" for n in range(4, 43, 4) if held == "test")
    assert any(f"{counts['valid']} of those for training were drawn" in line
               for line in summary_lines(dataset))  # fmt: skip
    # Which ones is a matter of the molecule, not of the rows around it.
    again = made(
        tmp_path, rows[::-1], ("smiles", "id", "y", "set"), split="set", valid_fraction=0.2
    )
    assert sides(again) == side


@pytest.mark.parametrize("words", [["test", "test", "valid"], ["train", "test", "test"]])
def test_a_split_column_needs_molecules_to_train_with(tmp_path, words):
    rows = [
        (s, i, i, word)
        for i, (s, word) in enumerate(zip(["CCO", "CCN", "CCC"], words, strict=True))
    ]
    with pytest.raises(FileError, match="marked 'train', expected more"):
        made(tmp_path, rows, ("smiles", "id", "y", "set"), split="set")


def test_an_unknown_split_column_names_those_there_are(tmp_path):
    with pytest.raises(FileError, match=r"'scafold'.*id, smiles, y"):
        made(tmp_path, [("CCO", 1, 1), ("CCN", 2, 2)], split="scafold")


@pytest.mark.parametrize("split", ["random", "scaffold"])
def test_no_molecule_is_on_two_sides_however_it_is_written(tmp_path, split):
    rows = [(s, i, i) for i, s in enumerate(library())]
    rewritten = [
        (Chem.MolToSmiles(Chem.MolFromSmiles(s), doRandom=True, canonical=False), i, v)
        for s, i, v in rows
    ]
    options = {"split": split, "valid_fraction": 0.2, "test_fraction": 0.2}
    dataset = made(tmp_path, rows + rewritten, **options)
    assert dataset.manifest["merged"] == len(rows)
    assert sum(dataset.manifest["split"].values()) == len(sides(dataset)) == len(rows)
    assert sides(dataset) == sides(made(tmp_path, rewritten, **options))


# -- tokens of an existing model ----------------------------------------------------------------

SMALL = Vocabulary.of_symbols(["[C]", "[O]", "[N]", "[=C]", "[Ring1]", "[=Branch1]"])


def test_unknown_tokens_are_listed_with_counts(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(jobs, "CHUNK", 2)
    rows = [("CCO", 1, 1), ("CCS", 2, 2), ("CSC", 3, 3), ("CCF", 4, 4), ("CCN", 5, 5)]
    path = write(tmp_path / "in.csv", rows)
    with pytest.raises(FileError, match=r"3 molecules .* 9 .*\[S\] in 2, \[F\] in 1") as error:
        prepare([path], tmp_path / "ds", config(), workers=0, vocabulary=SMALL)
    assert "--unknown-tokens reject" in str(error.value)
    assert not (tmp_path / "ds").exists()
    capsys.readouterr()
    # the work is not lost: only the last step is done again
    dataset = prepare(
        [path], tmp_path / "ds", config(unknown_tokens="reject"), workers=0, vocabulary=SMALL,
        resume=True,
    )  # fmt: skip
    assert "resuming with 3 finished chunks" in capsys.readouterr().err
    assert dataset.manifest["reasons"] == {"unknown token [S]": 2, "unknown token [F]": 1}
    assert dataset.vocabulary == SMALL
    assert [dataset.vocabulary.decode(dataset.ids(i)) for i in range(2)] == ["CCO", "CCN"]


def test_shards_may_leave_unknown_tokens_to_the_merger(tmp_path):
    path = write(tmp_path / "in.csv", [("CCO", 1, 1), ("CCS", 2, 2), ("CCN", 3, 3)])
    shard = prepare_shard(
        [path], tmp_path / "s", config(), Shard(1, 1), workers=0, vocabulary=SMALL
    )
    with pytest.raises(FileError, match="--unknown-tokens reject"):
        merge([shard], tmp_path / "ds")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in.csv", "s"]
    dataset = merge([shard], tmp_path / "ds", unknown_tokens="reject")
    assert (len(dataset), dataset.vocabulary) == (2, SMALL)


ENANTIOMERS = ["C[C@H](N)c1ccccc1", "C[C@@H](N)c1ccccc1"]


def block(smiles, groups="", **fields):
    """A V3000 record; ``groups`` such as MDLV30/STERAC1 ATOMS=(1 2)."""
    mol = Chem.MolFromSmiles(smiles)
    Chem.rdDepictor.Compute2DCoords(mol)
    text = Chem.MolToV3KMolBlock(mol)
    if groups:
        collection = f"M  V30 BEGIN COLLECTION\nM  V30 {groups}\nM  V30 END COLLECTION\n"
        text = text.replace("M  V30 END CTAB", f"{collection}M  V30 END CTAB")
    return text + "".join(f"> <{name}>\n{value}\n\n" for name, value in fields.items()) + "$$$$\n"


@pytest.mark.parametrize("kind", ["sdf", "smi", "mixture"])
def test_a_racemate_is_not_merged_with_an_enantiomer(tmp_path, kind):
    one, other = ENANTIOMERS
    if kind == "sdf":
        path = tmp_path / "in.sdf"
        marked = block(one, "MDLV30/STERAC1 ATOMS=(1 2)", y=6)
        path.write_text(marked + block(one, y=8) + block(other, y=4))
    else:
        racemate = f"{one} |&1:1|" if kind == "smi" else f"{one}.{other}"
        path = write(tmp_path / "in.csv", [(racemate, 1, 6), (one, 2, 8), (other, 3, 4)])
    dataset = prepare([path], tmp_path / "ds", config(), workers=0)
    flat = Chem.CanonSmiles("CC(N)c1ccccc1")
    assert values(dataset) == {flat: 6, Chem.CanonSmiles(one): 8, Chem.CanonSmiles(other): 4}
    assert any("1 × racemate" in line for line in summary_lines(dataset))


def test_the_reason_and_the_structure_of_a_refused_sdf_record(tmp_path):
    # A fluorine with three bonds, in a record without a title and in one with a title.
    odd = block("CCN", y=2).replace("V30 1 C", "V30 1 F", 1).replace("V30 1 1 1 2", "V30 1 3 1 2")
    titled = f"made in May{odd}"
    path = tmp_path / "in.sdf"
    path.write_text(block("CCO", y=1) + block("CCN", y=2) + odd + titled)
    dataset = prepare([path], tmp_path / "ds", config(), workers=0)
    rejects = pd.read_csv(dataset.folder / "rejects.csv")
    assert rejects["text"].tolist() == ["NC#F", "made in May"]
    assert set(rejects["reason"]) == {"not a valid structure: valence of F"}
