"""Critic and table together agree with each of them alone."""

import math
import pickle

import numpy as np
import pytest
from rdkit import Chem

from molvae import chem
from molvae.chem import properties
from molvae.chem.realism_features import describe
from molvae.chem.screening import Decoded, MoleculeScreen
from molvae.chem.selfies import constraints, from_selfies, to_selfies
from molvae.realism.critic import fit_critic
from molvae.realism.inputs import FactTable
from molvae.realism.plausibility import Exempt, Plausibility
from molvae.realism.screen import UNLIKE, RealismScreen

REAL = ["C" * n + "O" for n in range(1, 61)]
ATOM = "atom environment without training molecules"
OWN = ["N" + "C" * n for n in range(1, 61)]


@pytest.fixture(scope="module")
def parts():
    real, own = ([describe(Chem.MolFromSmiles(text)) for text in some] for some in (REAL, OWN))
    return fit_critic(FactTable.of(real), FactTable.of(own)), Plausibility.of(real)


def test_the_verdict_is_the_margin_of_the_critic_and_what_the_table_refuses(parts):
    critic, table = parts
    screen = pickle.loads(pickle.dumps(RealismScreen(critic, critic.log_m(0.5), table)))
    mols = [Chem.MolFromSmiles(text) for text in (*REAL, *OWN)]
    logits = critic.logits(FactTable.of([describe(mol) for mol in mols]))
    for mol, logit in zip(mols, logits, strict=True):
        verdict = screen.verdict(mol)
        assert verdict.margin == pytest.approx(logit - critic.log_m(0.5), abs=1e-9)
        reason = ": ".join(filter(None, [verdict.refusal, verdict.example]))
        assert reason == (table.refused(mol) or "")
        assert screen.verdict(mol, log_uniform=verdict.margin) == (verdict.margin, "", "")
    assert {screen.verdict(mol).refusal for mol in mols[60:]} == {ATOM}


def test_without_critic_or_table_it_has_no_verdict(parts):
    critic, table = parts
    mol = Chem.MolFromSmiles("C1CCCCCCCCC1OO")
    assert RealismScreen(table=table).verdict(mol).margin == math.inf
    assert RealismScreen(critic, 0.0).verdict(mol).refusal == ""


def test_exemptions_reach_the_table(parts):
    _, table = parts
    mol = Chem.MolFromSmiles("NCCO")
    assert RealismScreen(table=table).verdict(mol).refusal == ATOM
    assert RealismScreen(table=table, exempt=Exempt.of([mol])).verdict(mol).refusal == ""
    everything = frozenset(range(mol.GetNumAtoms()))
    assert RealismScreen(table=table).verdict(mol, everything).refusal == ""


def test_what_the_critic_refuses_is_not_written(parts, monkeypatch):
    """The outcome is that of the canonical SMILES, which only the other candidates get."""
    critic, table = parts
    realism = RealismScreen(critic, critic.log_m(0.5), table)
    screen = MoleculeScreen(("mw",), constraints(), realism=realism)
    texts = [to_selfies(text) for text in (*REAL[:20], *OWN[:20], "[CH2]CCO", "OC1CCCCC1", "OCC")]
    texts += [*texts[::2], ""]
    numbers = np.log(np.random.default_rng(0).random(len(texts))).tolist()
    written = []
    monkeypatch.setattr(
        properties, "to_smiles", lambda mol: written.append(mol) or chem.to_smiles(mol)
    )
    result = screen(Decoded(texts, numbers))
    outcomes = {text: set() for text in texts}
    for text, number, molecule in zip(texts, numbers, result, strict=True):
        mol = chem.parse(chem.canonical_smiles(from_selfies(text)) or "")
        if mol is None:
            assert molecule.smiles == ""
            continue
        kept = number < critic.logit(describe(mol)) - critic.log_m(0.5)
        refused = table.refused(mol) or ""
        outcomes[text].add(kept and not refused)
        assert molecule.radical == chem.has_radical(mol)
        assert molecule.screened.refusal == (refused.partition(": ")[0] if kept else UNLIKE)
        if kept and not refused:
            assert molecule.smiles == chem.to_smiles(mol)
            assert molecule.values == (properties.compute(mol, ["mw"])[0],)
        else:
            assert math.isnan(molecule.values[0])
    some, none = (sum(kept in way for way in outcomes.values()) for kept in (True, False))
    assert len(written) == some > 5 < none
    first = next(m for m in result if m.screened.refusal == UNLIKE and not m.radical)
    assert first.screened.example == first.smiles == chem.canonical_smiles(first.smiles)
    first = next(m for m in result if m.screened.refusal == ATOM and not m.radical)
    refused = table.refused(chem.parse(chem.canonical_smiles(first.smiles)))
    assert refused == f"{ATOM}: {first.screened.example}"


def test_an_alert_is_named_before_realism(parts):
    critic, table = parts
    realism = RealismScreen(critic, math.inf, table)  # refuses all
    screen = MoleculeScreen(("mw",), constraints(), realism=realism, elements=("C", "O"))
    amine, alcohol = screen(Decoded([to_selfies("CN"), to_selfies("CO")], [-1.0, -1.0]))
    assert (amine.screened.refusal, alcohol.screened.refusal) == ("contains N", UNLIKE)
    assert math.isnan(amine.values[0])
