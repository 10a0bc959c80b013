"""Sets of hashes against Python's own sets."""

import hashlib
import tracemalloc

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from molvae.chem.hashing import KeySet, keys_of

KEYS = st.lists(st.integers(0, 2**64 - 1) | st.integers(0, 20), max_size=40)


def array(keys):
    return np.asarray(keys, dtype=np.uint64)


@given(st.lists(KEYS, max_size=12), KEYS)
def test_it_is_a_set(parts, asked):
    ours, theirs = KeySet(), set()
    for part in parts:
        assert ours.holds(array(part)).tolist() == [key in theirs for key in part]
        ours.add(array(part))
        theirs |= set(part)
        assert len(ours) == len(theirs)
    assert ours.holds(array(asked)).tolist() == [key in theirs for key in asked]


def test_keys_are_the_first_bytes_of_a_hash():
    texts = ["CCO", "c1ccccc1", ""]
    expected = [
        int.from_bytes(hashlib.blake2b(t.encode(), digest_size=8).digest(), "little") for t in texts
    ]
    assert keys_of(texts).tolist() == expected
    assert len(keys_of([])) == 0


def test_a_key_takes_at_most_32_bytes_at_any_moment():
    """A quarter of a million keys in blocks of 1,024, as generation adds them."""
    random = np.random.default_rng(0)
    n, block = 2**18, 2**10
    keys = KeySet()
    tracemalloc.start()
    try:
        for _ in range(n // block):
            keys.add(random.integers(0, 2**64, block, dtype=np.uint64))
        kept, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(keys) == n
    assert kept < 9 * n
    assert most < 32 * n
