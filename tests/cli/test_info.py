"""What a folder holds, in words and as data."""

import json
import shutil

import pytest

from molvae.cli.info import describe, describe_cache, describe_shipped
from molvae.errors import ModelFolderError


def test_a_dataset_shows_its_counts(tiny_dataset):
    data, lines = describe(tiny_dataset)
    assert data["kept"] == 300
    assert any("300 rows read = 300 kept" in line for line in lines)


def test_a_run_shows_model_conditions_and_progress(tiny_run):
    data, lines = describe(tiny_run)
    weights = sum(p.numel() for p in _network(tiny_run).parameters())
    assert data["parameters"] == weights
    assert [c["name"] for c in data["conditions"]] == ["logp", "qed", "mw", "assay"]
    text = "\n".join(lines)
    assert "exact reconstruction" in text
    assert "run finished: 75 steps" in text
    assert json.loads(json.dumps(data))["training"] == data["training"]


def _network(run):
    from molvae.model.checkpoint import load_model

    return load_model(run).network


def test_a_model_folder_has_no_run_to_describe(tiny_run):
    _, lines = describe(tiny_run / "model")
    assert not any(line.startswith("run ") for line in lines)


def test_the_models_in_the_box_are_listed():
    data, lines = describe_shipped()
    names = [model["name"] for model in data["models"]]
    assert names == ["default", "moses"]
    assert [model["default"] for model in data["models"]] == [True, False]
    for model, line in zip(data["models"], lines[1:], strict=False):
        alone, _ = describe(model["name"])
        assert model["parameters"] == alone["parameters"]
        assert model["exact"] == alone["training"]["figures"]["exact"]["value"]
        assert line.startswith(model["name"])
    assert all(len(line) <= 80 for line in lines)


def test_a_run_under_way_is_not_finished(tiny_run, tmp_path):
    shutil.copytree(tiny_run, tmp_path / "run")
    log = tmp_path / "run" / "metrics.jsonl"
    lines = [line for line in log.read_text().splitlines() if '"final"' not in line]
    log.write_text("\n".join([*lines, lines[-1][:60]]))  # the last line is being written
    assert any(line.startswith("run not finished") for line in describe(tmp_path / "run")[1])
    log.write_text("")
    assert not any(line.startswith("run ") for line in describe(tmp_path / "run")[1])


def test_anything_else_is_refused(tmp_path):
    with pytest.raises(ModelFolderError, match="model or run folder"):
        describe(tmp_path)
    with pytest.raises(ModelFolderError, match="no such folder"):
        describe(tmp_path / "absent")


def test_a_shard_states_its_number(demo_csv, tmp_path):
    from molvae.config import DataConfig
    from molvae.data.prepare import prepare_shard
    from molvae.data.shard import Shard

    config = DataConfig(conditions=("logp",))
    folder = prepare_shard([demo_csv], tmp_path / "s", config, Shard(1, 2), workers=0)
    data, lines = describe(folder)
    assert data["shard"] == [1, 2]
    assert lines[0].startswith("shard 1 of 2 of 1 chunks")


def test_the_cache_lists_what_it_holds_and_can_be_emptied(demo_csv):
    from molvae.config import DataConfig
    from molvae.data.prepare import cached_dataset

    dataset = cached_dataset([demo_csv], DataConfig(conditions=("logp",)), workers=0)
    data, lines = describe_cache()
    [entry] = data["entries"]
    assert entry["kind"] == "dataset"
    assert entry["size"] >= sum(p.stat().st_size for p in dataset.folder.iterdir())
    assert demo_csv.name in "\n".join(lines)
    freed, lines = describe_cache(clear=True)
    assert freed["freed"] >= entry["size"]
    assert "freed" in lines[0]
    assert not dataset.folder.exists()
    assert describe_cache()[0]["entries"] == []
