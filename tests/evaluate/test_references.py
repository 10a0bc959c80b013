"""Reference sets whose cache is cleared while they are used."""

import numpy as np
import pytest

from molvae.evaluate.references import Reference
from molvae.evaluate.sources import Source
from molvae.runtime import cache
from molvae.runtime.pool import WorkerPool

PARTS = ("rows", "smiles", "keys", "fingerprints", "fragments", "scaffolds", "values", "flat_keys")


@pytest.fixture
def smiles_file(tmp_path):
    path = tmp_path / "set.smi"
    path.write_text("CCO\nc1ccccc1C\nno molecule\nCC(=O)Nc1ccc(O)cc1\n")
    return path


def parts(smiles_file, between):
    """Every part of a reference; ``between`` is called before each."""
    with WorkerPool(0) as pool:
        reference = Reference("train", Source("set.smi", (smiles_file,)), pool)
        result = {}
        for name in PARTS:
            between()
            result[name] = getattr(reference, name)
        reference.close()
    return result


def test_a_cache_cleared_between_two_parts(smiles_file):
    expected, cleared = parts(smiles_file, lambda: None), parts(smiles_file, cache.clear)
    for name in PARTS:
        assert np.array_equal(expected[name], cleared[name]), name
    assert expected["rows"] == 4


def test_a_cache_that_is_cleared_whenever_something_was_computed(smiles_file, monkeypatch):
    """After a few times, the results stay out of the cache."""
    expected, real, count = parts(smiles_file, lambda: None), cache.ResultCache.read, []

    def read(self, name, reader):
        count.append(cache.clear())
        return real(self, name, reader)

    monkeypatch.setattr(cache.ResultCache, "read", read)
    cleared = parts(smiles_file, lambda: None)
    for name in PARTS:
        assert np.array_equal(expected[name], cleared[name]), name
    assert sum(size > 0 for size in count) >= 3
