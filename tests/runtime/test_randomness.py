"""Addressed randomness against statistics and the standard library."""

import itertools
import statistics

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from molvae.errors import ConfigError
from molvae.runtime.randomness import Draws, _mix, normal_cdf, normal_quantile

NORMAL = statistics.NormalDist()
MANY = np.arange(20_000)


def splitmix64(state):
    """The published generator (Steele, Lea & Flood 2014) in plain integers: the next number."""
    mask = (1 << 64) - 1
    z = (state + 0x9E3779B97F4A7C15) & mask
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & mask
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & mask
    return z ^ (z >> 31)


def test_the_mixer_is_splitmix64():
    # The first outputs for seed 1234567, as published with the generator.
    published = [6457827717110365317, 3203168211198807973, 9817491932198370423]
    golden = 0x9E3779B97F4A7C15
    states = [(1234567 + i * golden) % 2**64 for i in range(3)]
    assert [splitmix64(s) for s in states] == published
    with np.errstate(over="ignore"):
        mixed = _mix(np.asarray(states, dtype=np.uint64) + np.uint64(golden))
    assert mixed.tolist() == published


@given(
    seed=st.integers(0, 2**63 - 1),
    items=st.lists(st.integers(0, 2**62), min_size=1, max_size=8),
    columns=st.integers(1, 5),
    epoch=st.integers(0, 1000),
)
def test_a_number_depends_on_its_address_alone(seed, items, columns, epoch):
    draws = Draws(seed)
    batch = draws.uniform("t", np.asarray(items), columns, epoch=epoch)
    for row, item in zip(batch, items, strict=True):
        alone = draws.uniform("t", np.asarray([item]), columns + 3, epoch=epoch)[0, :columns]
        assert row.tolist() == alone.tolist()
    assert Draws(seed).uniform("t", np.asarray(items), columns, epoch=epoch).tolist() == (
        batch.tolist()
    )


def test_every_part_of_the_address_changes_the_number():
    items = np.arange(500)
    streams = {
        "plain": Draws(1).uniform("latent", items, 4),
        "seed": Draws(2).uniform("latent", items, 4),
        "purpose": Draws(1).uniform("channel", items, 4),
        "epoch": Draws(1).uniform("latent", items, 4, epoch=1),
        "items": Draws(1).uniform("latent", items + 500, 4),
        "long purpose": Draws(1).uniform("latent-of-one", items, 4),
        "other long purpose": Draws(1).uniform("latent-of-two", items, 4),
    }
    for (name, a), (other, b) in itertools.combinations(streams.items(), 2):
        assert not (a == b).any(), (name, other)
        # 2,000 pairs: the correlation of independent streams has standard deviation 0.022.
        assert abs(np.corrcoef(a.ravel(), b.ravel())[0, 1]) < 0.1, (name, other)


def test_uniform_numbers_are_uniform():
    u = Draws(3).uniform("u", MANY, 3)
    assert u.shape == (20_000, 3)
    assert u.dtype == np.float64
    assert u.min() > 0
    assert u.max() < 1
    for column in u.T:
        counts = np.histogram(column, bins=50, range=(0, 1))[0]
        chi2 = float(((counts - 400) ** 2 / 400).sum())
        assert 20 < chi2 < 100  # 49 degrees of freedom: mean 49, standard deviation 9.9
        # Kolmogorov-Smirnov: 1.95 / sqrt(n) is passed once in a thousand.
        gap = np.abs(np.sort(column) - (MANY + 0.5) / len(MANY)).max()
        assert gap < 1.95 / len(MANY) ** 0.5


def test_columns_and_neighbouring_items_are_independent():
    u = Draws(4).uniform("u", MANY, 4)
    off = np.corrcoef(u.T) - np.eye(4)
    assert np.abs(off).max() < 0.03  # four standard deviations
    for lag in (1, 2, 64, 256):
        assert abs(np.corrcoef(u[:-lag, 0], u[lag:, 0])[0, 1]) < 0.03
    # Joint uniformity of neighbouring columns on a 10 × 10 board: 99 degrees of freedom.
    board = np.histogram2d(u[:, 0], u[:, 1], bins=10, range=[[0, 1], [0, 1]])[0]
    assert 50 < ((board - 200) ** 2 / 200).sum() < 170


def test_neighbouring_seeds_and_epochs_are_independent():
    items = np.arange(10)
    first = np.asarray([Draws(s).uniform("u", items, 1)[:, 0] for s in range(2000)])
    assert abs(first.mean() - 0.5) < 0.01
    assert abs(np.corrcoef(first[:-1, 0], first[1:, 0])[0, 1]) < 0.1
    epochs = np.asarray([Draws(5).uniform("u", items, 1, epoch=e)[:, 0] for e in range(2000)])
    assert abs(np.corrcoef(epochs[:-1, 0], epochs[1:, 0])[0, 1]) < 0.1


def test_normal_numbers_have_normal_moments():
    z = Draws(6).normal("latent", MANY, 2)
    assert z.dtype == np.float32
    assert np.isfinite(z).all()
    flat = z.ravel().astype(np.float64)  # 40,000 numbers; limits at about five deviations
    assert abs(flat.mean()) < 0.025
    assert abs(flat.var() - 1) < 0.035
    assert abs((flat**3).mean()) < 0.1
    assert abs((flat**4).mean() - 3) < 0.25
    for x in (-2.0, -0.5, 1.0):
        assert abs((flat < x).mean() - NORMAL.cdf(x)) < 0.0125


def test_normal_and_uniform_of_an_address_agree():
    items = np.arange(50)
    u, z = Draws(8).uniform("a", items, 2), Draws(8).normal("a", items, 2)
    expected = [[NORMAL.inv_cdf(p) for p in row] for row in u.tolist()]
    np.testing.assert_allclose(z, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("n", [0, 1, 2, 1000])
def test_a_permutation_holds_every_number_once(n):
    order = Draws(9).permutation("order", n)
    assert order.dtype == np.int64
    assert sorted(order.tolist()) == list(range(n))


def test_permutations_are_stable_and_differ_between_epochs():
    draws = Draws(9)
    one = draws.permutation("order", 1000, epoch=1)
    draws.uniform("other", np.arange(10), 3)  # nothing drawn in between has an influence
    assert one.tolist() == Draws(9).permutation("order", 1000, epoch=1).tolist()
    other = draws.permutation("order", 1000, epoch=2)
    assert (one == other).sum() < 10  # one match is expected
    assert (one == np.arange(1000)).sum() < 10


def test_permutations_are_fair():
    """Each of the six orders of three things about equally often: 5 degrees of freedom."""
    orders = [tuple(Draws(s).permutation("p", 3).tolist()) for s in range(3000)]
    counts = np.asarray([orders.count(p) for p in itertools.permutations(range(3))])
    assert ((counts - 500) ** 2 / 500).sum() < 25


@pytest.mark.parametrize("seed", [-1, 2**63, 2**70])
def test_seeds_out_of_range_are_refused(seed):
    with pytest.raises(ConfigError, match=str(seed)):
        Draws(seed)


def test_the_greatest_seed_and_no_items_work():
    assert Draws(2**63 - 1).uniform("u", np.arange(0), 3).shape == (0, 3)


def test_the_normal_functions_agree_with_the_standard_library():
    x = np.linspace(-8, 8, 401)
    np.testing.assert_allclose(normal_cdf(x), [NORMAL.cdf(v) for v in x.tolist()], atol=1e-14)
    p = np.concatenate([10.0 ** -np.arange(1, 16), np.linspace(0.01, 0.99, 99)])
    # The library's own quantile is good to about 1e-9 relative in the tails.
    expected = [NORMAL.inv_cdf(v) for v in p.tolist()]
    np.testing.assert_allclose(normal_quantile(p), expected, rtol=1e-8, atol=1e-12)


@given(st.floats(-4, 4))
def test_quantile_undoes_cdf(x):
    assert normal_quantile(normal_cdf(np.asarray([x])))[0] == pytest.approx(x, abs=1e-8)


def test_the_normal_functions_take_arrays_they_may_not_write_to():
    p = np.asarray([0.5, 0.975])
    p.flags.writeable = False
    assert normal_quantile(p).tolist() == pytest.approx([0, 1.959963984540054])
    assert normal_cdf(p)[0] == pytest.approx(NORMAL.cdf(0.5))
