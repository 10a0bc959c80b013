"""Folders from strangers: models, datasets and unfinished work with anything in them."""

import gzip
import json
import os
import shutil
import signal
import threading

import numpy as np
import pytest

from molvae.chem.vocabulary import read_vocabulary
from molvae.data.dataset import Dataset
from molvae.errors import ConfigError, FileError, ModelFolderError, RunError
from molvae.generate.blocks import open_blocks
from molvae.generate.run import generate_file
from molvae.model.checkpoint import load_model, save_model
from molvae.runtime.files import fingerprint
from molvae.runtime.workdir import exclusive_lock
from molvae.train.run_folder import start_run_folder

HUNG = 600  # seconds after which something counts as hung, however busy the machine


@pytest.fixture(autouse=True)
def no_hang():
    """A pipe that is opened blocks for ever: end the test with an error instead."""
    signal.signal(signal.SIGALRM, lambda *_: pytest.fail("hangs"))
    signal.alarm(HUNG)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)


def edited(path, *keys, value):
    """Set a field, at the end of ``keys``, of a JSON file."""
    data = json.loads(path.read_text())
    place = data
    for key in keys[:-1]:
        place = place[key]
    if value is KeyError:
        del place[keys[-1]]
    else:
        place[keys[-1]] = value
    path.write_text(json.dumps(data))


# -- models --------------------------------------------------------------------------------------


@pytest.fixture
def model_folder(tiny_run, tmp_path):
    return shutil.copytree(tiny_run / "model", tmp_path / "model")


def signed(folder):
    """Make the checksums in config.json fit, as a stranger would."""
    names = ("model.safetensors", "vocab.json", "conditions.json")
    for name in names:
        edited(folder / "config.json", "files", name, value=fingerprint(folder / name))
    return folder


@pytest.mark.parametrize(
    ("keys", "value", "message"),
    [
        (("constraints", "?"), KeyError, r"constraints.*\?"),
        (("constraints", "C"), -1, "constraints: C: got -1"),
        (("constraints", "C"), 10**9, "constraints: C: got 1000000000"),
        (("constraints", "C"), float("inf"), "constraints: C: got inf"),
        (("constraints", "C"), 3.5, "constraints: C: got 3.5"),
        (("constraints", "Xq"), 2, "constraints.*Xq"),
        (("constraints",), [], "constraints: expected"),
        (("tokens",), "abc", "tokens: expected"),
        (("tokens", 5), 7, "tokens: expected"),
        (("tokens",), ["<pad>", "<bos>", "<eos>"] + ["[C]"] * 70_000, "tokens: got 70,003"),
    ],
)
def test_the_vocabulary_of_a_stranger(model_folder, keys, value, message):
    edited(model_folder / "vocab.json", *keys, value=value)
    with pytest.raises(FileError, match=message):
        read_vocabulary(model_folder / "vocab.json")
    with pytest.raises(ModelFolderError, match=rf"vocab.json.*{message}"):
        load_model(signed(model_folder))


def test_a_vocabulary_nested_without_end(model_folder):
    (model_folder / "vocab.json").write_text("[" * 100_000 + "]" * 100_000)
    with pytest.raises(ModelFolderError, match=r"vocab\.json"):
        load_model(signed(model_folder))


@pytest.mark.parametrize(
    ("keys", "value"),
    [
        (("figures",), [1]),
        (("figures", "head"), {"logp": 3}),
        (("figures", "head"), {"logp": {"mae": "x"}}),
        (("figures", "head"), {"logp": {"mae": float("inf")}}),
        (("figures", "exact"), {"value": 1}),
        (("figures", "exact"), 0.5),
        (("figures", "R"), [1, 2]),
        (("figures", "D"), {"0": None}),
        (("figures", "active_units"), "many"),
        (("figures", "columns"), [1]),
        (("figures", "columns"), {"assay": 3}),
        (("figures", "columns"), {"assay": {"kind": "number", "remark": "\x1b[2J"}}),
        (("config",), "none"),
        (("config", "data"), [1]),
        (("data", "molecules"), "many"),
        (("data", "sources"), [3]),
    ],
)
def test_the_training_of_a_stranger(model_folder, keys, value):
    edited(model_folder / "config.json", "training", *keys, value=value)
    with pytest.raises(ModelFolderError, match=r"config\.json: training\." + keys[0]):
        load_model(model_folder)


def test_weights_that_overflow(model_folder):
    model = load_model(model_folder)
    name, weight = next(iter(model.network.named_parameters()))
    weight.data.view(-1)[0] = 1e38
    save_model(model_folder, model)
    with pytest.raises(ModelFolderError, match=rf"{name}' holds a weight of 1e\+38"):
        load_model(model_folder)


def test_a_folder_that_is_saved_while_it_is_loaded(model_folder):
    """Never half of one model and half of another: the weights are those of the card."""
    models = [load_model(model_folder), load_model(model_folder)]
    for number, model in enumerate(models):
        model.training["step"] = number
        for weight in model.network.parameters():
            weight.data.fill_(float(number))
    save_model(model_folder, models[0])
    stop = threading.Event()

    def save():
        while not stop.is_set():
            for model in models:
                save_model(model_folder, model)
                stop.wait(0.3)  # or the folder would be another one whenever it has been read

    saving = threading.Thread(target=save)
    saving.start()
    try:
        for _ in range(15):
            model = load_model(model_folder)
            weights = {float(w.detach().max()) for w in model.network.parameters()}
            assert weights == {float(model.training["step"])}
    finally:
        stop.set()
        saving.join()
    assert [path.name for path in model_folder.parent.iterdir()] == [model_folder.name]


# -- datasets ------------------------------------------------------------------------------------


@pytest.fixture
def dataset_folder(tiny_dataset, tmp_path):
    return shutil.copytree(tiny_dataset, tmp_path / "set.ds")


@pytest.mark.parametrize(
    ("keys", "value"),
    [
        (("kept",), 299),
        (("kept",), -1),
        (("kept",), "300"),
        (("kept",), 10**15),
        (("rows_read",), None),
        (("reasons",), [1]),
        (("split",), {"train": 300}),
        (("split", "train"), 1),
        (("longest",), 57),
        (("longest",), float("inf")),
        (("properties",), ["logp"]),
        (("properties", "logp"), 3),
        (("properties", "logp", "kind"), "picture"),
        (("properties", "logp", "mean"), float("nan")),
        (("properties", "logp", "min"), "low"),
        (("properties", "a=b"), {"kind": "number"}),
        (("content_sha256",), 3),
        (("options",), None),
        (("options", "properties"), {"unknown": "unknown"}),
        (("options", "properties"), ["assay"]),
        (("options", "transforms"), {"assay": 1}),
        (("sources",), "demo.csv"),
        (("sources",), [{"file": 3}]),
    ],
)
def test_the_manifest_of_a_stranger(dataset_folder, keys, value):
    edited(dataset_folder / "manifest.json", *keys, value=value)
    with pytest.raises(FileError, match=r"damaged dataset") as error:
        Dataset(dataset_folder)
    assert len(str(error.value)) < 400


@pytest.mark.parametrize("text", ["[]", "3", '{"schema": 1}', "[" * 100_000, "", "\udc80"])
def test_a_manifest_that_is_none(dataset_folder, text):
    (dataset_folder / "manifest.json").write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(FileError, match=r"manifest\.json"):
        Dataset(dataset_folder)


def changed(folder, name, change):
    array = np.load(folder / f"{name}.npy")
    np.save(folder / f"{name}.npy", change(array))


def put(array, place, value):
    array[place] = value
    return array


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("offsets", lambda a: a.astype(np.float64)),
        ("offsets", lambda a: a.astype(np.int32)),
        ("offsets", lambda a: a[:-1]),
        ("offsets", lambda a: a.reshape(-1, 1)),
        ("offsets", lambda a: put(a, 0, 1)),
        ("offsets", lambda a: put(a, 5, a[6])),
        ("offsets", lambda a: put(a, 5, 10**15)),
        ("offsets", lambda a: put(a, 5, -(10**15))),
        ("offsets", lambda a: put(a, -1, 10**15)),
        ("properties", lambda a: a.astype(np.float64)),
        ("properties", lambda a: a[:, :-1]),
        ("properties", lambda a: a[:-1]),
        ("properties", lambda a: put(a, (3, 1), np.inf)),
        ("split", lambda a: put(a, 0, 7)),
        ("split", lambda a: a.astype(np.int64)),
        ("split", lambda a: a[:-1]),
    ],
)
def test_the_arrays_of_a_stranger(dataset_folder, name, change):
    changed(dataset_folder, name, change)
    with pytest.raises(FileError, match=r"damaged dataset"):
        Dataset(dataset_folder)


@pytest.mark.parametrize("value", [0, 2, 250])
def test_tokens_that_are_none(dataset_folder, value):
    data = bytearray((dataset_folder / "tokens.bin").read_bytes())
    data[100] = value
    (dataset_folder / "tokens.bin").write_bytes(data)
    with pytest.raises(FileError, match=r"tokens\.bin"):
        Dataset(dataset_folder)


def test_contents_are_compared_with_their_checksum(dataset_folder, monkeypatch):
    changed(dataset_folder, "properties", lambda a: put(a, (0, 0), a[0, 0] + 1))
    with pytest.raises(FileError, match="content_sha256"):
        Dataset(dataset_folder)
    monkeypatch.setattr("molvae.data.dataset.CHEAP", 0)  # as for a large one
    Dataset(dataset_folder)
    with pytest.raises(FileError, match="content_sha256"):
        Dataset(dataset_folder, verify=True)


@pytest.mark.parametrize(
    "name", ["tokens.bin", "offsets.npy", "properties.npy", "split.npy", "vocab.json",
             "manifest.json"]
)  # fmt: skip
@pytest.mark.parametrize("kind", ["pipe", "folder"])
def test_a_pipe_in_place_of_a_file(dataset_folder, name, kind):
    (dataset_folder / name).unlink()
    os.mkfifo(dataset_folder / name) if kind == "pipe" else (dataset_folder / name).mkdir()
    with pytest.raises(FileError):
        Dataset(dataset_folder)


@pytest.mark.parametrize("header", ["{'descr': '|O', 'fortran_order': False, 'shape': (300,), }",
                                    "{'descr': '<f4', 'fortran_order': False, 'shape': (10**15,)}",
                                    "(" * 200, "__import__('os')"])  # fmt: skip
def test_a_wrong_array_header_is_refused(dataset_folder, header):
    text = header.encode().ljust(118 + 64 * 3) + b"\n"
    head = b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text
    (dataset_folder / "split.npy").write_bytes(head + bytes(300))
    with pytest.raises(FileError, match=r"split\.npy"):
        Dataset(dataset_folder)


def test_no_link_is_followed_into_a_run(dataset_folder, tmp_path):
    from molvae.config import Config

    (tmp_path / "secret").write_text("a key")
    (dataset_folder / "rejects.csv").unlink(missing_ok=True)
    (dataset_folder / "rejects.csv").symlink_to(tmp_path / "secret")
    (tmp_path / "run").mkdir()
    start_run_folder(tmp_path / "run", Config(), Dataset(dataset_folder))
    assert not (tmp_path / "run" / "rejects.csv").exists()


# -- unfinished work -----------------------------------------------------------------------------

COLUMNS = ["smiles", "x"]
PLAN = {"seed": 0}


def test_a_folder_of_the_user_is_not_emptied(tmp_path):
    work = tmp_path / "out.csv.part"
    work.mkdir()
    (work / "plan.json").write_text('{"tasks": ["write the paper"]}')
    (work / "notes.txt").write_text("mine")
    for flags in ({}, {"resume": True}, {"force": True}):
        with (
            pytest.raises(FileError, match="not created by molvae"),
            open_blocks(tmp_path / "out.csv", COLUMNS, PLAN, **flags),
        ):
            pass
    assert sorted(path.name for path in work.iterdir()) == ["notes.txt", "plan.json"]


def begun(tmp_path):
    """An output with an unfinished block, in the folder beside it."""
    output = tmp_path / "out.csv"
    with pytest.raises(RunError), open_blocks(output, COLUMNS, PLAN) as blocks:
        blocks.write(0, [["C", 1.0]], {"n": 1})
    return output, tmp_path / "out.csv.part"


def test_a_file_of_the_user_in_our_folder_is_not_removed(tmp_path):
    output, work = begun(tmp_path)
    (work / "notes.txt").write_text("mine")
    with (
        pytest.raises(FileError, match=r"notes\.txt"),
        open_blocks(output, COLUMNS, PLAN, force=True),
    ):
        pass
    assert (work / "notes.txt").read_text() == "mine"


@pytest.mark.parametrize("name", ["block-000000000.json.gz", "plan.json", "claimed.json", ".lock"])
def test_a_pipe_in_unfinished_work(tmp_path, name):
    output, work = begun(tmp_path)
    (work / name).unlink(missing_ok=True)
    os.mkfifo(work / name)
    with pytest.raises(FileError), open_blocks(output, COLUMNS, PLAN, resume=True):
        pass


def test_a_lock_that_is_a_link_does_not_empty_its_target(tmp_path):
    (tmp_path / "letter").write_text("mine")
    (tmp_path / ".lock").symlink_to(tmp_path / "letter")
    with pytest.raises(FileError, match=r"\.lock"):
        exclusive_lock(tmp_path / ".lock", "busy")
    assert (tmp_path / "letter").read_text() == "mine"


def block(work, number, content):
    path = work / f"block-{number:09d}.json.gz"
    path.write_bytes(gzip.compress(json.dumps(content).encode()))


@pytest.mark.parametrize(
    "content",
    [
        {"record": {}, "rows": [["C"]]},
        {"record": {}, "rows": [["C", [1]]]},
        {"record": {}, "rows": ["CC"]},
        {"record": {}, "rows": {"C": 1}},
        {"record": [], "rows": []},
        [],
    ],
)
def test_a_block_of_another_shape(tmp_path, content, capsys):
    output, work = begun(tmp_path)
    block(work, 1, content)
    with open_blocks(output, COLUMNS, PLAN, resume=True) as blocks:
        assert list(blocks.finished) == [0]
        blocks.leave()
    assert "block 1" in capsys.readouterr().err


def test_a_block_more_than_the_plan_has(tmp_path, tiny_run, monkeypatch, capsys):
    output = tmp_path / "out.csv"
    options = {"model": tiny_run, "workers": 0, "device": "cpu"}
    fails = pytest.raises(ZeroDivisionError)
    monkeypatch.setattr("molvae.generate.run._sum_up", lambda *_: 1 / 0)
    with fails:
        generate_file(output, 40, **options)
    monkeypatch.undo()
    work = tmp_path / "out.csv.part"
    (work / "block-000000007.json.gz").write_bytes((work / "block-000000000.json.gz").read_bytes())
    summary = generate_file(output, 40, resume=True, **options)
    assert summary.written <= 40
    assert len(output.read_text().splitlines()) == summary.written + 1
    assert "block 7" in capsys.readouterr().err


@pytest.mark.parametrize(
    "record",
    [
        {},
        {"decoded": "x", "refused": {}},
        {"decoded": 1, "refused": []},
        {"decoded": 1, "refused": {}, "obtained": {"qed": [1]}},
    ],
)
def test_a_block_with_another_record_is_made_again(tmp_path, tiny_run, monkeypatch, record):
    output = tmp_path / "out.csv"
    options = {"model": tiny_run, "workers": 0, "device": "cpu"}
    monkeypatch.setattr("molvae.generate.run._sum_up", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        generate_file(output, 10, **options)
    monkeypatch.undo()
    block(tmp_path / "out.csv.part", 0, {"record": record, "rows": [["C"]] * 10})
    generate_file(output, 10, resume=True, **options)
    generate_file(tmp_path / "again.csv", 10, **options)
    assert output.read_bytes() == (tmp_path / "again.csv").read_bytes()


def test_too_many_molecules_are_refused_and_many_need_no_memory(tiny_run, tmp_path):
    from molvae.data.shard import Shard
    from molvae.errors import InputError
    from molvae.generate.blocks import BLOCK, BlockNumbers

    with pytest.raises(InputError, match="1,000,000,000,000"):
        generate_file(tmp_path / "out.csv", 10**30, model=tiny_run)
    blocks = BlockNumbers(10**12, Shard(2, 3))
    assert next(iter(blocks)) == 1
    assert blocks[4] == range(4 * BLOCK, 5 * BLOCK)
    assert 3 not in blocks
    for n in (1, BLOCK, BLOCK + 1, 5 * BLOCK - 1):
        shards = [BlockNumbers(n, Shard(i, 2)) for i in (1, 2) if n > BLOCK or i == 1]
        wanted = sorted(number for shard in shards for part in shard.values() for number in part)
        assert wanted == list(range(n))
        assert sum(shard.wanted for shard in shards) == n
    with pytest.raises(ConfigError, match="2/2"):
        BlockNumbers(BLOCK, Shard(2, 2))


def test_texts_longer_than_any_name(tiny_run, tmp_path):
    from molvae.errors import InputError
    from molvae.generate.request import Request, read_seed_molecules

    with pytest.raises(ModelFolderError, match="no such folder"):
        load_model("a" * 5000)
    assert read_seed_molecules(["C" * 300]) == ("C" * 300,)
    request = Request(scaffold=("C" * 5000,))
    with pytest.raises(InputError, match="5,000 characters"):
        generate_file(tmp_path / "out.csv", 1, model=tiny_run, request=request, workers=0)


def test_a_page_in_place_of_the_output_is_refused(tiny_run, tmp_path):
    from molvae.generate.run import OutputOptions

    output = tmp_path / "out.csv"
    with pytest.raises(ConfigError, match="two outputs"):
        generate_file(output, 1, model=tiny_run, options=OutputOptions(report=output), force=True)
    assert not list(tmp_path.iterdir())
