"""Which molecules a model is examined on, and how the findings are written down."""

import json
from dataclasses import replace

import numpy as np
import pytest

from molvae.chem.selfies import use_constraints
from molvae.data.dataset import Dataset
from molvae.errors import ConfigError, FileError
from molvae.evaluate.diagnostics import (
    Calibration,
    HeadError,
    Information,
    Interpolation,
    LatentMap,
    Reply,
)
from molvae.evaluate.diagnostics import Reconstruction as Back
from molvae.evaluate.diagnostics.examine import examine
from molvae.evaluate.diagnostics.held_out import TRAINED, UNKNOWN, Origin, held_out
from molvae.evaluate.diagnostics.results import ModelReport, lines, table_rows
from molvae.evaluate.metrics import Metric
from molvae.model.checkpoint import load_model, save_model
from molvae.model.conditions import ConditionSet
from molvae.runtime.randomness import Draws

RATE = {
    "n": 20, "R": {"0": 50.4, "1": 0.0}, "D": {"0": 7.9, "1": 27.1}, "nats_per_token": 0.7,
    "gap": 31.2, "active_units": 40, "latent_size": 64,
}  # fmt: skip


def report(**changes):
    some = Metric(0.5, 20, 10, 20)
    reply = Reply(1.0, 9, 1, 1.5, 0.2)
    result = ModelReport(
        model={"folder": "m", "sha256": "0", "parameters": 5},
        molecules=Origin(
            "d", [{"file": "a/long/way/to/some/molecules.csv.gz"}], "test", 100, 20,
            {"in the train part of the model's own data": 180}, ["a remark " * 12],
        ),
        rate=RATE,
        information=Information(2.99, 2.9957, 0.01, 20, "at its cap log(20)"),
        marginal_kl=Metric(47.4, 20),
        reconstruction=(Back(0.0, some, some, some), Back(1.0, some, some, some)),
        head=(
            HeadError("logp", "number", "", Metric(0.2, 20), 1.1, 0.95),
            HeadError("assay", "yesno", "", Metric(None, 0, note="no molecule has a value")),
        ),
        interpolation=Interpolation(100, 11, *[Metric(0.5, 100, 50, 100)] * 6),
        control=(
            Calibration("logp", "", "RDKit", (reply,), 9, 0.5, 0.1, 0.98, 1.2),
            Calibration("qed", "", "RDKit", (), 0, None, None, None, None, "nothing was known"),
        ),
        latent_map=LatentMap(np.zeros((20, 2)), (0.3, 0.1), ("logp",), np.zeros((20, 1))),
        seed=0, device="cpu", versions={"molvae": "0"},
    )  # fmt: skip
    return replace(result, **changes)


# -- the record


def test_the_table_fits_a_terminal_and_has_every_figure():
    rows = table_rows(report())
    names = [name for name, _, _ in rows]
    assert names == [
        "molecules", "  left out", "D(0)", "D(1)", "nats per token", "gap", "active units",
        "I(x; z)", "KL(q(z) | prior)", "exact, t = 0", "exact, t = 1", "path similarity",
        "path lowest", "path molecules", "path ends", "logp head", "assay head", "logp slope",
        "qed slope", "latent map",
    ]  # fmt: skip
    text = lines(report())
    assert all(len(line) <= 80 for line in text)
    assert any("0.980" in line and "MAD 0.5, ignored 1.2; bias +0.1; n 9" in line for line in text)
    assert any("10/20; tokens 0.500, given true 0.500" in line for line in text)
    assert "note: nothing was known" in text
    assert len([line for line in text if "a remark" in line]) == 2  # wrapped, not cut


def test_a_report_without_paths_and_conditions():
    nothing = Metric(None, 0, note="needs at least two molecules")
    empty = report(
        interpolation=Interpolation(0, 11, *[nothing] * 6), head=(), control=(),
    )  # fmt: skip
    assert ("path similarity", "-", "needs at least two molecules") in table_rows(empty)
    assert json.dumps(empty.to_json(), allow_nan=False)


def test_every_ratio_has_its_counts_and_every_figure_its_n():
    data = report().to_json()
    assert data["schema"] == 1
    assert data["reconstruction"]["0"]["exact"] == {
        "value": 0.5, "n": 20, "numerator": 10, "denominator": 20,
    }  # fmt: skip
    assert data["mutual_information"]["n"] == data["rate"]["n"] == data["marginal_kl"]["n"] == 20
    assert data["head"]["logp"]["mae"]["n"] == 20
    assert data["control"]["logp"]["replies"][0]["n"] == 9
    assert data["latent_map"] == {"n": 20, "variance_shares": [0.3, 0.1]}
    assert data["molecules"]["left_out"] == {"in the train part of the model's own data": 180}


# -- the molecules


@pytest.fixture
def lone_model(tiny_model, tmp_path):
    """The tiny model in a folder that belongs to no run."""
    save_model(tmp_path / "lone", tiny_model)
    return tmp_path / "lone"


def sample(folder, test=None, number=1000, seed=0, model=None):
    model = model or load_model(folder)
    with use_constraints(model.constraints):
        return held_out(model, folder, test=test, number=number, draws=Draws(seed), workers=0)


def texts(found):
    return {found.vocabulary.decode(row.tolist()) for row in found.rows}


def molecules_of(dataset, items):
    return {dataset.vocabulary.decode(dataset.ids(int(i)).tolist()) for i in items}


def written(tmp_path, smiles, name="test.csv", header="smiles"):
    path = tmp_path / name
    path.write_text("\n".join([header, *smiles]) + "\n", encoding="utf-8")
    return path


def test_the_test_part_of_the_run_is_held_out(tiny_run, tiny_dataset):
    dataset = Dataset(tiny_dataset)
    result, origin = sample(tiny_run / "model")
    assert texts(result) == molecules_of(dataset, dataset.part("test"))
    assert origin.split == "test"
    assert origin.n == origin.available == len(dataset.part("test"))
    assert sum(origin.left_out.values()) == len(dataset) - origin.n
    np.testing.assert_array_equal(result.values, dataset.values[result.numbers])
    batch = result.batch(np.asarray([2, 0]))
    np.testing.assert_array_equal(batch.items, result.numbers[[2, 0]])
    np.testing.assert_array_equal(batch.lengths, result.lengths(np.asarray([2, 0])) + 1)


def test_a_sample_is_seeded(tiny_run):
    first, again, other = (sample(tiny_run / "model", number=5, seed=s)[0] for s in (0, 0, 1))
    assert first.numbers.tolist() == again.numbers.tolist() != other.numbers.tolist()
    assert len(set(first.numbers.tolist())) == 5


def test_a_model_without_a_run_needs_molecules(lone_model):
    with pytest.raises(ConfigError, match="--test"):
        examine(lone_model)


def test_a_run_whose_dataset_is_gone_or_changed_needs_molecules(tiny_run, tiny_model, tmp_path):
    run = tmp_path / "run"
    save_model(tmp_path / "made", tiny_model)
    run.mkdir()
    (tmp_path / "made").rename(run / "model")
    record = json.loads((tiny_run / "config.json").read_text())
    for change, message in (
        ({"folder": str(tmp_path / "nowhere")}, "nowhere.*--test"),
        (None, "--test"),
    ):
        dataset = None if change is None else {**record["dataset"], **change}
        (run / "config.json").write_text(json.dumps({**record, "dataset": dataset}))
        with pytest.raises(ConfigError, match=message):
            sample(run / "model")
    (run / "config.json").write_text(json.dumps(record))
    model = load_model(run)
    data = {**model.training["data"], "content_sha256": "other"}
    with pytest.raises(ConfigError, match="train"):
        sample(run / "model", model=replace(model, training={**model.training, "data": data}))


def test_training_molecules_in_a_test_file_are_left_out(tiny_run, tiny_dataset, tmp_path):
    dataset = Dataset(tiny_dataset)
    trained = sorted(molecules_of(dataset, dataset.part("train")[:20]))
    unseen = sorted(molecules_of(dataset, dataset.part("test")))
    new = ["CCCCCCCCO", "CCCCCCCN"]
    path = written(tmp_path, [*trained, *unseen, *new, new[0], "C1CC"])
    result, origin = sample(tiny_run / "model", test=path)
    assert texts(result) == {*unseen, *new}
    assert origin.left_out[TRAINED] == 20
    assert origin.left_out["equal to an earlier molecule"] == 1
    assert origin.left_out["not a valid SMILES"] == 1
    assert origin.split == "all"


def test_the_training_file_gives_its_held_out_part(lone_model, demo_csv, tiny_dataset):
    dataset = Dataset(tiny_dataset)
    result, origin = sample(lone_model, test=demo_csv)
    assert texts(result) == molecules_of(dataset, dataset.part("test"))
    assert origin.split == "test"
    assert any("own training data" in note for note in origin.notes)
    whole, _ = sample(lone_model, test=tiny_dataset)
    assert texts(whole) == texts(result)


def changed(model, *, data=(), options=()):
    """The model as if its training had been another."""
    training = dict(model.training)
    training["data"] = {**training["data"], **dict(data)}
    training["config"] = {
        **training["config"],
        "data": {**training["config"]["data"], **dict(options)},
    }
    return replace(model, training=training)


def test_a_source_of_the_training_data_gives_what_a_hash_held_out(
    lone_model, demo_csv, tiny_dataset
):
    """The file was trained on among others: the set differs, the side of each molecule does not."""
    dataset = Dataset(tiny_dataset)
    model = changed(load_model(lone_model), data={"content_sha256": "other"})
    result, origin = sample(lone_model, test=demo_csv, model=model)
    assert texts(result) == molecules_of(dataset, dataset.part("test"))
    assert sum(origin.left_out.values()) == len(dataset) - origin.n
    assert any("was trained on" in note for note in origin.notes)


def test_unknown_training_molecules_are_reported(lone_model, demo_csv):
    model = changed(
        load_model(lone_model), data={"content_sha256": "other"}, options={"split": "scaffold"}
    )
    result, origin = sample(lone_model, test=demo_csv, model=model)
    assert origin.n == origin.available > 250
    assert any(note.startswith("WARNING") and "trained on" in note for note in origin.notes)
    assert len(result.rows) == origin.n


def test_tokens_the_model_does_not_know_are_left_out(lone_model, tmp_path):
    path = written(tmp_path, ["CCO", "CC[Se]CC", "CCCCN"])
    result, origin = sample(lone_model, test=path)
    assert texts(result) == {"CCO", "CCCCN"}
    assert origin.left_out == {UNKNOWN: 1}
    assert any("not available" in note for note in origin.notes)
    with pytest.raises(FileError, match="no molecule"):
        sample(lone_model, test=written(tmp_path, ["CC[Se]CC", "CCC[Se]CC"], "bad.csv"))


def test_ids_are_the_models_own(lone_model, tmp_path):
    """A dataset numbers its own tokens; the model must see its own numbers."""
    path = written(tmp_path, ["CCO", "CCCCN"])
    result, _ = sample(lone_model, test=path)
    vocabulary = load_model(lone_model).vocabulary
    rows = {tuple(row.tolist()) for row in result.rows}
    assert rows == {tuple(vocabulary.encode(s).tolist()) for s in ("CCO", "CCCCN")}


def test_columns_may_have_gaps_or_be_absent(lone_model, tmp_path):
    names = load_model(lone_model).conditions.names
    assay = names.index("assay")
    path = written(tmp_path, ["CCO,6.5", "CCCCN,", "CCC,rubbish"], header="smiles,assay")
    result, origin = sample(lone_model, test=path)
    by_smiles = dict(
        zip([result.vocabulary.decode(r) for r in result.rows], result.values, strict=True)
    )
    assert by_smiles["CCO"][assay] == 6.5
    assert np.isnan(by_smiles["CCCCN"][assay])
    assert np.isnan(by_smiles["CCC"][assay])
    assert any("1 cells of assay" in note for note in origin.notes)
    np.testing.assert_allclose(by_smiles["CCO"][names.index("mw")], 46.069, rtol=1e-4)
    for text in (written(tmp_path, ["CCO", "CCCCN"]), written(tmp_path, ["CCO", "CCN"], "a.smi")):
        result, origin = sample(lone_model, test=text)
        assert np.isnan(result.values[:, assay]).all()
        assert sum("no column for 'assay'" in note for note in origin.notes) == 1
    empty = written(tmp_path, ["CCO,", "CCCCN,"], "e.csv", header="smiles,assay")
    result, origin = sample(lone_model, test=empty)
    assert origin.n == 2
    assert any("no molecule has a value" in note for note in origin.notes)


def test_numbers_where_the_model_knows_yes_and_no_are_refused(lone_model, tmp_path):
    model = load_model(lone_model)
    kinds = [
        replace(c, kind="yesno") if c.name == "assay" else c for c in model.conditions.conditions
    ]
    path = written(tmp_path, ["CCO,6.5", "CCCCN,3"], header="smiles,assay")
    with pytest.raises(ConfigError, match="yes/no"):
        sample(lone_model, test=path, model=replace(model, conditions=ConditionSet(kinds)))


def test_cleaning_is_that_of_the_training(lone_model, tmp_path):
    model = load_model(lone_model)
    assert sample(lone_model, test=written(tmp_path, ["CCO", "CCCCN", "CCC.Cl"]))[1].n == 3
    strict = {**model.training["config"]["data"]["cleaning"], "min_heavy_atoms": 4}
    result, origin = sample(
        lone_model, test=written(tmp_path, ["CCO", "CCCCN", "CCCCC.Cl"]),
        model=changed(model, options={"cleaning": strict}),
    )  # fmt: skip
    assert texts(result) == {"CCCCN", "CCCCC"}
    assert origin.left_out == {"too few heavy atoms": 1}
    unknown = replace(model, training={})
    _, origin = sample(lone_model, test=written(tmp_path, ["CCO", "CCCCN"]), model=unknown)
    assert any("default cleaning" in note for note in origin.notes)


@pytest.mark.parametrize("number", [0, -3])
def test_a_sample_has_molecules(lone_model, number):
    with pytest.raises(ConfigError, match="got"):
        examine(lone_model, number=number)


def test_no_file_is_an_error(lone_model, tmp_path):
    with pytest.raises(FileError, match="no file"):
        examine(lone_model, test=[])
    with pytest.raises(FileError, match="no such file"):
        examine(lone_model, test=tmp_path / "nothing.csv", workers=0)
