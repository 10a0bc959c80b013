"""The tree of errors: who is whose parent, what the command line exits with, what it suggests."""

import pytest

from molvae import errors
from molvae.errors import no_such_file, similar_paths, suggest

INPUT = {
    "FileError", "ConfigError", "PropertyError", "TargetError", "OutputExistsError",
    "ModelFolderError", "NoColumnError",
}  # fmt: skip
CLASSES = [getattr(errors, name) for name in errors.__all__ if name.endswith("Error")]


@pytest.mark.parametrize("error", CLASSES, ids=lambda c: c.__name__)
def test_every_error_is_ours_and_carries_its_message(error):
    assert issubclass(error, errors.MolvaeError)
    assert str(error("a file is missing")) == "a file is missing"


@pytest.mark.parametrize("error", CLASSES, ids=lambda c: c.__name__)
def test_only_faults_of_the_input_exit_with_2(error):
    input_fault = error.__name__ in INPUT | {"InputError"}
    assert error.exit_code == (2 if input_fault else 1)
    assert issubclass(error, errors.InputError) == input_fault


def test_the_drawn_tree_names_every_class_once():
    drawn = [line for line in (errors.__doc__ or "").splitlines() if "Error  " in line]
    names = [line.strip("│├└─ ").split()[0] for line in drawn]
    assert sorted(names) == sorted(c.__name__ for c in CLASSES)


def test_errors_are_caught_by_their_class_only():
    with pytest.raises(errors.InputError):
        raise errors.TargetError("x")
    assert not issubclass(errors.RunError, errors.InputError)


@pytest.mark.parametrize(
    ("name", "near"),
    [("lgop", "logp"), ("LogP", "logp"), ("qde", "qed"), ("tspa", "tpsa"), ("mww", "mw")],
)
def test_suggest_puts_the_nearest_name_first(name, near):
    text = suggest(name, ["logp", "qed", "tpsa", "mw"])
    assert text.startswith(f"did you mean '{near}'")
    assert text.endswith("Known: logp, mw, qed, tpsa.")


def test_suggest_lists_sorted_names_when_none_is_near():
    assert suggest("zzzzzz", iter(["qed", "logp"])) == "known are logp, qed."


def test_suggest_with_nothing_known():
    assert suggest("anything", []) == "none is known."


def test_a_missing_file_is_met_with_similar_names_of_its_folder(tmp_path):
    for name in ("seh.csv.gz", "seh.xlsx", "other.csv", ".seh.csv"):
        (tmp_path / name).touch()
    near = f"'{tmp_path / 'seh.csv.gz'}' or '{tmp_path / 'seh.xlsx'}'"
    message = f"'{tmp_path / 'seh.csv'}': no such file; did you mean {near}?"
    assert str(no_such_file(tmp_path / "seh.csv")) == message
    assert str(no_such_file(tmp_path / "othre.csv")).endswith(f"'{tmp_path / 'other.csv'}'?")
    assert str(no_such_file(tmp_path / "none.smi")) == f"'{tmp_path / 'none.smi'}': no such file"
    (tmp_path / "runs.ds").mkdir()
    assert str(no_such_file(tmp_path / "runs.csv")).endswith("runs.csv': no such file")
    assert similar_paths(tmp_path / "run.ds", folders=True).endswith("runs.ds'?")
    assert str(no_such_file("absent/a.csv")) == "'absent/a.csv': no such file"
