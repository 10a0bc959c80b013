"""From targets to rows and files."""

import csv
import gzip
from concurrent.futures import ThreadPoolExecutor

import pandas as pd
import pytest
import torch

from molvae.chem.hashing import keys_of
from molvae.chem.properties import measure_selfies
from molvae.data.readers import read_smiles
from molvae.data.shard import Shard
from molvae.errors import (
    ConfigError,
    FileError,
    InputError,
    ModelFolderError,
    OutputExistsError,
    RunError,
    TargetError,
)
from molvae.generate import blocks, novelty
from molvae.generate.novelty import known_molecules
from molvae.generate.request import Generated, Request, read_seed_molecules
from molvae.generate.run import (
    GenerationSummary,
    OutputOptions,
    columns_of,
    generate,
    generate_file,
    molecule_row,
)
from molvae.model.checkpoint import load_model
from molvae.runtime import cache
from molvae.targets import parse_target


def test_columns_are_smiles_properties_and_errors_of_points():
    targets = [parse_target(text) for text in ("qed=0.8:", "logp=2.5")]
    assert columns_of(targets) == ["smiles", "qed", "logp", "logp_minus_target"]
    row = molecule_row(Generated("CCO", {"logp": 2.0, "qed": 0.9}), targets)
    assert row == ["CCO", 0.9, 2.0, -0.5]


def test_molecules_stream_and_the_summary_adds_up(tiny_model):
    summary = GenerationSummary(wanted=12)
    result = list(generate(12, model=tiny_model, targets=["logp=1:4"], summary=summary, workers=1))
    assert len(result) == summary.written == 12
    spare = summary.decoded - sum(summary.refused.values())
    assert spare >= 12  # several good candidates may come in one round
    assert summary.seconds > 0
    assert summary.to_json()["wanted"] == 12


@pytest.mark.parametrize("targets", [["logp=1:4"], ["logp=2"]])
def test_a_listener_gets_every_molecule_once(tiny_model, targets):
    reports = []
    plain = list(generate(5, model=tiny_model, targets=targets, workers=1))
    listened = generate(
        5,
        model=tiny_model,
        targets=targets,
        workers=1,
        listener=lambda *what: reports.append(what),
    )
    assert list(listened) == plain
    counts = [decoded for decoded, _ in reports]
    assert counts == sorted(counts)
    assert counts[0] > 0
    assert sorted(m.smiles for _, new in reports for m in new) == sorted(m.smiles for m in plain)


def test_what_a_listener_raises_ends_the_work(tiny_model):
    def stop(decoded, new):
        raise InterruptedError

    with pytest.raises(InterruptedError):
        next(generate(12, model=tiny_model, workers=1, listener=stop))


def test_the_summary_states_how_many_candidates_have_the_scaffold(tiny_model):
    summary = GenerationSummary(wanted=8)
    request = Request(scaffold=["*c1ccccc1", "[N,O]"])
    list(generate(8, model=tiny_model, request=request, summary=summary, workers=1))
    lost = [summary.refused.get(why, 0) for why in ("unpaired electrons", "without the scaffold")]
    assert summary.scaffold_share == 1 - lost[1] / (summary.decoded - lost[0])
    plain = GenerationSummary(wanted=2)
    list(generate(2, model=tiny_model, summary=plain, workers=1))
    assert plain.scaffold_share is None


@pytest.mark.process
def test_workers_change_nothing(tiny_model, monkeypatch):
    monkeypatch.setattr("molvae.generate.run.INLINE", 10)
    one, two = (
        list(generate(30, model=tiny_model, targets=["qed=0.4:"], seed=5, workers=n))
        for n in (1, 2)
    )
    assert one == two


@pytest.mark.parametrize(
    ("cpus", "asked", "allowed", "workers", "decoders"),
    [
        (2, None, 7, 2, 3),
        (3, None, 7, 3, 3),
        (8, None, 7, 4, 4),
        (8, 2, 7, 2, 6),
        (4, 6, 7, 6, 3),
        (64, 2, 7, 2, 7),
        (64, None, 64, 32, 8),
        (8, None, 1, 4, 1),
    ],
)
def test_batches_are_decoded_side_by_side_on_what_workers_leave(
    tiny_model, monkeypatch, cpus, asked, allowed, workers, decoders
):
    started, beside = [], []

    def pool(count):
        started.append(count)
        return ThreadPoolExecutor(1)

    def threads(count, name):
        beside.append(count)
        return ThreadPoolExecutor(count, name)

    monkeypatch.setattr("molvae.generate.run.INLINE", 0)
    monkeypatch.setattr("molvae.generate.run.process_pool", pool)
    monkeypatch.setattr("molvae.generate.run.ThreadPoolExecutor", threads)
    monkeypatch.setattr("molvae.generate.run.available_cpus", lambda: cpus)
    monkeypatch.setattr("molvae.runtime.processes.available_cpus", lambda: cpus)
    before = torch.get_num_threads()
    torch.set_num_threads(allowed)
    try:
        seen = [torch.get_num_threads() for _ in generate(2, model=tiny_model, workers=asked)]
        assert (started, beside, set(seen)) == ([workers], [decoders], {1})
        assert torch.get_num_threads() == allowed
    finally:
        torch.set_num_threads(before)


def test_nothing_is_drawn_for_a_number_below_one(tiny_model):
    with pytest.raises(InputError, match="got 0"):
        list(generate(0, model=tiny_model))


def test_an_unknown_property_names_the_nearest(tiny_model):
    with pytest.raises(TargetError, match=r"'lgop'.*'logp'"):
        list(generate(1, model=tiny_model, targets=["lgop=2"]))


def test_a_table_holds_what_the_molecules_measure(tiny_run, tmp_path):
    path = tmp_path / "out.csv"
    summary = generate_file(path, 10, model=tiny_run, targets=["mw=:400", "logp=2"], workers=1)
    with path.open(newline="") as handle:
        rows = list(csv.DictReader(handle))
    assert len(rows) == summary.written == 10
    for row in rows:
        from rdkit.Chem import Crippen, Descriptors, MolFromSmiles

        mol = MolFromSmiles(row["smiles"])
        assert float(row["mw"]) == pytest.approx(Descriptors.MolWt(mol), rel=1e-4)
        assert float(row["logp"]) == pytest.approx(Crippen.MolLogP(mol), rel=1e-4, abs=1e-4)
        assert float(row["logp_minus_target"]) == pytest.approx(float(row["logp"]) - 2, abs=1e-4)


def test_parsed_targets_are_as_good_as_texts(tiny_model):
    """And those of the request count too."""
    request = Request(targets=(parse_target("qed=0.2:"),))
    texts = list(generate(2, model=tiny_model, targets=["qed=0.2:", "logp=1:4"], workers=1))
    parsed = [parse_target("logp=1:4")]
    assert list(generate(2, model=tiny_model, targets=parsed, request=request, workers=1)) == texts
    with pytest.raises(TargetError, match="asked for twice"):
        list(generate(5, model=tiny_model, targets=["qed=0.5"], request=request, workers=1))


def test_what_was_obtained_is_printed_with_the_request(tiny_run, tmp_path, capsys):
    path = tmp_path / "out.csv"
    targets = ["logp=20", "qed=0.1:"]
    summary = generate_file(path, 4, model=tiny_run, targets=targets, workers=1)
    table = pd.read_csv(path)
    assert list(summary.obtained) == ["logp"]
    result = summary.obtained["logp"]
    assert result["mean"] == pytest.approx(table.logp.mean(), abs=1e-5)
    assert result["mean_error"] == pytest.approx(table.logp_minus_target.abs().mean(), abs=1e-5)
    assert "logp=20 was not met" in summary.notes[-1]
    assert summary.notes[-1] in capsys.readouterr().err


def test_an_output_is_replaced_only_when_forced(tiny_run, tmp_path):
    path = tmp_path / "out.smi"
    path.write_text("mine")
    with pytest.raises(OutputExistsError, match="--force"):
        generate_file(path, 3, model=tiny_run)
    assert path.read_text() == "mine"
    generate_file(path, 3, model=tiny_run, force=True)
    assert len(path.read_text().splitlines()) == 3


@pytest.mark.parametrize(
    ("name", "model", "targets", "error"),
    [
        ("out.xyz", None, [], FileError),
        ("out.csv", "no-such-model", [], ModelFolderError),
        ("out.csv", None, ["assay"], TargetError),
    ],
)
def test_a_failure_leaves_no_file(tiny_run, tmp_path, name, model, targets, error):
    with pytest.raises(error):
        generate_file(tmp_path / name, 3, model=model or tiny_run, targets=targets)
    assert list(tmp_path.iterdir()) == []


def test_an_interrupted_generation_leaves_no_file(tiny_run, tmp_path, monkeypatch):
    calls = []

    def interrupted(*args, **options):
        calls.append(1)
        if len(calls) > 1:
            raise KeyboardInterrupt
        return measure_selfies(*args, **options)

    monkeypatch.setattr("molvae.chem.screening.measure_selfies", interrupted)
    request = Request(max_tries=64)
    with pytest.raises(RunError, match="stopped"):
        generate_file(tmp_path / "out.csv", 60, model=tiny_run, request=request, workers=1)
    assert list(tmp_path.iterdir()) == []


# -- blocks: kept, resumed, shared ----------------------------------------------------------------


@pytest.fixture
def small_blocks(monkeypatch):
    for place in ("blocks", "run", "sampler"):
        monkeypatch.setattr(f"molvae.generate.{place}.BLOCK", 4)


def interrupt(monkeypatch, after):
    """Stop generation when so many blocks are written."""
    write = blocks.Blocks.write

    def stopping(self, number, rows, record):
        if len(self.finished) == after:
            raise KeyboardInterrupt
        write(self, number, rows, record)

    monkeypatch.setattr(blocks.Blocks, "write", stopping)


SLOWER = [pytest.param(n, marks=pytest.mark.slow) for n in ("out.sdf.gz", "out.parquet", "out.smi")]


@pytest.mark.parametrize("name", ["out.csv", *SLOWER])
def test_a_stopped_run_resumes_to_the_same_file(tiny_run, tmp_path, small_blocks, name):
    options = {"model": tiny_run, "targets": ["logp=1:4"], "seed": 3, "workers": 1}
    whole = generate_file(tmp_path / f"whole-{name}", 10, **options)
    with pytest.MonkeyPatch.context() as patch:
        interrupt(patch, after=1)
        with pytest.raises(RunError, match="1 finished block"):
            generate_file(tmp_path / name, 10, **options)
    assert not (tmp_path / name).exists()
    with pytest.raises(ConfigError, match="seed"):
        generate_file(tmp_path / name, 10, **{**options, "seed": 4}, resume=True)
    summary = generate_file(tmp_path / name, 10, **options, resume=True)
    assert (tmp_path / name).read_bytes() == (tmp_path / f"whole-{name}").read_bytes()
    assert (summary.written, summary.decoded) == (whole.written, whole.decoded)
    assert summary.refused == whole.refused
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([name, f"whole-{name}"])


def test_shards_share_the_blocks(tiny_run, tmp_path, small_blocks):
    request = Request(unique=False)
    options = {"model": tiny_run, "request": request, "workers": 1}
    generate_file(tmp_path / "whole.smi", 14, **options)
    whole = [line.split()[0] for line in (tmp_path / "whole.smi").read_text().splitlines()]
    parts = []
    for i in (1, 2):
        path = tmp_path / f"{i}.smi"
        summary = generate_file(path, 14, **options, shard=Shard(i, 2))
        parts.append([line.split()[0] for line in path.read_text().splitlines()])
        assert summary.wanted == len(parts[-1])
    assert parts[0] == whole[:4] + whole[8:12]
    assert parts[1] == whole[4:8] + whole[12:]
    with pytest.raises(ConfigError, match=r"5/5.*14.* 4 .*4"):
        generate_file(tmp_path / "5.smi", 14, **options, shard=Shard(5, 5))


# -- what must not be written ---------------------------------------------------------------------


def test_molecules_of_a_file_are_not_written_again(tiny_run, tmp_path):
    first = [m.smiles for m in generate(12, model=tiny_run, workers=1)]
    known = tmp_path / "known.csv"
    salts = [f"{smiles}.Cl" for smiles in first[6:]]
    known.write_text("smiles\n" + "\n".join([*first[:6], *salts, "nonsense"]) + "\n")
    summary = GenerationSummary(wanted=12)
    second = [
        m.smiles for m in generate(12, model=tiny_run, novel=[known], summary=summary, workers=1)
    ]
    assert len(second) == 12
    assert not set(first) & set(second)
    assert summary.refused["not novel"] >= 12


def test_molecules_of_a_dataset_folder_are_not_written_again(tiny_run, tiny_dataset):
    known = known_molecules([tiny_dataset])
    with gzip.open(tiny_dataset / "molecules.csv.gz", "rt") as handle:
        rows = list(csv.DictReader(handle))
    assert len(known) == len(rows) > 200
    assert known.holds(keys_of(row["smiles"] for row in rows)).all()


def test_rows_of_known_molecules_are_counted_as_written(tmp_path, capsys):
    """A salt is known with and without its acid, and counts once; so does what is no molecule."""
    (tmp_path / "known.smi").write_text("CCO\nCCO again\nCC[NH3+].[Cl-]\nc1ccc\n")
    known = known_molecules([tmp_path / "known.smi"])
    assert known.holds(keys_of(["CCO", "CC[NH3+].[Cl-]", "CCN", "CCC"])).tolist() == [
        True, True, True, False,
    ]  # fmt: skip
    said = capsys.readouterr().err
    assert "novel: 4 molecules in" in said
    assert "1 rows of" in said


def test_a_long_file_of_known_molecules_is_read_once(tmp_path, monkeypatch, capsys):
    """What is kept is the same; another content, or another format, is another file."""
    monkeypatch.setattr(novelty, "KEEP", 1)
    table = tmp_path / "known.csv"
    table.write_text("name,smiles\nm1,OCC\nm2,CC[NH3+].[Cl-]\nm3,c1ccc\n")
    first, printed = known_molecules([table]), capsys.readouterr().err
    with monkeypatch.context() as patch:
        patch.setattr(novelty, "_chunks", None)
        again = known_molecules([table])
    assert again.keys().tolist() == first.keys().tolist() == sorted(first.keys().tolist())
    assert again.holds(keys_of(["CCO", "CC[NH3+].[Cl-]", "CCN", "CCC"])).tolist() == [
        True, True, True, False,
    ]  # fmt: skip
    assert "note: 1 rows of" in printed
    said = capsys.readouterr().err
    assert "novel: 3 molecules of" in said
    assert "kept in the cache" in said
    assert "note: 1 rows of" in said
    (entry,) = cache.entries()
    assert (entry.kind, entry.about) == ("reference", "novel set known.csv: 3 rows")

    other = tmp_path / "known.sdf"  # the same bytes are one broken record
    other.write_bytes(table.read_bytes())
    assert len(known_molecules([other])) == 0
    table.write_text("name,smiles\nm1,CCC\n")
    assert known_molecules([table]).holds(keys_of(["CCC", "CCO"])).tolist() == [True, False]


def test_a_damaged_entry_of_known_molecules_is_made_again(tmp_path, monkeypatch):
    monkeypatch.setattr(novelty, "KEEP", 1)
    table = tmp_path / "known.smi"
    table.write_text("CCO\nCCN\n")
    first = known_molecules([table])
    (entry,) = cache.entries()
    (entry.path / "keys.bin").write_bytes(bytes(8))
    assert known_molecules([table]).keys().tolist() == first.keys().tolist()
    monkeypatch.setenv("MOLVAE_CACHE", str(table))  # a cache that cannot be written
    assert known_molecules([table]).keys().tolist() == first.keys().tolist()


def test_a_missing_file_of_known_molecules_is_an_error(tiny_run, tmp_path):
    with pytest.raises(FileError, match="no such file"):
        list(generate(3, model=tiny_run, novel=[tmp_path / "none.csv"]))


# -- around given molecules, pictures and pages ---------------------------------------------------


def test_start_molecules_come_from_texts_and_files(tmp_path):
    path = tmp_path / "starts.smi"
    path.write_text("CCO a\nc1ccccc1 b\n")
    assert read_seed_molecules(["CCN", str(path)]) == ("CCN", "CCO", "c1ccccc1")
    with pytest.raises(InputError, match="'CCX'"):
        read_seed_molecules(["CCX"])


def test_columns_hold_the_start_the_similarity_and_the_likelihood(tiny_run, tmp_path):
    starts = ("CC(=O)Nc1ccccc1", "CCOC(=O)c1ccccc1")
    request = Request(like=starts, nll=True)
    path = tmp_path / "out.csv"
    generate_file(path, 4, model=tiny_run, targets=["logp=2"], request=request, workers=1)
    with path.open(newline="") as handle:
        rows = list(csv.DictReader(handle))
    expected = ["smiles", "logp", "logp_minus_target", "start", "similarity", "nll"]
    assert list(rows[0]) == expected
    assert [row["start"] for row in rows] == [*starts] * 2
    assert all(0 <= float(row["similarity"]) <= 1 for row in rows)
    assert all(float(row["nll"] or 1) > 0 for row in rows)
    asked = Request(like=starts).with_targets(["similarity=0.3:"], load_model(tiny_run))
    assert columns_of(asked.targets, asked.extras) == [
        "smiles", "similarity", "start",
    ]  # fmt: skip


def test_a_table_that_the_scripts_of_moses_read(tiny_run, tmp_path):
    plain, moses = tmp_path / "plain.csv", tmp_path / "moses.csv"
    generate_file(plain, 3, model=tiny_run, targets=["logp=1:5"], workers=1)
    header = OutputOptions(smiles_header="SMILES")
    generate_file(moses, 3, model=tiny_run, targets=["logp=1:5"], workers=1, options=header)
    # As moses.utils.read_smiles_csv does.
    table = pd.read_csv(moses, usecols=["SMILES"])["SMILES"].tolist()
    assert table == pd.read_csv(plain)["smiles"].tolist()
    assert list(read_smiles([moses])) == table
    for name in ("", "logp", "a=b"):
        with pytest.raises(ConfigError, match="column"):
            generate_file(
                tmp_path / "x.csv", 5, model=tiny_run, targets=["logp=1:5"],
                options=OutputOptions(smiles_header=name),
            )  # fmt: skip


@pytest.mark.parametrize(("suffix", "head"), [("png", b"\x89PNG"), ("svg", b"<?xml")])
def test_a_grid_shows_molecules_and_values(tiny_run, tmp_path, suffix, head):
    grid = tmp_path / f"grid.{suffix}"
    picture = OutputOptions(grid=grid)
    generate_file(
        tmp_path / "a.csv", 2, model=tiny_run, targets=["logp=2"], options=picture, workers=1
    )
    assert grid.read_bytes().startswith(head)
    other = OutputOptions(grid=tmp_path / "grid.jpg")
    with pytest.raises(FileError, match="picture"):
        generate_file(tmp_path / "b.csv", 5, model=tiny_run, options=other)
    assert not (tmp_path / "b.csv").exists()


def test_a_report_sets_targets_against_results(tiny_run, tmp_path):
    page = tmp_path / "page.html"
    summary = generate_file(
        tmp_path / "a.csv", 4, model=tiny_run, targets=["logp=1:4", "mw=300"], seed=9, workers=1,
        options=OutputOptions(report=page, command="molvae generate …"),
    )  # fmt: skip
    html = page.read_text(encoding="utf-8")
    assert f"{summary.decoded:,}" in html
    assert "4/4" in html
    assert "molvae generate …" in html
