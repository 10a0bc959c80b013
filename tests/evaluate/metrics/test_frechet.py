"""FCD against the package fcd, its arithmetic against closed forms, its cache against damage."""

import csv
import gzip
import itertools
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from molvae.chem import canonical_smiles
from molvae.errors import ConfigError, FileError, InputError
from molvae.evaluate.metrics import frechet
from molvae.evaluate.metrics.frechet import Moments

DEMO = Path(__file__).parents[3] / "data" / "demo.csv.gz"
REASON = "the extra molvae[fcd] with the ChemNet weights is not installed"
needs_weights = pytest.mark.skipif(not frechet.available(), reason=REASON)
# NumPy and SciPy deprecate what the package fcd calls.
theirs = pytest.mark.filterwarnings("ignore")


def normal(mean, covariance, n=1000):
    """Moments as given, not computed."""
    return Moments(n, np.asarray(mean, dtype=float), np.asarray(covariance, dtype=float))


def random_covariance(rng, size, rank=None):
    rows = rng.normal(size=(size, rank or 2 * size)) * rng.lognormal(size=(size, 1))
    return rows @ rows.T / rows.shape[1]


def same(a, b, tolerance=1e-10):
    scale = max(1.0, np.abs(b.covariance).max(initial=0))
    assert a.n == b.n
    np.testing.assert_allclose(a.mean, b.mean, rtol=0, atol=tolerance * scale)
    np.testing.assert_allclose(a.covariance, b.covariance, rtol=0, atol=tolerance * scale)


@pytest.fixture(scope="module")
def demo():
    """Sixty canonical SMILES of the demo library."""
    with gzip.open(DEMO, "rt", encoding="utf-8") as text:
        rows = list(itertools.islice(csv.DictReader(text), 60))
    return [canonical_smiles(row["smiles"]) for row in rows]


@pytest.fixture
def package(monkeypatch):
    """The package fcd, whose scores ours are compared with."""
    # It calls a name that NumPy has dropped, and that meant the same.
    monkeypatch.setattr(np, "row_stack", np.vstack, raising=False)
    return pytest.importorskip("fcd", reason=REASON)


def package_activations(package, smiles):
    return package.get_predictions(package.load_ref_model(), smiles, n_jobs=0, device="cpu")


# -- the code of a string -------------------------------------------------------------------------


def one_hot(text):
    (numbers,) = frechet._encode([text])
    return np.eye(len(frechet.SYMBOLS) + 1)[numbers][:, :-1]


def assert_coded_as_in_package(package, text):
    expected = package.utils.get_one_hot(text)
    np.testing.assert_array_equal(one_hot(text), expected[: len(one_hot(text))])
    assert not expected[len(one_hot(text)) :].any()


@theirs
def test_code_of_every_character_is_that_of_the_package(package):
    for first in map(chr, range(32, 127)):
        for second in ("", "l", "r", "i", "C"):
            assert_coded_as_in_package(package, first + second)


@theirs
@given(text=st.text(st.characters(exclude_characters="\n"), max_size=20))
def test_code_of_any_text_is_that_of_the_package(text):
    package = pytest.importorskip("fcd", reason=REASON)
    assert_coded_as_in_package(package, text)


def test_strings_of_a_batch_are_filled_up():
    numbers = frechet._encode(["", "CCl", "Br"])
    end, blank = frechet.SYMBOLS.index("."), frechet.BLANK
    carbon, chlorine, bromine = (frechet.SYMBOLS.index(symbol) for symbol in ("C", "Cl", "Br"))
    assert numbers.tolist() == [
        [end, blank, blank],
        [carbon, chlorine, end],
        [bromine, end, blank],
    ]


# -- activations ----------------------------------------------------------------------------------


@theirs
def test_activations_are_those_of_the_package(package, demo):
    expected = package_activations(package, demo)
    result = frechet.activations(demo)
    assert result.dtype == np.float32
    assert result.shape == (60, 512)
    np.testing.assert_allclose(result, expected, rtol=0, atol=1e-5)


@theirs
@pytest.mark.parametrize("length", [0, 1, 2, 3, 4, 5, 346, 347, 348, 349, 350, 351, 352, 353])
def test_activations_of_short_and_long_strings(package, length):
    # Beyond 349 the package pads all strings of a call to the longest; we treat each as if alone.
    text = "C" * length
    result = frechet.activations([text, "CCO"])
    np.testing.assert_allclose(result[:1], package_activations(package, [text]), rtol=0, atol=1e-5)
    np.testing.assert_allclose(result[1:], frechet.activations(["CCO"]), rtol=0, atol=1e-5)


@needs_weights
def test_activations_depend_neither_on_order_nor_on_duplicates(demo):
    once = frechet.activations(demo)
    order = np.random.default_rng(1).permutation(np.repeat(np.arange(60), 2))
    again = frechet.activations([demo[i] for i in order])
    np.testing.assert_array_equal(again, once[order])  # the same batches: the same bits
    np.testing.assert_allclose(frechet.activations(demo, batch_size=7), once, rtol=0, atol=1e-5)


@needs_weights
def test_each_string_goes_through_the_network_once(monkeypatch):
    seen = []
    network = frechet._ChemNet.__call__

    def count(self, smiles, length):
        seen.extend(smiles)
        return network(self, smiles, length)

    monkeypatch.setattr(frechet._ChemNet, "__call__", count)
    assert len(frechet.activations(["CCO", "C", "CCO", "CCO"])) == 4
    assert frechet.moments(["CCO", "C", "CCO", "CCO"]).n == 4
    assert seen == ["C", "CCO"] * 2


@needs_weights
def test_no_string_gives_no_row():
    assert frechet.activations([]).shape == (0, 512)
    assert frechet.moments([]).n == 0


@needs_weights
def test_batch_size_must_be_positive():
    with pytest.raises(ConfigError, match="got 0"):
        frechet.activations(["C"], batch_size=0)


@needs_weights
def test_another_network_is_refused(tmp_path):
    import torch

    path = tmp_path / frechet.WEIGHTS
    layers = torch.load(frechet._weights(), weights_only=True)
    layers[0][1][1]["stride"] = 1
    torch.save(layers, path)
    with pytest.raises(FileError, match="ChemNet"):
        frechet._ChemNet(path, torch.device("cpu"))
    path.write_bytes(b"rubbish")
    with pytest.raises(FileError, match="force-reinstall"):
        frechet._ChemNet(path, torch.device("cpu"))


# -- moments --------------------------------------------------------------------------------------


@pytest.mark.parametrize("pieces", [1, 2, 7, 100])
def test_streamed_moments_are_those_of_numpy(pieces):
    rng = np.random.default_rng(pieces)
    # Far from zero: sums of squares would lose their digits here.
    rows = rng.normal(size=(301, 20)) * rng.lognormal(size=20) + 1000 * rng.normal(size=20)
    total = Moments.of(rows[:0])
    for piece in np.array_split(rows, pieces):
        total = total.add(Moments.of(piece))
    same(total, Moments(301, rows.mean(axis=0), np.cov(rows.T)))
    np.testing.assert_array_equal(total.covariance, total.covariance.T)


@given(
    rows=arrays(np.float64, (6, 2), elements=st.floats(-100, 100)),
    counts=st.lists(st.integers(0, 4), min_size=6, max_size=6),
    cut=st.integers(0, 6),
)
def test_moments_of_counted_rows_and_of_pieces(rows, counts, cut):
    expected = np.repeat(rows, counts, axis=0)
    result = Moments.of(rows[:cut], counts[:cut]).add(Moments.of(rows[cut:], counts[cut:]))
    same(result, Moments.of(expected))
    same(Moments.of(rows, counts), Moments.of(expected))
    if len(expected) > 1:
        same(result, Moments(len(expected), expected.mean(axis=0), np.cov(expected.T)))
    else:
        assert not result.covariance.any()


def test_moments_survive_the_disk(tmp_path):
    path = tmp_path / "new" / "set.npz"
    before = Moments.of(np.random.default_rng(0).normal(size=(9, 4)))
    before.save(path)
    after = Moments.load(path)
    assert after.n == 9
    np.testing.assert_array_equal(after.mean, before.mean)
    np.testing.assert_array_equal(after.covariance, before.covariance)
    assert [child.name for child in path.parent.iterdir()] == ["set.npz"]


@pytest.mark.filterwarnings("ignore")  # NumPy warns of some headers before it refuses them
def test_damaged_moments_are_an_error_or_the_same(tmp_path):
    path = tmp_path / "set.npz"
    before = Moments.of(np.random.default_rng(0).normal(size=(9, 3)))
    before.save(path)
    whole = path.read_bytes()
    refused = 0
    for place in range(0, len(whole), 3):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0x55]) + whole[place + 1 :])
        try:
            result = Moments.load(path)
        except FileError:
            refused += 1
        else:  # a time stamp, an attribute
            assert result.n == 9
            np.testing.assert_array_equal(result.mean, before.mean)
            np.testing.assert_array_equal(result.covariance, before.covariance)
    assert refused > len(whole) // 6
    for place in range(0, len(whole), 40):
        path.write_bytes(whole[:place])
        with pytest.raises(FileError, match=r"set\.npz"):
            Moments.load(path)


@pytest.mark.parametrize(
    "content",
    [
        {"n": np.int64(3), "mean": np.zeros(2)},
        {"n": np.int64(-1), "mean": np.zeros(2), "covariance": np.eye(2)},
        {"n": np.float64(3), "mean": np.zeros(2), "covariance": np.eye(2)},
        {"n": np.int64(3), "mean": np.zeros(2), "covariance": np.eye(3)},
        {"n": np.int64(3), "mean": np.zeros(2), "covariance": np.eye(2) * np.nan},
        {"n": np.int64(3), "mean": np.zeros(2, dtype=object), "covariance": np.eye(2)},
    ],
)
def test_what_is_not_moments_is_refused(tmp_path, content):
    path = tmp_path / "set.npz"
    np.savez(path, **content)
    with pytest.raises(FileError, match=r"set\.npz"):
        Moments.load(path)


def test_a_missing_file_of_moments(tmp_path):
    with pytest.raises(FileError, match="no such file"):
        Moments.load(tmp_path / "absent.npz")


# -- the distance of two normal distributions -----------------------------------------------------


def test_distance_of_one_dimension():
    # (m1 - m2)² + (s1 - s2)²
    assert frechet.frechet_distance(
        normal([1.0], [[4.0]]), normal([4.0], [[25.0]])
    ) == pytest.approx(9 + 9)


def test_distance_of_diagonal_covariances():
    rng = np.random.default_rng(3)
    a, b, s, t = rng.lognormal(size=(4, 30))
    result = frechet.frechet_distance(normal(a, np.diag(s**2)), normal(b, np.diag(t**2)))
    assert result == pytest.approx(np.sum((a - b) ** 2 + (s - t) ** 2), rel=1e-12)


@pytest.mark.parametrize("size", [1, 2, 5, 60])
def test_distance_by_the_eigenvalues_of_the_product(size):
    rng = np.random.default_rng(size)
    a, b = (normal(rng.normal(size=size), random_covariance(rng, size)) for _ in range(2))
    roots = np.sqrt(np.linalg.eigvals(a.covariance @ b.covariance).astype(complex)).real
    expected = (
        np.sum((a.mean - b.mean) ** 2)
        + np.trace(a.covariance)
        + np.trace(b.covariance)
        - 2 * roots.sum()
    )
    assert frechet.frechet_distance(a, b) == pytest.approx(expected, rel=1e-9)


def test_distance_of_singular_covariances():
    # On different axes nothing overlaps; on the same axis only that one counts.
    x, y = np.diag([4.0, 0.0, 0.0]), np.diag([0.0, 9.0, 0.0])
    origin = np.zeros(3)
    assert frechet.frechet_distance(normal(origin, x), normal(origin, y)) == pytest.approx(13)
    assert frechet.frechet_distance(normal(origin, x), normal(origin, x + y)) == pytest.approx(9)
    rng = np.random.default_rng(0)
    basis = np.linalg.qr(rng.normal(size=(200, 200)))[0]
    s, t = np.zeros((2, 200))
    s[:20], t[10:40] = rng.lognormal(size=20), rng.lognormal(size=30)
    a, b = (normal(np.zeros(200), (basis * v**2) @ basis.T) for v in (s, t))
    assert frechet.frechet_distance(a, b) == pytest.approx(np.sum((s - t) ** 2), rel=1e-9)


sizes = st.tuples(st.integers(1, 6), st.integers(1, 8), st.integers(0, 2**32 - 1))


@given(sizes=sizes, scale=st.floats(1e-3, 1e3))
def test_distance_is_symmetric_and_not_negative(sizes, scale):
    size, rank, seed = sizes
    rng = np.random.default_rng(seed)
    a = normal(rng.normal(size=size), random_covariance(rng, size, rank))
    b = normal(rng.normal(size=size) * scale, random_covariance(rng, size) * scale)
    there, back = frechet.frechet_distance(a, b), frechet.frechet_distance(b, a)
    assert there >= 0
    assert there == pytest.approx(back, rel=1e-9, abs=1e-9 * scale)
    for one in (a, b):
        width = max(1.0, np.trace(one.covariance))
        assert frechet.frechet_distance(one, one) == pytest.approx(0, abs=1e-11 * width)
        moved = normal(one.mean + 2, one.covariance)
        assert frechet.frechet_distance(one, moved) == pytest.approx(4 * size, abs=1e-9 * width)


def test_distance_of_what_does_not_compare():
    with pytest.raises(InputError, match=r"2.* 3"):
        frechet.frechet_distance(normal(np.zeros(2), np.eye(2)), normal(np.zeros(3), np.eye(3)))
    with pytest.raises(InputError, match="2"):
        frechet.frechet_distance(normal([0], [[1]], n=1), normal([0], [[1]]))


# -- the metric -----------------------------------------------------------------------------------


@theirs
def test_score_is_that_of_the_package(package, demo):
    generated, reference = demo[:30] + demo[:3], demo[30:]  # three molecules twice
    try:
        expected = package.get_fcd(generated, reference, device="cpu")
    except (AttributeError, TypeError) as error:
        pytest.skip(f"the package fcd does not run with this NumPy or SciPy: {error}")
    metric = frechet.chemnet_distance(generated, reference)
    assert metric.value == pytest.approx(expected, rel=1e-5)
    assert metric.n == 33
    assert metric.note == (
        "33 molecules and 30 reference molecules do not fill a covariance of 512 dimensions"
    )


@needs_weights
def test_order_does_not_change_a_bit(demo):
    there, back = frechet.moments(demo), frechet.moments(demo[::-1])
    np.testing.assert_array_equal(there.mean, back.mean)
    np.testing.assert_array_equal(there.covariance, back.covariance)
    same(there, Moments.of(frechet.activations(demo)))


@needs_weights
def test_distance_to_itself_is_zero(demo):
    assert frechet.chemnet_distance(demo, demo).value == pytest.approx(0, abs=1e-10)


@needs_weights
@pytest.mark.parametrize(
    ("generated", "reference", "note"),
    [
        ([], ["C", "CC"], "needs at least 2 valid molecules"),
        (["C"], ["C", "CC"], "needs at least 2 valid molecules"),
        (["C", "CC"], ["C"], "needs at least 2 valid molecules in the reference"),
    ],
)
def test_too_few_molecules(generated, reference, note):
    metric = frechet.chemnet_distance(generated, reference)
    assert (metric.value, metric.n, metric.note) == (None, len(generated), note)


@needs_weights
def test_many_molecules_carry_no_note(monkeypatch):
    many = Moments.of(np.random.default_rng(0).normal(size=(600, 512)))
    monkeypatch.setattr(frechet, "moments", lambda smiles, **_: many)
    metric = frechet.chemnet_distance(["C"] * 600, many)
    assert (metric.value, metric.n, metric.note) == (pytest.approx(0, abs=1e-9), 600, "")


def test_without_the_package_the_metric_says_what_to_install(monkeypatch):
    monkeypatch.setattr(frechet.importlib.util, "find_spec", lambda name: None)
    assert not frechet.available()
    metric = frechet.chemnet_distance(["C", "CC"], ["C", "CC"])
    assert metric.value is None
    assert "pip install 'molvae[fcd]'" in metric.note
    with pytest.raises(ConfigError, match="pip install"):
        frechet.activations(["C"])


# -- influences -----------------------------------------------------------------------------------


def test_influences_are_the_derivative_of_the_distance():
    rng = np.random.default_rng(3)
    rows, other = rng.normal(size=(400, 5)) * [1, 2, 3, 1, 1], rng.normal(size=(300, 5)) + 0.5
    a, b = Moments.of(rows), Moments.of(other)
    result = frechet.influences(rows, a, b)
    assert result.sum() == pytest.approx(0, abs=1e-8)
    # Rows counted a little more often, by integer weights of nearly the same.
    for i in (0, 17, 399):
        weights = np.full(400, 1000)
        weights[i] += 400
        moved = frechet.frechet_distance(Moments.of(rows, weights), b)
        share = 400 / weights.sum()
        slope = (moved - frechet.frechet_distance(Moments.of(rows, np.full(400, 1000)), b)) / share
        assert slope == pytest.approx(result[i], rel=0.05, abs=0.05)


def test_influences_of_few_rows_are_finite():
    rng = np.random.default_rng(4)
    rows, other = rng.normal(size=(3, 8)), rng.normal(size=(50, 8))
    result = frechet.influences(rows, Moments.of(rows), Moments.of(other))
    assert np.isfinite(result).all()


@needs_weights
def test_a_distance_takes_any_smiles():
    a, b = ["OCC", "CCC", "c1ccccc1O", "broken("], ["CCN", "CCO", "CC"]
    metric = frechet.chemnet_distance(a, b)
    canonical = [canonical_smiles(text) for text in a[:3]]
    assert metric == frechet.chemnet_distance(canonical, frechet.moments(b))
    assert metric.n == 3
