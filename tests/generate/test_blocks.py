"""Blocks come back as they were given; what kills, damages or repeats the work costs no block."""

import csv
import gzip
import json
import math
import os
import signal
import struct
import subprocess
import sys
import tracemalloc

import pytest
from filelock import FileLock
from hypothesis import given
from hypothesis import strategies as st

from molvae.data.writers import write_rows
from molvae.errors import ConfigError, FileError, OutputExistsError, RunError
from molvae.generate import blocks as module
from molvae.generate.blocks import block_files, open_blocks

COLUMNS = ["smiles", "logp", "note"]
PLAN = {"seed": 0, "request": {"targets": ["logp=2"], "candidates": 8}, "n": 4}
ROWS = {
    0: [("CCO", 1 / 3, None), ("CCN", math.nan, "a, b")],
    1: [],
    5: [["CCC", -0.0, "é\n"], ["C", 7, ""]],
}


@pytest.fixture
def output(tmp_path):
    return tmp_path / "out.csv"


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def make(output, *numbers, then=lambda blocks: None, columns=COLUMNS, plan=PLAN, **options):
    """Finish some blocks, and then something; do not join them."""
    with open_blocks(output, columns, plan, **options) as blocks:
        for number in numbers:
            blocks.write(number, ROWS[number], {"refused": number})
        then(blocks)


def join(blocks):
    """The number of rows, all in the output."""
    with blocks.joined() as count:
        return count


def fail(blocks):
    raise ZeroDivisionError


def keep(output, *numbers):
    """What work that failed leaves."""
    with pytest.raises(ZeroDivisionError):
        make(output, *numbers, then=fail)
    return output.with_name(f"{output.name}.part")


def exact(rows):
    """Rows with their types, and floats as their bits."""
    return [
        [(type(c), struct.pack("<d", c) if isinstance(c, float) else c) for c in row]
        for row in rows
    ]


# -- there and back -----------------------------------------------------------------------------

CELL = st.none() | st.floats() | st.integers() | st.text() | st.just("\ud800")


@given(st.lists(st.lists(CELL, min_size=3, max_size=3), max_size=5))
def test_cells_come_back_as_they_were_given(tmp_path_factory, rows):
    output = tmp_path_factory.mktemp("blocks") / "out.csv"
    with open_blocks(output, COLUMNS, PLAN) as blocks:
        blocks.write(3, rows, {})
        result = list(blocks.rows(3))
        blocks.write(3, [], {})
        join(blocks)
    # A NaN has many bit patterns; which one is not a value.
    assert exact(result) == exact([[math.nan if c != c else c for c in row] for row in rows])


@pytest.mark.parametrize(
    "suffix", [s + z for s in (".csv", ".tsv", ".smi", ".sdf") for z in ("", ".gz")] + [".parquet"]
)
def test_joined_blocks_are_the_file_that_is_written_at_once(tmp_path, suffix):
    if suffix == ".parquet":
        pytest.importorskip("pyarrow", reason="the extra 'parquet'")
    output, other = tmp_path / f"out{suffix}", tmp_path / f"other{suffix}"
    with open_blocks(output, COLUMNS, PLAN) as blocks:
        for number in (5, 0, 1):
            blocks.write(number, ROWS[number], {})
        assert join(blocks) == 4
    assert write_rows(other, COLUMNS, [row for rows in ROWS.values() for row in rows]) == 4
    assert output.read_bytes() == other.read_bytes()
    assert names(tmp_path) == sorted([output.name, other.name])


def test_no_blocks_make_an_empty_file(output):
    with open_blocks(output, COLUMNS, PLAN) as blocks:
        assert join(blocks) == 0
    assert output.read_text() == "smiles,logp,note\n"


def test_a_block_written_twice_counts_once(output):
    with open_blocks(output, COLUMNS, PLAN) as blocks:
        blocks.write(0, ROWS[0], {"try": 1})
        blocks.write(0, ROWS[5], {"try": 2})
        assert blocks.finished == {0: {"try": 2}}
        assert join(blocks) == 2


@pytest.mark.parametrize(("number", "rows"), [(0, [("C", 1.0)]), (-1, [])])
def test_a_wrong_block_is_not_kept(output, number, rows):
    with pytest.raises(ValueError, match="3 cells"):
        make(output, then=lambda blocks: blocks.write(number, rows, {}))
    assert names(output.parent) == []


# -- resuming -----------------------------------------------------------------------------------


def test_failed_work_is_kept_and_taken_up(output, capsys):
    work = keep(output, 0, 5)
    assert f"stopped; 2 finished blocks are kept in '{work}': continue with --resume" in (
        capsys.readouterr().err
    )
    with pytest.raises(OutputExistsError, match=r"--resume.*--force"):
        make(output)
    with open_blocks(output, COLUMNS, dict(reversed(PLAN.items())), resume=True) as blocks:
        assert "resuming with 4 finished molecules" in capsys.readouterr().err
        assert blocks.finished == {0: {"refused": 0}, 5: {"refused": 5}}
        assert exact(blocks.rows(0)) == exact(ROWS[0])
        assert exact(blocks.rows()) == exact([*ROWS[0], *ROWS[5]])
        blocks.write(1, ROWS[1], {})
        assert list(blocks.finished) == [0, 5, 1]
        assert join(blocks) == 4
    assert names(output.parent) == ["out.csv"]
    with open(output, encoding="utf-8", newline="") as text:
        assert list(csv.reader(text)) == [
            COLUMNS, ["CCO", "0.333333", ""], ["CCN", "", "a, b"], ["CCC", "-0", "é\n"],
            ["C", "7", ""],
        ]  # fmt: skip


def test_a_record_is_the_same_before_and_after(output):
    record = {"refused": {"radical": 3}, "pair": (1, 2.5), 7: None}
    before = {}

    def write(blocks):
        blocks.write(0, [], record)
        before.update(blocks.finished)
        fail(blocks)

    with pytest.raises(ZeroDivisionError):
        make(output, then=write)
    with open_blocks(output, COLUMNS, PLAN, resume=True) as blocks:
        assert blocks.finished == before == {
            0: {"refused": {"radical": 3}, "pair": [1, 2.5], "7": None}
        }  # fmt: skip
        join(blocks)


def test_force_drops_unfinished_work_and_the_output(output):
    keep(output, 0)
    output.write_text("old")
    with pytest.raises(OutputExistsError, match=r"out\.csv'"):
        make(output, resume=True)
    with open_blocks(output, COLUMNS, PLAN, force=True) as blocks:
        assert blocks.finished == {}
        assert output.read_text() == "old"
        join(blocks)
    assert output.read_text() == "smiles,logp,note\n"
    assert names(output.parent) == ["out.csv"]


def test_nothing_to_resume_starts_from_the_beginning(output):
    with open_blocks(output, COLUMNS, PLAN, resume=True) as blocks:
        assert blocks.finished == {}
        join(blocks)
    assert output.exists()


@pytest.mark.parametrize(
    ("columns", "plan", "difference"),
    [
        (COLUMNS, {**PLAN, "seed": 1}, "seed was 0, is 1"),
        (COLUMNS, {**PLAN, "request": {**PLAN["request"], "candidates": 9}},
         r"request\.candidates was 8, is 9"),
        (COLUMNS, {**PLAN, "new": True}, "new was None, is True"),
        (COLUMNS[:2], PLAN, r"columns was \['smiles', 'logp', 'note'\], is \['smiles', 'logp'\]"),
    ],
)  # fmt: skip
def test_another_plan_is_refused_and_its_work_left_alone(output, columns, plan, difference):
    keep(output, 0, 5)
    with pytest.raises(ConfigError, match=difference):
        make(output, columns=columns, plan=plan, resume=True)
    with open_blocks(output, COLUMNS, PLAN, resume=True) as blocks:
        assert join(blocks) == 4


@pytest.mark.parametrize("content", ["", "{", "[]", "null", "1"])
def test_an_unreadable_plan_is_an_error(output, content):
    (keep(output, 0) / "plan.json").write_text(content)
    with pytest.raises(ConfigError, match=r"plan\.json"):
        make(output, resume=True)


def packed(data):
    return gzip.compress(json.dumps(data).encode())


@pytest.mark.parametrize(
    "damage",
    {
        "cut": lambda data: data[:-9],
        "empty": lambda data: b"",
        "zeros": lambda data: bytes(len(data)),
        "a bit": lambda data: data[:-12] + bytes([data[-12] ^ 1]) + data[-11:],
        "no list": lambda data: packed(1),
        "no rows": lambda data: packed({"record": {}}),
        "no JSON": lambda data: gzip.compress(b"{"),
    }.items(),
    ids=lambda item: item[0],
)
def test_a_damaged_block_is_made_again(output, damage, capsys):
    path = block_files(keep(output, 0, 5))[5]
    whole = path.read_bytes()
    path.write_bytes(damage[1](whole))
    with open_blocks(output, COLUMNS, PLAN, resume=True) as blocks:
        assert "block 5 is damaged and will be made again" in capsys.readouterr().err
        assert list(blocks.finished) == [0]
        assert not path.exists()
        blocks.write(5, ROWS[5], {"refused": 5})
        assert path.read_bytes() == whole
        assert join(blocks) == 4


def test_damage_found_late_is_named_and_loses_one_block(output):
    def damage(blocks):
        path = block_files(output.with_name("out.csv.part"))[5]
        path.write_bytes(path.read_bytes()[:30])
        join(blocks)

    with pytest.raises(FileError, match=r"block-000000005\.json\.gz'.*--resume"):
        make(output, 0, 5, then=damage)
    assert names(output.parent) == ["out.csv.part"]
    with open_blocks(output, COLUMNS, PLAN, resume=True) as blocks:
        assert list(blocks.finished) == [0]
        join(blocks)


# -- stopping -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("number", "kept"),
    [(0, "stopped; nothing was finished"), (1, "stopped; 1 finished block is kept in .*--resume")],
)
def test_ctrl_c_keeps_what_is_finished(output, number, kept):
    def stop(blocks):
        raise KeyboardInterrupt

    with pytest.raises(RunError, match=kept):
        make(output, *range(number), then=stop)
    assert names(output.parent) == ["out.csv.part"] * number


def test_an_error_before_the_first_block_leaves_nothing(output, capsys):
    keep(output)
    assert names(output.parent) == []
    assert capsys.readouterr().err == ""


def test_blocks_that_nobody_joined_are_kept(output):
    with pytest.raises(RunError, match="not written"):
        make(output, 0)
    assert list(block_files(output.with_name("out.csv.part"))) == [0]


def test_a_failed_join_keeps_the_blocks_and_the_old_output(output):
    output = output.with_suffix(".sdf")
    output.write_text("old")

    def spoil(blocks):
        blocks.write(1, [("xyz", 1.0, None)], {})
        join(blocks)

    with pytest.raises(FileError, match="'xyz'"):
        make(output, 0, then=spoil, force=True)
    assert output.read_text() == "old"
    assert names(output.with_name("out.sdf.part")) == [
        ".lock", "block-000000000.json.gz", "block-000000001.json.gz", "plan.json",
    ]  # fmt: skip


def test_nothing_is_left_to_resume_beside_a_finished_output(output):
    make(output, 0, then=join)
    whole = output.read_bytes()
    with pytest.raises(OutputExistsError, match="finished"):
        make(output, resume=True)
    assert output.read_bytes() == whole


def test_an_output_that_appears_meanwhile_is_not_overwritten(output):
    def appear(blocks):
        output.write_text("mine")
        join(blocks)

    with pytest.raises(OutputExistsError, match="exists"):
        make(output, 0, then=appear)
    assert output.read_text() == "mine"
    with open_blocks(output, COLUMNS, PLAN, resume=True, force=True) as blocks:
        assert join(blocks) == 2


@pytest.mark.parametrize("options", [{"resume": True}, {"force": True}])
def test_a_locked_folder_is_left_alone(output, options):
    work = keep(output, 0)
    before = names(work)
    wanted = pytest.raises(FileError, match="another molvae generate")
    with FileLock(work / ".lock"), wanted:
        make(output, **options)
    assert names(work) == before


def test_what_is_not_ours_is_left_alone(output):
    work = output.with_name("out.csv.part")
    work.mkdir()
    (work / "thesis.txt").write_text("years of work")
    with pytest.raises(FileError, match="rename or remove"):
        make(output, force=True)
    assert names(work) == ["thesis.txt"]


@pytest.mark.parametrize("name", ["out.xlsx", "out.parquet.gz", "out"])
def test_a_name_that_cannot_be_written_is_refused_before_the_work(tmp_path, name):
    with pytest.raises(FileError, match=name):
        make(tmp_path / name)
    assert names(tmp_path) == []


def test_files_beside_are_made_again_by_the_work_that_started_them(output):
    page = output.with_name("page.html")

    def stop(blocks):
        with blocks.joined():
            page.write_text("half of it")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        make(output, 0, then=stop, extra_files=[page])
    with pytest.raises(OutputExistsError, match="page"):
        make(output, extra_files=[page])
    with open_blocks(output, COLUMNS, PLAN, extra_files=[page], resume=True) as blocks:
        output.write_text("renamed just before the kill")
        with blocks.joined() as count:
            page.write_text("all of it")
    assert (count, len(output.read_text().splitlines())) == (2, 3)
    assert names(output.parent) == ["out.csv", "page.html"]


def test_a_file_that_appears_meanwhile_is_not_overwritten(output):
    page = output.with_name("page.html")

    def appear(blocks):
        page.write_text("a stranger's")
        join(blocks)

    with pytest.raises(OutputExistsError, match="page"):
        make(output, 0, then=appear, extra_files=[page])
    with pytest.raises(OutputExistsError, match="page"):
        make(output, extra_files=[page], resume=True)
    assert page.read_text() == "a stranger's"


KILLED = """
import os, signal, sys
from pathlib import Path
from molvae.generate.blocks import open_blocks

def kill(*_):
    os.kill(os.getpid(), signal.SIGKILL)

with open_blocks(Path(sys.argv[1]), ["smiles", "x"], {"seed": 0}) as blocks:
    blocks.write(0, [("CCO", 0.1)], {"refused": 2})
    blocks.write(2, [("CCN", None)], {})
    if sys.argv[2] == "in a block":
        os.fsync = kill
        blocks.write(1, [("CCC", 1.0)], {})
    os.replace = kill
    with blocks.joined():
        pass
"""


@pytest.mark.process
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no SIGKILL on this system")
@pytest.mark.parametrize("when", ["in a block", "in the joining"])
def test_finished_blocks_survive_sigkill(tmp_path, when):
    output = tmp_path / "out.csv"
    child = subprocess.run([sys.executable, "-c", KILLED, output, when], cwd=tmp_path, check=False)
    assert child.returncode == -signal.SIGKILL
    assert names(tmp_path) == ["out.csv.part"]
    work = tmp_path / "out.csv.part"
    left = {".lock", "plan.json", "block-000000000.json.gz", "block-000000002.json.gz"}
    assert len(set(names(work)) - left) == 1  # what was being written
    with open_blocks(output, ["smiles", "x"], {"seed": 0}, resume=True) as blocks:
        assert set(names(work)) == left
        assert blocks.finished == {0: {"refused": 2}, 2: {}}
        blocks.write(1, [("CCC", 1.0)], {})
        assert join(blocks) == 3
    assert output.read_text() == "smiles,x\nCCO,0.1\nCCC,1\nCCN,\n"
    assert names(tmp_path) == ["out.csv"]


def test_a_block_is_on_the_disk_before_it_has_its_name(output, monkeypatch):
    done = []
    for name in ("fsync", "replace"):
        real = getattr(os, name)
        monkeypatch.setattr(os, name, lambda *a, n=name, r=real: (done.append(n), r(*a))[1])
    with open_blocks(output, COLUMNS, PLAN) as blocks:
        del done[:]
        blocks.write(0, ROWS[0], {})
        assert done == ["fsync", "replace", "fsync"]  # the last one of the folder
        join(blocks)


def test_memory_does_not_grow_with_the_rows(output):
    def peak(count):
        tracemalloc.start()
        with open_blocks(output, COLUMNS, PLAN, force=True) as blocks:
            for number in range(count):
                blocks.write(number, [("C" * 999, 1.0, None)] * 100, {})
            assert join(blocks) == 100 * count
        result = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return result

    peak(1)  # imports
    # The SMILES of all would be 8 MB. From Python 3.12 on, closed gzip files wait for the garbage
    # collector with their buffers.
    assert peak(80) < peak(5) + 4_000_000


def test_the_schema_is_part_of_the_plan(output, monkeypatch):
    keep(output, 0)
    monkeypatch.setattr(module, "SCHEMA", 2)
    with pytest.raises(ConfigError, match=r"schema.*1.*2"):
        make(output, resume=True)
