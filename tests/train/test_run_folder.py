"""A run folder: refused, begun, its log cut back, its card written."""

import json
import pickle
import shutil

import pytest

from molvae.config import Config, DataConfig, differences, load_config
from molvae.data.dataset import Dataset
from molvae.data.prepare import prepare
from molvae.errors import ConfigError, FileError, ModelFolderError, OutputExistsError
from molvae.model.checkpoint import save_state
from molvae.train import run as train_run
from molvae.train.run_folder import (
    check_run_folder,
    cut_metrics,
    dataset_of,
    model_card,
    read_record,
    start_run_folder,
    state_to_resume,
)


def test_a_new_or_empty_folder_may_be_used(tmp_path):
    check_run_folder(tmp_path / "new", resume=False, force=False)
    (tmp_path / ".lock").touch()
    check_run_folder(tmp_path, resume=False, force=False)
    assert [p.name for p in tmp_path.iterdir()] == [".lock"]


def test_a_used_folder_needs_resume_or_force(tmp_path):
    (tmp_path / "config.json").write_text('{"kind": "molvae-run"}')
    with pytest.raises(OutputExistsError, match="--resume"):
        check_run_folder(tmp_path, resume=False, force=False)
    check_run_folder(tmp_path, resume=True, force=False)
    check_run_folder(tmp_path, resume=False, force=True)
    assert (tmp_path / "config.json").exists()


def test_a_model_without_a_state_is_not_started_over_by_resume(tmp_path):
    (tmp_path / "config.json").write_text('{"kind": "molvae-run"}')
    (tmp_path / "model").mkdir()
    with pytest.raises(OutputExistsError, match=r"state\.pt"):
        check_run_folder(tmp_path, resume=True, force=False)
    with pytest.raises(ConfigError, match="continue"):
        check_run_folder(tmp_path, resume=True, force=True)


@pytest.mark.parametrize("other", ["{}", '{"kind": "molvae-model"}', "not json"])
def test_a_foreign_configuration_does_not_make_a_run_folder(tmp_path, other):
    (tmp_path / "config.json").write_text(other)
    for resume in (True, False):
        with pytest.raises(OutputExistsError, match="run folder"):
            check_run_folder(tmp_path, resume=resume, force=not resume)


def test_a_folder_of_something_else_is_never_overwritten(tmp_path):
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(OutputExistsError, match="run folder"):
        check_run_folder(tmp_path, resume=False, force=True)
    with pytest.raises(OutputExistsError, match="file"):
        check_run_folder(tmp_path / "thesis.tex", resume=False, force=True)


def test_a_new_start_removes_the_old_run(tiny_dataset, tmp_path):
    (tmp_path / "model").mkdir()
    for name in ("state.pt", "metrics.jsonl", "model/config.json"):
        (tmp_path / name).touch()
    start_run_folder(tmp_path, load_config(), Dataset(tiny_dataset))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["config.json", "rejects.csv"]
    record = json.loads((tmp_path / "config.json").read_text())
    assert record["dataset"]["content_sha256"] == Dataset(tiny_dataset).content_hash
    config = load_config().model_dump(mode="json")
    assert {**record["config"], "data": None} == {**config, "data": None}
    assert record["config"]["data"] == Dataset(tiny_dataset).manifest["options"]


def test_differences_name_the_key_and_both_values():
    before, now = load_config(), load_config(overrides={"train.seed": 3, "model.latent_size": 8})
    assert differences(before.model_dump(), now.model_dump()) == [
        "model.latent_size was 64, is 8", "train.seed was 0, is 3",
    ]  # fmt: skip
    assert differences(before.model_dump(), Config.model_dump(before)) == []


def test_options_of_a_dataset_may_be_repeated_but_not_changed(tmp_path):
    path = tmp_path / "in.csv"
    path.write_text("smiles,y\n" + "".join(f"{'C' * n}O,{n}\n" for n in range(3, 20)))
    made = DataConfig(properties={"y": "y"}, valid_fraction=0.2)
    prepare([path], tmp_path / "ds", made, workers=0)

    def opened(**data):
        config = Config(data=DataConfig(**data))
        return train_run._open_dataset([tmp_path / "ds"], config, None, None, None)

    assert len(opened()) == len(opened(valid_fraction=0.2)) == 17
    assert len(opened(properties={"y": "y"})) == 17
    with pytest.raises(ConfigError, match=r"data.valid_fraction was 0.2, is 0.3; give them to"):
        opened(properties={"y": "y"}, valid_fraction=0.3)


def test_a_dropped_key_is_a_difference():
    before, now = {"data": {"properties": {"y": "pIC50"}}}, {"data": {"properties": {}}}
    assert differences(before, now) == ["data.properties.y was 'pIC50', is None"]
    assert differences(before, now, dropped=False) == []


def test_lines_behind_the_checkpoint_are_forgotten(tmp_path):
    path = tmp_path / "metrics.jsonl"
    lines = [
        json.dumps({"kind": "validation", "step": step, "R": {"0": 1.0}}) for step in (1, 5, 6)
    ]
    path.write_text("\n".join(lines) + '\n{"step": 2, "R": {"0": 1.0}')  # cut by a kill
    cut_metrics(path, 5, concluded=True)
    assert path.read_text() == f"{lines[0]}\n{lines[1]}\n"
    cut_metrics(tmp_path / "absent", 5, concluded=True)
    assert not (tmp_path / "absent").exists()


def test_a_line_cut_short_is_no_record():
    assert read_record('{"step": 3}') == {"step": 3}
    assert read_record('{"step": 3, "R": {}') is None


@pytest.mark.parametrize("state", [{}, {"config": "{"}, {"config": '{"train": {"x": 1}}'}])
def test_a_strange_state_is_refused(tiny_dataset, tmp_path, state):
    save_state(tmp_path / "state.pt", state)
    with pytest.raises(FileError, match="training state"):
        state_to_resume(tmp_path, load_config(), Dataset(tiny_dataset))


@pytest.mark.parametrize("content", [b"", b"rubbish", pickle.dumps([1, 2])])
def test_a_damaged_state_is_refused(tiny_dataset, tmp_path, content):
    (tmp_path / "state.pt").write_bytes(content)
    with pytest.raises(ModelFolderError, match="training state"):
        state_to_resume(tmp_path, load_config(), Dataset(tiny_dataset))


def test_a_state_that_lacks_a_part_is_refused(tiny_dataset, tmp_path):
    config, dataset = load_config(), Dataset(tiny_dataset)
    state = {"config": config.model_dump_json(), "dataset": dataset.content_hash}
    save_state(tmp_path / "state.pt", state)
    assert state_to_resume(tmp_path, config, dataset) == state
    del state["dataset"]
    save_state(tmp_path / "state.pt", state)
    with pytest.raises(FileError, match="training state"):
        state_to_resume(tmp_path, config, dataset)


def test_the_card_has_data_figures_and_conditions(tiny_model):
    card = model_card(tiny_model.training, tiny_model.conditions)
    assert card == tiny_model.card
    exact = tiny_model.training["figures"]["exact"]
    assert f"{exact['numerator']} of {exact['denominator']}" in card
    assert "demo.csv" in card
    low, high = tiny_model.conditions["mw"].seen
    assert f"| mw | Da | {low:g} | {high:g} |" in card


@pytest.mark.parametrize("share", [0.0, 0.2])
def test_a_state_from_before_a_setting_was_removed_is_read_where_it_was_not_used(
    tiny_dataset, tmp_path, share
):
    config, dataset = load_config(), Dataset(tiny_dataset)
    old = config.model_dump(mode="json")
    old["train"]["word_dropout"] = share
    state = {"config": json.dumps(old), "dataset": dataset.content_hash}
    save_state(tmp_path / "state.pt", state)
    if share == 0:
        assert state_to_resume(tmp_path, config, dataset) == state
    else:
        with pytest.raises(FileError, match="training state"):
            state_to_resume(tmp_path, config, dataset)


def test_the_dataset_of_a_run_is_found_while_it_is_the_same(tiny_run, tiny_dataset, tmp_path):
    run = shutil.copytree(tiny_run, tmp_path / "run")
    result = dataset_of(run)
    assert len(result) == 300
    assert result.folder == tiny_dataset
    record = json.loads((run / "config.json").read_text(encoding="utf-8"))
    record["dataset"]["content_sha256"] = "0" * 64
    (run / "config.json").write_text(json.dumps(record), encoding="utf-8")
    assert dataset_of(run) is None
    record["dataset"]["folder"] = str(tmp_path / "gone")
    (run / "config.json").write_text(json.dumps(record), encoding="utf-8")
    assert dataset_of(run) is None
    assert dataset_of(run / "model") is None
    assert dataset_of(tmp_path / "nothing") is None
