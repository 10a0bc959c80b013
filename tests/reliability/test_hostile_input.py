"""Hostile input: no traceback, no hang, every row accounted for."""

import csv
import gzip
import itertools
import json

import pytest
from click.testing import CliRunner

from molvae.cli import main
from tests import warm
from tests.peak import needs_proc, peak_memory
from tests.reliability.hostile import ODD, PLAIN, hostile_lines, hostile_records

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]
MEMORY = 1_500_000_000  # bytes; rubbish must not need more


def here(*arguments):
    """The same in this process, which starts faster: (exit code, what was said to people)."""
    done = CliRunner().invoke(main, list(map(str, arguments)))
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exc_info
    return done.exit_code, done.stderr


def prepared(source, folder, *more, conditions="logp"):
    """The manifest, after a look at whether it adds up with the rejects."""
    done = warm.run(
        "prepare", source, "-o", folder, "--conditions", conditions, "--workers", 2,
        "--set", "data.timeout=5", *more, timeout=1000,
    )  # fmt: skip
    log = done.stderr
    assert done.returncode == 0, log[-2000:]
    assert "Traceback" not in log
    m = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    assert m["rows_read"] == m["kept"] + m["merged"] + m["rejected"]
    with open(folder / "rejects.csv", encoding="utf-8", newline="") as handle:
        rejects = list(csv.DictReader(handle))
    assert len(rejects) == m["rejected"] == sum(m["reasons"].values())
    assert len({row["row"] for row in rejects}) == len(rejects)
    assert all(len(row["text"]) <= 501 for row in rejects)
    for row in rejects:  # opened in a spreadsheet, no cell is a formula
        assert row["text"][:1] not in ("=", "+", "-", "@", "\t"), row
    return m


@pytest.mark.parametrize("count", [2_000, pytest.param(100_000, marks=pytest.mark.nightly)])
def test_a_smi_file_of_hostile_lines(tmp_path, count):
    path = tmp_path / "hostile.smi"
    path.write_bytes(b"CCO first\n" + b"\n".join(hostile_lines(count, seed=1)) + b"\n")
    m = prepared(path, tmp_path / "smi.ds")
    assert m["rows_read"] == count + 1
    assert m["kept"] >= len(PLAIN) - 2
    assert m["merged"] > count // 5
    assert m["rejected"] > 3 * count // 10


@pytest.mark.parametrize("count", [2_000, pytest.param(20_000, marks=pytest.mark.nightly)])
def test_a_table_of_hostile_cells(tmp_path, count):
    path = tmp_path / "hostile.csv"
    with open(path, "w", encoding="utf-8", errors="surrogateescape", newline="") as handle:
        writer = csv.writer(handle)
        writer.writerow(["smiles", "id", "y"])
        lines = hostile_lines(count, seed=2)
        for line, y in zip(lines, itertools.cycle(["1", "", "=1+1", ">5", "1e400", "x,y"])):
            text = line.decode("utf-8", "surrogateescape")[:100_000]
            writer.writerow([text.split(" ")[0], text[:50], y])
    m = prepared(
        path, tmp_path / "csv.ds", "-p", "y", "--bad-labels", "missing", conditions="logp,y"
    )
    assert m["rows_read"] == count


@pytest.mark.parametrize("count", [500, pytest.param(5_000, marks=pytest.mark.nightly)])
def test_an_sdf_of_broken_records(tmp_path, count):
    path = tmp_path / "hostile.sdf"
    path.write_bytes(b"".join(hostile_records(count, seed=3)))
    m = prepared(path, tmp_path / "sdf.ds")
    assert m["rows_read"] == count


@needs_proc
@pytest.mark.parametrize(
    "content",
    [
        b"C",
        *(pytest.param(text, marks=pytest.mark.nightly) for text in (b"\x00", b"\n", b"CCO x\n")),
    ],
)
def test_a_gz_bomb(tmp_path, content):
    """400 MB in 400 KB: as a single line, as empty lines, as one molecule again and again."""
    path = tmp_path / "bomb.smi.gz"
    size = 400_000_000 if len(content) == 1 and content != b"\n" else 1_000_000
    with gzip.open(path, "wb", 6) as handle:
        handle.write(b"CCO first\nCCN second\n")
        for _ in range(size // 1_000_000):
            handle.write(content * (1_000_000 // len(content)))
    peak = peak_memory(
        tmp_path, "prepare", path, "-o", tmp_path / "bomb.ds", "--conditions", "logp",
        "--workers", 0, "--standardize", "none",
    )  # fmt: skip
    m = json.loads((tmp_path / "bomb.ds" / "manifest.json").read_text(encoding="utf-8"))
    assert m["rows_read"] == m["kept"] + m["merged"] + m["rejected"]
    assert m["kept"] == 2
    assert peak < MEMORY


NOTHING = {
    "empty.smi": b"",
    "empty.csv": b"",
    "empty.sdf": b"",
    "empty.smi.gz": b"",
    "head.csv": b"smiles,y\n",
    "bom.smi": b"\xef\xbb\xbf",
    "cut.smi.gz": gzip.compress(b"CCO\n" * 999)[:20],
    "nothing.smi.gz": gzip.compress(b""),
    "blank.smi": b"\n\n\n",
    "nul.smi": b"\x00" * 5000,
    "utf16.smi": "CCO\nCCN\n".encode("utf-16"),
    "dollars.sdf": b"$$$$\n" * 5,
    "picture.csv": b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 20,
    "quote.csv": b'smiles\n"CCO\n',
}


@pytest.mark.parametrize("name", NOTHING)
@pytest.mark.parametrize("verb", ["prepare", "evaluate", "encode"])
def test_files_of_nothing(tmp_path, verb, name, tiny_run):
    """Refused in a line that names the file, or read as what little there is."""
    path = tmp_path / name
    path.write_bytes(NOTHING[name])
    output = {"prepare": "out.ds", "evaluate": "out.json", "encode": "z.npy"}[verb]
    more = {"prepare": ["--workers", 0], "encode": ["-m", tiny_run]}.get(verb, [])
    code, log = here(verb, path, "-o", tmp_path / output, *more)
    assert code in (0, 1, 2), log
    if code:
        errors = [line for line in log.splitlines() if line.startswith("error:")]
        assert len(errors) == 1, log
        assert name in errors[0] or "no molecule" in errors[0], log


def test_hostile_molecules_on_the_command_line(tmp_path, tiny_run):
    """What is typed on the command line is refused as kindly."""
    texts = [text for text in ODD if "\x00" not in text]
    path = tmp_path / "many.smi"
    path.write_text("".join(text.replace("\x85", "") + "\n" for text in texts), encoding="utf-8")
    commands = [
        ["encode", path, "-o", tmp_path / "z.csv"],
        ["generate", "-n", 2, "--like", path, "-o", tmp_path / "like.csv"],
        ["generate", "-n", 2, "--novel", path, "-o", tmp_path / "novel.csv"],
    ]
    for text in texts[4:60:14]:
        one = ["generate", "-n", 1, "--max-tries", 3, "-o", tmp_path / "out.csv", "--force"]
        commands += [
            [*one, "--like", text],
            [*one, "--scaffold", text],
            [*one, "-t", f"qed={text}"],
        ]
    for command in commands:
        code, log = here(*command, "-m", tiny_run)
        assert code in (0, 1, 2), (command, log)
