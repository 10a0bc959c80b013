"""GuacaMol's benchmarks on lists worked out by hand, and its divergences against SciPy."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from molvae import chem
from molvae.chem.fingerprints import tanimoto
from molvae.errors import InputError
from molvae.evaluate.metrics import Metric, guacamol
from molvae.evaluate.metrics.guacamol import Described

# Ethanol twice, the two hands of alanine, benzene, two that are no molecule, propane.
TEXTS = ["CCO", "OCC", "C[C@H](N)C(=O)O", "", "C[C@@H](N)C(=O)O", "C1CC", "c1ccccc1", "CCC"]
MIXED = """CCO c1ccccc1 CC(=O)Nc1ccc(O)cc1 CCN(CC)CC OCC1CCCCC1 Cn1cnc2c1c(=O)n(C)c(=O)n2C CCCCC
CC(C)Cc1ccc(cc1)C(C)C(=O)O O=C(O)c1ccccc1O NC1CCCC1 C1CCNCC1 CSC CCOC(=O)c1ccncc1"""
MIXED = MIXED.split()


def parts(metric):
    return metric.value, metric.n, metric.numerator, metric.denominator


# -- ratios ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("n", "expected"),
    [
        (1, (1 / 1, 1, 1, 1)),
        (4, (3 / 4, 4, 3, 4)),
        (8, (6 / 8, 8, 6, 8)),
    ],
)
def test_validity_is_of_the_first_texts(n, expected):
    assert parts(guacamol.validity(TEXTS, n)) == expected


@pytest.mark.parametrize(
    ("n", "expected"),
    [
        (2, (1 / 2, 2, 1, 2)),  # ethanol, ethanol
        (4, (2 / 4, 4, 2, 4)),  # and alanine twice: its hands are one molecule
        (6, (4 / 6, 6, 4, 6)),  # the first six valid ones are all eight texts' worth
        (7, (4 / 7, 7, 4, 7)),  # only six are valid, and that counts against it
    ],
)
def test_uniqueness_is_of_the_first_valid_molecules(n, expected):
    assert parts(guacamol.uniqueness(TEXTS, n)) == expected


@pytest.mark.parametrize(
    ("n", "expected"),
    [
        (1, (0 / 1, 1, 0, 1)),  # ethanol is known
        (2, (1 / 2, 2, 1, 2)),  # alanine is not
        (3, (1 / 3, 3, 1, 3)),  # its other hand counts as distinct, but is no second novelty
        (4, (2 / 4, 4, 2, 4)),
        (5, (2 / 5, 5, 2, 5)),  # propane is known
        (8, (2 / 8, 8, 2, 8)),  # only five are distinct
    ],
)
def test_novelty_is_of_the_first_distinct_molecules(n, expected):
    assert parts(guacamol.novelty(TEXTS, ["C(O)C", "CCC", "broken"], n)) == expected


def test_stereochemistry_does_not_make_novel():
    assert guacamol.novelty(["C[C@H](N)C(=O)O"], ["C[C@@H](N)C(=O)O"], 1).value == 0


def test_flat_training_set_is_taken_as_it_is():
    flat = guacamol.flat_smiles(["OCC", "C[C@@H](N)C(=O)O", "CC(N)C(=O)O"])
    assert flat == ["CCO", "CC(N)C(=O)O"]
    assert guacamol.novelty(TEXTS, iter(flat), 4, train_is_flat=True).numerator == 1


def test_notes_say_what_is_lacking():
    assert guacamol.validity(TEXTS, 8).note == ""
    assert guacamol.validity(TEXTS, 1000).note == "only 8 samples, not 1,000"
    assert guacamol.validity(TEXTS, 1000).n == 8
    note = "only 6 valid molecules, not 7; divided by 7"
    assert guacamol.uniqueness(TEXTS, 7).note == note
    assert guacamol.novelty(TEXTS, [], 6).note == "only 5 distinct molecules, not 6; divided by 6"
    assert guacamol.novelty(TEXTS, [], 5).note == ""


def test_an_empty_list():
    for metric in (guacamol.validity([]), guacamol.uniqueness([]), guacamol.novelty([], [])):
        assert metric == Metric(None, 0, 0, 0, "no molecule was given")


def test_texts_beyond_what_is_needed_are_not_read(monkeypatch):
    read = []
    real = chem.parse
    monkeypatch.setattr(chem, "parse", lambda text: read.append(text) or real(text))
    sample = guacamol.read_sample(iter(["CC", "CCC", "CCCC", "CCCCC"]), 2)
    assert sample.distinct == ("CC", "CCC")
    assert "CCCC" not in read


def test_no_samples_wanted():
    with pytest.raises(InputError, match="got 0"):
        guacamol.read_sample(TEXTS, 0)


@given(st.lists(st.sampled_from([*TEXTS, *MIXED]), max_size=12), st.integers(1, 12))
def test_ratios_are_between_zero_and_one(texts, n):
    sample = guacamol.read_sample(texts, n)
    metrics = [
        guacamol.validity(sample),
        guacamol.uniqueness(sample),
        guacamol.novelty(sample, MIXED),
    ]
    if texts:
        assert all(0 <= metric.value <= 1 for metric in metrics)
        assert len(sample.distinct) <= len(sample.valid)
        assert guacamol.novelty(sample, texts).value == 0


# -- divergences ----------------------------------------------------------------------------------

VALUES = st.lists(st.integers(-50, 50).map(lambda v: v / 4), min_size=2, max_size=30).map(np.array)


def test_discrete_divergence_by_hand():
    # Two bins of the reference's ten are filled, a half and a half; sampled, a quarter and three.
    reference = np.array([0.0, 0.0, 10.0, 10.0])
    sampled = np.array([0.0, 10.0, 10.0, 10.0])
    expected = 0.5 * math.log(0.5 / 0.25) + 0.5 * math.log(0.5 / 0.75)
    assert guacamol.discrete_kl(reference, sampled) == pytest.approx(expected, abs=1e-8)


def test_values_outside_the_reference_are_not_counted():
    reference = np.array([0.0, 10.0])
    assert guacamol.discrete_kl(reference, np.array([0.0, 10.0, 11.0, -5.0])) == 0
    assert guacamol.discrete_kl(reference, np.array([11.0])) is None
    assert guacamol.discrete_kl(reference, np.array([])) is None
    assert guacamol.discrete_kl(np.array([]), reference) is None


def test_a_bin_that_the_sample_misses_weighs_by_epsilon():
    # Bins of width 1 holding a half each; the missed one has the density 1e-10 instead.
    reference, sampled = np.array([0.0, 10.0]), np.array([0.0])
    expected = 0.5 * math.log(0.5 / 1) + 0.5 * math.log(0.5 / 1e-10)
    assert guacamol.discrete_kl(reference, sampled) == pytest.approx(expected, rel=1e-8)


def test_density_by_hand():
    # Values 0 and 2: standard deviation √2, width √2 · 2^(-1/5).
    width = math.sqrt(2) * 2**-0.2
    bell = math.exp(-0.5 * (1 / width) ** 2) / (width * math.sqrt(2 * math.pi))
    density = guacamol._density(np.array([0.0, 2.0]), np.array([1.0]))
    assert density == pytest.approx([bell], rel=1e-14)


def test_continuous_divergence_of_shifted_normals_is_the_closed_form():
    # Of normals a distance d apart, with one variance s²: d² / (2 s²).
    rng = np.random.default_rng(5)
    values = rng.normal(size=4000)
    variance = values.var(ddof=1) * (1 + 4000**-0.4)
    obtained = guacamol.continuous_kl(values, values + 0.5)
    assert obtained == pytest.approx(0.125 / variance, rel=0.05)


@pytest.mark.parametrize("values", [[], [1.0], [0.1, 0.1, 0.1]])
def test_no_density_without_two_values(values):
    good = np.array([0.0, 1.0])
    assert guacamol.continuous_kl(good, np.array(values)) is None
    assert guacamol.continuous_kl(np.array(values), good) is None


@given(VALUES, VALUES)
def test_divergences_are_not_negative_and_zero_for_equals(a, b):
    for function in (guacamol.continuous_kl, guacamol.discrete_kl):
        forward = function(a, b)
        assert forward is None or (forward >= 0 and math.isfinite(forward))
    assert guacamol.discrete_kl(a, a) == 0
    if len(set(a)) > 1:
        assert guacamol.continuous_kl(a, a) == 0
        assert guacamol.continuous_kl(a, np.flip(a)) == pytest.approx(0, abs=1e-12)


@given(VALUES, VALUES)
def test_divergences_agree_with_scipy(a, b):
    stats = pytest.importorskip("scipy.stats")
    if len(set(a)) > 1 and len(set(b)) > 1:
        places = np.linspace(min(a.min(), b.min()), max(a.max(), b.max()), num=1000)
        p, q = (stats.gaussian_kde(values)(places) + 1e-10 for values in (a, b))
        expected = stats.entropy(p, q)
        assert guacamol.continuous_kl(a, b) == pytest.approx(expected, rel=1e-9, abs=1e-12)
    p, edges = np.histogram(a, bins=10, density=True)
    if (counts := np.histogram(b, bins=edges)[0]).any():
        q = counts / counts.sum() / np.diff(edges)
        expected = stats.entropy(p + 1e-10, q + 1e-10)
        assert guacamol.discrete_kl(a, b) == pytest.approx(expected, rel=1e-9, abs=1e-12)


# -- descriptions ---------------------------------------------------------------------------------


def test_descriptors_are_those_of_rdkit():
    from rdkit.Chem import Descriptors

    names = (*guacamol.CONTINUOUS, *guacamol.DISCRETE)
    mols = [chem.parse(text) for text in MIXED]
    expected = [[getattr(Descriptors, name)(mol) for name in names] for mol in mols]
    assert (guacamol.describe(MIXED).values == np.array(expected)).all()


def test_similarity_is_to_the_nearest_other():
    from rdkit import DataStructs
    from rdkit.Chem import rdFingerprintGenerator

    generator = rdFingerprintGenerator.GetMorganGenerator(radius=2, fpSize=4096)
    prints = [generator.GetFingerprint(chem.parse(text)) for text in MIXED]
    expected = []
    for i, own in enumerate(prints):
        others = prints[:i] + prints[i + 1 :]
        expected.append(max(DataStructs.BulkTanimotoSimilarity(own, others)))
    assert guacamol.describe(MIXED).similarity == pytest.approx(expected, abs=1e-7)


def test_similarity_over_several_blocks():
    bits = np.random.default_rng(3).integers(0, 256, (1100, 16)).astype(np.uint8)
    whole = tanimoto(bits, bits)
    np.fill_diagonal(whole, 0)
    assert (guacamol._nearest_other(bits) == whole.max(axis=1)).all()


def test_nothing_to_describe():
    nothing = guacamol.describe(["broken"])
    assert len(nothing) == 0
    some = guacamol.describe(["CCO", "CC"])
    notes = {metric.note for metric in guacamol.kl_divergences(nothing, some).values()}
    assert notes == {"no valid molecule"}
    notes = {metric.note for metric in guacamol.kl_divergences(some, nothing).values()}
    assert notes == {"no valid molecule in the reference"}


def test_what_rdkit_cannot_compute_is_zero(monkeypatch):
    monkeypatch.setattr(chem, "bertz_complexity", lambda mol: math.nan)
    assert guacamol.describe(["CCO"]).values[0, 0] == 0


# -- scores ---------------------------------------------------------------------------------------


def test_score_is_the_mean_of_exponentials():
    score = guacamol.kl_score({"a": Metric(0.0, 7), "b": Metric(math.log(2), 7)})
    assert parts(score) == (pytest.approx(0.75), 7, pytest.approx(1.5), 2)


def test_no_score_without_all_divergences():
    score = guacamol.kl_score({"a": Metric(0.0, 7), "b": Metric(None, 7)})
    assert (score.value, score.n, score.note) == (None, 7, "no divergence for b")
    assert guacamol.kl_score({}).value is None


@given(st.integers(2, 20), st.integers(2, 20), st.integers(0, 99))
def test_score_is_between_zero_and_one(n, m, seed):
    rng = np.random.default_rng(seed)
    a = Described(rng.integers(0, 9, (n, 9)).astype(float), rng.random(n))
    b = Described(rng.integers(0, 9, (m, 9)).astype(float), rng.random(m))
    score = guacamol.kl_score(guacamol.kl_divergences(a, b))
    assert score.value is None or 0 <= score.value <= 1
    same = guacamol.kl_score(guacamol.kl_divergences(a, a))
    assert same.value is None or same.value == 1


def test_reference_subset_is_that_of_guacamol():
    train = [f"text {i}" for i in range(50)]
    state = np.random.RandomState(42)
    assert guacamol.reference_subset(train, 7) == state.choice(train, 7, replace=False).tolist()
    assert guacamol.reference_subset(train, 50) == train


def test_fcd_score():
    assert guacamol.fcd_score(0.0).value == 1
    assert guacamol.fcd_score(5).value == pytest.approx(math.exp(-1))
    scored = guacamol.fcd_score(Metric(1.0, 9, note="few"))
    assert scored == Metric(math.exp(-0.2), 9, note="few")
    assert guacamol.fcd_score(None).note == "no FCD was given"
    assert guacamol.fcd_score(Metric(None, 9, note="no weights")).note == "no weights"


def test_all_together():
    metric = guacamol.assess(MIXED, MIXED, len(MIXED), fcd=0.0)
    assert list(metric)[:5] == ["validity", "uniqueness", "novelty", "KL", "FCD"]
    assert [metric[name].value for name in list(metric)[:5]] == [1, 1, 0, 1, 1]
    assert metric["KL"].note == ""
    assert len(metric) == 15
    assert metric["KL/internal_similarity"].value == 0


def test_a_result_of_few_properties_says_so():
    metric = guacamol.assess(MIXED, MIXED[:5])
    assert metric["KL"].note == "only 13 distinct molecules against 5, not 10,000"
    assert metric["KL"].value < 1
    assert metric["FCD"].value is None
