"""Critic and table together agree with each of them alone."""

import math
import pickle

import pytest
from rdkit import Chem

from molvae.chem.realism_features import describe
from molvae.realism.critic import fit_critic
from molvae.realism.inputs import FactTable
from molvae.realism.plausibility import Exempt, Plausibility
from molvae.realism.screen import RealismScreen

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
