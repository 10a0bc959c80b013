"""Critic and table together agree with each of them alone."""

import math
import pickle

import numpy as np
import pytest
from rdkit import Chem

from molvae.chem.realism_features import describe
from molvae.realism.critic import accepts, fit_critic
from molvae.realism.inputs import FactTable
from molvae.realism.plausibility import Exempt, Plausibility
from molvae.realism.screen import UNLIKE, RealismScreen

REAL = ["C" * n + "O" for n in range(1, 61)]
OWN = ["N" + "C" * n for n in range(1, 61)]


@pytest.fixture(scope="module")
def parts():
    real, own = ([describe(Chem.MolFromSmiles(text)) for text in some] for some in (REAL, OWN))
    return fit_critic(FactTable.of(real), FactTable.of(own)), Plausibility.of(real)


def test_nothing_is_refused_without_critic_and_table():
    assert RealismScreen().refusal(Chem.MolFromSmiles("C1CCCCCCCCC1OO"), -9.0) is None


def test_the_critic_comes_first_and_then_the_table(parts):
    critic, table = parts
    screen = pickle.loads(pickle.dumps(RealismScreen(critic, critic.log_m(0.5), table)))
    mols = [Chem.MolFromSmiles(text) for text in (*REAL, *OWN)]
    logits = critic.logits(FactTable.of([describe(mol) for mol in mols]))
    uniform = np.random.default_rng(0).uniform(size=len(mols))
    kept = accepts(logits, uniform, critic.log_m(0.5))
    for mol, keep, u in zip(mols, kept, uniform, strict=True):
        expected = table.refused(mol) if keep else UNLIKE
        assert screen.refusal(mol, math.log(u)) == expected


def test_exemptions_reach_the_table(parts):
    _, table = parts
    mol = Chem.MolFromSmiles("NCCO")
    assert RealismScreen(table=table).refusal(mol, -1.0) is not None
    assert RealismScreen(table=table, exempt=Exempt.of([mol])).refusal(mol, -1.0) is None
    everything = frozenset(range(mol.GetNumAtoms()))
    assert RealismScreen(table=table).refusal(mol, -1.0, atoms=everything) is None
