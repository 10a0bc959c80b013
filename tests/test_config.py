"""The effective configuration: precedence, strict types, every fault named, durations."""

import json

import pytest
from pydantic import ValidationError

from molvae.config import PRESETS, Config, load_config, parse_duration, validate
from molvae.errors import ConfigError


def toml(tmp_path, text, encoding="utf-8"):
    file = tmp_path / "c.toml"
    file.write_text(text, encoding=encoding)
    return file


def test_each_source_beats_the_weaker_ones(tmp_path):
    file = toml(
        tmp_path, "[model]\nlatent_size = 21\nhead_size = 22\n[train]\nseed = 23\nbatch_size = 24\n"
    )
    config = load_config(
        preset="tiny",
        file=file,
        settings=["model.head_size=32", "train.seed=33", "train.batch_size=34"],
        overrides={"train.seed": 43, "train.batch_size": None},
    )
    assert config.preset == "tiny"
    assert config.model.decoder_size == PRESETS["tiny"]["model"]["decoder_size"]  # the preset
    assert config.model.latent_size == 21  # the file
    assert config.model.head_size == 32  # --set
    assert config.train.batch_size == 34  # an option that was not given does not count
    assert config.train.seed == 43  # a separate option
    assert config.train.kl_weight == Config().train.kl_weight  # the default


def test_a_setting_given_twice_is_an_error():
    with pytest.raises(ConfigError, match=r"train\.seed .*1 and 2"):
        load_config(settings=["train.seed=1", "train.seed=2"])


def test_the_preset_may_come_from_the_file_and_the_option_beats_it(tmp_path):
    file = toml(tmp_path, 'preset = "tiny"\n')
    assert load_config(file=file).model == load_config(preset="tiny").model
    assert load_config(file=file, preset="base").model == load_config(preset="base").model


def test_a_preset_that_is_set_brings_its_sizes_along(tmp_path):
    file = toml(tmp_path, 'preset = "base"\n')
    config = load_config(file=file, preset="small", settings=["preset=tiny"])
    assert config.preset == "tiny"
    assert config.model == load_config(preset="tiny").model


def test_loading_leaves_the_presets_as_they_were():
    before = json.dumps(PRESETS)
    load_config(preset="tiny", settings=["model.latent_size=5", "train.batch_size=6"])
    assert json.dumps(PRESETS) == before


@pytest.mark.parametrize("preset", PRESETS)
def test_presets_are_valid_and_their_values_arrive(preset):
    config = load_config(preset=preset).model_dump()
    for section, values in PRESETS[preset].items():
        for key, value in values.items():
            assert config[section][key] == value


def test_presets_grow():
    sizes = [load_config(preset=p).model.decoder_size for p in ("tiny", "mini", "small", "base")]
    assert sizes == sorted(set(sizes))


def test_an_effective_configuration_reads_back_from_json():
    config = load_config(
        preset="tiny", settings=['data.cleaning.elements=["C","N"]', 'data.conditions=["qed"]']
    )
    assert config.data.cleaning.elements == ("C", "N")
    assert validate(json.loads(config.model_dump_json())) == config


def test_a_configuration_cannot_be_changed():
    with pytest.raises(ValidationError, match="frozen"):
        load_config().train.seed = 3  # type: ignore[misc]


@pytest.mark.parametrize(
    ("setting", "part"),
    [
        ('data.cleaning.stereo="false"', "data.cleaning.stereo"),
        ("data.cleaning.stereo=0", "data.cleaning.stereo"),
        ('train.batch_size="64"', "train.batch_size"),
        ("train.batch_size=64.0", "train.batch_size"),
        ("train.batch_size=true", "train.batch_size"),
        ("train.batch_size=0", "train.batch_size"),
        ("train.seed=-1", "train.seed"),
        ("train.learning_rate=fast", "train.learning_rate"),
        ("train.learning_rate=inf", "train.learning_rate"),
        ("train.learning_rate=nan", "train.learning_rate"),
        ("train.precision=fp16", "'fp32' or 'bf16'"),
        ("data.smiles_column=7", "data.smiles_column"),
        ("data.valid_fraction=0.5", "data.valid_fraction"),
        ("data.cleaning.elements=[6]", "data.cleaning.elements.0"),
        ("model.decoder_layers=9", "less than or equal to 8"),
        ("train=3", "train"),
    ],
)
def test_wrong_types_and_ranges_are_refused_with_their_key_and_value(setting, part):
    with pytest.raises(ConfigError) as caught:
        load_config(settings=[setting])
    message = str(caught.value)
    assert part in message
    assert "got " in message


def test_an_unquoted_false_is_a_truth_value():
    assert load_config(settings=["data.cleaning.stereo=false"]).data.cleaning.stereo is False


@pytest.mark.parametrize(
    ("setting", "near"),
    [
        ("train.batchsize=4", "batch_size"),
        ("trian.seed=1", "train"),
        ("data.cleaning.max_heavy_atom=9", "max_heavy_atoms"),
        ("model.latent=9", "latent_size"),
    ],
)
def test_an_unknown_key_names_the_nearest(setting, near):
    with pytest.raises(ConfigError, match=f"'{near}'"):
        load_config(settings=[setting])


def test_a_setting_that_was_removed_says_so():
    with pytest.raises(ConfigError, match=r"train\.word_dropout: .*removed.*leave it out"):
        load_config(settings=["train.word_dropout=0.1"])


def test_all_faults_are_in_one_error():
    with pytest.raises(ConfigError) as caught:
        load_config(settings=["train.seed=x", "model.latent_size=0", "data.max_token=7"])
    message = str(caught.value)
    for part in ("train.seed", "model.latent_size", "unknown key 'data.max_token'", "'x'"):
        assert part in message
    assert "\n" not in message


def test_faults_between_two_values_are_found():
    with pytest.raises(ConfigError, match=r"min_heavy_atoms.*9.*max_heavy_atoms.*8"):
        load_config(settings=["data.cleaning.min_heavy_atoms=9", "data.cleaning.max_heavy_atoms=8"])
    with pytest.raises(ConfigError, match=r"prior_share.*0\.8.*exact_share.*0\.3"):
        load_config(settings=["train.prior_share=0.8"])


def test_shares_that_just_fill_the_whole_are_accepted():
    config = load_config(settings=["train.prior_share=0.75", "train.exact_share=0.25"])
    assert config.train.prior_share == 0.75


@pytest.mark.parametrize("setting", ["train.seed", "", "=3"])
def test_a_setting_without_key_or_value_is_refused(setting):
    with pytest.raises(ConfigError, match=r"section\.key=value"):
        load_config(settings=[setting])


def test_a_key_below_a_value_is_refused():
    with pytest.raises(ConfigError, match="'seed'"):
        load_config(settings=["train.seed=1", "train.seed.x=2"])


def test_an_unknown_preset_names_the_nearest():
    with pytest.raises(ConfigError, match=r"'tinny'.*'tiny'"):
        load_config(preset="tinny")


def test_a_budget_is_what_was_given_and_nothing_else():
    assert load_config().train.epochs is None
    config = load_config(overrides={"train.max_time": 5.0})
    assert (config.train.epochs, config.train.max_time) == (None, 5.0)
    assert load_config(overrides={"train.epochs": 2}).train.epochs == 2


@pytest.mark.parametrize("key", ["train.epochs", "train.max_time"])
def test_a_budget_of_nothing_is_refused_not_replaced(key):
    with pytest.raises(ConfigError, match=key):
        load_config(overrides={key: 0})


def test_a_file_may_start_with_a_byte_order_mark(tmp_path):
    assert load_config(file=toml(tmp_path, "[train]\nseed = 5\n", "utf-8-sig")).train.seed == 5


@pytest.mark.parametrize(
    ("content", "part"),
    [
        (b"[train\nseed = 1", "not valid TOML"),
        (b"seed = \xff", "not valid TOML"),
        (b"[train]\nseeds = 1", "'seed'"),
        (b"model = 3\n[train]\n", "model: "),
        (b"[model.latent_size]\nx = 1\n", "'latent_size'"),
    ],
)
def test_faulty_files_are_named_errors(tmp_path, content, part):
    file = tmp_path / "bad.toml"
    file.write_bytes(content)
    with pytest.raises(ConfigError, match=part):
        load_config(file=file, preset="tiny")


def test_absent_files_and_folders_are_named(tmp_path):
    with pytest.raises(ConfigError, match=r"none\.toml.*No such file"):
        load_config(file=tmp_path / "none.toml")
    with pytest.raises(ConfigError, match=str(tmp_path)):
        load_config(file=tmp_path)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("40s", 40), ("30m", 1800), ("2h", 7200), ("1h30m", 5400), ("1h1m1s", 3661),
        ("0.5h", 1800), ("1.5s", 1.5), ("1h5s", 3605), (" 90s ", 90), ("0h1s", 1),
    ],
)  # fmt: skip
def test_durations(text, seconds):
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    "text", ["", "40", "s", "0s", "-5m", "5 m", "m5", "1s1h", "1h1h", "5d", "1e3s", "1,5h", "inf"]
)
def test_bad_durations_say_what_is_expected(text):
    with pytest.raises(ConfigError, match="40s, 30m, 2h") as caught:
        parse_duration(text)
    assert f"'{text}'" in str(caught.value)
