"""Engines of the caller and of packages: made, checked, and their errors named."""

import functools

import pytest

from molvae.api import MolVAE
from molvae.errors import ConfigError, RunError
from molvae.objectives import parse_objective
from molvae.optimize.engines.base import Candidate, Sampling
from molvae.optimize.engines.choice import choose_method, make_engine
from molvae.optimize.run import optimize
from molvae.runtime import plugins

QED = parse_objective(["qed"])


class Own(Sampling):
    """Samples, each under another name."""

    def __init__(self, proposer, archive, budget, name="mine"):
        super().__init__(proposer, archive)
        self.budget, self.name, self.told = budget, name, 0

    def ask(self, count, round_):
        return [Candidate(c.text, self.name) for c in super().ask(count, round_)]

    def tell(self, candidates, answers):
        assert len(candidates) == len(answers)
        self.told += sum(answer is not None for answer in answers)


class Given:
    """An engine that proposes what it was given, and knows nothing of the model."""

    def __init__(self, texts):
        self.texts, self.restored = list(texts), 0

    def ask(self, count, round_):
        return [Candidate(text, "given to it") for text in self.texts[round_ * 4 : round_ * 4 + 4]]

    def choose(self, smiles, count):
        return list(smiles)[:count]

    def tell(self, candidates, answers):
        pass

    def restore(self, answers):
        self.restored = len(answers)


def test_an_engine_is_an_object_a_class_or_a_partial(tiny_model):
    model = MolVAE(tiny_model)
    found = model.optimize("qed", 6, method=Own, workers=0)
    assert set(found["origin"]) == {"mine"}
    found = model.optimize("qed", 6, method=functools.partial(Own, name="part"), workers=0)
    assert set(found["origin"]) == {"part"}
    engine = Given(["[C]", "[C][O]", "[C][C][O]", "[N][C]", "[C][C]", "[O][C][O]"])
    found = model.optimize("qed", 6, ["mw=1:"], method=engine, workers=0)
    assert set(found["smiles"]) == {"C", "CO", "CCO", "CN", "CC", "OCO"}
    assert [choose_method(m) for m in (Own, functools.partial(Own), engine)] == [
        "Own", "Own", "Given",
    ]  # fmt: skip


def test_a_resumed_search_tells_the_engine(tmp_path, tiny_run):
    texts = ["[C]", "[C][O]", "[C][C][O]", "[N][C]", "[C][C]", "[O][C][O]", "[F][C]", "[C][Cl]"]
    for budget, restored in ((4, 0), (8, 4)):
        engine = Given(texts)
        summary = optimize(tmp_path / "best.csv", QED, budget, model=tiny_run, workers=0,
                           method=engine, resume=True)  # fmt: skip
        assert (summary.calls, engine.restored, summary.method) == (budget, restored, "Given")
    with pytest.raises(ConfigError, match="method was 'Given', is 'Own'"):
        optimize(tmp_path / "best.csv", QED, 9, model=tiny_run, workers=0, method=Own, resume=True)


@pytest.mark.parametrize(
    ("name", "broken", "message"),
    [
        ("ask", lambda self, count, round_: 1 / 0, r"'Bad' fails \(ask\): ZeroDivisionError"),
        ("ask", lambda self, count, round_: ["[C]"], "Candidate"),
        ("choose", lambda self, smiles, count: ["CCO"], "choose"),
        ("tell", lambda self, *_: [][0], r"\(tell\): IndexError"),
    ],
)
def test_what_an_engine_does_wrong_is_one_error(tmp_path, tiny_run, name, broken, message):
    bad = type("Bad", (Own,), {name: broken})
    with pytest.raises(RunError, match=message):
        optimize(tmp_path / "best.csv", QED, 6, model=tiny_run, workers=0, method=bad)
    lacking = type("Lacking", (), {"ask": None})()
    with pytest.raises(ConfigError, match="no method 'choose'"):
        make_engine(lacking, None, None, 6)


def test_engines_of_packages_by_name(monkeypatch):
    from importlib.metadata import EntryPoint

    entries = [EntryPoint("own", f"{__name__}:Own", "molvae.engines")]
    monkeypatch.setattr(plugins, "entry_points", lambda group: entries)
    plugins._entries.cache_clear()
    assert choose_method("own") == "own"
    with pytest.raises(ConfigError, match="did you mean 'own'"):
        choose_method("owm")
    entries.append(EntryPoint("cma", f"{__name__}:Own", "molvae.engines"))
    plugins._entries.cache_clear()
    with pytest.raises(ConfigError, match="'cma'"):
        choose_method("cma")
    plugins._entries.cache_clear()
