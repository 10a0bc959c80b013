"""Progress goes to standard error, sparingly, and not at all when quiet."""

import io
import sys

import pytest

from molvae.runtime import progress
from molvae.runtime.progress import Progress, duration, say, set_listener, set_quiet


@pytest.fixture(autouse=True)
def loud():
    set_quiet(False)
    yield
    set_quiet(False)


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self):
        self.now = 1000.0

    def monotonic(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(progress, "time", clock)
    return clock


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0.0s"), (4.26, "4.3s"), (59.94, "59.9s"), (59.96, "1m00s"), (60, "1m00s"),
        (95, "1m35s"), (119.6, "2m00s"), (3599, "59m59s"), (3599.6, "1h00m"), (3600, "1h00m"),
        (7300, "2h01m"), (90000, "25h00m"),
    ],
)  # fmt: skip
def test_durations_as_a_person_writes_them(seconds, text):
    assert duration(seconds) == text


def test_a_log_gets_one_line_every_while_on_standard_error_only(capsys, clock):
    with Progress("reading", total=100, every=15) as bar:
        for _ in range(4):
            clock.now += 10
            bar.advance(20)
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == [
        "reading: 40 molecules, 2.0 molecules/s, 40%, 30.0s left",
        "reading: 80 molecules, 2.0 molecules/s, 80%, 10.0s left",
        "reading: 80 molecules in 40.0s, 2.0 molecules/s",
    ]


def test_position_unit_and_note_are_shown(capsys, clock):
    with Progress("training", total=2.0, unit="steps", every=1) as bar:
        clock.now += 8
        bar.advance(2000, done=0.5, note="loss 3.2")
        clock.now += 1
        bar.advance(0, done=3.0)  # beyond the total: no more than everything
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "training: 2,000 steps, 250 steps/s, 25%, 24.0s left, loss 3.2"
    assert "100%, 0.0s left, loss 3.2" in lines[1]


def test_without_a_total_no_share_is_claimed(capsys, clock):
    with Progress("reading", every=1) as bar:
        clock.now += 2
        bar.advance(10)
    assert capsys.readouterr().err.splitlines()[0] == "reading: 10 molecules, 5.0 molecules/s"


@pytest.mark.parametrize(
    ("count", "seconds", "rate"),
    [
        (3000, 2, "1,500 m/s"), (10, 1, "10 m/s"), (99, 10, "9.9 m/s"), (10, 10, "1.0 m/s"),
        (30, 78, "23 m/min"), (3, 120, "1.5 m/min"), (1, 90, "40 m/h"), (0, 90, "0 m/s"),
    ],
)  # fmt: skip
def test_a_slow_rate_is_no_zero(clock, count, seconds, rate):
    bar = Progress("docking", unit="m", every=1e9)
    clock.now += seconds
    bar.advance(count)
    assert bar.rate() == rate


def test_at_the_very_start_the_rate_is_finite_and_no_time_left_is_claimed(capsys, clock):
    with Progress("reading", total=10, every=0) as bar:
        bar.advance(0)
    assert capsys.readouterr().err.splitlines()[0] == "reading: 0 molecules, 0 molecules/s, 0%"


def test_the_first_of_many_molecules_predicts_no_time_left(capsys, clock):
    with Progress("samples", total=2000, every=15) as bar:
        for _ in range(2):
            clock.now += 20
            bar.advance(1)
    first, second, _ = capsys.readouterr().err.splitlines()
    assert first == "samples: 1 molecules, 3.0 molecules/min, 0%"
    assert second == "samples: 2 molecules, 3.0 molecules/min, 0%, 11h06m left"


def test_work_that_failed_is_not_summed_up(capsys, clock):
    def fail():
        with Progress("reading") as bar:
            bar.advance(5)
            raise KeyError("x")

    with pytest.raises(KeyError):
        fail()
    assert capsys.readouterr().err == ""


def test_quiet_silences_everything(capsys, clock):
    set_quiet(True)
    say("hello")
    with Progress("reading", total=10, every=0) as bar:
        clock.now += 5
        bar.advance(5)
    assert bar.count == 5
    assert capsys.readouterr() == ("", "")
    set_quiet(False)
    say("hello again")
    assert capsys.readouterr() == ("", "hello again\n")


def test_a_listener_gets_what_standard_error_would(capsys, clock):
    seen = []
    set_listener(lambda *line: seen.append(line))
    try:
        with Progress("reading", total=10) as bar, Progress("asking") as other:
            clock.now += 0.6
            bar.advance(5)
            bar.advance(1)  # too early
            other.advance(3)
    finally:
        set_listener(None)
    assert seen == [
        ("reading", 0.0),
        ("asking", None),
        ("reading: 5 molecules, 8.3 molecules/s, 50%, 0.6s left", 0.5),
        ("asking: 3 molecules, 5.0 molecules/s", None),
    ]
    assert [line.split(",")[0] for line in capsys.readouterr().err.splitlines()] == [
        "asking: 3 molecules in 0.6s", "reading: 6 molecules in 0.6s",
    ]  # fmt: skip


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_terminal_gets_a_bar_on_standard_error(monkeypatch, capsys):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    with Progress("reading", total=10) as bar:
        bar.advance(5, note="half")
    text = terminal.getvalue()
    assert "50%" in text
    assert "half" in text
    assert "reading: 5 molecules in" in text.splitlines()[-1]
    assert capsys.readouterr().out == ""


def test_a_quiet_terminal_gets_nothing(monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    set_quiet(True)
    with Progress("reading", total=10) as bar:
        bar.advance(5)
    assert terminal.getvalue() == ""


NOTEBOOK_CELL = """
import time
from molvae.runtime import progress

progress.CELL_EVERY = 0.01
with progress.Progress("reading", total=3) as bar:
    for _ in range(3):
        time.sleep(0.02)
        bar.advance(1)
progress.set_quiet(True)
with progress.Progress("unseen", total=1) as bar:
    bar.advance(1)
"""


def test_a_notebook_shows_one_line_that_changes():
    nbformat = pytest.importorskip("nbformat", reason="the extra 'notebook'")
    nbclient = pytest.importorskip("nbclient", reason="the extra 'notebook'")
    cell = nbformat.v4.new_code_cell(NOTEBOOK_CELL)
    client = nbclient.NotebookClient(nbformat.v4.new_notebook(cells=[cell]), timeout=280)
    client.execute()
    (shown,) = cell.outputs  # nothing on standard error besides
    assert shown.output_type == "display_data"
    assert shown.data["text/plain"].startswith("reading: 3 molecules in ")


def test_a_notebook_line_is_changed_now_and_then(monkeypatch, clock, capsys):
    lines = []

    class Handle:
        def update(self, data, raw):
            assert raw
            lines.append(data["text/plain"])

    def display(data, raw, display_id):
        assert raw
        assert display_id
        lines.append(data["text/plain"])
        return Handle()

    monkeypatch.setattr(progress, "_notebook_display", lambda: display)
    with Progress("reading", total=100) as bar:
        for _ in range(8):
            clock.now += 0.2
            bar.advance(10, note="well")
    assert lines[0] == "reading"
    assert lines[1] == "reading: 30 molecules, 50 molecules/s, 30%, 1.4s left, well"
    assert lines[-1] == "reading: 80 molecules in 1.6s, 50 molecules/s"
    assert len(lines) == 4
    assert capsys.readouterr() == ("", "")
