"""Benchmark objectives against published code and by hand; functions and programs of the user."""

import json
import math
import pickle
import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from molvae import chem
from molvae.chem.properties import PROPERTIES
from molvae.errors import ConfigError, FileError, RunError, TargetError
from molvae.objectives import (
    PMO,
    TASKS,
    AtLeast,
    AtMost,
    Gaussian,
    Ramp,
    TaskScorer,
    find_scorer,
    parse_objective,
    plogp,
)
from molvae.objectives.scorers import FunctionScorer
from molvae.objectives.tasks import isomer, mean
from molvae.runtime import plugins

VALUES = json.loads((Path(__file__).parents[1] / "golden/guacamol_values.json").read_text())
ASPIRIN, CAMPHOR = "CC(=O)Oc1ccccc1C(=O)O", "CC1(C)C2CCC1(C)C(=O)C2"


# -- benchmark objectives -------------------------------------------------------------------------


@pytest.mark.parametrize("name", VALUES)
def test_a_task_is_that_of_the_published_code(name):
    scores = TaskScorer(name)(list(VALUES[name]))
    assert scores == pytest.approx(list(VALUES[name].values()), abs=1e-12)
    assert len({round(score, 6) for score in scores}) > 1 or name == "valsartan_smarts"


def test_there_are_the_twenty_tasks_that_need_no_trained_classifier():
    assert len(PMO) == 20
    assert {*PMO, "aripiprazole_similarity", "isomers_c11h24"} == set(VALUES)
    assert all(TASKS[name].bounded for name in PMO)


@pytest.mark.parametrize(
    ("name", "smiles"),
    [
        ("celecoxib_rediscovery", "Cc1ccc(-c2cc(C(F)(F)F)nn2-c2ccc(S(N)(=O)=O)cc2)cc1"),
        ("albuterol_similarity", "CC(C)(C)NCC(O)c1ccc(O)c(CO)c1"),
        ("isomers_c7h8n2o2", "NC(=O)c1ccc(O)cc1N"),
    ],
)
def test_the_wanted_molecule_scores_one(name, smiles):
    assert TaskScorer(name)([smiles]) == [1.0]


def test_an_isomer_counts_elements_and_all_atoms():
    # Methane for CH2F2: C as wanted, H two too many, F two missing, the sum right.
    terms = isomer("CH2F2")
    mol = chem.parse("C")
    assert [term(mol) for term in terms] == pytest.approx([1, math.exp(-2), math.exp(-2), 1])
    assert mean([1, math.exp(-2), math.exp(-2), 1]) == pytest.approx(math.exp(-1))


def test_penalized_logp_is_standardized_and_bounded_in_size():
    from rdkit.Chem import Crippen, MolFromSmiles, RDConfig

    sys.path.append(str(Path(RDConfig.RDContribDir) / "SA_Score"))
    import sascorer

    mol = MolFromSmiles("C1CCCCCCC1c1ccccc1")
    expected = (
        (Crippen.MolLogP(mol) - 2.4570953396190123) / 1.434324401111988
        + (-sascorer.calculateScore(mol) + 3.0525811293166134) / 0.8335207024513095
        + (-2 + 0.0485696876403053) / 0.2860212110245455
    )
    assert plogp(mol) == pytest.approx(expected, abs=1e-6)
    assert not math.isnan(plogp(chem.parse("C" * 38)))
    assert math.isnan(plogp(chem.parse("C" * 39)))


def test_likeness_counts_features():
    # Ethane and propane: environments of radius 0 and 1 are CH3 (2, 2), CH2 (0, 1), …
    likeness = chem.Likeness("CC", "AP")
    assert likeness(chem.parse("CC")) == 1.0
    assert 0 < chem.Likeness("CCO", "ECFP4")(chem.parse("CCCO")) < 1
    with pytest.raises(TargetError, match=r"'C1C'.*SMILES"):
        chem.Likeness("C1C")


def test_smarts_are_read_as_smarts():
    # As a SMILES the ring carbon of the pattern would have to be aliphatic.
    assert chem.matches(chem.parse("Cc1ccccc1"), "C[#6]")
    assert not chem.matches(chem.parse("CC"), "[#6]O")
    with pytest.raises(TargetError, match="SMARTS"):
        chem.matches(chem.parse("CC"), "[#6")


# -- shapes ---------------------------------------------------------------------------------------


@given(st.floats(-50, 50), st.floats(-10, 10), st.floats(0.1, 10))
def test_half_gaussians_are_gaussians_on_one_side(x, mu, sigma):
    bell = math.exp(-0.5 * ((x - mu) / sigma) ** 2)
    assert Gaussian(mu, sigma)(x) == pytest.approx(bell)
    assert AtLeast(mu, sigma)(x) == pytest.approx(1 if x >= mu else bell)
    assert AtMost(mu, sigma)(x) == pytest.approx(1 if x <= mu else bell)


@given(st.floats(-100, 100))
def test_a_ramp_may_fall(x):
    assert Ramp(-4, -10)(x) == pytest.approx(min(max((-4 - x) / 6, 0), 1))
    assert Ramp(0, 2)(x) == pytest.approx(min(max(x / 2, 0), 1))


@pytest.mark.parametrize("shape", [Gaussian(0, 1), AtLeast(0, 1), AtMost(0, 1), Ramp(0, 1)])
def test_no_value_has_no_desirability(shape):
    assert math.isnan(shape(math.nan))


# -- scoring functions ----------------------------------------------------------------------------


def test_properties_and_windows():
    from rdkit.Chem import Crippen, MolFromSmiles

    logp = Crippen.MolLogP(MolFromSmiles(ASPIRIN))
    assert find_scorer("logp")([ASPIRIN]) == pytest.approx([logp], abs=1e-4)
    assert find_scorer("logp=1:2")([ASPIRIN]) == [1.0]
    (far,) = find_scorer("logp=4:")([ASPIRIN])
    assert 0 < far < 0.1
    assert find_scorer("qed").bounded
    assert find_scorer("logp=1").bounded
    assert not find_scorer("logp").bounded


def test_a_property_with_a_range_has_its_value_and_its_desirability():
    from rdkit.Chem import Crippen, MolFromSmiles

    objective = parse_objective(["logp=4:5", "qed", "logp=2@0:0.5"])
    assert objective.names == ("logp_1", "qed", "logp_2")
    assert objective.columns == ("logp_1", "qed", "logp_2", "logp_1_score", "logp_2_score")
    (scores,) = objective.scores([ASPIRIN])
    logp = Crippen.MolLogP(MolFromSmiles(ASPIRIN))
    assert (scores[0], scores[2]) == pytest.approx((logp, logp), abs=1e-4)
    # The spread is a tenth of the usual range of the property.
    spread = 0.1 * (PROPERTIES["logp"].high - PROPERTIES["logp"].low)
    far, near = (math.exp(-0.5 * ((logp - end) / spread) ** 2) for end in (4, 2))
    assert objective.cells(scores)[3:] == pytest.approx([far, near], abs=1e-4)
    assert objective.worth(scores) == pytest.approx((far, scores[1], min(near / 0.5, 1)), abs=1e-4)
    assert all(map(math.isnan, objective.cells([math.nan] * 3)))


def test_similarity_to_a_molecule():
    scorer = find_scorer(f"similarity:{ASPIRIN}")
    assert scorer([ASPIRIN, CAMPHOR]) == [1.0, pytest.approx(0.0625, abs=0.06)]
    assert (scorer.name, scorer.bounded) == ("similarity", True)


def test_what_rdkit_refuses_has_no_score():
    assert math.isnan(find_scorer("qed")(["C1C"])[0])


def write(path, text):
    path.write_text(text)
    return path


def test_a_function_of_a_file(tmp_path):
    write(tmp_path / "near.py", "HALF = 0.5\n")
    file = write(
        tmp_path / "mine.py",
        "import near\ndef score(smiles):\n    return [near.HALF * len(s) for s in smiles]\n",
    )
    scorer = pickle.loads(pickle.dumps(find_scorer(f"{file}:score")))
    assert scorer(["CC", "CCC"]) == [1.0, 1.5]
    assert (scorer.name, scorer.bounded) == ("score", False)


@pytest.mark.parametrize(
    "body",
    [
        "def score(smiles: str) -> float:\n    asked.append(smiles)\n    return len(smiles)",
        "def score(smiles):\n    one = smiles.upper()\n    asked.append(one)\n    return len(one)",
        "def score(smiles):\n    if isinstance(smiles, str): asked.append(smiles)\n"
        "    return len(smiles)",
        "from rdkit import Chem\ndef score(smiles):\n    mol = Chem.MolFromSmiles(smiles)\n"
        "    asked.append(smiles)\n    return mol.GetNumAtoms()",
        "from rdkit import Chem\ndef score(smiles):\n    try:\n"
        "        mol = Chem.MolFromSmiles(smiles)\n    except Exception:\n        return None\n"
        "    asked.append(smiles)\n    return mol.GetNumAtoms()",
    ],
)
def test_a_function_of_one_molecule(tmp_path, body):
    file = write(tmp_path / "one.py", f"asked = []\n{body}\ndef seen(smiles): return asked\n")
    scorer, seen = find_scorer(f"{file}:score"), find_scorer(f"{file}:seen").load()
    assert scorer(["CC", "CCC"]) == [2.0, 3.0]
    assert scorer(["CCCC"]) == [4.0]
    assert seen(None) == ["CC", "CCC", "CCCC"], "each once"


def test_a_function_of_many_that_fails_is_not_called_with_one(tmp_path):
    file = write(
        tmp_path / "many.py",
        "calls = []\ndef score(smiles):\n    calls.append(smiles)\n"
        "    if 'X' in smiles: raise TypeError('no X')\n    return [len(s) for s in smiles]\n",
    )
    scorer = find_scorer(f"{file}:score")
    with pytest.raises(TypeError, match="no X"):  # a list for a text: no score of one
        scorer(["X", "CC"])
    assert scorer(["CC"]) == [2.0]
    with pytest.raises(TypeError, match="no X"):
        scorer(["X"])
    assert find_scorer(f"{file}:score").load().__globals__["calls"][-1] == ["X"]


def test_a_function_of_one_molecule_that_fails_says_why(tmp_path):
    file = write(
        tmp_path / "one.py", "def score(smiles):\n    return smiles.upper().no_such_thing\n"
    )
    message = "'str' object has no attribute 'no_such_thing'.* list"
    with pytest.raises(TypeError, match=message):
        find_scorer(f"{file}:score")(["CC"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("absent.py:score", "no file"),
        ("broken.py:score", "ZeroDivisionError"),
        ("exits.py:score", "SystemExit"),
        ("mine.py:other", "'other'"),
    ],
)
def test_files_that_cannot_be_used(tmp_path, text, message):
    write(tmp_path / "broken.py", "1 / 0\n")
    write(tmp_path / "exits.py", "import sys\nprint('usage')\nsys.exit(2)\n")
    write(tmp_path / "mine.py", "def score(smiles): ...\n")
    with pytest.raises((FileError, ConfigError), match=message):
        find_scorer(f"{tmp_path}/{text}")


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        ("[1.0]", "1 .* 2 "),
        ("'12'", "str '12'"),
        ("{1.0, 2.0}", "set"),
        ("None", "NoneType.* 2 "),
    ],
)
def test_rubbish_is_an_error(tmp_path, returned, message):
    file = write(tmp_path / "mine.py", f"def score(smiles):\n    return {returned}\n")
    with pytest.raises(RunError, match=message):
        find_scorer(f"{file}:score")(["C", "CC"])


def test_none_and_infinities_are_no_scores(tmp_path):
    file = write(tmp_path / "m.py", "def f(smiles):\n    return [None, float('inf'), 2]\n")
    first, second, third = find_scorer(f"{file}:f")(["C", "CC", "CCC"])
    assert math.isnan(first)
    assert math.isnan(second)
    assert third == 2.0


def program(tmp_path, body):
    file = write(
        tmp_path / "program.py", f"import json, sys\nlines = sys.stdin.read().split()\n{body}\n"
    )
    return f"{sys.executable} {file}"


def test_a_program_by_the_protocol_of_reinvent(tmp_path):
    body = (
        "print(json.dumps({'version': 1, 'payload': {'size': [len(s) for s in lines], 'x': []}}))"
    )
    scorer = find_scorer(f"process:size={program(tmp_path, body)}")
    assert scorer(["CC", "CCC"]) == [2.0, 3.0]
    assert scorer.name == "size"


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("sys.exit('no licence')", "ended with 1: no licence"),
        ("print('hello')", "printed 'hello.*expected JSON"),
        ("print(json.dumps({'payload': {'a': [1], 'b': [2]}}))", "with one name in it"),
        ("import time; time.sleep(60)", "1 s"),
    ],
)
def test_programs_that_fail(tmp_path, body, message):
    scorer = find_scorer(f"process:{program(tmp_path, body)}", timeout=1)
    with pytest.raises(RunError, match=message):
        scorer(["CC"])


def test_a_program_that_is_not_there():
    with pytest.raises(RunError, match="run"):
        find_scorer("process:/no/such/program")(["C"])


@pytest.fixture
def entries(monkeypatch):
    """Entry points that packages would offer; what was found before is forgotten."""
    result = [EntryPoint("sizes", "a:b", "molvae.objectives")]
    monkeypatch.setattr(
        plugins, "entry_points", lambda group: [e for e in result if e.group == group]
    )

    def forget():
        plugins._entries.cache_clear()
        plugins.load_plugin.cache_clear()

    forget()
    yield result, forget
    forget()


def test_an_entry_point_of_a_package(entries, monkeypatch):
    monkeypatch.setattr(EntryPoint, "load", lambda self: lambda smiles: [len(s) for s in smiles])
    assert find_scorer("sizes")(["CC"]) == [2.0]


def test_a_package_is_imported_before_the_clock_runs(entries, monkeypatch):
    """And one that cannot be, or two of a name, are said at once."""
    (result, forget), loaded = entries, []
    monkeypatch.setattr(EntryPoint, "load", lambda self: loaded.append(self.value) or len)
    objective = parse_objective(["sizes"])
    assert loaded == ["a:b"]
    forget()
    objective.load()  # as every worker does
    assert loaded == ["a:b", "a:b"]
    forget()
    monkeypatch.setattr(EntryPoint, "load", lambda self: 1 / 0)
    with pytest.raises(FileError, match=r"'sizes' \(a:b\).*ZeroDivisionError"):
        parse_objective(["sizes"])
    result.append(EntryPoint("sizes", "c:d", "molvae.objectives"))
    forget()
    with pytest.raises(ConfigError, match="2 packages"):
        parse_objective(["sizes"])
    monkeypatch.setattr(EntryPoint, "load", lambda self: "no function")
    del result[1]
    forget()
    with pytest.raises(ConfigError, match="'no function'"):
        parse_objective(["sizes"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("qedd", "'qedd'.*'qed'"),
        ("drd2", "'drd2'"),
        ("logp=3:2", "3.* 2"),
        ("logp=a", "NAME=VALUE"),
        ("process:", "process:COMMAND"),
        ("process:'", "No closing quotation"),
    ],
)
def test_what_names_no_objective(text, message):
    with pytest.raises(ConfigError, match=message):
        find_scorer(text)


# -- several --------------------------------------------------------------------------------------


def test_one_objective_counts_as_it_is():
    objective = parse_objective(["logp"])
    assert objective.value((-2.5,)) == -2.5
    assert parse_objective(["logp"], minimize=True).value((-2.5,)) == 2.5
    assert parse_objective(["logp@0:-5"]).value((-2.5,)) == 0.5


def test_several_count_by_their_weighted_geometric_mean():
    objective = parse_objective(["qed*3", "logp@0:10"])
    assert objective.value((0.5, 2.0)) == pytest.approx((0.5**3 * 0.2) ** 0.25)
    assert objective.value((0.5, -1.0)) == 0.0
    assert math.isnan(objective.value((math.nan, 2.0)))
    assert objective.names == ("qed", "logp")
    assert objective.scores([ASPIRIN])[0] == pytest.approx((0.5501217966938848, 1.3101), abs=1e-4)


def test_equal_names_are_numbered():
    objective = parse_objective([f"similarity:{ASPIRIN}", "qed", f"similarity:{CAMPHOR}"])
    assert objective.names == ("similarity_1", "qed", "similarity_2")


def test_a_numbered_name_is_not_that_of_another(tmp_path):
    paths = [
        write(tmp_path / f"{name}.py", "def score(s): return [1.0]\ndef score_1(s): return [1.0]\n")
        for name in "ab"
    ]
    texts = [f"{paths[0]}:score", f"{paths[1]}:score", f"{paths[0]}:score_1"]
    assert parse_objective(texts, pareto=True).names == ("score_2", "score_3", "score_1")


def test_a_front_weighs_nothing():
    with pytest.raises(ConfigError, match="weigh"):
        parse_objective(["qed*3", "logp"], pareto=True)


def test_a_function_has_no_name_of_another_column(tmp_path):
    file = write(tmp_path / "mine.py", "def value(smiles): ...\n")
    assert parse_objective([f"{file}:value"]).names == ("value_score",)


def test_smiles_may_hold_the_signs_of_the_grammar():
    (part,) = parse_objective(["similarity:C[C@H](N)C(=O)O*2"]).parts
    assert (part.scorer.text, part.weight) == ("similarity:C[C@H](N)C(=O)O", 2.0)


@pytest.mark.parametrize(
    ("texts", "options", "message"),
    [
        ([], {}, "got none"),
        (["qed", "logp"], {}, "0 to 1"),
        (["qed", "sas=:3"], {"minimize": True}, "--minimize"),
        (["qed"], {"pareto": True}, "--pareto"),
        (["logp@0:5"], {"minimize": True}, "--minimize"),
        (["qed"], {"timeout": -1.0}, "timeout.*-1"),
        (["qed"], {"timeout": math.nan}, "timeout.*nan"),
        (["qed@1:1"], {}, "equal"),
        (["qed*0"], {}, "weight.* 0"),
        (["qed*1e308", "logp=2:3"], {}, r"weight 1e\+308"),
        (["qed"], {"timeout": 1e30}, r"timeout.*1e\+30"),
    ],
)
def test_objectives_that_cannot_be_combined(texts, options, message):
    with pytest.raises(ConfigError, match=message):
        parse_objective(texts, **options)


def test_a_front_needs_no_bounds():
    assert parse_objective(["qed", "logp"], pareto=True).worth((0.5, -2.0)) == (0.5, -2.0)


def test_a_function_at_hand_has_its_name_and_a_lambda_none():
    def docking(smiles):
        return [float(len(one)) for one in smiles]

    assert FunctionScorer(docking).name == "docking"
    assert FunctionScorer(lambda one: len(one)).name == "objective"
    assert FunctionScorer(docking)(["CC", "C"]) == [2.0, 1.0]
