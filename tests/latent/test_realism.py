import numpy as np
import pytest

from molvae import MolVAE
from molvae.errors import ConfigError

USUAL, ODD = "CC(=O)Nc1ccc(O)cc1", "NN1C=CC=CC=C1N"


@pytest.fixture(scope="module")
def model():
    return MolVAE.load("default")


def test_a_drug_is_more_realistic_than_an_odd_ring(model):
    table = model.realism([USUAL, ODD, "C1CC"])
    assert table["realism"][0] > 0.5 > table["realism"][1]
    assert table["unseen"][0] == ""
    assert table["unseen"][1].startswith("ring system without training molecules: ")
    assert np.isnan(table["realism"][2])
    assert table["note"].tolist()[:2] == ["", ""]
    assert table["note"][2]


def test_the_rank_is_the_share_of_samples_below(model):
    from molvae import chem
    from molvae.chem.realism_features import describe

    critic = model._model.critic
    logit = critic.logit(describe(chem.parse(USUAL)))
    share = np.mean(critic.quantiles < logit)
    assert model.realism(USUAL)["realism"][0] == pytest.approx(share)


def test_a_model_without_critic_says_so(tiny_model):
    with pytest.raises(ConfigError, match="no realism critic"):
        MolVAE(tiny_model).realism(USUAL)
