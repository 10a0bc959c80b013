"""Realism in the gate of a search: off unless requested, but for the plausibility table."""

import numpy as np
import pytest
import torch
from rdkit import Chem

from molvae.chem.hashing import keys_of
from molvae.chem.realism_features import describe
from molvae.chem.selfies import to_selfies
from molvae.generate.proposer import Proposer
from molvae.generate.request import Request
from molvae.objectives import parse_objective
from molvae.optimize.gate import Gate
from molvae.optimize.run import optimize
from molvae.realism.critic import accepts
from molvae.realism.inputs import FactTable
from molvae.realism.screen import UNLIKE
from molvae.runtime.randomness import Draws
from tests.molecules import demo_smiles

RING = "ring system without training molecules"
UNUSUAL = "O=C1CCCCCCCCCCC1N1CCC1"


def gate(model, starts=(), **options):
    proposer = Proposer(model, Request(**options), draws=Draws(4), device=torch.device("cpu"))
    return Gate(proposer, Request(**options), starts=starts)


def test_the_critic_decides_by_the_number_of_the_molecule(realistic_model):
    smiles = [Chem.CanonSmiles(text) for text in demo_smiles(60)]
    texts = [to_selfies(text) for text in smiles]
    logits = realistic_model.critic.logits(
        FactTable.of([describe(Chem.MolFromSmiles(text)) for text in smiles])
    )
    items = (keys_of(smiles) // 2).astype(np.int64)
    uniform = Draws(4).uniform("realism", items, 1)[:, 0]
    kept = accepts(logits, uniform, realistic_model.critic.log_m(0.5))
    assert 10 < kept.sum() < 50
    passed = gate(realistic_model, realism=0.5)
    assert [text is not None for text in passed(texts)] == kept.tolist()
    assert passed.refused == {UNLIKE: int((~kept).sum())}
    assert (
        passed(texts[::-1])
        == [text if keep else None for text, keep in zip(smiles, kept, strict=True)][::-1]
    )
    exempt = gate(realistic_model, starts=smiles[:30], like=tuple(smiles[30:]), realism=0.5)
    assert exempt(texts) == smiles
    assert gate(realistic_model, realism=None)(texts) == smiles


def test_the_table_is_on_unless_novel_rings_are_allowed(realistic_model):
    text, other = to_selfies(UNUSUAL), to_selfies("C1CCCCCCCCC1")
    refusing = gate(realistic_model, realism=None)
    assert refusing([text]) == [None]
    assert refusing.refused == {RING: 1}
    assert Chem.MolFromSmiles(refusing.refused.examples[RING]).GetNumAtoms() == 12
    allowed = Chem.CanonSmiles(UNUSUAL)
    assert gate(realistic_model, realism=None, novel_rings=True)([text]) == [allowed]
    for options in ({"like": (UNUSUAL,)}, {"starts": (UNUSUAL,)}):
        assert gate(realistic_model, realism=None, **options)([text, other]) == [allowed, None]


def test_a_search_scores_what_the_table_allows(realistic_folder, tmp_path):
    def search(name, **options):
        return optimize(
            tmp_path / f"{name}.csv", parse_objective(["qed"]), 6, model=realistic_folder,
            method="sampling", workers=0, device="cpu", **options,
        )  # fmt: skip

    plain = search("plain", request=Request(realism=0.5))
    assert UNLIKE not in plain.refused
    assert (
        search("free", request=Request(novel_rings=True))
        .refused.keys()
        .isdisjoint({RING, "atom environment without training molecules"})
    )
    strict = search("strict", realism=0.2)
    assert strict.refused[UNLIKE] > 0
    assert Chem.MolFromSmiles(strict.examples[UNLIKE]) is not None
    with pytest.raises(Exception, match="realism"):
        search("strict", realism=0.3, resume=True)
