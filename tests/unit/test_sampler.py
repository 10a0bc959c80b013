"""The decoding loop on a fake network; the critic and the bookkeeping on a tiny trained one."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from rdkit.Chem import Crippen, Descriptors, MolFromSmiles

from molvae import chem, tokens
from molvae.conditions import parse_target
from molvae.errors import TargetError
from molvae.parallel import worker_pool
from molvae.runtime import Draws
from molvae.sampler import TRIES, Request, Sampler, decode_latents, decode_tokens
from molvae.tokens import BOS, EOS, PAD

V = 10


def fake(logits):
    """A network whose next token never depends on anything: logits (V,)."""

    class Decoding:
        def __call__(self, tokens):
            return logits.expand(len(tokens), -1).clone()

        def keep(self, rows):
            pass

    return SimpleNamespace(decoding=lambda context: Decoding())


def decode(logits, uniform, temperature=1.0):
    n, limit = uniform.shape
    return decode_tokens(
        fake(logits), torch.zeros(n, 1), limit, temperature=temperature, uniform=uniform
    )


def uniform(n, limit):
    return torch.from_numpy(Draws(3).uniform("token", np.arange(n), limit))


def sampler(model, *targets, seed=0, batch_size=256, executor=None, workers=1, **knobs):
    request = Request(targets=tuple(map(parse_target, targets)), **knobs)
    return Sampler(
        model, request, seed=seed, batch_size=batch_size, executor=executor, workers=workers
    )


def decoded(sampler, items):
    """SMILES of candidates from the prior, before anything is checked."""
    nothing = np.full((len(items), 16), np.nan, dtype=np.float32)
    texts = sampler.proposer.texts(items, nothing, np.ones(len(items), dtype=np.float32))
    return [tokens.from_selfies(text) for text in texts]


def smiles(sampler, n):
    return [molecule.smiles for molecule in sampler.stream(n)]


# -- tokens ---------------------------------------------------------------------------------------


def test_uniform_logits_map_draws_to_tokens_in_order():
    draws = uniform(500, 6)
    found = decode(torch.zeros(V), draws)
    expected = EOS + (draws * (V - EOS)).long()  # never <pad> or <bos>
    for row, truth in zip(found.tolist(), expected.tolist(), strict=True):
        end = truth.index(EOS) + 1 if EOS in truth else len(truth)
        assert row[:end] == truth[:end]
        assert set(row[end:]) <= {PAD}


def test_tokens_come_with_the_probabilities_of_the_temperature():
    logits = torch.linspace(-1, 1, V)
    logits[EOS] = -30.0
    found = decode(logits, uniform(4000, 5), temperature=0.5)
    share = torch.bincount(found.flatten(), minlength=V) / found.numel()
    probabilities = torch.softmax(torch.cat([torch.full((2,), -torch.inf), logits[2:]]) / 0.5, 0)
    torch.testing.assert_close(share, probabilities, rtol=0, atol=0.01)


def test_temperature_zero_ignores_the_draws():
    logits = torch.randn(V)
    logits[EOS] = -30.0
    draws = uniform(20, 4)
    cold = decode(logits, draws, temperature=0)
    assert torch.equal(cold, decode(logits, 1 - draws, temperature=0))
    assert (cold == logits[EOS:].argmax() + EOS).all()


def test_start_and_fill_are_never_decoded():
    logits = torch.zeros(V)
    logits[[PAD, BOS]] = 50.0
    logits[EOS] = -30.0
    assert (decode(logits, uniform(50, 8)) > EOS).all()


def test_decoding_ends_with_the_last_row():
    logits = torch.full((V,), -30.0)
    logits[EOS] = 0.0
    assert decode(logits, uniform(5, 40)).tolist() == [[EOS]] * 5


def test_a_row_does_not_depend_on_its_company(tiny_model):
    network, draws = tiny_model.network, uniform(30, 50)
    context = torch.randn(30, network.config.context_size)
    whole = decode_tokens(network, context, 50, temperature=1.0, uniform=draws)
    for i in range(0, 30, 7):
        alone = decode_tokens(
            network, context[i : i + 1], 50, temperature=1.0, uniform=draws[i : i + 1]
        )
        assert alone[0].tolist() == whole[i, : alone.shape[1]].tolist()


# -- molecules ------------------------------------------------------------------------------------


def test_the_seed_alone_decides(tiny_model):
    first = smiles(sampler(tiny_model, "logp=1:4"), 30)
    assert len(first) == 30
    assert smiles(sampler(tiny_model, "logp=1:4", batch_size=7), 30) == first
    other = smiles(sampler(tiny_model, "logp=1:4", seed=1), 30)
    assert len(set(other) & set(first)) < 10


def test_workers_change_nothing(tiny_model):
    first = smiles(sampler(tiny_model, "qed=0.5", batch_size=50), 30)
    with worker_pool(2) as pool:
        parallel = sampler(tiny_model, "qed=0.5", batch_size=50, executor=pool, workers=2)
        assert smiles(parallel, 30) == first


def test_numbers_can_be_drawn_apart(tiny_model):
    whole = smiles(sampler(tiny_model, unique=False), 20)
    parts = [s.smiles for first in (0, 12) for s in sampler(tiny_model, unique=False).stream(
        12 if first == 0 else 8, first=first)]  # fmt: skip
    assert parts == whole


def test_every_molecule_is_canonical_distinct_and_without_radicals(tiny_model):
    found = smiles(sampler(tiny_model), 60)
    assert len(set(found)) == len(found) == 60
    for text in found:
        assert chem.canonical_smiles(text) == text
        assert not chem.has_radical(chem.parse(text))


def test_every_molecule_lies_in_the_requested_ranges(tiny_model):
    found = list(sampler(tiny_model, "logp=1:3", "mw=:380").stream(20))
    assert found
    for molecule in found:
        mol = MolFromSmiles(molecule.smiles)
        assert 1 <= Crippen.MolLogP(mol) <= 3
        assert Descriptors.MolWt(mol) <= 380
        assert molecule.values["logp"] == pytest.approx(Crippen.MolLogP(mol), rel=1e-5)


def test_the_critic_keeps_the_nearest_candidate(tiny_model):
    wanted, k = 2.5, 6
    drawn = sampler(tiny_model, f"logp={wanted}", candidates=k, max_tries=k, unique=False)
    chosen = {round(m.values["logp"], 4) for m in drawn.stream(8)}
    nearest = set()
    for number in range(8):
        texts = decoded(drawn, number * TRIES + np.arange(k))
        mols = [m for m in map(chem.parse, texts) if m is not None and not chem.has_radical(m)]
        values = [Crippen.MolLogP(mol) for mol in mols]
        nearest.add(round(min(values, key=lambda v: abs(v - wanted)), 4))
    assert chosen == nearest


def test_more_candidates_come_nearer(tiny_model):
    def error(k):
        found = sampler(tiny_model, "mw=300", candidates=k).stream(30)
        return np.mean([abs(m.values["mw"] - 300) for m in found])

    assert error(16) < 0.6 * error(1)


def test_without_the_critic_the_first_molecule_is_taken(tiny_model):
    drawn = sampler(tiny_model, "mw=10000:", critic=False, unique=False)
    found = list(drawn.stream(20))
    first = decoded(drawn, np.arange(20) * TRIES)
    valid = [chem.canonical_smiles(text) for text in first]
    assert [m.smiles for m, v in zip(found, valid, strict=True) if v] == [v for v in valid if v]
    assert all(m.values["mw"] < 10000 for m in found)


def test_an_impossible_range_is_given_up_and_counted(tiny_model):
    drawn = sampler(tiny_model, "mw=5000:", max_tries=10)
    assert list(drawn.stream(4)) == []
    assert drawn.decoded == 40
    assert drawn.refused["wanted molecules given up after max-tries candidates"] == 4
    assert drawn.refused.total() == 44  # every candidate has its reason as well


def test_misses_are_written_when_allowed(tiny_model):
    drawn = sampler(tiny_model, "mw=5000:", max_tries=8, allow_misses=True)
    assert len(list(drawn.stream(4))) == 4
    assert not any("range" in reason for reason in drawn.refused)


def test_cold_decoding_from_pure_noise_knows_one_molecule(tiny_model):
    drawn = sampler(tiny_model, temperature=0, max_tries=9)
    assert len(list(drawn.stream(5))) == 1
    repeated = smiles(sampler(tiny_model, temperature=0, unique=False), 5)
    assert len(set(repeated)) == 1


def test_only_reasons_that_occurred_are_counted(tiny_model):
    drawn = sampler(tiny_model, "logp=1:2", max_tries=5, candidates=5)
    list(drawn.stream(10))
    assert all(drawn.refused.values())


def test_a_user_column_is_judged_by_the_head(tiny_model):
    found = list(sampler(tiny_model, "assay=6:").stream(5))
    assert found
    for molecule in found:
        ids = tiny_model.vocabulary.encode(molecule.smiles)
        proposer = sampler(tiny_model).proposer
        predicted = proposer.predict(proposer.encode([ids]))
        column = tiny_model.conditions.names.index("assay")
        # The same molecule may have been written with other tokens, so this is near, not equal.
        assert predicted[0, column] == pytest.approx(molecule.values["assay"], abs=1.0)
        assert molecule.values["assay"] >= 6


def test_a_property_the_model_does_not_know_is_met_by_selection(tiny_model):
    drawn = sampler(tiny_model, "rings=3")
    assert any("does not know rings" in note for note in drawn.notes())
    chosen = [abs(m.values["rings"] - 3) for m in drawn.stream(20)]
    first = sampler(tiny_model, "rings=3", candidates=1).stream(20)
    assert np.mean(chosen) < 0.6 * np.mean([abs(m.values["rings"] - 3) for m in first])


def test_an_unknown_property_is_refused(tiny_model):
    with pytest.raises(TargetError, match="unknown property 'x'"):
        sampler(tiny_model, "x=1")


@pytest.mark.parametrize(
    ("knobs", "message"),
    [
        ({"noise": 1.5}, "noise"),
        ({"noise": float("nan")}, "noise"),
        ({"temperature": -1}, "temperature"),
        ({"candidates": 0}, "candidates"),
        ({"max_tries": 0}, "max-tries"),
    ],
)
def test_knobs_out_of_range_are_refused(knobs, message):
    with pytest.raises(TargetError, match=message):
        Request(**knobs)


def test_latents_decode_alike_in_any_batch(tiny_model):
    z = np.random.default_rng(0).normal(size=(20, 16)).astype(np.float32)
    whole = decode_latents(tiny_model, z, noise=0.3, draws=Draws(1))
    parts = decode_latents(tiny_model, z, noise=0.3, draws=Draws(1), batch_size=6)
    texts = [
        [tiny_model.vocabulary.decode(row.tolist()) for row in rows] for rows in (whole, parts)
    ]
    assert texts[0] == texts[1]


def test_latents_decode_to_drawn_tokens_at_a_temperature(tiny_model):
    """Drawn ones differ from the likeliest, and draws belong to the molecule, not to its batch."""
    z = np.random.default_rng(0).normal(size=(20, 16)).astype(np.float32)

    def texts(**options):
        rows = decode_latents(tiny_model, z, noise=0.3, draws=Draws(1), **options)
        return [tiny_model.vocabulary.decode(row.tolist()) for row in rows]

    drawn = texts(temperature=1.0)
    assert drawn != texts()
    assert drawn == texts(temperature=1.0, batch_size=6)
