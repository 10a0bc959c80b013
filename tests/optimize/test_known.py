"""Known molecules: what is read of a file, and that a search starts from them at no cost."""

import csv
import json
import math
from pathlib import Path

import pandas as pd
import pytest
import torch
from rdkit.Chem import Crippen, MolFromSmiles

from molvae.api import MolVAE
from molvae.cli.optimize import _lines
from molvae.errors import ConfigError, InputError
from molvae.generate.proposer import Proposer
from molvae.generate.request import Request
from molvae.model.checkpoint import load_model
from molvae.objectives import parse_objective
from molvae.optimize.archive import Answer, Archive
from molvae.optimize.engines.choice import METHODS
from molvae.optimize.engines.evolution import Evolution
from molvae.optimize.engines.learning import Learning
from molvae.optimize.known import KnownFiles, parse_columns
from molvae.optimize.run import optimize
from molvae.optimize.summary import OptimizeSummary
from molvae.runtime.progress import set_quiet
from molvae.runtime.randomness import Draws
from tests import warm
from tests.molecules import demo_smiles

ASSAY = """ID,Smiles,IC
1,CC(=O)Oc1ccccc1C(=O)O,5.5
2,CCO.Cl,4.0
3,OCC,5.0
4,c1ccccc1,>10
5,xx,3
6,CCN,
7,CCCN,abc
8,"CC(=O)[O-].[Na+]","1,000.5"
"""
QED = parse_objective(["qed"])


@pytest.fixture
def assay(tmp_path):
    path = tmp_path / "assay.csv"
    path.write_text(ASSAY)
    return path


def known_of(files, model, **options):
    return files.read(model, workers=0, **{"pareto": False, **options})


def calls_of(path):
    with path.open() as file:
        return [row for row in csv.DictReader(file) if row["status"] == "asked"]


# -- reading ----------------------------------------------------------------------------------


def test_rows_become_clean_molecules_and_all_others_are_counted_and_named(
    assay, tiny_model, capsys
):
    set_quiet(False)
    known = known_of(KnownFiles([assay], QED, columns={"qed": "IC"}), tiny_model)
    scores = {answer.smiles: answer.scores for answer in known.answers}
    # The salt's parent and its second row are one molecule with the mean of both values.
    assert scores == {"CC(=O)Oc1ccccc1C(=O)O": (5.5,), "CCO": (4.5,), "CC(=O)O": (1000.5,)}
    assert [answer.number for answer in known.answers] == [-3, -2, -1]
    assert known.texts["CC(=O)[O-].[Na+]"].smiles == "CC(=O)O"
    said = capsys.readouterr().err
    assert "qed from column 'IC'" in said
    assert "4 of 8 rows" in said
    for row in ("row 4 'c1ccccc1'", "row 5 'xx'", "row 6 'CCN'", "row 7 'CCCN'"):
        assert row in said
    assert "a censored value of 'IC'" in said
    assert "equal molecules: 1" in said


def test_the_log_of_a_search_has_scores_on_the_objective_s_own_scale(tmp_path, tiny_model):
    path, objective = tmp_path / "old.calls.csv", parse_objective(["logp=2:3", "qed"])
    path.write_text(
        "call,round,origin,smiles,status,value,note,logp,qed,logp_score\n"
        "1,0,sample,CCO,asked,,,,,\n2,0,sample,CCN,asked,,,,,\n"
        "1,0,sample,CCO,answered,0.3,,2.5,0.36,1.0\n2,0,sample,CCN,failed,,it broke,,,\n"
        "3,1,sample,CCC,asked,,,,,\n"
    )
    (one,) = known_of(KnownFiles([path], objective), tiny_model).answers
    assert (one.smiles, one.scores) == ("CCO", (2.5, 0.36))
    assert one.worth == (1.0, 0.36)
    assert one.value == pytest.approx(math.sqrt(0.36))
    # An older version wrote the desirability under the name of the property: it is computed.
    text = path.read_text().replace(",logp_score\n", "\n").replace(",1.0\n", "\n")
    path.write_text(text.replace(",,,,,\n", ",,,,\n").replace("broke,,,", "broke,,"))
    (one,) = known_of(KnownFiles([path], objective), tiny_model).answers
    assert one.scores == pytest.approx((Crippen.MolLogP(MolFromSmiles("CCO")), 0.36), abs=1e-4)


def test_what_no_call_computes_needs_no_column(tmp_path, tiny_model):
    objective_file = tmp_path / "dock.py"
    objective_file.write_text("def dock(smiles: str) -> float:\n    return 1.0\n")
    path = tmp_path / "known.csv"
    path.write_text("smiles,dock\nCCO,-7.5\nCCCN,-9\n")
    objective = parse_objective([f"{objective_file}:dock@-4:-10", "logp=:2"])
    known = known_of(KnownFiles([path], objective), tiny_model)
    logp = [Crippen.MolLogP(MolFromSmiles(text)) for text in ("CCO", "CCCN")]
    assert [a.scores[0] for a in known.answers] == [-7.5, -9.0]
    assert [a.scores[1] for a in known.answers] == pytest.approx(logp, abs=1e-4)
    assert known.answers[0].worth[0] == pytest.approx(3.5 / 6)
    path.write_text("smiles,docked\nCCO,-7.5\n")
    with pytest.raises(ConfigError, match=r"'dock'.*--known-column dock=COLUMN"):
        KnownFiles([path], objective)


def test_measured_values_are_not_predictions_and_a_note_says_so(tmp_path, measured_run, capsys):
    """The predictor's pessimism makes new molecules look worse than measured ones."""
    model = load_model(measured_run)
    path = tmp_path / "known.csv"
    path.write_text("smiles,assay\nCCOc1ccccc1,6.5\nCCN(CC)CC,5\n")
    for minimize, sign in ((False, "below"), (True, "above")):
        objective = parse_objective(
            ["assay"], minimize=minimize, columns=lambda: model.predictors, pessimism=0.5
        )
        known = known_of(KnownFiles([path], objective), model)
        assert sorted(answer.scores for answer in known.answers) == [(5.0,), (6.5,)]
        said = capsys.readouterr().err
        assert f"assay is measured there; the search scores 0.5 standard deviations {sign}" in said


def test_the_moves_are_one_line_apart_from_what_was_refused():
    summary = OptimizeSummary(
        budget=9, method="evolution", calls=7, best=0.5, top=0.4, moves={"edit": 1200, "cross": 5},
        refused={"unpaired electrons": 3},
    )  # fmt: skip
    lines = _lines(summary, Path("best.csv"))
    assert "  calls by move: 5 cross, 1,200 edit" in lines
    assert lines[-1] == "  3 not scored: unpaired electrons"


def test_columns_are_given_by_name():
    assert parse_columns(["IC"], ["qed"]) == {"qed": "IC"}
    assert parse_columns(["qed=a=b"], ["qed"]) == {"qed": "a=b"}
    assert parse_columns(["a=b"], ["qed"]) == {"qed": "a=b"}
    assert parse_columns(["x=1", "y=2"], ["x", "y"]) == {"x": "1", "y": "2"}
    with pytest.raises(ConfigError, match="x, y"):
        parse_columns(["IC"], ["x", "y"])
    with pytest.raises(ConfigError, match="'IC'"):
        parse_columns(["IC", "qed=b"], ["qed"])


def test_files_that_cannot_be_used(tmp_path, assay, tiny_model):
    (tmp_path / "none.csv").write_text("smiles,qed\nxx,1\n")
    with pytest.raises(InputError, match=r"none\.csv"):
        known_of(KnownFiles([tmp_path / "none.csv"], QED), tiny_model)
    with pytest.raises(ConfigError, match="--known FILE"):
        KnownFiles([], QED, columns={"qed": "IC"})
    with pytest.raises(ConfigError, match="'gsk'"):
        KnownFiles([assay], QED, columns={"gsk": "IC"})


# -- searching --------------------------------------------------------------------------------


def test_a_seeded_archive_keeps_calls_and_known_molecules_apart():
    def answer(number, value):
        return Answer(number, 0, "x", f"m{number}", (value,), (value,), value)

    archive, known = Archive(), [answer(-3, 0.9), answer(-2, 0.1), answer(-1, 0.5)]
    archive.seed({a.smiles: a for a in known}, [known[0], known[2]])  # one breaks a constraint
    assert len(archive) == 2
    archive.add([answer(1, 0.7)])
    assert len(archive) == 3
    assert [a.number for a in archive.pool] == [-3, 1, -1]
    assert [a.number for a in archive.found] == [1]
    assert "m-2" in archive.answers


@pytest.fixture
def known_csv(tmp_path):
    """Drug-like molecules with scores that no molecule can reach."""
    path = tmp_path / "known.csv"
    rows = ["CC(=O)Nc1ccc(O)cc1,3.0", "CC(C)Cc1ccc(C(C)C(=O)O)cc1,2.0", "c1ccc2ccccc2c1,2.5",
            "CCOC(=O)c1ccc(N)cc1,4.0", "CC(=O)Oc1ccccc1C(=O)O,2.2"]  # fmt: skip
    path.write_text("smiles,qed\n" + "\n".join(rows) + "\n")
    return path


# Learning and the trust region take seconds; other tests of each run in the quick level.
@pytest.mark.parametrize(
    "method",
    [pytest.param(m, marks=[pytest.mark.slow] * (m in ("learning", "trust"))) for m in METHODS],
)
def test_a_search_starts_from_them_and_never_calls_them(tmp_path, tiny_run, known_csv, method):
    if method in ("cma", "trust"):
        pytest.importorskip({"cma": "cma", "trust": "botorch"}[method])
    output = tmp_path / "best.csv"
    options = {"model": tiny_run, "method": method, "workers": 0, "known": [known_csv]}
    summary = optimize(output, QED, 8, **options, given=["CCOC(=O)c1ccc(N)cc1"])
    known = set(pd.read_csv(known_csv)["smiles"])
    calls = calls_of(tmp_path / "best.calls.csv")
    assert len(calls) == summary.calls == 8
    assert not known & {row["smiles"] for row in calls}
    assert not known & {answer.smiles for answer in summary.molecules}
    assert (summary.known, summary.known_best) == (5, 4.0)
    assert summary.best < 1
    origins = {row["origin"] for row in calls}
    # Four samples open a search of 8 calls without known molecules.
    assert origins == {"sample"} if method == "sampling" else origins != {"sample"}
    if method == "evolution":  # the first round changes known molecules
        assert {row["origin"] for row in calls if row["round"] == "0"} <= set(Evolution.moves)


def test_resuming_needs_the_same_molecules_and_gives_the_same_calls(tmp_path, tiny_run, known_csv):
    options = {"model": tiny_run, "workers": 0, "known": [known_csv]}
    for name, budgets in (("whole", [12]), ("parts", [8, 12])):
        for i, budget in enumerate(budgets):
            optimize(tmp_path / f"{name}.csv", QED, budget, **options, resume=i > 0)
    whole, parts = (tmp_path / f"{name}.calls.csv" for name in ("whole", "parts"))
    assert whole.read_bytes() == parts.read_bytes()
    record = json.loads((tmp_path / "parts.calls.json").read_text())
    assert record["known"][0]["columns"] == {"qed": "qed"}
    known_csv.write_text(known_csv.read_text().replace("3.0", "3.1"))
    with pytest.raises(ConfigError, match="known"):
        optimize(tmp_path / "parts.csv", QED, 30, **options, resume=True)
    with pytest.raises(ConfigError, match="known"):
        optimize(tmp_path / "parts.csv", QED, 30, model=tiny_run, workers=0, resume=True)


def test_molecules_that_break_a_constraint_are_known_but_not_changed(tmp_path, tiny_run, known_csv):
    summary = optimize(
        tmp_path / "best.csv", QED, 8, model=tiny_run, workers=0, known=[known_csv],
        novel=[known_csv], constraints=["mw=:150"],
    )  # fmt: skip
    assert (summary.known, summary.known_best) == (5, 4.0)  # naphthalene alone is below 150 Da
    assert summary.calls == 8


def test_the_log_in_use_is_no_file_of_known_molecules(tmp_path, tiny_run):
    output = tmp_path / "best.csv"
    optimize(output, QED, 4, model=tiny_run, workers=0)
    log = tmp_path / "best.calls.csv"
    before = log.read_bytes()
    with pytest.raises(ConfigError, match=r"best\.calls\.csv"):
        optimize(output, QED, 8, model=tiny_run, workers=0, known=[log], force=True)
    assert log.read_bytes() == before
    # Another search takes it, and calls none of its molecules.
    summary = optimize(tmp_path / "next.csv", QED, 4, model=tiny_run, workers=0, known=[log])
    first, second = calls_of(log), calls_of(tmp_path / "next.calls.csv")
    assert summary.known == 4
    assert not {row["smiles"] for row in first} & {row["smiles"] for row in second}


def test_tables_in_python_for_several_objectives(tiny_model):
    table = pd.DataFrame({"smiles": ["CCO", "CCCN"], "logp": [-3.0, -4.0], "q": [0.5, 0.9]})
    model = MolVAE(tiny_model)
    result = model.optimize(
        ["qed", "logp"], 4, pareto=True, workers=0, known=table, known_columns={"qed": "q"}
    )
    assert len(result) == 4
    assert not {"CCO", "CCCN"} & set(result["smiles"])
    least = model.optimize(lambda smiles: [len(s) for s in smiles], 4, minimize=True,
                           known=table, known_columns="logp")  # fmt: skip
    assert len(least) == 4


@pytest.mark.process
def test_known_molecules_on_the_command_line(tmp_path, tiny_run, assay):
    done = warm.run(
        "optimize", "-m", tiny_run, "--objective", "qed", "--minimize", "--budget", 6, "--json",
        "--known", assay, "--known-column", "IC", "-o", tmp_path / "best.csv",
        "--report", tmp_path / "page.html", "--workers", 1,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert (result["known"], result["known_best"]) == (3, 4.5)
    assert "4 of 8 rows" in done.stderr
    assert "Known molecules" in (tmp_path / "page.html").read_text()


def test_the_decoder_learns_from_them_before_the_first_round(tiny_model):
    molecules = demo_smiles(80)
    known = [
        Answer(i - 80, -1, "known", text, (i / 80,), (i / 80,), i / 80)
        for i, text in enumerate(molecules)
    ]
    steps = {}
    for name, parents in {"with": known, "without": []}.items():
        archive = Archive()
        archive.seed({a.smiles: a for a in parents}, parents)
        proposer = Proposer(tiny_model, Request(), draws=Draws(0), device=torch.device("cpu"))
        engine = Learning(proposer, archive, first=10)
        before = {k: v.clone() for k, v in engine.network.state_dict().items()}
        engine.restore([])
        steps[name] = any(not v.equal(before[k]) for k, v in engine.network.state_dict().items())
    assert steps == {"with": True, "without": False}
