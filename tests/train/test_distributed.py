"""What the environment says about other processes."""

import pytest

from molvae.errors import ConfigError
from molvae.train.distributed import is_first


@pytest.mark.parametrize(("variable", "value"), [("WORLD_SIZE", "y"), ("RANK", "-1")])
def test_an_environment_that_torchrun_did_not_set(monkeypatch, variable, value):
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "0")
    assert is_first()
    monkeypatch.setenv(variable, value)
    with pytest.raises(ConfigError, match=f"{variable} is '{value}'"):
        is_first()
