"""Properties and metrics of packages: their contracts, and what breaks them."""

import math
from importlib.metadata import EntryPoint

import pytest
from rdkit import Chem

from molvae import evaluate
from molvae.chem.properties import BUILTIN, PROPERTIES, Property, compute, get_property
from molvae.errors import ConfigError, FileError, PropertyError, RunError
from molvae.evaluate import definitions
from molvae.evaluate.metrics import Metric, PluginMetric, plugin_metrics
from molvae.evaluate.report import page
from molvae.runtime import plugins

ETHANOL, AMINE = Chem.MolFromSmiles("CCO"), Chem.MolFromSmiles("CCN")


def bonds(mol):
    if mol.GetNumBonds() > 2:
        raise ValueError("too many")
    return mol.GetNumBonds()


BONDS = Property("bonds", "bonds", "", 0, 9, bonds, integer=True)
WRONG = Property("wrong", "breaks its contract", "", 0, 1, lambda mol: {}[1])
OTHER = Property("name", "under another name", "", 0, 1, bonds)
LENGTH = PluginMetric(
    "length",
    "mean length of SMILES",
    lambda smiles: sum(map(len, smiles)) / len(smiles),
    better="lower",
)
SHARED = PluginMetric(
    "shared",
    "molecules of the test set",
    lambda smiles, test: Metric(len({*smiles} & {*test}), len(smiles)),
    reference="test",
)
BROKEN = PluginMetric("broken", "breaks", lambda smiles: smiles[99])
NOTHING = PluginMetric("nothing", "no number", lambda smiles: math.inf)


@pytest.fixture
def offer(monkeypatch):
    """Entry points that an installed package would have: of a group, names of objects here."""

    def forget():
        for cached in (plugins._entries, plugins.load_plugin, plugin_metrics):
            cached.cache_clear()

    def entries(group, **names):
        found = [EntryPoint(k, f"{__name__}:{v}", f"molvae.{group}") for k, v in names.items()]
        monkeypatch.setattr(
            plugins, "entry_points", lambda group: [e for e in found if e.group == group]
        )
        monkeypatch.setattr(plugins, "plugin_package", lambda kind, name: "tools 2")
        forget()

    yield entries
    forget()


def test_a_property_of_a_package_is_known_by_its_name(offer):
    offer("properties", bonds="BONDS")
    assert list(PROPERTIES) == [*BUILTIN, "bonds"]
    assert (len(PROPERTIES), "bonds" in PROPERTIES, "bond" in PROPERTIES) == (14, True, False)
    assert get_property("bonds") is BONDS
    assert compute(ETHANOL, ["heavy", "bonds"]).tolist() == [3, 2]
    # No value, as the contract says.
    assert math.isnan(compute(Chem.MolFromSmiles("CCCC"), ["bonds"])[0])
    with pytest.raises(PropertyError, match="'bonds'"):
        get_property("bond")


def test_properties_that_break_their_contract_are_named(offer):
    offer("properties", wrong="WRONG")
    with pytest.raises(PropertyError, match=r"'wrong'.*'CCN'.*KeyError"):
        compute(AMINE, ["wrong"])
    offer("properties", other="OTHER")
    with pytest.raises(PropertyError, match="'other'"):
        get_property("other")
    for name in ("qed", "smiles", "two words"):
        offer("properties", **{name: "BONDS"})
        with pytest.raises(PropertyError, match=f"'{name}'"):
            list(PROPERTIES)
    assert get_property("qed") is BUILTIN["qed"]
    offer("properties", gone="GONE")
    with pytest.raises(FileError, match="'gone'"):
        get_property("gone")


def test_metrics_of_a_package_are_evaluated(offer):
    offer("metrics", length="LENGTH", shared="SHARED", nothing="NOTHING")
    options = evaluate.Options(chemnet=False, replicates=0, workers=0)
    alone = evaluate.evaluate_smiles(["CCO", "OCC", "C", "x"], options=options)
    assert alone.metrics["length"].value == pytest.approx((3 + 3 + 1) / 3)
    assert alone.metrics["shared"].note == "needs a test set (--test)"
    assert alone.metrics["nothing"].value is None
    assert "inf" in alone.metrics["nothing"].note
    tested = evaluate.evaluate_smiles(["CCO", "C"], test=["OCC", "N"], options=options)
    assert tested.metrics["shared"].value == 1
    row = next(row for row in page(alone, None).table.rows if row.name == "length")
    assert row.definition == "mean length of SMILES"
    assert definitions.better("length") == "lower"
    assert definitions.better("shared") == ""


def test_metrics_that_break_their_contract_are_named(offer):
    options = evaluate.Options(chemnet=False, replicates=0, workers=0)
    offer("metrics", broken="BROKEN")
    with pytest.raises(RunError, match=r"'broken'.*IndexError"):
        evaluate.evaluate_smiles(["C"], options=options)
    for name, value in {"valid": "LENGTH", "a/b": "LENGTH", "bonds": "BONDS"}.items():
        offer("metrics", **{name: value})
        with pytest.raises(ConfigError, match=f"'{name}'"):
            evaluate.evaluate_smiles(["C"], options=options)
