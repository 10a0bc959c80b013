"""One object for Python users."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest
import torch
from rdkit.Chem import Crippen, MolFromSmiles

import molvae
from molvae import MolVAE
from molvae.errors import ConfigError, FileError, InputError, MolvaeError, TargetError

SMILES = ["O=C(Nc1ccc(-c2ccc(F)c(Cl)c2)cc1)c1cncnc1", "Cn1cc(-c2ccc(S(N)(=O)=O)cc2)cn1", "CCO"]


@pytest.fixture
def model(tiny_run):
    return MolVAE.load(tiny_run)


def test_the_package_offers_it():
    assert molvae.MolVAE is MolVAE


def test_encoding_gives_one_point_per_molecule(model):
    z = model.encode(SMILES)
    assert z.shape == (3, model.latent_size)
    assert z.dtype == np.float32
    assert np.isfinite(z).all()
    assert np.array_equal(model.encode(SMILES), z)


def test_encoding_depends_on_the_molecule_alone(model, monkeypatch):
    z = model.encode(SMILES)
    assert model.encode(SMILES[::-1]) == pytest.approx(z[::-1], abs=1e-5)
    assert model.encode(["OCC"])[0] == pytest.approx(z[2], abs=1e-5)  # another writing of CCO
    monkeypatch.setattr("molvae.api.ENCODE_BATCH", 2)
    assert model.encode(SMILES) == pytest.approx(z, abs=1e-5)


def test_encoding_nothing_gives_an_empty_array(model):
    assert model.encode([]).shape == (0, model.latent_size)


@pytest.mark.parametrize(
    ("smiles", "message"),
    [("C1CC", "'C1CC'"), ("", "valid"), ("C[Xe]", "Xe")],
)
def test_what_cannot_be_encoded_is_named(model, smiles, message):
    with pytest.raises(InputError, match=message):
        model.encode(["CCO", smiles])


def test_decoding_gives_canonical_smiles_for_every_point(model):
    z = np.random.default_rng(0).normal(size=(6, model.latent_size))
    texts = model.decode(z, noise=0.2, seed=4)
    assert len(texts) == 6
    assert all(MolFromSmiles(text) for text in texts)
    assert model.decode(z, noise=0.2, seed=4) == texts
    assert model.decode(z) == model.decode(z, seed=9)  # nothing is drawn at noise 0


def test_decoding_nothing_gives_nothing(model):
    assert model.decode(np.zeros((0, model.latent_size))) == []


@pytest.mark.parametrize("shape", [(3,), (2, 5), (1, 2, 16)])
def test_latents_of_the_wrong_shape_are_refused(model, shape):
    with pytest.raises(InputError, match=r"\(N, 16\)"):
        model.decode(np.zeros(shape))


def test_a_noise_level_outside_its_range_is_refused(model):
    with pytest.raises(TargetError, match=r"noise.*2"):
        model.decode(np.zeros((1, 16)), noise=2)


def test_generating_gives_a_table(model):
    table = model.generate(4, ["logp=2", "qed=0.3:"], seed=3, candidates=4, workers=0)
    assert list(table.columns) == ["smiles", "logp", "qed", "logp_minus_target"]
    assert len(table) == 4
    for row in table.itertuples():
        assert row.logp == pytest.approx(Crippen.MolLogP(MolFromSmiles(row.smiles)), rel=1e-5)
    assert (table["logp_minus_target"] == table["logp"] - 2).all()
    assert (table["qed"] >= 0.3).all()
    assert table.equals(model.generate(4, ["logp=2", "qed=0.3:"], seed=3, candidates=4, workers=0))


def test_nothing_found_gives_an_empty_table(model):
    with pytest.warns(UserWarning, match=r"0 of 2 molecules"):
        table = model.generate(2, ["mw=5000:"], max_tries=8)
    assert list(table.columns) == ["smiles", "mw"]
    assert table.empty


def test_saving_and_loading_changes_nothing(model, tmp_path):
    model.save(tmp_path / "copy")
    copy = MolVAE.load(tmp_path / "copy")
    assert np.array_equal(copy.encode(SMILES), model.encode(SMILES))
    assert copy.generate(3).equals(model.generate(3))
    assert copy.conditions.names == ("logp", "qed", "mw", "assay")


def test_saving_replaces_another_model_and_nothing_else(model, tiny_run, tmp_path):
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "ideas.txt").write_text("mine")
    (tmp_path / "table.csv").write_text("smiles\nCCO\n")
    shutil.copytree(tiny_run, tmp_path / "run")
    for name, kind in (("notes", "not a model"), ("table.csv", "not a model"), ("run", "a run")):
        with pytest.raises(FileError, match=rf"{name}'.* {kind} folder.*choose a new name"):
            model.save(tmp_path / name)
    assert (tmp_path / "notes" / "ideas.txt").read_text() == "mine"
    assert (tmp_path / "table.csv").read_text() == "smiles\nCCO\n"
    assert (tmp_path / "run" / "metrics.jsonl").read_bytes()
    (tmp_path / "empty").mkdir()
    for name in ("empty", "run/model"):
        model.save(tmp_path / name, half=True)
        assert MolVAE.load(tmp_path / name).latent_size == 16


def test_training_takes_options_by_name_and_others_by_key(small_dataset, tmp_path, capsys):
    model = MolVAE.train(
        small_dataset, tmp_path / "run", preset="tiny", device="cpu", workers=0, epochs=1,
        conditions="logp", train__validations=1, train__critic_samples=0, model__latent_size=6,
    )  # fmt: skip
    assert model.latent_size == 6
    assert model.conditions.names == ("logp",)
    assert "each molecule was seen 1.0 times: give it more time" in capsys.readouterr().err
    with pytest.raises(ConfigError, match=r"train\.epochs is given twice: 1 and 2"):
        MolVAE.train(small_dataset, tmp_path / "other", epochs=1, train__epochs=2)


def test_the_content_of_a_model_is_plain_data(model):
    info = model.info()
    assert info["tokens"] == len(model._model.vocabulary)
    assert [c["name"] for c in info["conditions"]] == ["logp", "qed", "mw", "assay"]
    assert json.loads(json.dumps(info))["training"] == model._model.training


def test_molecules_are_evaluated(model, tmp_path):
    options = {"replicates": 0, "chemnet": False, "workers": 0}
    train = ["CCO", "c1ccccc1"]
    report = MolVAE.evaluate(["OCC", "CCN", "CCN", "C1CC"], train=train, **options)
    assert report.metrics["valid"].value == 0.75
    assert report.metrics["novelty"].value == 0.5
    (tmp_path / "train.smi").write_text("\n".join(train))
    table = model.generate(4, ["logp=1:4"], workers=0)
    table.to_csv(tmp_path / "made.csv", index=False)
    asked = {"train": tmp_path / "train.smi", "targets": ["logp=1:4"], **options}
    of_table = model.evaluate(table, **asked)
    of_file = model.evaluate(tmp_path / "made.csv", **asked)
    assert of_table.metrics["novelty"].value == of_file.metrics["novelty"].value == 1
    assert of_table.targets["logp"].metric.value == of_file.targets["logp"].metric.value == 1


def test_a_function_is_optimised_within_its_budget(model):
    seen = []

    def carbons(smiles):
        seen.extend(smiles)
        return [text.count("C") + text.count("c") for text in smiles]

    table = model.optimize(carbons, 8, targets=["mw=:400"], keep=5, device="cpu")
    assert list(table.columns) == ["smiles", "carbons", "call", "origin"]
    assert len(seen) == len(set(seen)) == 8
    assert len(table) == 5
    assert table["carbons"].is_monotonic_decreasing
    assert table["carbons"][0] == max(text.count("C") + text.count("c") for text in seen)


def test_named_objectives_are_optimised_and_kept_on_disk(model, tmp_path):
    options = {"output": tmp_path / "best.csv", "device": "cpu", "workers": 0}
    model.optimize(["qed", "sas@6:1"], 4, **options)
    table = model.optimize(["qed", "sas@6:1"], 6, resume=True, **options)
    assert list(table.columns) == ["smiles", "value", "qed", "sas", "call", "origin"]
    assert len(table) == 6
    assert (tmp_path / "best.calls.csv").read_text().count(",asked,") == 6


def test_the_way_between_two_molecules_is_a_table(model):
    table = model.interpolate(SMILES[0], SMILES[1], 5, noise=0.1, seed=2)
    assert list(table.columns) == ["smiles", "share", "similarity_first", "similarity_last"]
    assert table["share"].tolist() == [0.0, 0.25, 0.5, 0.75, 1.0]
    assert table.equals(model.interpolate(SMILES[0], SMILES[1], 5, noise=0.1, seed=2))


def test_neighbours_are_other_molecules_with_their_similarity(model):
    table = model.neighbors(SMILES[0], 4, noise=0.4, workers=0)
    assert len(table) == table["smiles"].nunique() == 4
    assert set(table["start"]) == {SMILES[0]}
    assert SMILES[0] not in set(table["smiles"])
    assert table["similarity"].between(0, 1).all()


def test_scores_are_nats_and_a_note_where_there_are_none(model):
    table = model.score([*SMILES, "C1CC"], workers=0, precision="fp32")
    assert list(table.columns) == ["smiles", "nats", "distortion", "note"]
    assert table["smiles"].tolist() == [*SMILES, "C1CC"]
    assert (table["nats"][:3] > 0).all()
    assert (table["distortion"][:3] > 0).all()
    assert table["nats"].isna().tolist() == (table["note"] != "").tolist()
    alone = model.score(SMILES[2:], workers=0, precision="fp32")
    assert alone["nats"][0] == pytest.approx(table["nats"][2], rel=1e-4)


def test_what_is_no_text_is_named(model):
    with pytest.raises(InputError, match=r"1 .*None"):
        model.score(["CCO", None])


@pytest.mark.parametrize("targets", ["logp=1:5", ["logp=1:5"], {"logp": "1:5"}, {"logp": (1, 5)}])
def test_targets_are_texts_or_a_table(model, targets, demo_csv):
    table = model.generate(2, targets, novel=str(demo_csv), workers=0)
    assert list(table.columns) == ["smiles", "logp"]
    assert table["logp"].between(1, 5).all()
    columns = list(model.generate(2, {"logp": 2}, workers=0).columns)
    assert columns[1:] == ["logp", "logp_minus_target"]


@pytest.mark.parametrize(
    ("option", "value", "expected"),
    [
        ("noise", "low", r"a number, a tuple \(LOW, HIGH\) or None"),
        ("noise", [0.2, 0.5], r"a tuple \(LOW, HIGH\)"),
        ("guidance", (1, "3"), r"a tuple \(LOW, HIGH\)"),
        ("temperature", None, "a number"),
        ("epsilon_cutoff", "0.01", "a number"),
        ("realism", "off", "a number or None"),
        ("candidates", 2.5, "an integer"),
        ("max_tries", "64", "an integer or None"),
        ("max_ring", 7.0, "an integer or None"),
        ("seed", 1.5, "an integer"),
    ],
)
def test_an_option_that_is_no_number_is_named(model, option, value, expected):
    with pytest.raises(InputError, match=rf"{option}: got .*expected .*{expected}"):
        model.generate(2, **{option: value}, workers=0)


def test_numbers_of_numpy_are_numbers(model):
    options = {"temperature": np.float32(1.0), "candidates": np.int64(2), "seed": np.int64(3)}
    assert len(model.generate(np.int64(2), {"logp": np.float64(2)}, workers=0, **options)) == 2


def test_latents_that_are_no_numbers_are_refused(model):
    with pytest.raises(InputError, match=r"latents: .*expected numbers of shape \(N, 16\)"):
        model.decode("abc")


def test_a_column_or_a_table_of_pandas_is_a_list_of_smiles(model):
    table = pd.DataFrame({"n": range(4), "smiles": ["C", *SMILES]})[lambda t: t.n > 0]
    z = model.encode(SMILES)
    for given in (table["smiles"], table, (text for text in SMILES), np.array(SMILES)):
        assert np.array_equal(model.encode(given), z)
    assert list(model.score(table, workers=0).smiles) == SMILES
    with pytest.raises(InputError, match="'C1CC' is not valid"):
        model.encode(pd.Series(["CCO", "C1CC"], index=[5, 7]))
    options = {"replicates": 0, "chemnet": False, "workers": 0}
    report = MolVAE.evaluate(["OCC", "CCN"], train=table, targets={"mw": (None, 45.5)}, **options)
    assert report.metrics["novelty"].value == 0.5
    assert report.targets["mw"].metric.value == 0.5  # CCN 45.08 Da, CCO 46.07 Da


def test_a_tensor_is_decoded_like_its_array(model):
    z = model.encode(SMILES)
    tensor = torch.from_numpy(z.copy()).requires_grad_()
    assert model.decode(tensor) == model.decode(z)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m: m.encode(5), "molecule: got 5, expected a SMILES text or a list"),
        (lambda m: m.encode(["CCO"], invalid="skip"), "invalid: got 'skip', expected 'raise'"),
        (lambda m: m.decode(np.zeros((1, 16)), noise="a"), "noise: got 'a', expected one number"),
        (lambda m: m.interpolate("CCO", ["CCN"]), "interpolate: got .*, expected one SMILES"),
        (lambda m: m.interpolate("CCO", "CCN", 2.5), "points: got 2.5, expected an integer"),
        (lambda m: m.generate(2, like=5), "like: got 5, expected a SMILES text or a list"),
        (lambda m: m.generate(2, [3]), "target 3: expected a text"),
        (lambda m: m.generate(2, novel=pd.DataFrame({"a": [1]})), "novel: got a table.*to_csv"),
        (lambda m: m.optimize(5, 10), "objective: got 5, expected a text or a list"),
        (lambda m: m.optimize([len], 10), "objective 0 is <built-in function len>, expected"),
        (lambda m: m.optimize("qed", "10"), "budget: got '10', expected an integer"),
        (lambda m: m.train(pd.DataFrame({"smiles": SMILES}), "run"), "inputs: got a table.*to_csv"),
        (lambda m: m.train(None, "run"), "inputs: got None, expected a file or a list"),
        (lambda m: m.evaluate(5), "the list: item: got 5, expected a SMILES text or a list"),
        (lambda m: m.load(5), "model: got 5, expected a folder"),
    ],
)
def test_what_has_the_wrong_type_is_one_clear_error(model, call, message):
    with pytest.raises(MolvaeError, match=message):
        call(model)


def test_a_table_without_smiles_names_its_columns():
    with pytest.raises(InputError, match="no column 'smiles', only SMILES, logp"):
        MolVAE.evaluate(pd.DataFrame({"SMILES": ["CCO"], "logp": [1.0]}))


def test_a_pair_may_be_open_and_the_number_is_an_integer(model):
    assert model.generate(2, {"logp": (None, 5)}, workers=0)["logp"].le(5).all()
    with pytest.raises(InputError, match="expected an integer"):
        model.generate(2.0, workers=0)
    with pytest.raises(TargetError, match=r"logp=\(1, 2, 3\)"):
        model.generate(2, {"logp": (1, 2, 3)}, workers=0)


def test_an_option_that_generate_does_not_have_is_named(model):
    with pytest.raises(TypeError, match=r"'target'.*'targets'"):
        model.generate(5, target="logp=2")


def test_measured_columns_are_predicted_with_intervals_and_evidence(measured_run):
    model = MolVAE.load(measured_run)
    table = model.predict([*SMILES[:2], "C1CC"], workers=0)
    endings = ["", "_low", "_high", "_nearest", "_similarity", "_nearest_value", "_inside"]
    assert list(table.columns) == ["smiles", *(f"assay{e}" for e in endings), "note"]
    assert (table["assay_low"] < table["assay_high"])[:2].all()
    assert table["note"].tolist() == ["", "", "not a valid SMILES"]
    assert table["assay"].isna().tolist() == [False, False, True]
    narrow = model.predict(SMILES[:2], level=0.5, workers=0)
    assert (narrow["assay_high"] < table["assay_high"][:2]).all()


def test_a_model_without_predictors_says_how_to_get_them(model):
    with pytest.raises(ConfigError, match=r"assay.*--resume"):
        model.predict(SMILES[:2], workers=0)


def test_without_own_columns_there_is_nothing_to_predict():
    with pytest.raises(ConfigError, match="column"):
        MolVAE.load().predict(SMILES)


def test_pretrained_names_are_other_words(model, tmp_path):
    model.save_pretrained(tmp_path / "copy", half=True)
    assert MolVAE.from_pretrained(tmp_path / "copy").conditions.names == model.conditions.names


def test_a_model_says_what_it_is(tiny_run):
    said = "<MolVAE: 4 conditions, latent size 16, own columns assay>"
    assert repr(MolVAE.load(tiny_run)) == said


def test_a_single_smiles_is_one_molecule(measured_run):
    model = MolVAE.load(measured_run)
    assert model.encode("CCO").tolist() == model.encode(["CCO"]).tolist()
    assert model.score("CCO", workers=0)["smiles"].tolist() == ["CCO"]
    assert model.predict("CCO", workers=0)["smiles"].tolist() == ["CCO"]
