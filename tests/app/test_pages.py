"""The pages without a browser: what a click computes, shows and keeps."""

import pytest
from rdkit import Chem
from rdkit.Chem import Crippen

from molvae import MolVAE
from molvae.report.axes import number

pytest.importorskip("streamlit", reason="molvae app needs: pip install 'molvae[app]'")

from streamlit.testing.v1 import AppTest

from molvae.app import training

PARACETAMOL = "CC(=O)Nc1ccc(O)cc1"


def finish(app, key):
    """Wait for the work of a page and draw the page again."""
    app.session_state[key].wait(240)
    return app.run()


def words(app):
    """The command lines on the page."""
    return [code.value for code in app.code if code.value.startswith("molvae ")]


def opened(app, title):
    """The app with another page open."""
    app.run()
    app.session_state["molvae.next"] = title
    return app.run()


def test_generate_makes_what_its_command_line_makes(app, tiny_run):
    app.run()
    assert not app.exception
    app.number_input("generate.number").set_value(6)
    app.multiselect("generate.targets.names").set_value(["logp"]).run()
    app.slider("generate.targets.logp.range").set_value((1.0, 3.0)).run()
    app.button("generate.go").click().run()
    finish(app, "generate")
    assert not app.exception
    assert not app.error
    rows = app.session_state["generate"].rows
    plain = MolVAE.load(tiny_run).generate(6, ["logp=1:3"], realism=None, workers=1)
    assert [row["smiles"] for row in rows] == plain["smiles"].tolist()
    for row in rows:
        assert 1 <= Crippen.MolLogP(Chem.MolFromSmiles(row["smiles"])) <= 3
    assert words(app) == [
        f"molvae generate -m {tiny_run} -n 6 -t logp=1:3 --realism off -o molecules.csv"
    ]
    made = app.session_state["molvae.made"]
    assert {row["origin"] for row in made.values()} == {"generated"}


def test_an_end_of_the_slider_is_no_limit_and_a_value_is_a_point(app):
    app.run()
    app.multiselect("generate.targets.names").set_value(["qed"]).run()
    slider = app.slider("generate.targets.qed.range")
    slider.set_value((slider.value[0], slider.max)).run()
    assert f"-t qed={slider.value[0]:g}:" in words(app)[0].split(" -o")[0].replace(" --", " ")
    app.segmented_control("generate.targets.qed.mode").set_value("value").run()
    app.slider("generate.targets.qed.value").set_value(0.7).run()
    assert "-t qed=0.7 " in words(app)[0]


def test_choices_fit_another_model(app):
    app.run()
    app.multiselect("generate.targets.names").set_value(["assay", "logp"]).run()
    slider = app.slider("generate.targets.logp.range")
    default = MolVAE.load("default").conditions["logp"]
    app.session_state["molvae.model"] = "default"
    app.run()
    assert not app.exception
    assert not app.error
    assert app.multiselect("generate.targets.names").value == ["logp"]
    assert app.slider("generate.targets.logp.range").max > slider.max
    assert app.slider("generate.targets.logp.range").max >= default.seen[1]
    app.slider("generate.targets.logp.range").set_value((-5.0, 8.0)).run()
    app.session_state["molvae.model"] = "moses"
    app.run()
    assert not app.exception
    assert not app.error
    moses = MolVAE.load("moses").conditions["logp"].seen
    low, high = app.slider("generate.targets.logp.range").value
    assert moses[0] - 0.1 <= low
    assert high <= moses[1] + 0.1


def test_a_pasted_molecule_is_looked_at_and_has_analogs(app):
    opened(app, "Molecule")
    app.text_input("molecule.paste").set_value("OC1=CC=C(C=C1)NC(C)=O").run()
    assert not app.exception
    assert app.session_state["molvae.start"] == PARACETAMOL
    properties = app.dataframe[0].value.set_index("property")
    assert properties.loc["mw (Da)", "value"] == "151.2"
    app.number_input("molecule.analogs.number").set_value(3).run()
    app.button("molecule.analogs.go").click().run()
    finish(app, "molecule.analogs.work")
    assert not app.exception
    rows = app.session_state["molecule.analogs.work"].rows
    assert 0 < len(rows) <= 3
    assert all(0 <= row["similarity"] <= 1 for row in rows)
    assert any("--noise 0.2:0.5" in line for line in words(app))


@pytest.mark.parametrize("text", ["C1CC", "<script>alert(1)</script>", "[bold](x)"])
def test_a_wrong_smiles_is_an_error_in_words(app, text):
    opened(app, "Molecule")
    app.text_input("molecule.paste").set_value(text).run()
    assert not app.exception
    assert "is not a valid SMILES" in app.error[0].value.replace("\\", "")
    assert "](" not in app.error[0].value.replace("\\](", "")
    assert "molvae.start" not in app.session_state


def test_a_molecule_that_the_model_cannot_take_is_named(app):
    opened(app, "Molecule")
    app.text_input("molecule.paste").set_value("[Na+].[Cl-]").run()
    assert not app.exception
    assert "cannot take this molecule" in app.warning[0].value


@pytest.mark.parametrize("app", ["measured_run"], indirect=True)
def test_predictions_come_with_interval_domain_and_neighbor(app, measured_run):
    opened(app, "Molecule")
    app.text_input("molecule.paste").set_value(PARACETAMOL).run()
    assert not app.exception
    [shown] = [t.value for t in app.dataframe if "inside the domain" in t.value]
    expected = MolVAE.load(measured_run).predict(PARACETAMOL, workers=0).iloc[0]
    [row] = shown.to_dict("records")
    assert row["column"] == "assay"
    assert row["prediction"] == number(expected["assay"])
    assert row["interval"] == f"{number(expected['assay_low'])} to {number(expected['assay_high'])}"
    assert row["inside the domain"] == expected["assay_inside"]
    assert row["nearest measured molecule"] == expected["assay_nearest"]
    assert any(line.startswith("molvae predict molecule.smi") for line in words(app))


def test_a_scaffold_and_a_path(app, tiny_run):
    opened(app, "Molecule")
    app.text_input("molecule.paste").set_value(PARACETAMOL).run()
    app.segmented_control("molecule.task").set_value("Keep a scaffold").run()
    app.text_input("molecule.scaffold").set_value("C(((").run()
    assert "C(((" in app.error[0].value.replace("\\", "")
    app.text_input("molecule.scaffold").set_value("*c1ccccc1").run()
    app.toggle("molecule.scaffold.fill").set_value(True).run()
    assert not app.error
    assert any("--scaffold '*c1ccccc1' --fill" in line for line in words(app))
    app.segmented_control("molecule.task").set_value("Path to another").run()
    app.text_input("molecule.path.end").set_value("CCO").run()
    assert not app.exception
    assert any(line.startswith(f"molvae interpolate '{PARACETAMOL}' CCO") for line in words(app))
    table = MolVAE.load(tiny_run).interpolate(PARACETAMOL, "CCO", 9)
    parts = [
        f"{of['share'].min():.0%} to {of['share'].max():.0%} of the way" if len(of) > 1
        else f"{of['share'].min():.0%} of the way"
        for smiles, of in table.groupby("smiles", sort=False) if smiles
    ]  # fmt: skip
    made = [row for row in app.session_state["molvae.made"].values() if row["origin"] == "path"]
    assert [row["tag"] for row in made] == parts


def test_the_map_shows_training_molecules_and_those_of_the_session(app):
    app.run()
    app.session_state["molvae.made"] = {PARACETAMOL: {"smiles": PARACETAMOL, "origin": "generated"}}
    opened(app, "Map")
    assert not app.exception
    assert any("training molecules and 1 molecules of this session" in c.value for c in app.caption)


def test_a_card_leads_to_the_page_of_molecules(app):
    app.run()
    app.session_state["molvae.start"] = PARACETAMOL
    opened(app, "Molecule")
    assert app.title[0].value == "Molecule"
    assert any(code.value == PARACETAMOL for code in app.code)


def test_an_unknown_model_is_an_error_in_words(app):
    app.run()
    app.session_state["molvae.model"] = "nowhere"
    app.run()
    assert not app.exception
    assert "nowhere" in app.error[0].value


POINTS = """
import pandas as pd
import streamlit as st
from molvae.app import plots

frame = pd.DataFrame({"smiles": ["C", "CC", "CCC", "CCCC"], "a": [0.0, 1.0, 2.0, float("nan")],
                      "b": [5.0, 4.0, 3.0, 2.0]})
st.write(str(plots.scatter(frame, "a", "b", color="b", key="chart", titles=("A (one)", ""))))
"""


def test_points_can_be_chosen_by_keyboard():
    page = AppTest.from_string(POINTS, default_timeout=250).run()
    assert [w.label for w in page.number_input] == ["A from", "A to", "b from", "b to"]
    assert page.selectbox("chart.point").options == [
        "C · b 5",
        "CC · b 4",
        "CCC · b 3",
        "CCCC · b 2",
    ]
    assert page.markdown[-1].value == "[]"
    page.selectbox("chart.point").set_value("CC").run()
    assert page.markdown[-1].value == "[1]"
    page.number_input("chart.a.from").set_value(0.5)
    page.selectbox("chart.point").set_value(None).run()
    assert page.markdown[-1].value == "[1, 2]"
    page.number_input("chart.b.to").set_value(3.0).run()
    assert page.markdown[-1].value == "[2]"
    assert page.selectbox("chart.point").options == ["CCC · b 3"]
    page.number_input("chart.a.from").set_value(None)
    page.number_input("chart.b.to").set_value(None).run()
    assert page.markdown[-1].value == "[]"


def test_a_point_of_the_map_is_chosen_by_keyboard(app):
    opened(app, "Map")
    smiles = app.selectbox("map.chart.point").options[1].partition(" ")[0]
    app.selectbox("map.chart.point").set_value(smiles).run()
    assert not app.exception
    assert any("**1 selected**" in m.value for m in app.markdown)
    assert [button for button in app.button if button.label == "Generate there"]


@pytest.mark.parametrize("app", ["tiny_run"], indirect=True)
def test_why_no_nearest_training_molecule_is_shown(app, tiny_run, monkeypatch):
    monkeypatch.setattr(training, "MOST", 3)
    training._of.clear()
    words = training.why_no_nearest(str(tiny_run))
    assert "more than the 3 that are searched" in words
    training._of.clear()
    monkeypatch.undo()
    assert training.why_no_nearest(str(tiny_run)) == ""
    opened(app, "Molecule")
    app.session_state["molvae.model"] = "default"
    app.text_input("molecule.paste").set_value(PARACETAMOL).run()
    assert not app.exception
    assert [c.value for c in app.caption if "nearest training molecule" in c.value] == [
        "The nearest training molecule is not shown: the training molecules of this model are "
        "not on this computer; those of a model that you train are."
    ]
