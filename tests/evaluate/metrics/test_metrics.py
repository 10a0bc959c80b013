"""Every metric on sets small enough to work out by hand, and against naive second derivations."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from molvae import chem
from molvae.chem.alerts import alerts
from molvae.errors import InputError
from molvae.evaluate import metrics
from molvae.evaluate.metrics import Metric, Wanted
from molvae.targets import parse_target

# Ethanol three ways, benzene, two texts that are no molecule, a salt.
TEXTS = ["CCO", "OCC", "C(O)C", "c1ccccc1", "", "C1CC", "[Na+].[Cl-]"]
POOL = st.sampled_from([*TEXTS, "CC", "CCN", "CC(=O)O", "c1ccncc1", "not a molecule"])


def packed(*rows, size=1024):
    """Fingerprints with the given bits set."""
    bits = np.zeros((len(rows), size), dtype=np.uint8)
    for row, on in zip(bits, rows, strict=True):
        row[list(on)] = 1
    return np.packbits(bits, axis=1)


# -- describing -----------------------------------------------------------------------------------


def test_description_of_a_small_set():
    described = metrics.describe(TEXTS, Wanted(properties=("heavy", "mw")))
    assert described.total == 7
    assert described.smiles == ["CCO", "CCO", "CCO", "c1ccccc1", "[Cl-].[Na+]"]
    assert described.positions.tolist() == [0, 1, 2, 3, 6]
    assert described.fingerprints.shape == (5, metrics.FINGERPRINT_BYTES)
    assert described.values[:, 0].tolist() == [3, 3, 3, 6, 2]
    assert described.column("mw")[0] == pytest.approx(46.069, abs=1e-3)
    assert described.disconnected == 1


def test_only_what_is_wanted_is_computed():
    described = metrics.describe(["CCOc1ccccc1"], Wanted(False, False, False))
    assert described.fingerprints.shape == (0, metrics.FINGERPRINT_BYTES)
    assert not described.fragments.counts
    assert not described.scaffolds.counts
    assert described.values.shape == (1, 0)


def test_fragments_and_scaffolds_are_those_of_moses():
    described = metrics.describe(["CCOc1ccc(-c2ccccn2)cc1", "CCOc1ccccc1", "CC"])
    # One ring is not a scaffold for MOSES, so ethoxybenzene adds none.
    assert described.scaffolds.counts == {"c1ccc(-c2ccccn2)cc1": 1}
    # Ethyl and the ether oxygen occur in two molecules; ethane has no bond to cut.
    assert described.fragments.counts["[4*]CC"] == 2
    assert described.fragments.counts["[3*]O[3*]"] == 2
    assert described.fragments.counts["CC"] == 1


@given(st.lists(POOL, max_size=12), st.integers(1, 5))
def test_chunks_merge_to_the_whole(texts, size):
    wanted = Wanted(properties=("logp",))
    whole = metrics.describe(texts, wanted)
    chunks = [texts[i : i + size] for i in range(0, len(texts), size)]
    merged = metrics.merge(metrics.describe(chunk, wanted) for chunk in chunks)
    assert (merged.total, merged.smiles) == (whole.total, whole.smiles)
    assert merged.positions.tolist() == whole.positions.tolist()
    assert (merged.fingerprints == whole.fingerprints).all()
    for name in ("scaffolds", "fragments"):
        a, b = getattr(merged, name), getattr(whole, name)
        assert a.names == b.names
        assert (a.ids.tolist(), a.molecules.tolist()) == (b.ids.tolist(), b.molecules.tolist())
    if texts:
        assert (merged.values == whole.values).all()


def test_what_rdkit_cannot_fragment_is_counted(monkeypatch):
    def fail(mol):
        raise ValueError("no")

    monkeypatch.setattr(chem, "brics_fragments", fail)
    described = metrics.describe(["CCO", "CC"])
    assert described.failures == {"fragments": 2}
    reference = metrics.merge([described])
    assert metrics.fragment_similarity(described, reference).value is None


# -- ratios ---------------------------------------------------------------------------------------


def test_valid_unique_and_novel_by_hand():
    described = metrics.describe(TEXTS)
    valid = metrics.valid(described)
    assert (valid.value, valid.numerator, valid.denominator) == (5 / 7, 5, 7)
    assert valid.note == "1 of them have disconnected parts"
    unique = metrics.unique(described)
    assert (unique.value, unique.numerator, unique.denominator) == (3 / 5, 3, 5)
    # Three distinct molecules; ethanol, in whatever batch, is in the training set.
    novel = metrics.novelty(described, ["CC", "OCC", "CCO", "broken("])
    assert (novel.value, novel.numerator, novel.denominator) == (2 / 3, 2, 3)


def test_unique_looks_at_the_first_k_valid():
    described = metrics.describe(["", "CC", "CC", "CCO", "CCN"])
    assert metrics.unique(described, 2) == Metric(0.5, 2, 1, 2)
    assert metrics.unique(described, 3) == Metric(2 / 3, 3, 2, 3)
    short = metrics.unique(described, 10)
    assert (short.value, short.denominator) == (3 / 4, 4)
    assert short.note == "only 4 valid"


def test_unique_at_nothing_is_an_error():
    with pytest.raises(InputError, match=r"unique@k.* 0"):
        metrics.unique(metrics.describe(["C"]), 0)


def test_nothing_valid_gives_reasons_not_numbers():
    result = metrics.describe(["", "C1CC"])
    assert metrics.valid(result) == Metric(0.0, 2, 0, 2)
    for metric in (
        metrics.unique(result),
        metrics.unique(result, 1000),
        metrics.novelty(result, ["C"]),
        metrics.nearest_similarity(result.fingerprints, result.fingerprints),
        metrics.fragment_similarity(result, result),
        metrics.scaffold_similarity(result, result),
        *metrics.internal_diversity(result.fingerprints),
    ):
        assert metric.value is None
        assert metric.note


def test_no_text_at_all():
    assert metrics.valid(metrics.merge([])).value is None


@given(st.lists(POOL, min_size=1, max_size=15), st.integers(1, 20))
def test_ratios_are_between_0_and_1(texts, k):
    result = metrics.describe(texts, Wanted(False, False, False))
    for metric in (metrics.valid(result), metrics.unique(result, k), metrics.novelty(result, [])):
        assert metric.value is None or 0 <= metric.value <= 1
        assert metric.numerator <= metric.denominator


@given(st.lists(POOL, min_size=2, max_size=12), st.randoms())
def test_order_does_not_change_results(texts, random):
    shuffled = list(texts)
    random.shuffle(shuffled)
    a, b = metrics.describe(texts), metrics.describe(shuffled)
    assert metrics.valid(a) == metrics.valid(b)
    assert metrics.unique(a) == metrics.unique(b)
    assert metrics.novelty(a, ["CC"]) == metrics.novelty(b, ["CC"])
    assert a.fragments.counts == b.fragments.counts
    assert a.scaffolds.counts == b.scaffolds.counts
    one, two = (
        metrics.internal_diversity(a.fingerprints),
        metrics.internal_diversity(b.fingerprints),
    )
    assert [m.value for m in one] == pytest.approx([m.value for m in two], abs=1e-6)


# -- fingerprints ---------------------------------------------------------------------------------


def test_internal_diversity_by_hand():
    # Tanimoto: (1,2) share 1 of 3 bits, (1,3) and (2,3) none; each with itself 1.
    prints = packed({0, 1}, {1, 2}, {5})
    one, two = metrics.internal_diversity(prints)
    assert one.value == pytest.approx(1 - (3 + 2 / 3) / 9, abs=1e-7)
    row = math.sqrt((1 + 1 / 9) / 3)
    assert two.value == pytest.approx(1 - (2 * row + math.sqrt(1 / 3)) / 3, abs=1e-7)
    assert (one.n, two.n) == (3, 3)


def test_equal_molecules_have_no_diversity():
    one, two = metrics.internal_diversity(packed({3}, {3}, {3}))
    assert (one.value, two.value) == (0, 0)


@pytest.mark.parametrize("n", [2, 511, 512, 513, 2048, 2049, 2600])
def test_blocks_of_internal_diversity_equal_the_whole_matrix(n):
    rng = np.random.default_rng(n)
    bits = rng.random((n, 64)) < 0.2
    bits[:, 0] = True  # no empty fingerprint, whose quotient the naive form cannot take
    result = metrics.internal_diversity(np.packbits(bits, axis=1), (1, 2, 3))
    common = bits.astype(float) @ bits.T
    size = bits.sum(axis=1)
    similarity = common / (size[:, None] + size[None, :] - common)
    for power, metric in zip((1, 2, 3), result, strict=True):
        naive = 1 - ((similarity**power).mean(axis=1) ** (1 / power)).mean()
        assert metric.value == pytest.approx(naive, abs=1e-6)


def test_nearest_similarity_by_hand():
    queries, reference = packed({0, 1}, {7}), packed({1, 2}, {0, 1, 2})
    # {0,1} shares 2 of 3 bits with the second; {7} none with either.
    assert metrics.nearest_similarity(queries, reference) == Metric(pytest.approx(1 / 3), 2)
    assert metrics.nearest_similarity(queries, queries).value == 1
    nothing = metrics.nearest_similarity(queries, reference[:0])
    assert (nothing.value, nothing.n) == (None, 2)
    assert nothing.note == "no valid molecule in the reference"


# -- counts ---------------------------------------------------------------------------------------


def test_cosine_by_hand():
    assert metrics.cosine({"a": 3, "b": 4}, {"a": 3, "b": 4}) == 1
    assert metrics.cosine({"a": 3, "b": 4}, {"a": 1}) == pytest.approx(3 / 5)
    assert metrics.cosine({"a": 1}, {}) is None
    assert metrics.cosine({"a": 10**12}, {"a": 10**12}) == 1


COUNTS = st.dictionaries(st.sampled_from("abcdef"), st.integers(1, 1000), min_size=1)


@given(COUNTS, COUNTS, st.integers(2, 50))
def test_cosine_is_symmetric_and_blind_to_scale(a, b, factor):
    value = metrics.cosine(a, b)
    assert 0 <= value <= 1
    assert metrics.cosine(b, a) == pytest.approx(value)
    assert metrics.cosine({k: factor * v for k, v in a.items()}, b) == pytest.approx(value)


def test_fragments_and_scaffolds_of_two_sets():
    biphenyl, terphenyl = "c1ccc(-c2ccccc2)cc1", "c1ccc(-c2ccc(-c3ccccc3)cc2)cc1"
    mine = metrics.describe([biphenyl, biphenyl, terphenyl])
    theirs = metrics.describe([biphenyl, "CC"])
    # Scaffold counts (2, 1) and (1, 0).
    assert metrics.scaffold_similarity(mine, theirs).value == pytest.approx(2 / math.sqrt(5))
    # Fragments of mine: 4 + 2 phenyl, 1 phenylene; of theirs: 2 phenyl, 1 ethane.
    expected = 6 * 2 / math.sqrt((36 + 1) * (4 + 1))
    assert metrics.fragment_similarity(mine, theirs).value == pytest.approx(expected)
    assert metrics.scaffold_similarity(mine, metrics.describe(["CC"])).note == (
        "no scaffold of two or more rings on one side"
    )


# -- distributions --------------------------------------------------------------------------------


def test_wasserstein_by_hand():
    assert metrics.wasserstein(np.array([0.0, 1.0, 3.0]), np.array([5.0, 6.0, 8.0])) == 5
    # Two masses of 1/2 at 0 and 2 against one mass at 1: each moves by 1.
    assert metrics.wasserstein(np.array([0.0, 2.0]), np.array([1.0])) == 1
    assert metrics.wasserstein(np.array([]), np.array([1.0])) is None


VALUES = arrays(np.float64, st.integers(1, 20), elements=st.integers(-1000, 1000).map(float))


@given(VALUES, VALUES)
def test_wasserstein_is_a_symmetric_distance(a, b):
    distance = metrics.wasserstein(a, b)
    assert distance >= 0
    assert metrics.wasserstein(b, a) == pytest.approx(distance)
    assert metrics.wasserstein(a, a) == 0


@given(VALUES, VALUES, st.integers(-50, 50))
def test_wasserstein_follows_a_shift(a, b, shift):
    distance = metrics.wasserstein(a, b)
    assert metrics.wasserstein(a + shift, b + shift) == pytest.approx(distance)
    assert metrics.wasserstein(a + shift, a) == pytest.approx(abs(shift))


@given(st.data(), st.integers(1, 20))
def test_wasserstein_of_equal_sizes_pairs_the_sorted(data, n):
    values = arrays(np.float64, n, elements=st.integers(-1000, 1000).map(float))
    a, b = data.draw(values), data.draw(values)
    assert metrics.wasserstein(a, b) == pytest.approx(np.abs(np.sort(a) - np.sort(b)).mean())


# -- control --------------------------------------------------------------------------------------


def test_control_of_a_point():
    metric = metrics.control(parse_target("logp=2"), np.array([1.0, 2.0, 4.0, np.nan]))
    assert metric.kind == "MAD"
    assert metric.metric == Metric(1.0, 3, note="1 valid molecules have no value")
    assert metric.mean == pytest.approx(7 / 3)
    assert metric.bias == pytest.approx(1 / 3)
    assert metric.sd == pytest.approx(math.sqrt(14 / 9))
    assert metric.missing == 1
    assert metric.to_json()["MAD"] == {"value": 1.0, "n": 3, "note": metric.metric.note}


def test_control_of_a_range():
    metric = metrics.control(parse_target("qed=0.5:0.8"), np.array([0.5, 0.8, 0.9, 0.1]))
    assert metric.metric == Metric(0.5, 4, 2, 4)
    assert metric.bias is None
    assert metric.to_json()["hit rate"]["numerator"] == 2


@pytest.mark.parametrize("text", ["logp=2", "logp=2:3"])
def test_control_without_values_says_so(text):
    metric = metrics.control(parse_target(text), np.array([np.nan]))
    assert (metric.metric.value, metric.mean, metric.sd, metric.bias) == (None, None, None, None)
    assert metric.metric.note == "no valid molecule has a value"


def test_json_of_a_metric_leaves_out_what_does_not_apply():
    assert Metric(0.5, 3).to_json() == {"value": 0.5, "n": 3}
    assert Metric(None, 0, 0, 0, "why").to_json() == {
        "value": None, "n": 0, "numerator": 0, "denominator": 0, "note": "why",
    }  # fmt: skip


# -- lists of SMILES ------------------------------------------------------------------------------

BIPHENYLS = ["c1ccc(-c2ccccc2)cc1", "Cc1ccc(-c2ccccc2)cc1", "CCOc1ccccc1", "broken("]


def test_every_metric_takes_smiles_or_their_description():
    mine = metrics.describe(BIPHENYLS, Wanted(properties=("logp",)))
    other = metrics.describe(TEXTS, Wanted(properties=("logp",)))
    for name, more in (
        ("valid", ()), ("unique", ()), ("novelty", (TEXTS,)), ("internal_diversity", ()),
        ("nearest_similarity", (TEXTS,)), ("fragment_similarity", (TEXTS,)),
        ("scaffold_similarity", (BIPHENYLS,)), ("property_distance", (TEXTS, "logp")),
    ):  # fmt: skip
        function = getattr(metrics, name)
        described = [mine if m is BIPHENYLS else other if m is TEXTS else m for m in more]
        assert function(BIPHENYLS, *more) == function(mine, *described), name
        assert function(iter(BIPHENYLS), *more) == function(mine, *described), name


def test_a_description_that_lacks_something_is_refused():
    bare = metrics.describe(BIPHENYLS, Wanted(False, False, False))
    assert metrics.unique(bare).value == 1
    for function, what in (
        (metrics.internal_diversity, "fingerprints"),
        (lambda m: metrics.fragment_similarity(m, BIPHENYLS), "fragments"),
        (lambda m: metrics.scaffold_similarity(m, BIPHENYLS), "scaffolds"),
        (lambda m: metrics.property_distance(m, BIPHENYLS, "logp"), "logp"),
        (lambda m: metrics.fraction_passing(m, alerts("brenk")), "filters"),
    ):
        with pytest.raises(InputError, match=what):
            function(bare)


def test_one_text_is_not_a_list():
    with pytest.raises(InputError, match="'CCO'"):
        metrics.valid("CCO")


def test_normal_fits_by_hand():
    a, b = np.array([0.0, 2.0]), np.array([4.0, 8.0])
    assert metrics.normal_frechet(a, b) == (1 - 6) ** 2 + (1 - 2) ** 2
    assert metrics.normal_frechet(a, a) == 0
    assert metrics.normal_frechet(a, np.array([])) is None


def test_property_distance_by_hand():
    metric = metrics.property_distance(["C", "CC"], ["CCC", "broken(", "CCCC"], "heavy")
    assert (metric.value, metric.n) == (2, 2)
    assert metrics.property_distance(["C"], [], "heavy").note == "no valid molecule on one side"


# -- requests per molecule -------------------------------------------------------------------------


def test_calibration_by_hand():
    requested = np.array([1.0, 1.0, 3.0, 3.0, np.nan])
    obtained = np.array([2.0, 2.0, 3.0, 5.0, 1.0])
    metric = metrics.control_by_row("x=@y", requested, obtained)
    assert metric.metric == Metric(1.0, 4, note="1 valid molecules have no value")
    assert metric.bias == 1.0
    line = metric.calibration
    assert (line.slope, line.intercept) == (1.0, 1.0)
    assert line.r2 == pytest.approx(1 - 2 / 6)
    assert [(b.requested, b.obtained, b.sd, b.n) for b in line.bins] == [(1, 2, 0, 2), (3, 4, 1, 2)]
    assert metric.to_json()["calibration"]["slope"] == 1


def test_one_requested_value_has_no_line():
    metric = metrics.calibrate(np.ones(3), np.array([1.0, 2.0, 3.0]))
    assert (metric.slope, metric.intercept, metric.r2) == (None, None, None)
    assert metric.bins[0].obtained == 2


def test_many_requested_values_share_bins():
    x = np.arange(100.0)
    metric = metrics.calibrate(x, 2 * x + 1)
    assert (metric.slope, metric.intercept, metric.r2) == pytest.approx((2, 1, 1))
    assert [b.n for b in metric.bins] == [10] * 10


def test_requests_and_values_must_be_as_many():
    with pytest.raises(InputError, match=r"3.* 2"):
        metrics.control_by_row("x=@y", np.ones(3), np.ones(2))
