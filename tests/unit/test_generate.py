"""From targets to rows and files."""

import csv

import pytest

from molvae.conditions import parse_target
from molvae.errors import FileError, InputError, ModelFolderError, OutputExistsError, TargetError
from molvae.generate import GenerationSummary, columns_of, generate, generate_file, molecule_row
from molvae.properties import measure_selfies
from molvae.sampler import Generated, Request


def test_columns_are_smiles_properties_and_errors_of_points():
    targets = [parse_target(text) for text in ("qed=0.8:", "logp=2.5")]
    assert columns_of(targets) == ["smiles", "qed", "logp", "error_logp"]
    row = molecule_row(Generated("CCO", {"logp": 2.0, "qed": 0.9}), targets)
    assert row == ["CCO", 0.9, 2.0, -0.5]


def test_molecules_stream_and_the_summary_adds_up(tiny_model):
    summary = GenerationSummary(wanted=12)
    found = list(generate(12, model=tiny_model, targets=["logp=1:4"], summary=summary, workers=1))
    assert len(found) == summary.written == 12
    spare = summary.decoded - sum(summary.refused.values())
    assert spare >= 12  # several good candidates may come in one round
    assert summary.seconds > 0
    assert summary.to_json()["wanted"] == 12


def test_workers_change_nothing(tiny_model, monkeypatch):
    monkeypatch.setattr("molvae.generate.INLINE", 10)
    one, two = (
        list(generate(30, model=tiny_model, targets=["qed=0.4:"], seed=5, workers=n))
        for n in (1, 2)
    )
    assert one == two


def test_nothing_is_drawn_for_a_number_below_one(tiny_model):
    with pytest.raises(InputError, match="number of molecules: got 0"):
        list(generate(0, model=tiny_model))


def test_an_unknown_property_names_the_nearest(tiny_model):
    with pytest.raises(TargetError, match="unknown property 'lgop': did you mean 'logp'"):
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
        assert float(row["error_logp"]) == pytest.approx(float(row["logp"]) - 2, abs=1e-4)


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

    monkeypatch.setattr("molvae.sampler.checks.measure_selfies", interrupted)
    request = Request(max_tries=64)
    with pytest.raises(KeyboardInterrupt):
        generate_file(tmp_path / "out.csv", 500, model=tiny_run, request=request, workers=1)
    assert list(tmp_path.iterdir()) == []
