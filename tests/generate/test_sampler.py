"""The decoding loop on a fake network; the critic and the bookkeeping on a tiny trained one."""

import itertools
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from rdkit import DataStructs
from rdkit.Chem import (
    Crippen,
    Descriptors,
    FilterCatalog,
    MolFromSmarts,
    MolFromSmiles,
    MolToSmiles,
    rdFingerprintGenerator,
)

from molvae import chem
from molvae.chem.hashing import KeySet, keys_of
from molvae.chem.selfies import from_selfies
from molvae.chem.vocabulary import BOS, EOS, PAD
from molvae.errors import ConfigError, FileError, TargetError
from molvae.generate.candidates import Candidate, Wanted
from molvae.generate.decoding import Guidance, decode_latents, decode_tokens
from molvae.generate.proposer import Proposer
from molvae.generate.request import TRIES, Request
from molvae.generate.sampler import Sampler
from molvae.model.records import Context
from molvae.runtime.processes import process_pool
from molvae.runtime.randomness import Draws
from molvae.targets import parse_target

V = 10


def fake(logits):
    """A network whose next token never depends on anything: logits (V,)."""

    class Decoding:
        def __call__(self, tokens):
            return logits.expand(len(tokens), -1).clone()

        def keep(self, rows):
            pass

    return SimpleNamespace(decoding=lambda context: Decoding())


def context_of(values):
    """The context of a fake network, (B, 1)."""
    return Context(values, values, values, values)


def decode(logits, uniform, temperature=1.0, cutoff=0.0, never=None):
    n, limit = uniform.shape
    return decode_tokens(
        fake(logits),
        context_of(torch.zeros(n, 1)),
        limit,
        temperature=temperature,
        uniform=uniform,
        cutoff=cutoff,
        never=never,
    )


def uniform(n, limit):
    return torch.from_numpy(Draws(3).uniform("token", np.arange(n), limit))


def test_tokens_without_training_molecules_are_never_drawn(tiny_model):
    scores = torch.tensor([0.0, 0.0, 1.0, 2.0, 5.0, 0.5])
    allowed = scores.softmax(0)[[EOS, 3, 5]]
    result = decode(scores, uniform(20_000, 1), never=np.asarray([4]))[:, 0]
    share = torch.bincount(torch.where(result == PAD, EOS, result), minlength=6) / 20_000
    assert share[4] == 0
    torch.testing.assert_close(share[[EOS, 3, 5]], allowed / allowed.sum(), rtol=0, atol=0.012)
    best = decode(scores, uniform(3, 1), temperature=0, never=np.asarray([4]))
    assert best[:, 0].tolist() == [3, 3, 3]
    counts = np.where(np.arange(len(tiny_model.vocabulary)) == 0, 0, 1)
    place = tiny_model.vocabulary.tokens.index("[N]")
    counts[place] = 0
    masked = replace(tiny_model, token_counts=counts)
    for model, expected in ((tiny_model, True), (masked, False)):
        texts = Proposer(model, Request(), draws=Draws(0), device=torch.device("cpu")).texts(
            np.arange(64), np.full((64, 16), np.nan, np.float32), np.ones(64, np.float32)
        )
        assert any("[N]" in text for text in texts) is expected


def sampler(model, *targets, **options):
    names = (
        "seed", "batch_size", "executor", "workers", "decoders", "decoder_count", "precision",
        "known",
    )  # fmt: skip
    settings = {name: options.pop(name) for name in names if name in options}
    return Sampler(model, Request(targets=tuple(map(parse_target, targets)), **options), **settings)


def decoded(sampler, items):
    """SMILES of candidates from the prior, before anything is checked."""
    nothing = np.full((len(items), 16), np.nan, dtype=np.float32)
    texts = sampler.proposer.texts(items, nothing, np.ones(len(items), dtype=np.float32))
    return [from_selfies(text) for text in texts]


def smiles(sampler, n):
    return [molecule.smiles for molecule in sampler.stream(n)]


# -- tokens ---------------------------------------------------------------------------------------


def test_uniform_logits_map_draws_to_tokens_in_order():
    draws = uniform(500, 6)
    result = decode(torch.zeros(V), draws)
    expected = EOS + (draws * (V - EOS)).long()  # never <pad> or <bos>
    for row, truth in zip(result.tolist(), expected.tolist(), strict=True):
        end = truth.index(EOS) + 1 if EOS in truth else len(truth)
        assert row[:end] == truth[:end]
        assert set(row[end:]) <= {PAD}


def test_tokens_come_with_the_probabilities_of_the_temperature():
    logits = torch.linspace(-1, 1, V)
    logits[EOS] = -30.0
    result = decode(logits, uniform(4000, 5), temperature=0.5)
    share = torch.bincount(result.flatten(), minlength=V) / result.numel()
    probabilities = torch.softmax(torch.cat([torch.full((2,), -torch.inf), logits[2:]]) / 0.5, 0)
    torch.testing.assert_close(share, probabilities, rtol=0, atol=0.01)


def test_tokens_below_the_cutoff_are_not_drawn_and_the_others_keep_their_odds():
    odds = torch.tensor([0.0, 0.0, 0.0, 0.004, 0.246, 0.25, 0.5])
    assert len(odds) <= V
    logits = torch.full((V,), -torch.inf)
    logits[: len(odds)] = odds.log()
    result = decode(logits, uniform(4000, 5), cutoff=0.005).flatten()
    share = torch.bincount(result, minlength=V)[: len(odds)] / result.numel()
    left = odds.where(odds > 0.1, 0.0)
    assert share[3] == 0
    torch.testing.assert_close(share, left / left.sum(), rtol=0, atol=0.01)
    # Where all are less likely than that, the likeliest is drawn.
    assert (decode(logits, uniform(50, 5), cutoff=0.9) == 6).all()


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
    count = network.condition_count
    context = network.make_context(
        torch.randn(30, 16), torch.rand(30), torch.randn(30, count), torch.ones(30, count)
    )
    whole = decode_tokens(network, context, 50, temperature=1.0, uniform=draws)
    for i in range(0, 30, 7):
        alone = decode_tokens(
            network, context.rows(slice(i, i + 1)), 50, temperature=1.0, uniform=draws[i : i + 1]
        )
        assert alone[0].tolist() == whole[i, : alone.shape[1]].tolist()


# -- molecules ------------------------------------------------------------------------------------


def test_the_seed_alone_decides(tiny_model):
    first = smiles(sampler(tiny_model, "logp=1:4"), 6)
    assert len(first) == 6
    assert smiles(sampler(tiny_model, "logp=1:4", batch_size=7), 6) == first
    other = smiles(sampler(tiny_model, "logp=1:4", seed=1), 6)
    assert len(set(other) & set(first)) < 3


@pytest.mark.process
def test_workers_change_nothing(tiny_model):
    first = smiles(sampler(tiny_model, "qed=0.5", batch_size=50), 30)
    with process_pool(2) as pool:
        parallel = sampler(tiny_model, "qed=0.5", batch_size=50, executor=pool, workers=2)
        assert smiles(parallel, 30) == first


def test_batches_decoded_side_by_side_change_nothing(tiny_model):
    alone = sampler(tiny_model, "qed=0.5", batch_size=20)
    first = smiles(alone, 5)
    with ThreadPoolExecutor(3) as pool:
        beside = sampler(tiny_model, "qed=0.5", batch_size=20, decoders=pool, decoder_count=3)
        assert smiles(beside, 5) == first
    assert (beside.decoded, beside.refused) == (alone.decoded, alone.refused)


def test_an_error_of_one_batch_ends_the_run(tiny_model, monkeypatch):
    with ThreadPoolExecutor(2) as pool:
        beside = sampler(tiny_model, batch_size=10, decoders=pool, decoder_count=2)
        whole, calls = beside.proposer.texts, []

        def texts(items, *more):
            calls.append(items)
            if 15 * TRIES in items:
                raise MemoryError("out of memory")
            return whole(items, *more)

        monkeypatch.setattr(beside.proposer, "texts", texts)
        with pytest.raises(MemoryError, match="out of memory"):
            smiles(beside, 500)
    assert len(calls) < 50


def test_numbers_can_be_drawn_apart(tiny_model):
    whole = smiles(sampler(tiny_model, unique=False), 20)
    parts = [s.smiles for first in (0, 12) for s in sampler(tiny_model, unique=False).stream(
        12 if first == 0 else 8, first=first)]  # fmt: skip
    assert parts == whole


def test_every_molecule_is_canonical_distinct_and_without_radicals(tiny_model):
    result = smiles(sampler(tiny_model), 30)
    assert len(set(result)) == len(result) == 30
    for text in result:
        assert chem.canonical_smiles(text) == text
        assert not chem.has_radical(chem.parse(text))


def test_every_molecule_lies_in_the_requested_ranges(tiny_model):
    result = list(sampler(tiny_model, "logp=1:3", "mw=:380").stream(8))
    assert result
    for molecule in result:
        mol = MolFromSmiles(molecule.smiles)
        assert 1 <= Crippen.MolLogP(mol) <= 3
        assert Descriptors.MolWt(mol) <= 380
        assert molecule.values["logp"] == pytest.approx(Crippen.MolLogP(mol), rel=1e-5)


def test_the_critic_keeps_the_nearest_candidate(tiny_model):
    wanted, k = 2.5, 6
    drawn = sampler(tiny_model, f"logp={wanted}", candidates=k, max_tries=k, unique=False)
    chosen = {round(m.values["logp"], 4) for m in drawn.stream(5)}
    nearest = set()
    for number in range(5):
        texts = decoded(drawn, number * TRIES + np.arange(k))
        mols = [m for m in map(chem.parse, texts) if m is not None and not chem.has_radical(m)]
        values = [Crippen.MolLogP(mol) for mol in mols]
        nearest.add(round(min(values, key=lambda v: abs(v - wanted)), 4))
    assert chosen == nearest


def test_more_candidates_come_nearer(tiny_model):
    def error(k):
        result = sampler(tiny_model, "mw=300", candidates=k).stream(16)
        return np.mean([abs(m.values["mw"] - 300) for m in result])

    assert error(16) < 0.6 * error(1)


def test_without_the_critic_the_first_molecule_is_taken(tiny_model):
    drawn = sampler(tiny_model, "mw=10000:", critic=False, unique=False)
    result = list(drawn.stream(8))
    first = decoded(drawn, np.arange(8) * TRIES)
    valid = [chem.canonical_smiles(text) for text in first]
    assert [m.smiles for m, v in zip(result, valid, strict=True) if v] == [v for v in valid if v]
    assert all(m.values["mw"] < 10000 for m in result)


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


def test_decoding_pure_noise_at_temperature_0_gives_one_molecule(tiny_model):
    drawn = sampler(tiny_model, temperature=0, max_tries=9)
    assert len(list(drawn.stream(5))) == 1
    repeated = smiles(sampler(tiny_model, temperature=0, unique=False), 5)
    assert len(set(repeated)) == 1


def test_fewer_tries_than_candidates_are_all_there_is(tiny_model):
    result = list(sampler(tiny_model, "logp=2", candidates=8, max_tries=3).stream(10))
    assert len(result) == 10


def test_only_reasons_that_occurred_are_counted(tiny_model):
    drawn = sampler(tiny_model, "logp=1:2", max_tries=5, candidates=5)
    list(drawn.stream(10))
    assert all(drawn.refused.values())


def test_a_user_column_is_judged_by_the_head(tiny_model):
    result = list(sampler(tiny_model, "assay=6:").stream(3))
    assert result
    for molecule in result:
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
    chosen = [abs(m.values["rings"] - 3) for m in drawn.stream(10)]
    first = sampler(tiny_model, "rings=3", candidates=1).stream(10)
    assert np.mean(chosen) < 0.6 * np.mean([abs(m.values["rings"] - 3) for m in first])


def test_an_unknown_property_is_refused(tiny_model):
    with pytest.raises(TargetError, match="'x'"):
        sampler(tiny_model, "x=1")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"noise": 1.5}, "noise"),
        ({"noise": float("nan")}, "noise"),
        ({"temperature": -1}, "temperature"),
        ({"temperature": float("inf")}, "temperature.*inf"),
        ({"guidance": 1e30}, r"guidance.*1e\+30"),
        ({"epsilon_cutoff": 1}, "epsilon-cutoff.* 1"),
        ({"epsilon_cutoff": -0.1}, "epsilon-cutoff"),
        ({"candidates": 0}, "candidates"),
        ({"max_tries": 0}, "max-tries"),
    ],
)
def test_options_out_of_range_are_refused(options, message):
    with pytest.raises(TargetError, match=message):
        Request(**options)


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


# -- guidance -------------------------------------------------------------------------------------


def test_guidance_weighs_the_two_distributions():
    """p ∝ p(x)^(1 − w) · p(x | c)^w; the first context of a row, 1 or 0, selects the factor."""
    given, free = torch.randn(V), torch.randn(V)

    class Decoding:
        def __init__(self, context):
            self.shown = context.request > 0

        def __call__(self, tokens):
            return torch.where(self.shown, given, free)

        def keep(self, rows):
            self.shown = self.shown[rows]

    network = SimpleNamespace(decoding=Decoding)
    n, weight = 20_000, 1.7
    with_conditions, without = context_of(torch.ones(n, 1)), context_of(torch.zeros(n, 1))
    guidance = Guidance(without, torch.full((n,), weight))
    result = decode_tokens(
        network, with_conditions, 1, temperature=1.0, uniform=uniform(n, 1), guidance=guidance
    )
    share = torch.bincount(result[:, 0], minlength=V) / n
    expected = (given.double().softmax(0) ** weight) * (free.double().softmax(0) ** (1 - weight))
    expected[[PAD, BOS]] = 0
    torch.testing.assert_close(share.double(), expected / expected.sum(), rtol=0, atol=0.012)


@pytest.mark.parametrize(
    ("targets", "given", "expected"),
    [
        (["logp=2"], None, 2.0),
        (["logp=2:3"], None, 1.0),
        (["logp=2:3", "rings=3"], None, 2.0),
        (["logp=2:3"], 1.5, 1.5),
        ([], None, 1.0),
    ],
)
def test_values_are_guided_ranges_are_not(targets, given, expected):
    request = Request(targets=tuple(map(parse_target, targets)), guidance=given)
    assert request.weights == expected


def test_without_weight_conditions_change_nothing(tiny_model):
    asked = {"critic": False, "unique": False, "precision": "fp32"}
    free = smiles(sampler(tiny_model, **asked), 8)
    assert smiles(sampler(tiny_model, "logp=4", guidance=0.0, **asked), 8) == free
    plain = smiles(sampler(tiny_model, "logp=4", guidance=1.0, **asked), 8)
    assert plain != free
    drawn = smiles(sampler(tiny_model, "logp=4", guidance=(1.0, 1.0 + 1e-9), **asked), 8)
    assert drawn == plain


# -- around given molecules -----------------------------------------------------------------------

STARTS = ("CC(=O)Nc1ccccc1", "c1ccccc1OCC", "CCN(CC)C(=O)c1ccccc1")


def test_analogs_take_turns_and_know_their_similarity(tiny_model):
    result = list(sampler(tiny_model, like=STARTS, noise=0.4).stream(9))
    canonical = [MolToSmiles(MolFromSmiles(text)) for text in STARTS]
    assert [m.start for m in result] == canonical * 3
    generator = rdFingerprintGenerator.GetMorganGenerator(radius=2, fpSize=1024)
    for molecule in result:
        a, b = (
            generator.GetFingerprint(MolFromSmiles(s)) for s in (molecule.smiles, molecule.start)
        )
        assert molecule.similarity == pytest.approx(DataStructs.TanimotoSimilarity(a, b))


@pytest.mark.parametrize("unique", [True, False])
def test_a_given_molecule_is_no_analog_of_itself(tiny_model, monkeypatch, unique):
    drawn = sampler(tiny_model, like=("CCO",), unique=unique, max_tries=64)
    texts = itertools.cycle(("[C][C][O]", "[O][C][C]", "[C][C][N]"))
    monkeypatch.setattr(drawn.proposer, "texts", lambda items, *rest: [next(texts) for _ in items])
    result = {m.smiles for m in drawn.stream(1 if unique else 8)}
    assert result == ({"CCN"} if unique else {"CCO", "CCN"})
    assert (drawn.refused["the given molecule itself"] > 0) == unique


def test_a_window_of_similarity_holds(tiny_model):
    result = list(sampler(tiny_model, "similarity=0.1:0.3", like=STARTS).stream(4))
    assert result
    assert all(0.1 <= m.values["similarity"] <= 0.3 for m in result)
    assert all(m.values["similarity"] == m.similarity for m in result)


def test_similarity_needs_a_start(tiny_model):
    with pytest.raises(TargetError, match="'similarity'"):
        sampler(tiny_model, "similarity=0.5:")
    with pytest.raises(TargetError, match="'CCX'"):
        sampler(tiny_model, like=("CCX",))
    with pytest.raises(FileError, match=r"\[Xe\].*vocabulary"):
        sampler(tiny_model, like=("[Xe]",))


def test_a_start_decodes_alike_at_any_place_of_a_batch(tiny_model):
    """Latents of start molecules go to the wanted molecules whose turn it is."""
    asked = {"unique": False, "critic": False, "precision": "fp32"}
    three = smiles(sampler(tiny_model, like=STARTS, **asked), 9)
    assert smiles(sampler(tiny_model, like=STARTS, batch_size=4, **asked), 9) == three


# -- what must not be written ---------------------------------------------------------------------


def test_large_rings_are_refused(tiny_model):
    drawn = sampler(tiny_model, max_ring=6)
    for one in drawn.stream(40):
        mol = chem.parse(one.smiles)  # its rings are gone with it
        assert max(map(len, mol.GetRingInfo().AtomRings()), default=0) <= 6
    reasons = [why for why in drawn.refused if why.startswith("has a ring of ")]
    assert reasons
    assert all(int(why.split()[4]) > 6 for why in reasons)


def test_a_ring_size_below_none_is_refused():
    with pytest.raises(TargetError, match=r"max-ring.*-1"):
        Request(max_ring=-1)


def test_what_is_no_element_is_refused(tiny_model):
    with pytest.raises(ConfigError, match="'Xx' is not an element"):
        Request(elements=("C", "Xx")).with_targets((), tiny_model)


def test_elements_and_alerts_hold_in_the_output(tiny_model):
    drawn = sampler(tiny_model, elements=("C", "N", "O"), alerts=("brenk",))
    result = smiles(drawn, 15)
    catalogue = FilterCatalog.FilterCatalog(FilterCatalog.FilterCatalogParams.FilterCatalogs.BRENK)
    for text in result:
        mol = MolFromSmiles(text)
        assert {atom.GetSymbol() for atom in mol.GetAtoms()} <= {"C", "N", "O"}
        assert not catalogue.HasMatch(mol)
    assert any(reason.startswith("alert: brenk") for reason in drawn.refused)
    assert any(reason.startswith("contains ") for reason in drawn.refused)


def test_known_molecules_are_not_written(tiny_model):
    before = smiles(sampler(tiny_model), 12)
    drawn = sampler(tiny_model, known=KeySet(keys_of(before)))
    assert not set(before) & set(smiles(drawn, 12))
    assert drawn.refused["not novel"] >= 12


def test_molecules_of_earlier_blocks_can_be_forbidden(tiny_model):
    before = smiles(sampler(tiny_model), 12)
    drawn = sampler(tiny_model)
    drawn.forbid(before)
    assert not set(before) & set(smiles(drawn, 12))
    assert drawn.refused["written before"] >= 8  # some are second candidates


def test_no_scaffold_takes_over(tiny_model):
    """The nearest candidate is passed over when its scaffold has had its share."""
    drawn = sampler(tiny_model, "hba=3")
    slots = [Wanted(number) for number in range(60)]
    for slot in slots:
        usual = Candidate(0.1, 1, f"C{slot.number}", (3.0,), 0.0, "c1ccccc1", "", {})
        other = Candidate(0.2, 2, f"N{slot.number}", (3.0,), 0.0, f"core {slot.number}", "", {})
        slot.candidates = [other, usual] if slot.number < 50 else [usual]
    done, counts = {}, Counter()
    assert drawn._choose(slots, done, set(), counts, scaffold_limit=3) == []
    chosen = [done[number].scaffold for number in range(60)]
    assert chosen[:3] == ["c1ccccc1"] * 3
    assert set(chosen[3:50]) == {f"core {number}" for number in range(3, 50)}
    assert set(chosen[50:]) == {"c1ccccc1"}  # where there is nothing else


# -- likelihood and walks -------------------------------------------------------------------------


def test_nll_is_the_sum_over_tokens(tiny_model):
    result = list(sampler(tiny_model, nll=True, precision="fp32").stream(8))
    network = tiny_model.network
    for molecule in result:
        if molecule.nll is None:
            continue
        ids = tiny_model.vocabulary.encode(molecule.smiles).tolist()
        with torch.no_grad():
            context = network.make_context(torch.zeros(1, 16), torch.ones(1))
            logits = network.decode(torch.tensor([[BOS, *ids]]), context)[0].log_softmax(-1)
        expected = -sum(logits[i, token].item() for i, token in enumerate([*ids, EOS]))
        assert molecule.nll == pytest.approx(expected, rel=1e-4)
    assert any(molecule.nll for molecule in result)


def test_a_walk_draws_from_the_posterior_of_a_linear_head(tiny_model, monkeypatch):
    """Head N(z_c, 0.5²) of standardised condition c, target y: z_c goes to N(y / 1.25, 0.2).

    Each of 20 steps of 0.02 takes 0.02 · (1 + 1 / 0.25) of the way.
    """
    drawn = sampler(tiny_model, "logp=4.5", "mw=300:", walk=True, precision="fp32")
    conditions, n = tiny_model.conditions, 400
    count = len(conditions)
    monkeypatch.setattr(
        tiny_model.network, "predict", lambda z: (z[:, :count], torch.full_like(z, np.log(0.5)))
    )
    latents = np.random.default_rng(0).normal(size=(n, 16)).astype(np.float32)
    moved = drawn.proposer.walk(latents, np.arange(n))
    logp = conditions.names.index("logp")
    y = (4.5 - conditions["logp"].mean) / conditions["logp"].std
    assert moved[:, logp].mean() == pytest.approx(y / 1.25 * (1 - 0.9**20), abs=0.08)
    assert moved[:, logp].var() == pytest.approx(0.2, abs=0.08)
    # What lies within a range, and what nobody asked for, is left to the prior.
    mw = conditions.names.index("mw")
    low = (300 - conditions["mw"].mean) / conditions["mw"].std
    assert (moved[:, mw] > low - 0.5).mean() > 0.8
    others = [k for k in range(16) if k not in (logp, mw)]
    assert moved[:, others].mean() == pytest.approx(0, abs=0.1)
    assert moved[:, others].var() == pytest.approx(1, abs=0.1)
    again = drawn.proposer.walk(latents[:5], np.arange(5))
    np.testing.assert_allclose(again, moved[:5], atol=1e-5)


def test_a_walk_is_taken_where_the_critic_is_blind_or_the_target_far(tiny_model):
    seen = tiny_model.conditions["logp"].seen
    assert not sampler(tiny_model, "logp=2", "mw=300:")._walks
    assert sampler(tiny_model, "assay=6")._walks
    assert sampler(tiny_model, f"logp={seen[1] + 2}")._walks
    assert not sampler(tiny_model, "assay=6", walk=False)._walks
    assert not sampler(tiny_model, "assay=6", critic=False)._walks
    assert not sampler(tiny_model, "rings=3", walk=True)._walks  # the model knows nothing of it


NEAREST = ["[C][C][O]", "[C][C][C][O]", "[C][C][N]", "[C][O][C]"]


def moved(drawn, slots, monkeypatch):
    """(texts that later candidates start from, their latents, their noise levels)."""
    seen, encode = [], drawn.proposer.encode_selfies
    monkeypatch.setattr(drawn.proposer, "encode_selfies", lambda t: seen.extend(t) or encode(t))
    items = np.concatenate([slot.number * TRIES + 4 + np.arange(3) for slot in slots])
    latents = np.full((len(items), 16), np.nan, dtype=np.float32)
    levels = np.ones(len(items), dtype=np.float32)
    drawn._move(items, slots, latents, levels)
    return list(seen), latents, levels


def slots_with(costs):
    return [
        Wanted(i, tried=4, nearest=(cost, NEAREST[i % 4] if cost < np.inf else ""))
        for i, cost in enumerate(costs)
    ]


def test_later_candidates_start_at_the_nearest_of_the_block(tiny_model, monkeypatch):
    drawn = sampler(tiny_model, "logp=20", precision="fp32")
    slots = slots_with([5.0, 4.0, 0.5, np.inf, *[6.0] * 15, 0.1])  # 20: two may be parents
    texts, latents, levels = moved(drawn, slots, monkeypatch)
    assert len(texts) == 60
    assert set(texts) == {NEAREST[2], NEAREST[3]}  # of slots 2 and 19
    np.testing.assert_allclose(latents, drawn.proposer.encode_selfies(texts), atol=1e-5)
    assert set(levels.tolist()) == {np.float32(0.3)}


def test_around_molecules_they_start_at_the_nearest_of_their_own(tiny_model, monkeypatch):
    drawn = sampler(tiny_model, "logp=20", like=("CCO", "CCN"), precision="fp32")
    slots = slots_with([5.0, np.inf, 0.5])
    texts, latents, levels = moved(drawn, slots, monkeypatch)
    assert texts == [NEAREST[0]] * 3 + [""] * 3 + [NEAREST[2]] * 3
    assert np.isnan(latents[3:6]).all()  # left as they were
    assert levels.tolist() == pytest.approx([0.3] * 3 + [1.0] * 3 + [0.3] * 3)


def test_for_own_columns_the_head_shows_the_way(tiny_model, monkeypatch):
    drawn = sampler(tiny_model, "assay=6", precision="fp32")
    asked = []
    monkeypatch.setattr(
        drawn.proposer, "walk", lambda z, items: asked.append(items) or np.zeros_like(z)
    )
    _, latents, _ = moved(drawn, slots_with([1.0, 2.0]), monkeypatch)
    assert len(asked[0]) == 6
    assert not latents.any()


def test_where_nothing_was_found_nothing_moves(tiny_model, monkeypatch):
    drawn = sampler(tiny_model, "logp=20", precision="fp32")
    _, latents, levels = moved(drawn, slots_with([np.inf, np.inf]), monkeypatch)
    assert np.isnan(latents).all()
    assert (levels == 1).all()


def test_blocks_are_the_stream_cut_up(tiny_model):
    stream = list(sampler(tiny_model, "logp=1:3").stream(6, first=5))
    (block,) = sampler(tiny_model, "logp=1:3").blocks([range(5, 11)])
    assert block == stream


# -- scaffolds ------------------------------------------------------------------------------------


def test_every_molecule_holds_the_scaffold_and_meets_the_target(tiny_model):
    drawn = sampler(tiny_model, "logp=1:4", scaffold="O=C(Nc1ccccc1)*")
    query = MolFromSmarts("O=C(Nc1ccccc1)")
    result = list(drawn.stream(5))
    assert len(result) == 5
    for molecule in result:
        mol = MolFromSmiles(molecule.smiles)
        assert mol.HasSubstructMatch(query)
        assert 1 <= Crippen.MolLogP(mol) <= 4
    assert not any("pattern" in note for note in drawn.notes())


def test_linkers_and_filled_points_are_drawn_by_a_trained_model(tiny_model):
    drawn = sampler(tiny_model, scaffold="*c1ccccc1.*NC(C)=O", fill=True)
    query = MolFromSmarts("[cX3]1[cH][cH][cH][cH][cH]1.[NX3;H1,H0]C([CH3])=O")
    result = smiles(drawn, 3)
    assert len(result) == 3
    assert all(MolFromSmiles(text).HasSubstructMatch(query) for text in result)


def test_a_pattern_is_waited_for(tiny_model):
    drawn = sampler(tiny_model, scaffold="[#7;R]", max_tries=40)
    assert any("is a pattern, not a molecule" in note for note in drawn.notes())
    result = smiles(drawn, 8)
    assert all(MolFromSmiles(text).HasSubstructMatch(MolFromSmarts("[#7;R]")) for text in result)
    assert drawn.refused["without the scaffold"] > 0


def test_a_pattern_that_never_comes_ends(tiny_model):
    drawn = sampler(tiny_model, scaffold="[Xe]~[Xe]~[$([Xe])]", max_tries=3)
    assert smiles(drawn, 4) == []
    assert drawn.refused["wanted molecules given up after max-tries candidates"] == 4
