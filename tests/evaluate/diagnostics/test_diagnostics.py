"""Rate, distortion and exact reconstruction against independent estimates."""

import math

import numpy as np
import pytest
import torch
from torch.distributions import Normal, kl_divergence

from molvae.chem.vocabulary import Vocabulary
from molvae.data.dataset import Batch, Dataset, pad_tokens
from molvae.evaluate.diagnostics import (
    LEVELS,
    calibrate,
    encode_molecules,
    figures,
    head_errors,
    latent_map,
    mutual_information,
    random_pairs,
    reconstructions,
    requests,
    smoothness,
)
from molvae.evaluate.diagnostics.calibration import describe_replies
from molvae.evaluate.diagnostics.paths import describe_paths
from molvae.evaluate.diagnostics.rates import noisy_posterior
from molvae.generate.request import Generated, Request
from molvae.generate.sampler import Sampler
from molvae.latent.interpolate import path_between
from molvae.model.conditions import ConditionSet
from molvae.model.cvae import noisy_latent
from molvae.model.records import Posterior
from molvae.runtime.randomness import Draws
from molvae.targets import Target


@pytest.fixture
def dataset(tiny_dataset):
    return Dataset(tiny_dataset)


def measure(model, dataset, n=40, reconstructions=40, **options):
    return figures(
        model.network, dataset, model.conditions, list(range(len(dataset.names))),
        dataset.part("train")[:n], reconstructions=reconstructions, draws=Draws(0), **options,
    )  # fmt: skip


@pytest.mark.parametrize("t", LEVELS)
def test_the_noisy_posterior_is_that_of_the_channel(t):
    posterior = Posterior(torch.tensor([[1.5, -2.0]]), torch.tensor([[-1.0, 0.7]]))
    z = posterior.sample(torch.randn(200_000, 2))
    mixed = noisy_latent(z, torch.full((len(z),), t), torch.randn(200_000, 2))
    mean, log_var = noisy_posterior(posterior, t)
    torch.testing.assert_close(mixed.mean(dim=0), mean[0], rtol=0, atol=0.02)
    torch.testing.assert_close(mixed.var(dim=0), log_var[0].exp(), rtol=0, atol=0.04)


def test_rates_are_those_of_the_normal_distributions(tiny_model, dataset):
    result = measure(tiny_model, dataset, n=10)
    batch = dataset.batch(dataset.part("train")[:10])
    posterior = tiny_model.network.encode(
        torch.from_numpy(batch.targets), torch.from_numpy(batch.lengths)
    )
    for t in LEVELS:
        a = math.cos(math.pi * t / 2)
        scale = (a * a * posterior.log_var.exp() + 1 - a * a).sqrt()
        rate = kl_divergence(Normal(a * posterior.mean, scale), Normal(0.0, 1.0)).sum(dim=-1)
        assert result["R"][f"{t:g}"] == pytest.approx(rate.mean().item(), rel=1e-4, abs=1e-4)
    assert result["R"]["1"] == 0


def test_distortion_is_the_nll_of_the_tokens(tiny_model, dataset):
    item = dataset.part("train")[:1]
    result = figures(
        tiny_model.network, dataset, tiny_model.conditions, [0, 1, 2, 3], item,
        reconstructions=0, draws=Draws(0),
    )  # fmt: skip
    batch, network = dataset.batch(item), tiny_model.network
    zero = torch.zeros(1, len(tiny_model.conditions))
    context = network.make_context(torch.zeros(1, 16), torch.ones(1), zero, zero)
    log_p = network.decode(torch.from_numpy(batch.inputs), context).log_softmax(dim=-1)
    nats = -sum(log_p[0, i, token].item() for i, token in enumerate(batch.targets[0].tolist()))
    assert result["D"]["1"] == pytest.approx(nats, rel=1e-4)
    assert result["nats_per_token"] == pytest.approx(nats / batch.lengths[0], rel=1e-4)


def test_the_gap_adds_up(tiny_model, dataset):
    result = measure(tiny_model, dataset)
    assert result["gap"] == pytest.approx(result["R"]["0"] + result["D"]["0"] - result["D"]["1"])
    assert result["n"] == 40


def test_the_order_of_the_molecules_does_not_matter(tiny_model, dataset):
    items = dataset.part("train")[:30]
    options = {"reconstructions": 0, "draws": Draws(0)}
    args = (tiny_model.network, dataset, tiny_model.conditions, [0, 1, 2, 3])
    a, b = (figures(*args, order, **options) for order in (items, items[::-1]))
    assert a["D"] == pytest.approx(b["D"], rel=1e-5)


def rig(monkeypatch, rows_of):
    """Let the decoder give back these rows for the molecules of the batch."""
    batches = []
    real = Dataset.batch

    def remember(self, items):
        batches.append(real(self, items))
        return batches[-1]

    monkeypatch.setattr(Dataset, "batch", remember)
    monkeypatch.setattr(
        "molvae.evaluate.diagnostics.reconstruction.decode_tokens",
        lambda *_, **__: torch.from_numpy(rows_of(batches[-1].targets)),
    )


def test_a_decoder_that_returns_the_truth_is_exact(tiny_model, dataset, monkeypatch):
    rig(monkeypatch, lambda targets: targets)
    assert measure(tiny_model, dataset)["exact"] == {
        "value": 1.0, "numerator": 40, "denominator": 40,
    }  # fmt: skip


def test_each_wrong_molecule_counts(tiny_model, dataset, monkeypatch):
    def spoil(targets):
        rows = targets.copy()
        rows[:7] = np.roll(targets, 1, axis=0)[:7]  # another molecule
        return rows

    rig(monkeypatch, spoil)
    assert measure(tiny_model, dataset)["exact"]["numerator"] == 33


def test_other_tokens_for_the_same_molecule_are_exact(tiny_model, dataset, monkeypatch):
    from rdkit.Chem import MolFromSmiles, MolToSmiles

    from molvae.chem import canonical_smiles
    from molvae.evaluate.diagnostics.reconstruction import same_molecule

    item = int(dataset.part("train")[0])
    truth = dataset.ids(item)
    smiles = dataset.vocabulary.decode(truth.tolist())
    mol = MolFromSmiles(smiles)
    writings = {MolToSmiles(mol, rootedAtAtom=a.GetIdx(), canonical=False) for a in mol.GetAtoms()}
    rows = [dataset.vocabulary.encode(text) for text in writings if canonical_smiles(text)]
    others = [row for row in rows if row.tolist() != truth.tolist()]
    assert others
    assert all(same_molecule(dataset.vocabulary, row, truth) for row in others)
    assert not same_molecule(dataset.vocabulary, truth[:-6], truth)


def test_head_errors_are_mean_distances_in_units(tiny_model, dataset):
    result = measure(tiny_model, dataset)["head"]
    items = dataset.part("train")[:40]
    batch = dataset.batch(items)
    posterior = tiny_model.network.encode(
        torch.from_numpy(batch.targets), torch.from_numpy(batch.lengths)
    )
    mean, _ = tiny_model.network.predict(posterior.mean)
    k = dataset.names.index("mw")
    condition = tiny_model.conditions["mw"]
    predicted = mean[:, k].detach().numpy() * condition.std + condition.mean
    errors = np.abs(predicted - dataset.values[items, k])
    assert result["mw"] == {"mae": pytest.approx(errors.mean(), rel=1e-3), "n": 40}
    known = int((~np.isnan(dataset.values[items][:, dataset.names.index("assay")])).sum())
    assert result["assay"]["n"] == known < 40


def test_bf16_figures_are_near_those_of_fp32(tiny_model, dataset):
    exact, rough = measure(tiny_model, dataset), measure(tiny_model, dataset, precision="bf16")
    assert rough["D"]["1"] == pytest.approx(exact["D"]["1"], rel=0.01)
    assert rough["R"]["0"] == pytest.approx(exact["R"]["0"], rel=0.02)


# -- what the examination adds ------------------------------------------------------------------


class Rows:
    """Molecules given as lists of ids."""

    def __init__(self, vocabulary, rows):
        self.vocabulary, self.rows = vocabulary, [np.asarray(row) for row in rows]

    def lengths(self, items):
        return np.asarray([len(self.rows[i]) for i in items])

    def batch(self, items):
        padded = pad_tokens([self.rows[i] for i in items])
        return Batch(items, *padded, np.zeros((len(items), 0), dtype=np.float32))


class Stub(torch.nn.Module):
    """A network whose every answer is written down."""

    condition_count = 0

    def __init__(self, likeliest):
        super().__init__()
        self.anything = torch.nn.Parameter(torch.zeros(1))
        self.likeliest = torch.tensor(likeliest)

    def encode(self, targets, lengths):
        return Posterior(torch.zeros(len(targets), 3), torch.zeros(len(targets), 3))

    def make_context(self, z, t):
        return z

    def decode(self, inputs, context):
        logits = torch.zeros(*inputs.shape, 6)
        logits.scatter_(2, self.likeliest.unsqueeze(-1), 1.0)
        logits[:, :, :2] = 9.0  # <pad> and <bos>, which cannot be written
        return logits


def test_tokens_and_molecules_that_come_back_by_hand(monkeypatch):
    vocabulary = Vocabulary.of_symbols(["[C]", "[N]", "[O]"])
    c, n, o = (vocabulary.encode_symbols([s])[0] for s in ("[C]", "[N]", "[O]"))
    cn, cco = [c, n], [c, c, o]  # shortest first, as they are decoded
    written = torch.tensor([[c, n, n, 2, 0], [o, c, c, 2, 0]])
    monkeypatch.setattr(
        "molvae.evaluate.diagnostics.reconstruction.decode_tokens", lambda *_, **__: written.clone()
    )
    network = Stub([[c, n, 2, 2], [c, c, c, 2]])
    (result,) = reconstructions(
        network, Rows(vocabulary, [cco, cn]), np.arange(2), draws=Draws(0), levels=[0.0]
    )
    # OCC is CCO; CNN is not CN.
    assert (result.exact.numerator, result.exact.denominator, result.exact.n) == (1, 2, 2)
    # C N . of CN<eos>, . C . <eos> of CCO<eos>
    assert (result.tokens_free_running.numerator, result.tokens_free_running.denominator) == (4, 7)
    # all of CN<eos>, all but the O of CCO<eos>
    assert (result.tokens_teacher_forced.numerator, result.tokens_teacher_forced.denominator) == (
        6,
        7,
    )
    assert result.tokens_teacher_forced.value == pytest.approx(6 / 7)


def test_reconstruction_at_t_0_is_that_of_figures(tiny_model, dataset):
    items = dataset.part("train")[:40]
    result = reconstructions(tiny_model.network, dataset, items, draws=Draws(0), levels=[0.0, 1.0])
    assert result[0].exact.to_json() == {**measure(tiny_model, dataset)["exact"], "n": 40}
    tokens = int(dataset.lengths(items).sum()) + 40
    assert {entry.tokens_free_running.denominator for entry in result} == {tokens}
    # Even this model has learned enough for the true tokens before to help.
    assert all(e.tokens_teacher_forced.value > e.tokens_free_running.value for e in result)


def test_encoded_molecules_stay_in_their_order(tiny_model, dataset):
    items = dataset.part("train")[:30]
    molecules = encode_molecules(tiny_model.network, dataset, items, draws=Draws(0))
    for place in (0, 13, 29):
        alone = dataset.batch(items[place : place + 1])
        with torch.no_grad():
            posterior = tiny_model.network.encode(
                torch.from_numpy(alone.targets), torch.from_numpy(alone.lengths)
            )
            head, _ = tiny_model.network.predict(posterior.mean)
        noise = Draws(0).normal("v-latent", items[place : place + 1], 16)
        z = posterior.sample(torch.from_numpy(noise))
        np.testing.assert_allclose(molecules.mean[place], posterior.mean[0], atol=1e-5)
        np.testing.assert_allclose(molecules.log_var[place], posterior.log_var[0], atol=1e-4)
        np.testing.assert_allclose(molecules.sample[place], z[0], atol=1e-4)
        np.testing.assert_allclose(molecules.heads[place], head[0], atol=1e-4)


# -- mutual information


def normals(generator, n, size):
    return generator.standard_normal((n, size))


def test_equal_latents_hold_no_information():
    generator = np.random.default_rng(1)
    same = np.broadcast_to(normals(generator, 1, 8), (50, 8)).copy()
    result = mutual_information(same, np.full((50, 8), -2.0), same + normals(generator, 50, 8))
    assert result.value == pytest.approx(0, abs=1e-9)
    assert result.note == ""


def test_latents_far_apart_identify_their_molecule():
    generator = np.random.default_rng(1)
    mean = 100 * np.arange(40.0)[:, None] + np.zeros((40, 3))
    result = mutual_information(mean, np.zeros((40, 3)), mean + normals(generator, 40, 3))
    assert result.value == pytest.approx(math.log(40))
    assert (result.cap, result.n) == (pytest.approx(math.log(40)), 40)
    assert result.standard_error == pytest.approx(0, abs=1e-9)
    assert "cap" in result.note


def test_information_is_that_of_the_formula():
    generator = np.random.default_rng(2)
    n, size = 30, 5
    mean = 3 + normals(generator, n, size)
    log_var = generator.uniform(-12, 2, (n, size))
    sample = mean + np.exp(0.5 * log_var) * normals(generator, n, size)
    q = Normal(torch.tensor(mean), torch.tensor(0.5 * log_var).exp())
    logs = q.log_prob(torch.tensor(sample)[:, None, :]).sum(dim=-1)  # (points, posteriors)
    terms = logs.diagonal() - (logs.logsumexp(dim=1) - math.log(n))
    result = mutual_information(mean, log_var, sample)
    assert result.value == pytest.approx(terms.mean().item(), abs=1e-9)
    assert result.standard_error == pytest.approx(terms.std(correction=0).item() / math.sqrt(n))


def test_information_of_two_gaussians_by_integration():
    """Half of the molecules at −1, half at +1: N posteriors, two different ones."""
    generator = np.random.default_rng(3)
    n, sd = 6000, 0.9  # more than one block in both directions
    mean = np.where(np.arange(n) % 2, 1.0, -1.0)[:, None]
    log_var = np.full((n, 1), 2 * math.log(sd))
    result = mutual_information(mean, log_var, mean + sd * normals(generator, n, 1))
    x = np.linspace(-9, 9, 20_001)
    density = [np.exp(-0.5 * ((x - m) / sd) ** 2) / (sd * math.sqrt(2 * math.pi)) for m in (-1, 1)]
    mixture = (density[0] + density[1]) / 2
    trapezoid = getattr(np, "trapezoid", None) or np.trapz  # the name before NumPy 2
    parts = [trapezoid(d * np.log(d / mixture), x) for d in density]
    expected = float(np.mean(parts))
    assert result.value == pytest.approx(expected, abs=4 * result.standard_error)
    assert result.standard_error < 0.01
    # R(0) − I is the divergence of the mixture from the prior.
    rate = 0.5 * (1 + sd**2 - 1 - 2 * math.log(sd))
    prior = np.exp(-0.5 * x**2) / math.sqrt(2 * math.pi)
    marginal = trapezoid(mixture * np.log(mixture / prior), x)
    assert rate - expected == pytest.approx(marginal, abs=1e-6)


# -- the head


def condition_set():
    values = np.asarray([[0.0, 1.0], [2.0, 0.0], [4.0, 1.0], [6.0, np.nan]], dtype=np.float32)
    return ConditionSet.fit(["dose", "active"], values, {"active": "yesno"})


def test_head_errors_and_baselines_by_hand():
    conditions = condition_set()
    truth = np.asarray([[1.0, 1], [3.0, 1], [np.nan, 0], [8.0, np.nan]], dtype=np.float32)
    said = np.asarray([[2.0, 0.1], [3.0, -0.1], [9.0, -3.0], [5.0, 2.0]])
    said[:, 0] = (said[:, 0] - conditions.mean[0]) / conditions.std[0]
    dose, active = head_errors(conditions, said, truth)
    assert (dose.error.value, dose.error.n) == (pytest.approx((1 + 0 + 3) / 3), 3)
    assert dose.baseline == pytest.approx((3 + 1 + 4) / 3)  # from the mean, 4
    assert dose.r2 == pytest.approx(1 - (1 + 0 + 9) / (9 + 1 + 16))
    assert (active.error.numerator, active.error.denominator) == (2, 3)
    assert (active.baseline, active.r2) == (pytest.approx(2 / 3), None)
    assert dose.to_json()["mae"]["n"] == 3
    assert active.to_json()["accuracy"]["n"] == 3


def test_the_head_of_a_column_without_values_has_no_error():
    conditions = condition_set()
    truth = np.full((2, 2), np.nan, dtype=np.float32)
    truth[:, 0] = 5.0  # and equal values have no R2
    dose, active = head_errors(conditions, np.zeros((2, 2)), truth)
    assert (dose.baseline, dose.r2) == (0.0, None)
    assert (active.error.value, active.error.n, active.baseline) == (None, 0, None)


# -- paths


def test_paths_start_and_end_at_their_molecules():
    a, b = np.random.default_rng(4).standard_normal((2, 7, 12))
    paths = path_between(a, b, 11)
    assert paths.shape == (7, 11, 12)
    np.testing.assert_array_equal(paths[:, 0], a)
    np.testing.assert_array_equal(paths[:, -1], b)


def test_paths_turn_evenly_and_change_length_evenly():
    a, b = np.random.default_rng(5).standard_normal((2, 1, 12))
    (path,) = path_between(a, b, 9)
    lengths = np.linalg.norm(path, axis=1)
    np.testing.assert_allclose(np.diff(lengths), (lengths[-1] - lengths[0]) / 8, atol=1e-12)
    units = path / lengths[:, None]
    angles = np.arccos((units[1:] * units[:-1]).sum(axis=1))
    whole = math.acos(float(units[0] @ units[-1]))
    np.testing.assert_allclose(angles, whole / 8, rtol=1e-6)


@pytest.mark.parametrize("b", [[2.0, 0.0], [-3.0, 0.0], [0.0, 0.0], [1.0, 0.0]])
def test_paths_between_parallel_ends_are_straight(b):
    (path,) = path_between(np.asarray([[1.0, 0.0]]), np.asarray([b]), 5)
    np.testing.assert_allclose(path, np.linspace([1.0, 0.0], b, 5), atol=1e-12)


def test_pairs_are_of_two_molecules():
    pairs = random_pairs(3, 3000, Draws(1))
    assert pairs.shape == (3000, 2)
    assert (pairs[:, 0] != pairs[:, 1]).all()
    _, counts = np.unique(pairs, axis=0, return_counts=True)
    assert len(counts) == 6
    assert (abs(counts - 500) < 100).all()
    assert random_pairs(1, 10, Draws(1)).shape == (0, 2)


def alike(a, b):
    from rdkit import Chem, DataStructs
    from rdkit.Chem import rdFingerprintGenerator

    generator = rdFingerprintGenerator.GetMorganGenerator(radius=2, fpSize=1024)
    prints = [generator.GetFingerprint(Chem.MolFromSmiles(text)) for text in (a, b)]
    return DataStructs.TanimotoSimilarity(*prints)


def test_figures_of_paths_by_hand():
    first = ["CCO", "CCO", "CCCO", "CCCN"]
    second = ["CCO", "", "CCCO", "CCCO"]
    description = describe_paths([first, second], [("CCO", "CCCN"), ("CCN", "CCCO")], 4)
    a, b = alike("CCO", "CCCO"), alike("CCCO", "CCCN")
    assert description.consecutive.value == pytest.approx((1 + a + b + 0 + 0 + 1) / 6, rel=1e-6)
    assert description.lowest.value == pytest.approx((min(a, b) + 0) / 2, rel=1e-6)
    assert (description.distinct.value, description.distinct.n) == (2.5, 2)
    assert (description.ends.numerator, description.ends.denominator) == (1, 2)
    assert (description.empty.numerator, description.empty.denominator) == (1, 8)
    ends = (alike("CCO", "CCCN") + alike("CCN", "CCCO")) / 2
    assert description.baseline.value == pytest.approx(ends, rel=1e-6)
    assert description.examples[1] == ("CCO", "", "CCCO", "CCCO")


def test_no_pair_has_no_path(tiny_model):
    none = random_pairs(1, 10, Draws(0))
    paths = smoothness(tiny_model, np.zeros((1, 16)), ["C"], none, points=5, draws=Draws(0))
    assert (paths.paths, paths.consecutive.value, paths.ends.value) == (0, None, None)
    assert "two molecules" in paths.consecutive.note


def test_paths_are_decoded_between_the_means(tiny_model, dataset):
    from molvae import MolVAE

    items = dataset.part("train")[:6]
    smiles = [dataset.vocabulary.decode(dataset.ids(int(i)).tolist()) for i in items]
    mean = encode_molecules(tiny_model.network, dataset, items, draws=Draws(0)).mean
    pairs = np.asarray([[0, 1], [4, 2]])
    paths = smoothness(tiny_model, mean, smiles, pairs, points=3, draws=Draws(0))
    ends = MolVAE(tiny_model).decode(mean[[0, 1, 4, 2]])
    assert [(p[0], p[-1]) for p in paths.examples] == [(ends[0], ends[1]), (ends[2], ends[3])]
    assert (paths.paths, paths.points, paths.empty.denominator) == (2, 3, 6)


# -- control


def test_requests_are_values_that_occur():
    dose, active = condition_set().conditions
    values = np.asarray([3, 1, 2, np.nan, 2, 2, 2, 9], dtype=np.float32)
    assert requests(dose, values) == ([1, 2, 3, 9], "")
    assert requests(active, values)[0] == [0, 1]
    asked, note = requests(dose, np.full(3, np.nan))
    assert asked == [0, 2, 3, 4, 6]  # whole, of 0, 2, 4 and 6
    assert "training" in note


def test_slope_and_distances_by_hand():
    dose = condition_set()["dose"]
    obtained = [np.asarray([2.0, 4.0, np.nan]), np.asarray([5.0, 5.0, 8.0])]
    held_out = np.asarray([0.0, 4.0, np.nan])
    description = describe_replies(dose, [1.0, 4.0], obtained, 4, held_out)
    assert description.n == 5
    assert description.mad == pytest.approx((1 + 3 + 1 + 1 + 4) / 5) == description.bias
    x, y = [1, 1, 4, 4, 4], [2, 4, 5, 5, 8]
    assert description.slope == pytest.approx(np.polyfit(x, y, 1)[0])
    assert description.baseline == pytest.approx((1 + 3 + 4 + 0) / 4)
    first, second = description.replies
    assert (first.requested, first.n, first.missing) == (1.0, 2, 2)
    assert (first.mean, first.sd) == (3.0, 1.0)
    assert (second.n, second.missing) == (3, 1)
    assert "predicted by the model" in description.source


def test_nothing_obtained_gives_no_figures():
    dose = condition_set()["dose"]
    nothing = np.empty(0)
    description = describe_replies(dose, [1.0], [nothing], 5, np.asarray([np.nan]))
    assert (
        description.n,
        description.mad,
        description.bias,
        description.slope,
        description.baseline,
    ) == (0, *[None] * 4)
    assert description.replies[0].to_json() == {
        "requested": 1.0, "n": 0, "missing": 5, "mean": None, "sd": None,
    }  # fmt: skip
    one = describe_replies(dose, [1.0], [np.ones(3)], 3, np.ones(2))
    assert (one.mad, one.slope) == (0, None)


def test_each_condition_is_requested_alone_with_separate_draws(tiny_model, monkeypatch):
    asked = []

    class Obedient:
        """Gives twice what it was asked for, and nothing every tenth time."""

        def __init__(self, model, request, *, seed, device):
            (self.target,) = request.targets
            assert (request.levels, request.temperature, request.critic) == (1.0, 1.0, False)
            assert (request.tries, request.unique, seed) == (1, False, 3)

        def stream(self, n, first):
            asked.append(range(first, first + n))
            name, value = self.target.name, self.target.low
            return [Generated("C", {name: 2 * value}) for i in range(n) if i % 10]

    monkeypatch.setattr("molvae.evaluate.diagnostics.calibration.Sampler", Obedient)
    values = np.random.default_rng(6).standard_normal((30, 4)).astype(np.float32)
    result = calibrate(tiny_model, values, draws_per_value=20, seed=3)
    assert [c.name for c in result] == list(tiny_model.conditions.names)
    assert all(c.slope == pytest.approx(2) for c in result)
    assert [c.source for c in result] == ["RDKit"] * 3 + [result[3].source]
    assert all(r.missing == 2 and r.sd == 0 for c in result for r in c.replies)
    numbers = [number for block in asked for number in block]
    assert len(numbers) == len(set(numbers)) == 20 * sum(len(c.replies) for c in result)


def test_what_is_obtained_is_what_rdkit_says(tiny_model):
    from rdkit.Chem import Crippen, MolFromSmiles

    (result,) = [
        c for c in calibrate(tiny_model, np.full((1, 4), 2, np.float32), draws_per_value=15, seed=1)
        if c.name == "logp"
    ]  # fmt: skip
    request = Request(
        (Target("logp", 2, 2),),
        critic=False,
        max_tries=1,
        candidates=1,
        unique=False,
        guidance=1.0,
    )
    drawn = Sampler(tiny_model, request, seed=1).stream(15)
    logp = [Crippen.MolLogP(MolFromSmiles(m.smiles)) for m in drawn]
    assert result.replies[0].mean == pytest.approx(np.mean(logp))
    assert result.mad == pytest.approx(np.mean(np.abs(np.asarray(logp) - 2)))


# -- the map


def test_the_map_shows_the_widest_directions():
    generator = np.random.default_rng(7)
    scales = np.asarray([1.0, 5.0, 0.2, 3.0])
    mean = 7 + generator.standard_normal((400, 4)) * scales
    values = generator.standard_normal((400, 2)).astype(np.float32)
    plane = latent_map(mean, ("a", "b"), values)
    variances = np.sort(np.linalg.eigvalsh(np.cov(mean.T)))[::-1]
    assert plane.shares == pytest.approx(variances[:2] / variances.sum())
    np.testing.assert_allclose(plane.points.var(axis=0, ddof=1), variances[:2])
    assert np.corrcoef(plane.points[:, 0], mean[:, 1])[0, 1] > 0.99
    assert np.corrcoef(plane.points[:, 1], mean[:, 3])[0, 1] > 0.99
    assert plane.to_json() == {"n": 400, "variance_shares": list(plane.shares)}
    assert plane.values is values


@pytest.mark.parametrize("shape", [(1, 5), (6, 1), (3, 4)])
def test_the_map_of_very_little(shape):
    plane = latent_map(np.full(shape, 2.0), (), np.zeros((shape[0], 0), dtype=np.float32))
    assert plane.points.shape == (shape[0], 2)
    assert plane.shares == (0, 0)
