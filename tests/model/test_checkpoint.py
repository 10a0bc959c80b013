"""A model folder: what is saved comes back; what does not fit is refused by name."""

import hashlib
import json
import math
import os
import pickle
import re
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from molvae.chem.selfies import constraints
from molvae.chem.vocabulary import Vocabulary, grammar_table
from molvae.config import ModelConfig
from molvae.errors import ModelFolderError
from molvae.model.checkpoint import (
    SavedModel,
    find_model,
    load_model,
    load_state,
    save_model,
    save_state,
    shipped_models,
)
from molvae.model.conditions import ConditionSet
from molvae.model.cvae import CVAE
from molvae.model.parts import OPTIONAL, PARTS
from molvae.predict.predictor import ColumnPredictor
from molvae.predict.store import Predictors
from molvae.realism.critic import fit_critic
from molvae.realism.inputs import FactTable
from molvae.realism.plausibility import Plausibility
from tests.molecules import demo_smiles, facts

SIZES = ModelConfig(
    latent_size=4, embedding_size=5, encoder_size=6, decoder_size=7, context_size=8, head_size=3
)
FILES = ["card.md", "conditions.json", "config.json", "model.safetensors", "vocab.json"]


def new_model(vocabulary=("[C]", "[N]", "[O]"), names=("logp", "y")):
    words = Vocabulary.of_symbols(vocabulary)
    grammar = grammar_table(words.tokens, constraints())
    values = np.random.default_rng(0).normal(size=(50, len(names))).astype(np.float32)
    return SavedModel(
        network=CVAE(SIZES, len(words), len(names), grammar).eval(),
        vocabulary=words,
        constraints=constraints(),
        conditions=ConditionSet.fit(names, values, {}),
        training={"step": 3},
        card="# Card\n",
        max_tokens=33,
    )


@pytest.fixture
def model():
    return new_model()


@pytest.fixture
def folder(model, tmp_path):
    save_model(tmp_path / "m", model)
    return tmp_path / "m"


def seal(folder):
    """State the sizes and hashes of the files as they are now, as an attacker would."""
    config = json.loads((folder / "config.json").read_text())
    for name in config["files"]:
        data = (folder / name).read_bytes()
        config["files"][name] = {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    (folder / "config.json").write_text(json.dumps(config))


def edit(folder, change, name="config.json"):
    data = json.loads((folder / name).read_text())
    change(data)
    (folder / name).write_text(json.dumps(data))


def edit_weights(folder, change):
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors")
    seal(folder)


def test_everything_comes_back(model, folder):
    back = load_model(folder)
    assert back.vocabulary == model.vocabulary
    assert back.constraints == model.constraints
    assert back.conditions.to_json() == model.conditions.to_json()
    assert (back.training, back.card, back.max_tokens) == ({"step": 3}, "# Card\n", 33)
    assert back.network.config == SIZES
    assert not back.network.training
    for name, value in model.network.state_dict().items():
        assert torch.equal(back.network.state_dict()[name], value), name


def test_tensors_with_their_earlier_names_are_read(model, folder):
    before = {"memory.qkv.weight": "memory.asked.weight"}

    def rename(tensors):
        for new, old in before.items():
            tensors[old] = tensors.pop(new)

    edit_weights(folder, rename)
    assert set(before.values()) <= set(load_file(folder / "model.safetensors"))
    back = load_model(folder).network.state_dict()
    for name, value in model.network.state_dict().items():
        assert torch.equal(back[name], value), name


@pytest.mark.parametrize("sizes", [{}, {"tally_size": 0, "forecast_rank": 0}])
def test_a_model_without_a_memory_is_refused(folder, sizes):
    def change(config):
        for name in ("tally_size", "attention_size", "readout_size", "forecast_rank"):
            del config["model"][name]
        config["model"] |= sizes

    edit(folder, change)
    with pytest.raises(ModelFolderError, match="tally_size"):
        load_model(folder)


def test_half_precision_is_close_and_half_the_size(model, tmp_path):
    save_model(tmp_path / "full", model)
    save_model(tmp_path / "half", model, half=True)
    back = load_model(tmp_path / "half").network.state_dict()
    for name, value in model.network.state_dict().items():
        assert back[name].dtype == torch.float32
        torch.testing.assert_close(back[name], value, rtol=1e-3, atol=1e-4)
    sizes = [(tmp_path / kind / "model.safetensors").stat().st_size for kind in ("half", "full")]
    assert sizes[0] < 0.7 * sizes[1]


def test_the_same_model_gives_the_same_bytes(model, folder, tmp_path):
    save_model(tmp_path / "again", model)
    assert sorted(p.name for p in folder.iterdir()) == FILES
    for name in FILES:
        assert (folder / name).read_bytes() == (tmp_path / "again" / name).read_bytes()


def test_files_can_be_read_by_others(folder):
    assert all((folder / name).stat().st_mode & 0o444 == 0o444 for name in FILES)


def test_saving_replaces_and_leaves_nothing_behind(folder, model):
    save_model(folder, new_model(names=("qed",)))
    assert load_model(folder).conditions.names == ("qed",)
    assert [p.name for p in folder.parent.iterdir()] == ["m"]


def test_a_failure_while_saving_keeps_the_old_model(folder, model, monkeypatch):
    monkeypatch.setattr("molvae.model.checkpoint.save", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        save_model(folder, model)
    monkeypatch.undo()
    assert load_model(folder).card == "# Card\n"
    assert [p.name for p in folder.parent.iterdir()] == ["m"]


def small_critic():
    """A critic of 60 molecules and their shuffled halves, fitted to nothing in particular."""
    table = FactTable.of([facts(text) for text in demo_smiles(60)])
    return fit_critic(table, table)


@pytest.fixture(scope="module")
def optional():
    """Every optional part of ``new_model``."""
    column = ColumnPredictor.fit(["CCO", "CCN", "CCC"], np.asarray([0.0, 1.0, 3.0]))
    return {
        "critic": small_critic(),
        "plausibility": Plausibility.of([facts("CCO"), facts("c1ccccc1")]),
        "predictors": Predictors.of("y", column),
    }


@pytest.fixture
def whole(optional, tmp_path):
    save_model(tmp_path / "whole", replace(new_model(), **optional))
    return tmp_path / "whole"


def test_optional_parts_come_back_and_are_stated(whole, optional, tmp_path):
    files = json.loads((whole / "config.json").read_text())["files"]
    assert sorted(files) == sorted((*PARTS, *OPTIONAL))
    assert sorted(p.name for p in whole.iterdir()) == sorted((*FILES, *OPTIONAL))
    back = load_model(whole)
    molecule = facts("CCc1ccccc1")
    assert back.critic.logit(molecule) == optional["critic"].logit(molecule)
    assert back.plausibility.molecules == 2
    result = back.predictors.predict(["CCO"])["y"]
    assert result.mean == pytest.approx(optional["predictors"].predict(["CCO"])["y"].mean)
    save_model(tmp_path / "again", back)
    for name in OPTIONAL:
        assert (whole / name).read_bytes() == (tmp_path / "again" / name).read_bytes()


def test_counts_of_tokens_come_back_and_zero_means_never(tmp_path):
    counts = np.asarray([0, 0, 9, 7, 0, -1])
    save_model(tmp_path / "m", replace(new_model(), token_counts=counts))
    back = load_model(tmp_path / "m")
    assert back.token_counts.tolist() == counts.tolist()
    assert back.never.tolist() == [4]  # not <pad> and <bos>, nor what is unknown
    assert json.loads((tmp_path / "m" / "vocab.json").read_text())["molecules"][5] is None


def test_a_model_may_lack_optional_parts(folder):
    assert load_model(folder).never.tolist() == []
    back = load_model(folder)
    assert (back.critic, back.plausibility, back.predictors) == (None, None, None)


def test_saving_without_a_part_removes_its_files(whole):
    save_model(whole, new_model())
    assert sorted(p.name for p in whole.iterdir()) == FILES
    assert load_model(whole).critic is None


def test_other_weights_have_no_critic(whole):
    model = load_model(whole)
    other = model.with_network(model.network, model.conditions)
    assert other.critic is None
    assert other.plausibility is model.plausibility


@pytest.mark.parametrize("name", OPTIONAL)
def test_a_damaged_optional_part_is_refused_by_name(whole, name):
    good = (whole / name).read_bytes()
    for change, message in (
        (flip(name), "does not match its sha256"),
        (cut(name), r"has \d+ bytes, config"),
        (lambda folder: (folder / name).unlink(), "is missing"),
        (lambda folder: edit(folder, lambda d: d["files"].pop(name)), "no entry for"),
    ):
        (whole / name).write_bytes(good)
        change(whole)
        with pytest.raises(
            ModelFolderError, match=f"{re.escape(name)}.*{message}|{message} {name}"
        ):
            load_model(whole)


def test_a_part_that_belongs_to_another_model_is_refused(folder, whole):
    shutil.copy(whole / OPTIONAL[0], folder)
    with pytest.raises(ModelFolderError, match=rf"no entry for {OPTIONAL[0]}.*another model"):
        load_model(folder)


@pytest.mark.parametrize("half", [OPTIONAL[0], OPTIONAL[1], OPTIONAL[3], OPTIONAL[4]])
def test_half_of_a_part_is_refused(whole, half):
    (whole / half).unlink()
    edit(whole, lambda data: data["files"].pop(half))
    with pytest.raises(ModelFolderError, match=f"incomplete: {half} is missing"):
        load_model(whole)


def test_predictors_of_other_columns_are_refused(whole):
    def rename(data):
        data["columns"][0]["name"] = "z"

    edit(whole, rename, OPTIONAL[4])
    seal(whole)
    with pytest.raises(ModelFolderError, match=r"column 'z' is a number; expected no such column"):
        load_model(whole)


def cut(name):
    def change(folder):
        path = folder / name
        path.write_bytes(path.read_bytes()[:-3])

    return change


def flip(name):
    def change(folder):
        data = bytearray((folder / name).read_bytes())
        data[len(data) // 2] ^= 1
        (folder / name).write_bytes(bytes(data))

    return change


def other_vocabulary(folder):
    tokens = json.loads((folder / "vocab.json").read_text())
    tokens["tokens"][-2:] = reversed(tokens["tokens"][-2:])
    (folder / "vocab.json").write_text(json.dumps(tokens, indent=1) + "\n")


def longer_vocabulary(folder):
    edit(folder, lambda d: d["tokens"].append("[S]"), "vocab.json")
    seal(folder)


def counts_of(molecules):
    def change(folder):
        edit(folder, lambda d: d.update(molecules=molecules), "vocab.json")
        seal(folder)

    return change


def config_with(**fields):
    return lambda folder: edit(folder, lambda d: d.update(fields))


def size_of(name, value):
    return lambda folder: edit(folder, lambda d: d["model"].update({name: value}))


def without(name):
    return lambda folder: edit(folder, lambda d: d.pop(name))


def weights(change):
    return lambda folder: edit_weights(folder, change)


def wrong_shape(tensors):
    tensors["posterior.bias"] = tensors["posterior.bias"][:-1].clone()


def not_a_number(tensors):
    tensors["posterior.bias"][0] = float("nan")


def bad_limits(folder):
    edit(folder, lambda d: d.update(constraints={"C": "four"}), "vocab.json")
    seal(folder)


def nested(folder):
    (folder / "config.json").write_text('{"kind": "molvae-model", "schema": 1, "files": ' + "[" * 9)


def conditions_with(**fields):
    """The first condition says something else, and the hashes agree."""

    def change(folder):
        edit(folder, lambda d: d["conditions"][0].update(fields), "conditions.json")
        seal(folder)

    return change


def grown(name):
    """Ten gigabytes by name only: the file has a hole."""

    def change(folder):
        os.truncate(folder / name, 10**10)
        if name != "card.md":
            edit(folder, lambda d: d["files"][name].update(size=10**10))

    return change


def header_of(length):
    """The weights say that their header has so many bytes."""

    def change(folder):
        path = folder / "model.safetensors"
        path.write_bytes(length.to_bytes(8, "little") + path.read_bytes()[8:])
        seal(folder)

    return change


def elsewhere(folder):
    """The hashes are those of a file outside the folder."""
    edit(folder, lambda d: d.update(files={"../../etc/passwd": {"size": 1, "sha256": "0"}}))


DAMAGE = {
    "a name that is no text": (conditions_with(name=["logp"]), r"conditions\.json"),
    "a name that rings the bell": (conditions_with(name="a\x1b]0;b\x07"), "is no name"),
    "a name twice": (conditions_with(name="y", builtin=False), "'y' is no name, or appears twice"),
    "a built-in that there is not": (
        conditions_with(name="docking", builtin=True),
        "property 'docking'.*install the package",
    ),
    "a mean as text": (conditions_with(mean="1"), "bad statistics of 'logp'"),
    "no spread": (conditions_with(std=0.0), "bad statistics of 'logp'"),
    "quantiles upside down": (conditions_with(quantiles=[1.0, 0.0]), "bad statistics of 'logp'"),
    "a unit that moves the cursor": (conditions_with(unit="\x1b[2J"), "bad statistics of 'logp'"),
    "a field too many": (conditions_with(script="rm"), r"conditions\.json: malformed"),
    "a vocabulary of 10 GB": (grown("vocab.json"), r"vocab\.json': has 10,000,000,000 bytes"),
    "conditions of 10 GB": (grown("conditions.json"), r"conditions\.json': has 10,000,000,000"),
    "a card of 10 GB": (grown("card.md"), r"card\.md': has 10,000,000,000 bytes"),
    "a config of 10 GB": (lambda f: os.truncate(f / "config.json", 10**10), "config.json"),
    "a header of 2^60 bytes": (header_of(2**60), "not a safetensors file"),
    "a header of no bytes": (header_of(0), "not a safetensors file"),
    "an endless length": (config_with(max_tokens=math.inf), r"config\.json"),
    "figures that are none": (config_with(training={"figures": [1]}), r"training\.figures"),
    "a mean beyond all numbers": (conditions_with(mean=10**400), r"conditions\.json"),
    "paths outside the folder": (elsewhere, r"files: no entry for model\.safetensors"),
    "weights cut off": (cut("model.safetensors"), r"model\.safetensors has \d+ bytes"),
    "weights changed": (flip("model.safetensors"), r"model\.safetensors does not match its sha256"),
    "vocabulary changed": (flip("vocab.json"), r"vocab\.json does not match its sha256"),
    "vocabulary swapped": (other_vocabulary, r"vocab\.json"),
    "vocabulary longer": (longer_vocabulary, r"tensor 'embedding\.weight' has shape \(6, 5\)"),
    "counts of other tokens": (counts_of([1, 2]), r"vocab\.json': molecules: expected 6 counts"),
    "counts below zero": (counts_of([-1] * 6), r"vocab\.json': molecules: expected 6 counts"),
    "counts as text": (counts_of(["1"] * 6), r"vocab\.json': molecules: expected 6 counts"),
    "counts of yes": (counts_of([True] * 6), r"vocab\.json': molecules: expected 6 counts"),
    "counts that are none": (counts_of("many"), r"vocab\.json': molecules: expected 6 counts"),
    "bad bonding limits": (bad_limits, r"vocab\.json"),
    "conditions cut off": (cut("conditions.json"), r"conditions\.json has \d+ bytes"),
    "weights absent": (
        lambda f: (f / "model.safetensors").unlink(),
        r"model\.safetensors is missing",
    ),
    "config is no JSON": (nested, "config.json"),
    "schema of the future": (config_with(schema=2), "schema is 2.*newer molvae"),
    "no hashes": (without("files"), "no field 'files'"),
    "one hash absent": (config_with(files={}), r"files: no entry for model\.safetensors"),
    "no sizes": (without("model"), "no field 'model'"),
    "no greatest length": (without("max_tokens"), "no field 'max_tokens'"),
    "absurd length": (config_with(max_tokens=10**12), "max_tokens is 1000000000000"),
    "length of zero": (config_with(max_tokens=0), "max_tokens is 0"),
    "training is no object": (config_with(training=[1]), r"config\.json"),
    "huge latent": (size_of("latent_size", 10**18), r"model\.latent_size is 10+"),
    "huge decoder": (size_of("decoder_size", 10**9), r"model\.decoder_size is 10+"),
    "larger than the weights": (size_of("encoder_size", 60_000), "tensor 'encoder_backward"),
    "size of zero": (size_of("head_size", 0), r"model\.head_size"),
    "size as text": (size_of("head_size", "3"), r"model\.head_size"),
    "unknown size": (size_of("width", 3), r"model\.width"),
    "wrong shape": (weights(wrong_shape), r"posterior\.bias.*\(7,\)"),
    "tensor absent": (weights(lambda t: t.pop("head.0.bias")), r"tensor 'head\.0\.bias'"),
    "tensor too many": (weights(lambda t: t.update(x=torch.ones(1))), "tensor 'x'"),
    "not a number": (weights(not_a_number), r"posterior\.bias"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damage_is_refused_by_name(folder, damage):
    change, message = DAMAGE[damage]
    change(folder)
    with pytest.raises(ModelFolderError, match=message) as error:
        load_model(folder)
    assert "\n" not in str(error.value)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs the special files of Unix")
@pytest.mark.parametrize("name", ["config.json", "vocab.json", "model.safetensors"])
def test_what_never_ends_is_not_read(folder, name):
    for make in (lambda p: p.symlink_to("/dev/zero"), os.mkfifo):
        (folder / name).unlink()
        make(folder / name)
        with pytest.raises(ModelFolderError):
            load_model(folder)


class Canary:
    """Touches a file when it is unpickled."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return (open, (self.path, "w"))


def test_a_pickle_in_place_of_the_weights_is_never_run(folder, tmp_path):
    canary = tmp_path / "canary"
    (folder / "model.safetensors").write_bytes(pickle.dumps(Canary(canary)))
    seal(folder)
    with pytest.raises(ModelFolderError, match="not a safetensors file"):
        load_model(folder)
    assert not canary.exists()


def test_a_pickle_in_place_of_a_training_state_is_never_run(tmp_path):
    canary = tmp_path / "canary"
    torch.save({"network": Canary(canary)}, tmp_path / "state.pt")
    with pytest.raises(ModelFolderError, match="training state"):
        load_state(tmp_path / "state.pt")
    (tmp_path / "state.pt").write_bytes(pickle.dumps(Canary(canary)))
    with pytest.raises(ModelFolderError, match="training state"):
        load_state(tmp_path / "state.pt")
    assert not canary.exists()


def test_a_card_in_another_encoding_does_not_stop_loading(folder):
    (folder / "card.md").write_bytes(b"caf\xe9")
    assert load_model(folder).card.startswith("caf")


def test_a_training_state_comes_back(tmp_path):
    save_state(tmp_path / "state.pt", {"step": 3, "network": {"w": torch.arange(4.0)}})
    save_state(tmp_path / "state.pt", {"step": 4, "network": {"w": torch.arange(5.0)}})
    state = load_state(tmp_path / "state.pt")
    assert state["step"] == 4
    assert torch.equal(state["network"]["w"], torch.arange(5.0))
    assert [p.name for p in tmp_path.iterdir()] == ["state.pt"]


def test_a_run_folder_is_read_as_its_model(folder, tmp_path):
    (tmp_path / "run").mkdir()
    shutil.move(folder, tmp_path / "run" / "model")
    assert find_model(tmp_path / "run") == tmp_path / "run" / "model"


def test_a_run_without_a_model_says_so(tmp_path):
    (tmp_path / "config.json").write_text('{"kind": "molvae-run"}')
    with pytest.raises(ModelFolderError, match="no model"):
        find_model(tmp_path)


def test_a_folder_of_something_else_lists_what_it_holds(tmp_path):
    (tmp_path / "notes.txt").touch()
    with pytest.raises(ModelFolderError, match=r"expected config\.json.*found notes\.txt"):
        find_model(tmp_path)


def test_an_unknown_name_lists_the_shipped_models():
    with pytest.raises(ModelFolderError, match="no such folder"):
        find_model("no-such-model")


def test_a_mistyped_folder_is_met_with_the_one_there_is(tmp_path):
    (tmp_path / "runs_seh").mkdir()
    with pytest.raises(ModelFolderError, match=r"no such folder; did you mean '.*runs_seh'\?$"):
        find_model(tmp_path / "runs_she")


@pytest.mark.parametrize("name", shipped_models())
def test_the_card_of_a_shipped_model_says_what_its_user_must_know(name):
    model = load_model(find_model(name))
    for part in ("**Data.**", "**Intended use.**", "**Limits.**", "**Misuse.**", f"`{name}`"):
        assert part in model.card
    assert sum(p.numel() for p in model.network.parameters()) <= 7_000_000
    assert sum(path.stat().st_size for path in find_model(name).iterdir()) <= 15_000_000


def test_a_shipped_model_goes_by_its_name(folder, monkeypatch):
    monkeypatch.setattr("molvae.model.checkpoint.SHIPPED", folder.parent)
    assert shipped_models() == ["m"]
    assert find_model("m") == folder
    monkeypatch.setattr("molvae.model.checkpoint.DEFAULT", "m")
    assert load_model().max_tokens == 33


def test_loading_needs_nothing_but_the_folder(folder, tmp_path):
    moved = tmp_path / "elsewhere"
    os.rename(folder, moved)
    os.chmod(moved, 0o555)
    try:
        assert len(load_model(moved).vocabulary) == 6
    finally:
        os.chmod(moved, 0o755)
