"""The tables of scripts/bench/growth.py: exponents, memory per molecule, cores, and the page."""

import importlib.util
from pathlib import Path

import pytest

BENCH = Path(__file__).parents[2] / "scripts" / "bench"


@pytest.fixture(scope="module")
def growth():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(BENCH))  # for the modules in that folder
        spec = importlib.util.spec_from_file_location("growth", BENCH / "growth.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    return module


def cell(command, size, cores, seconds, cpu, memory=2**20):
    keys = ("command", "size", "cores", "seconds", "cpu", "memory")
    return dict(zip(keys, (command, size, cores, seconds, cpu, memory), strict=True))


def cells_of(line):
    return [text.strip() for text in line.strip("|").split("|")]


CELLS = [
    cell("prepare", 1_000, 1, 9.0, 4.0),
    cell("prepare", 100_000, 1, 90.0, 4_000.0, 2**20 + 99_000 * 7),  # 100 times as many: 10³
    cell("prepare", 100_000, 2, 60.0, 4_400.0),
    cell("optimize", 10_000, 1, 50.0, 40.0),
]


def test_each_row_has_the_exponent_since_the_row_above(growth):
    rows = [cells_of(line) for line in growth.growth_table(CELLS, 1)[2:]]
    assert rows == [
        ["prepare", "1,000", "9.0", "4", "111", "", "1", ""],
        ["prepare", "100,000", "90.0", "4,000", "1,111", "1.50", "2", "7"],  # of the CPU time
        ["optimize", "1,000", "50.0", "40", "20", "", "1", ""],  # a tenth as many calls
    ]


def test_cores_are_compared_at_the_largest_size_of_both(growth):
    rows = [cells_of(line) for line in growth.cores_table(CELLS)[2:]]
    assert rows == [["prepare", "100,000", "90.0", "2", "60.0", "1.50"]]


def test_what_was_not_measured_is_said(growth):
    said = growth.missing(CELLS, [100_000, 1_000_000])
    names = ", ".join(name for name in growth.COMMANDS if name != "prepare")
    assert said == f"Not measured: 100,000 ({names}); 1,000,000 (all commands)."


def test_the_page_keeps_its_text(growth, tmp_path):
    page = tmp_path / "page.md"
    page.write_text(f"before\n{growth.START}\nold\n{growth.END}\nafter\n")
    for _ in range(2):
        growth.write_page(page, ["| a |"])
    assert page.read_text() == f"before\n{growth.START}\n\n| a |\n\n{growth.END}\nafter\n"
    page.write_text("no marks")
    with pytest.raises(SystemExit, match="no lines"):
        growth.write_page(page, [])


def test_the_page_of_the_documentation_has_the_marks(growth):
    text = (BENCH.parents[1] / "docs" / "growth.md").read_text(encoding="utf-8")
    assert text.index(growth.START) < text.index(growth.END)
