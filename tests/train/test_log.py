"""What a run tells about its budget and its columns."""

from types import SimpleNamespace

import numpy as np
import pytest

from molvae.runtime.progress import duration
from molvae.runtime.randomness import Draws
from molvae.train.conditions import fitted_conditions
from molvae.train.log import TrainSummary, more_time_note


@pytest.mark.parametrize(
    ("molecules", "reason", "note"),
    [
        (1600, "budget spent", "each molecule was seen 1.6 times: give it more time"),
        (3000, "budget spent", ""),
        (1600, "no improvement in 6 validations", ""),
    ],
)
def test_a_short_run_is_advised_to_take_more_time(molecules, reason, note):
    summary = TrainSummary("run", True, reason, 25, molecules, 9.0)
    assert more_time_note(summary, 1000).startswith(note)
    assert bool(more_time_note(summary, 1000)) is bool(note)


def test_a_constant_column_is_named(capsys):
    values = np.asarray([[1, 5, 2], [1, 6, np.nan], [1, 7, 2]], dtype=np.float32)
    names = ["same", "other", "known"]
    manifest = {"options": {"properties": {name: name for name in names}}}
    dataset = SimpleNamespace(
        values=values, names=names, kinds={}, manifest=manifest, folder="mine.ds"
    )
    fitted_conditions(dataset, [0, 1, 2], np.arange(3), Draws(0), None)
    assert "same value of same, known:" in capsys.readouterr().err
    fitted_conditions(dataset, [1], np.arange(3), Draws(0), None)
    assert capsys.readouterr().err == ""


def test_the_note_names_what_took_the_time_before_the_first_step():
    spent = TrainSummary("run", True, "budget spent", 25, 500, 30.0)
    assert "took" not in more_time_note(spent, 1000, 14.0)
    took = f"took {duration(20.0)} of {duration(30.0)} before the first step"
    assert took in more_time_note(spent, 1000, 20.0)
