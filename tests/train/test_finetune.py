"""Training on from a model: its tokens, its scales, its function where nothing is new."""

import json
import math
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch

from molvae.chem.vocabulary import Vocabulary, grammar_table
from molvae.config import DataConfig, load_config
from molvae.data.dataset import Dataset, content_hash
from molvae.data.prepare import prepare
from molvae.errors import ConfigError, RunError
from molvae.latent.encode import encode
from molvae.model.checkpoint import load_model, save_model
from molvae.model.conditions import ConditionSet
from molvae.model.cvae import CVAE
from molvae.train.finetune import (
    _origins,
    _relative_log_odds,
    adapted_conditions,
    adapted_config,
    first_network,
    known_tokens,
)
from molvae.train.run import train
from molvae.train.trainer import Trainer

# Benzene rings and amides: tokens that any demo model knows.
SMILES = [f"{'C' * k}NC(=O)c1ccccc1{'CO' * j}" for k in range(1, 9) for j in range(8)] + [
    f"CC({'C' * k})OC(=O){'C' * j}N" for k in range(1, 9) for j in range(1, 8)
]


@pytest.fixture(scope="module")
def new_dataset(tiny_run, tmp_path_factory):
    """120 molecules with another column, in the tokens of the tiny model."""
    folder = tmp_path_factory.mktemp("new")
    lines = ["smiles,affinity"] + [
        f"{smiles},{5 + i % 7 / 3 if i % 3 else ''}" for i, smiles in enumerate(SMILES)
    ]
    (folder / "new.csv").write_text("\n".join(lines) + "\n")
    model = load_model(tiny_run)
    config = DataConfig(
        properties={"affinity": "affinity"}, conditions=("mw", "qed", "affinity"),
        unknown_tokens="reject",
    )  # fmt: skip
    prepare(
        [folder / "new.csv"], folder / "new.ds", config, workers=0, vocabulary=model.vocabulary,
        constraints=model.constraints,
    )  # fmt: skip
    return folder / "new.ds"


def config(**options):
    settings = {
        "epochs": 0.3, "validations": 1, "reconstructions": 4, "replay": 0,
        "critic_samples": 0, "batch_size": 16, **options,
    }  # fmt: skip
    overrides = {f"train.{key}": value for key, value in settings.items()}
    return load_config(overrides=overrides, fine_tuning=True)


ONE_STEP = {
    "train.epochs": 0.2, "train.validations": 1, "train.reconstructions": 4, "train.replay": 0,
    "train.critic_samples": 0, "train.batch_size": 16,
}  # fmt: skip


def test_a_model_learns_a_new_column(tiny_run, new_dataset, tmp_path):
    train([new_dataset], tmp_path / "run", config(), device="cpu", start=tiny_run)
    old, new = load_model(tiny_run), load_model(tmp_path / "run")
    assert new.conditions.names == ("mw", "qed", "affinity")
    assert new.vocabulary.tokens == old.vocabulary.tokens
    assert new.network.config == old.network.config
    for name in ("mw", "qed"):
        assert (new.conditions[name].mean, new.conditions[name].std) == (
            old.conditions[name].mean, old.conditions[name].std,
        )  # fmt: skip
        assert new.conditions[name].seen != old.conditions[name].seen
    record = json.loads((tmp_path / "run" / "config.json").read_text())
    assert len(record["config"]["start"]) == 64
    assert record["config"]["train"]["learning_rate"] == 5e-4
    assert record["config"]["train"]["kl_warm_up"] == 0


def test_ctrl_c_before_the_first_step_says_what_is_kept(
    tiny_run, new_dataset, tmp_path, monkeypatch
):
    def stopped(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr("molvae.train.finetune_heads._hidden", stopped)
    run = tmp_path / "run"
    with pytest.raises(RunError, match="first checkpoint"):
        train([new_dataset], run, config(), device="cpu", start=tiny_run)
    monkeypatch.undo()
    summary = train([new_dataset], run, config(), device="cpu", start=tiny_run, resume=True)
    assert summary.steps > 0
    monkeypatch.setattr("molvae.train.run.Trainer", stopped)
    with pytest.raises(RunError, match="--resume"):
        train([new_dataset], run, config(), device="cpu", start=tiny_run, resume=True)


def test_the_loss_stays_what_it_was_unless_it_is_set(tiny_run):
    model = load_model(tiny_run)
    trained = {**model.training["config"]["train"], "kl_weight": 0.02, "exact_share": 0.6}
    model = replace(model, training={"config": {"train": {**trained, "weight_decay": 0.7}}})
    plain = adapted_config(config(), model, "x").train
    assert (plain.kl_weight, plain.exact_share) == (0.02, 0.6)
    assert plain.weight_decay == load_config().train.weight_decay  # no matter of the loss
    assert (plain.learning_rate, plain.epochs) == (5e-4, 0.3)
    chosen = adapted_config(config(kl_weight=0.05), model, "x").train
    assert (chosen.kl_weight, chosen.exact_share) == (0.05, 0.6)
    with pytest.raises(ConfigError, match=r"prior_share.*0\.5.*exact_share.*0\.6"):
        adapted_config(config(prior_share=0.5), model, "x")


@pytest.mark.parametrize("training", [{}, {"config": []}, {"config": {"train": 3}}])
def test_nothing_is_kept_of_a_model_whose_training_is_unknown(tiny_run, training):
    model = replace(load_model(tiny_run), training=training)
    assert adapted_config(config(), model, "x").train == config().train


def test_before_the_first_step_it_is_the_old_model(tiny_run, new_dataset):
    """With the new column hidden or shown, for the old conditions shown or not."""
    model, dataset = load_model(tiny_run), Dataset(new_dataset)
    fitted = ConditionSet.fit(["mw", "qed", "affinity"], dataset.values, dataset.kinds)
    conditions = adapted_conditions(fitted, model)
    settings = config().model_copy(update={"model": model.network.config})
    network = first_network(settings, model.vocabulary, model.constraints, conditions, model)
    n = 20
    z, t = torch.randn(n, 16), torch.rand(n)
    mw, qed, affinity = torch.randn(3, n)
    shown = torch.randint(2, (3, n)).float()
    zero = torch.zeros(n)
    names = {"mw": (mw, shown[0]), "qed": (qed, shown[1])}
    before = [names.get(name, (zero, zero)) for name in model.conditions.names]
    old = model.network.make_context(
        z, t, *(torch.stack(each, dim=1) for each in zip(*before, strict=True))
    )
    new = network.make_context(
        z, t, torch.stack([mw, qed, affinity], dim=1), shown.t().contiguous()
    )
    torch.testing.assert_close(new.request, old.request)
    torch.testing.assert_close(new.latent, old.latent)
    inputs = torch.randint(3, len(model.vocabulary), (n, 12))
    torch.testing.assert_close(network.decode(inputs, new), model.network.decode(inputs, old))
    places = [model.conditions.names.index(name) for name in ("mw", "qed")]
    for ours, theirs in zip(network.predict(z), model.network.predict(z), strict=True):
        torch.testing.assert_close(ours[:, :2], theirs[:, places])


@pytest.mark.parametrize("part", ["modulation", "derivation"])
def test_parts_that_start_at_zero_can_be_added(tiny_run, part):
    model = load_model(tiny_run)
    sizes = model.network.config.model_copy(update={part: False})
    grammar = grammar_table(model.vocabulary.tokens, model.constraints)
    network = CVAE(sizes, len(grammar), len(model.conditions), grammar).eval()
    old = replace(model, network=network)
    assert adapted_config(config(), old, "x").model == sizes
    asked = load_config(overrides={f"model.{part}": True}, fine_tuning=True)
    settings = adapted_config(asked, old, "x")
    assert settings.model == sizes.model_copy(update={part: True})
    wider = load_config(overrides={f"model.{part}": True, "model.latent_size": 8}, fine_tuning=True)
    with pytest.raises(ConfigError, match=r"size.* network|network.* size"):
        adapted_config(wider, old, "x")
    new = first_network(settings, model.vocabulary, model.constraints, model.conditions, old)
    assert {"modulation": new.film, "derivation": new.derivation}[part] is not None
    n = 20
    z, t, c = torch.randn(n, sizes.latent_size), torch.rand(n), len(model.conditions)
    inputs = torch.randint(3, len(model.vocabulary), (n, 12))
    outputs = [
        each.decode(inputs, each.make_context(z, t, torch.ones(n, c), torch.ones(n, c)))
        for each in (new, network)
    ]
    torch.testing.assert_close(*outputs)


@pytest.mark.slow
def test_it_starts_better_than_from_nothing(tiny_run, small_dataset, tmp_path):
    for name, start in (("tuned", tiny_run), ("new", None)):
        settings = load_config(
            preset="small" if start else "tiny",
            overrides=ONE_STEP,
            fine_tuning=start is not None,
        )
        train([small_dataset], tmp_path / name, settings, device="cpu", start=start)
    tuned, new = (
        json.loads((tmp_path / name / "metrics.jsonl").read_text().splitlines()[-1])
        for name in ("tuned", "new")
    )
    assert tuned["D"]["1"] < 0.8 * new["D"]["1"]


def test_files_are_read_in_the_tokens_of_the_model(tiny_run, tmp_path, monkeypatch):
    monkeypatch.setenv("MOLVAE_CACHE", str(tmp_path / "cache"))
    (tmp_path / "new.smi").write_text("\n".join([*SMILES, "C[Si](C)(C)CC[Se]C"]) + "\n")
    settings = load_config(
        overrides={**ONE_STEP, "data.unknown_tokens": "reject"},
        fine_tuning=True,
    )
    train([tmp_path / "new.smi"], tmp_path / "run", settings, device="cpu", workers=0,
          start=tiny_run)  # fmt: skip
    assert load_model(tmp_path / "run").vocabulary.tokens == load_model(tiny_run).vocabulary.tokens
    assert "unknown token [Se]" in (tmp_path / "run" / "rejects.csv").read_text()


def test_a_dataset_in_other_ids_is_translated(tiny_run, tiny_dataset, tmp_path):
    """A vocabulary that lists the same tokens in another order."""
    model = load_model(tiny_run)
    shutil.copytree(tiny_dataset, tmp_path / "other.ds")
    stored = json.loads((tmp_path / "other.ds" / "vocab.json").read_text())
    rows = np.fromfile(tmp_path / "other.ds" / "tokens.bin", dtype=np.uint8)
    order = [*range(3), *range(len(stored["tokens"]) - 1, 2, -1)]
    stored["tokens"] = [stored["tokens"][i] for i in order]
    (tmp_path / "other.ds" / "vocab.json").write_text(json.dumps(stored))
    np.argsort(order)[rows].astype(np.uint8).tofile(tmp_path / "other.ds" / "tokens.bin")
    manifest = json.loads((tmp_path / "other.ds" / "manifest.json").read_text())
    manifest["content_sha256"] = content_hash(tmp_path / "other.ds")
    (tmp_path / "other.ds" / "manifest.json").write_text(json.dumps(manifest))
    settings = config(epochs=0.1)
    for name, data in (("same", tiny_dataset), ("other", tmp_path / "other.ds")):
        train([data], tmp_path / name, settings, device="cpu", start=model_folder(tiny_run))
    same, other = (
        (tmp_path / name / "model" / "model.safetensors").read_bytes() for name in ("same", "other")
    )
    assert same == other
    assert load_model(tmp_path / "other").vocabulary.tokens == model.vocabulary.tokens


def model_folder(run):
    return run / "model"


STRANGE = ["C[Si](C)(C)CC[Se]C", "CC[As](C)C", "C[N+](C)(C)CC[C@@H](N)C(=O)[O-]"]


@pytest.fixture(scope="module")
def strange_dataset(tmp_path_factory):
    """Molecules with tokens that the tiny model does not know."""
    folder = tmp_path_factory.mktemp("strange")
    (folder / "new.smi").write_text("\n".join([*SMILES, *STRANGE]) + "\n")
    cleaning = DataConfig().cleaning.model_copy(
        update={"elements": ("C", "N", "O", "Si", "Se", "As", "H")}
    )
    settings = DataConfig(conditions=("mw", "qed"), cleaning=cleaning)
    prepare([folder / "new.smi"], folder / "new.ds", settings, workers=0)
    return folder / "new.ds"


def test_unknown_tokens_are_named_where_they_are_not_wanted(tiny_run, strange_dataset, tmp_path):
    settings = config()
    data = settings.data.model_copy(update={"unknown_tokens": "reject"})
    settings = settings.model_copy(update={"data": data})
    with pytest.raises(ConfigError, match=r"\[.*--vocabulary MODEL"):
        train([strange_dataset], tmp_path / "run", settings, device="cpu", start=tiny_run)
    assert not (tmp_path / "run").exists()


def test_new_tokens_are_learned(tiny_run, strange_dataset, tmp_path, capsys):
    train([strange_dataset], tmp_path / "run", config(), device="cpu", start=tiny_run)
    old, new = load_model(tiny_run), load_model(tmp_path / "run")
    count = len(old.vocabulary)
    assert new.vocabulary.tokens[:count] == old.vocabulary.tokens
    assert {"[Si]", "[Se]", "[As]"} <= set(new.vocabulary.tokens[count:])
    shown = capsys.readouterr().err
    assert f"tokens that are new to the model: {len(new.vocabulary) - count} (" in shown
    # Of the three strange molecules, those in the training part say how often a token is there.
    dataset = Dataset(strange_dataset)
    smiles = dataset.smiles(dataset.part("train"))
    for element, token in (("[As]", "[As]"), ("[Si]", "[Si]"), ("[Se]", "[Se]")):
        molecules = sum(element in text for text in smiles)
        assert new.token_counts[new.vocabulary.tokens.index(token)] == molecules
        assert (f"{token} ({molecules})" in shown) == (molecules > 0)
    # Of the start's tokens nobody knows how many molecules had them.
    assert set(new.token_counts[:count].tolist()) == {-1}
    assert "fewer than 5 molecules" in shown
    [result] = encode(["CC[As](C)C"], new, score=True, device="cpu", workers=0)
    assert np.isfinite(result.nats)
    [refused] = encode(["CC[As](C)C"], old, device="cpu", workers=0)
    assert refused.note


def test_new_tokens_start_as_their_relatives_but_as_rare_as_in_the_data(tiny_run, strange_dataset):
    """The odds of the old tokens are what they were."""
    model, dataset = load_model(tiny_run), Dataset(strange_dataset)
    old = model.vocabulary
    vocabulary = old.extended(dataset.vocabulary.tokens)
    settings = config().model_copy(update={"model": model.network.config})
    place = vocabulary.tokens.index("[As]")
    relative = old.tokens.index("[C]")
    counts = np.zeros(len(vocabulary), dtype=np.int64)
    counts[relative], counts[place] = 999, 2
    network = first_network(
        settings, vocabulary, model.constraints, model.conditions, model, counts
    )
    inputs = torch.randint(3, len(old), (8, 12))
    nothing = torch.zeros(8, len(model.conditions))
    z, t = torch.randn(8, 16), torch.rand(8)
    before, after = (
        net.decode(inputs, net.make_context(z, t, nothing, nothing))
        for net in (model.network, network)
    )
    torch.testing.assert_close(after[..., : len(old)], before)
    difference = before[..., relative] - after[..., place]
    torch.testing.assert_close(difference, torch.full((8, 12), math.log(399.8)), atol=1e-4, rtol=0)
    torch.testing.assert_close(
        network.embedding.weight[place], model.network.embedding.weight[relative]
    )


def test_the_counts_of_the_start_are_added(tiny_model, strange_dataset):
    dataset = Dataset(strange_dataset)
    dataset.translate(tiny_model.vocabulary.extended(dataset.vocabulary.tokens))
    own = dataset.token_counts("train", molecules=True)
    size = len(tiny_model.vocabulary)
    before = np.arange(size, dtype=np.int64) % 7 - 1
    result = known_tokens(dataset, replace(tiny_model, token_counts=before))
    expected = np.where(before < 0, -1, before + own[:size])
    assert result.tolist() == [*expected.tolist(), *own[size:].tolist()]
    assert known_tokens(dataset, None).tolist() == own.tolist()


def test_a_new_token_is_never_likelier_than_its_relative():
    counts = np.asarray([0, 9, 4, 20, 0])
    result = _relative_log_odds([0, 1, 2, 1, 1], 3, counts)
    assert result.tolist() == pytest.approx([0.0, math.log(1 / 19)])


def test_tokens_of_the_training_part_are_counted(strange_dataset, tiny_run, monkeypatch):
    monkeypatch.setattr("molvae.data.dataset.COUNTED_TOGETHER", 2)
    dataset = Dataset(strange_dataset)
    for vocabulary in (
        dataset.vocabulary,
        load_model(tiny_run).vocabulary.extended(dataset.vocabulary.tokens),
    ):
        dataset.translate(vocabulary)
        expected = [0] * len(vocabulary)
        for item in dataset.part("train"):
            for token in dataset.ids(item).tolist():
                expected[token] += 1
        assert dataset.token_counts("train").tolist() == expected
        having = [
            sum(token in dataset.ids(item) for item in dataset.part("train"))
            for token in range(len(vocabulary))
        ]
        assert dataset.token_counts("train", molecules=True).tolist() == having
        assert sum(expected) > 0


@pytest.mark.parametrize(
    ("token", "known", "expected"),
    [
        ("[C@@H1]", ["[C]", "[N]", "[CH1]"], "[C]"), ("[=N+1]", ["[N]", "[=N]"], "[=N]"),
        ("[N@@+1]", ["[N]", "[N+1]"], "[N+1]"), ("[/C@H1]", ["[=C]", "[C]"], "[C]"),
        ("[13C]", ["[N]", "[C]"], "[C]"), ("[#As]", ["[#C]", "[C]"], "[#C]"),
        ("[=Branch3]", ["[Branch3]", "[=Branch1]"], "[=Branch1]"),
        ("[-/Ring2]", ["[Ring1]", "[C]"], "[Ring1]"), ("[Br]", ["[N]"], "[N]"),
    ],
)  # fmt: skip
def test_the_relative_of_a_token(token, known, expected):
    vocabulary = Vocabulary.of_symbols(known)
    longer = vocabulary.extended([token])
    assert longer.tokens[-1] == token
    assert vocabulary.tokens[_origins(longer, vocabulary)[-1]] == expected


def test_other_sizes_are_refused(tiny_run, tiny_dataset, tmp_path):
    settings = load_config(preset="mini", fine_tuning=True)
    with pytest.raises(ConfigError, match=r"size.* network|network.* size"):
        train([tiny_dataset], tmp_path / "run", settings, device="cpu", start=tiny_run)


def test_dropout_may_be_another(tiny_run, small_dataset, tmp_path):
    settings = load_config(
        overrides={**ONE_STEP, "model.dropout": 0.1},
        fine_tuning=True,
    )
    train([small_dataset], tmp_path / "run", settings, device="cpu", start=tiny_run)
    assert load_model(tmp_path / "run").network.config.dropout == 0.1


def test_the_model_in_the_run_to_write_is_refused(tiny_run, tiny_dataset, tmp_path):
    shutil.copytree(tiny_run, tmp_path / "run")
    before = (tmp_path / "run" / "model" / "model.safetensors").read_bytes()
    with pytest.raises(ConfigError, match="run folder"):
        train([tiny_dataset], tmp_path / "run", config(), device="cpu", start=tmp_path / "run",
              force=True)  # fmt: skip
    assert (tmp_path / "run" / "model" / "model.safetensors").read_bytes() == before


def test_another_quantity_under_an_old_name_is_noted(tiny_model, tiny_dataset, capsys):
    dataset = Dataset(tiny_dataset)
    for name in ("assay", "logp"):
        values = 1000 * dataset.values[:, [dataset.names.index(name)]]
        adapted_conditions(ConditionSet.fit([name], values, {}), tiny_model)
        note = capsys.readouterr().err
        assert f"note: {name} is about" in note
        # What RDKit computes is that quantity, and has its name.
        assert ("give it another name" in note) == (name == "assay")


def test_another_kind_of_column_is_refused(tiny_model, tiny_dataset):
    dataset = Dataset(tiny_dataset)
    column = dataset.names.index("assay")
    values = (dataset.values[:, [column]] > 6).astype(np.float32)
    fitted = ConditionSet.fit(["assay"], values, {"assay": "yesno"})
    with pytest.raises(ConfigError, match=r"'assay'.*yesno.*number"):
        adapted_conditions(fitted, tiny_model)


def test_it_resumes_and_notices_another_model(
    tiny_run, new_dataset, tmp_path, monkeypatch, tiny_model
):
    train([new_dataset], tmp_path / "whole", config(), device="cpu", start=tiny_run)
    real = Trainer.train_step

    def step(self, items):
        if self.step == 1:
            raise RunError("cut")
        return real(self, items)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "train_step", step)
        patch.setattr(Trainer, "_record_when_due", lambda self: self.save())
        with pytest.raises(RunError, match="cut"):
            train([new_dataset], tmp_path / "run", config(), device="cpu", start=tiny_run)
    with torch.no_grad():
        tiny_model.network.output.bias.add_(0.5)
    save_model(tmp_path / "other", tiny_model)
    with pytest.raises(ConfigError, match="start"):
        train([new_dataset], tmp_path / "run", config(), device="cpu", start=tmp_path / "other",
              resume=True)  # fmt: skip
    train([new_dataset], tmp_path / "run", config(), device="cpu", start=tiny_run, resume=True)
    whole, resumed = (
        (tmp_path / name / "model" / "model.safetensors").read_bytes() for name in ("whole", "run")
    )
    assert whole == resumed
