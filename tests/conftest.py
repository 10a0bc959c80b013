"""What every test gets: fixed seeds, a cache folder of its own, SELFIES left as it was found."""

import random
import sys

import hypothesis
import numpy as np
import pytest

# The same examples on every run and machine; speed is no test's business here.
hypothesis.settings.register_profile("default", deadline=None, derandomize=True)
hypothesis.settings.load_profile("default")


@pytest.fixture(autouse=True)
def same_ground(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("MOLVAE_CACHE", str(tmp_path_factory.mktemp("cache")))
    random.seed(0)
    np.random.seed(0)
    if torch := sys.modules.get("torch"):  # a test that does not use torch need not wait for it
        torch.manual_seed(0)
    # SELFIES keeps its bonding constraints in a global of the process.
    selfies = sys.modules.get("selfies")
    before = selfies.get_semantic_constraints() if selfies else None
    yield
    if selfies := sys.modules.get("selfies"):
        selfies.set_semantic_constraints(before or selfies.get_preset_constraints("default"))
