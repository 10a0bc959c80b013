"""The shapes that other tools expect."""

import numpy as np
import pandas as pd
import pytest
from rdkit.Chem import MolFromSmiles

from molvae import MolVAE
from molvae.errors import ConfigError, InputError
from molvae.integrations import GuacaMolGenerator, LatentFeaturizer

SMILES = ["CCO", "c1ccccc1C(=O)N", "CC(=O)Oc1ccccc1C(=O)O", "CCN", "CCCCO", "Cc1ccncc1"]


@pytest.fixture
def model(tiny_run):
    return MolVAE.load(tiny_run)


@pytest.mark.parametrize(
    "shape",
    [
        list, tuple, np.asarray, pd.Series, lambda x: pd.DataFrame({"smiles": x}),
        lambda x: [MolFromSmiles(one) for one in x],
    ],
)  # fmt: skip
def test_features_are_latent_means(model, tiny_run, shape):
    featurizer = LatentFeaturizer(tiny_run)
    result = featurizer.fit_transform(shape(SMILES))
    assert np.array_equal(result, model.encode(SMILES))
    assert np.array_equal(featurizer(shape(SMILES)), result)
    assert len(featurizer) == result.shape[1] == len(featurizer.get_feature_names_out())


def test_what_cannot_be_encoded_is_an_error_or_nothing(model):
    with pytest.raises(InputError, match="'C1CC'"):
        LatentFeaturizer(model)(["CCO", "C1CC"])
    result = LatentFeaturizer(model, invalid="nan")(["CCO", "C1CC", "C[Xe]"])
    assert np.isnan(result).all(axis=1).tolist() == [False, True, True]


@pytest.mark.parametrize(
    ("molecules", "message"),
    [("CCO", "list"), ([1], "got int"), (np.zeros((2, 2)), "one column")],
)
def test_what_is_no_molecule_is_named(model, molecules, message):
    with pytest.raises(ConfigError, match=message):
        LatentFeaturizer(model)(molecules)


def test_parameters_are_kept_and_changed(model, tiny_run):
    featurizer = LatentFeaturizer(tiny_run, invalid="nan")
    assert featurizer.get_params() == {"model": tiny_run, "invalid": "nan"}
    assert featurizer.set_params(model=model).fit().model_ is model
    with pytest.raises(ConfigError, match=r"'modle'.*model"):
        featurizer.set_params(modle=1)
    with pytest.raises(ConfigError, match=r"invalid.*'skip'"):
        LatentFeaturizer(model, invalid="skip").fit()


@pytest.mark.slow
def test_it_works_in_a_pipeline_of_scikit_learn(tiny_run):
    base = pytest.importorskip("sklearn.base")
    from sklearn.linear_model import Ridge
    from sklearn.model_selection import GridSearchCV, cross_val_score
    from sklearn.pipeline import make_pipeline

    values = [float(len(text)) for text in SMILES]
    pipeline = make_pipeline(LatentFeaturizer(tiny_run), Ridge())
    assert np.isfinite(cross_val_score(pipeline, SMILES, values, cv=2)).all()
    alone = Ridge().fit(LatentFeaturizer(tiny_run)(SMILES), values)
    expected = alone.predict(LatentFeaturizer(tiny_run)(["CCC"]))
    assert pipeline.fit(SMILES, values).predict(["CCC"]) == pytest.approx(expected)
    search = GridSearchCV(pipeline, {"latentfeaturizer__invalid": ["raise", "nan"]}, cv=2)
    assert search.fit(SMILES, values).best_params_
    assert base.clone(LatentFeaturizer(tiny_run, invalid="nan")).invalid == "nan"


def test_guacamol_gets_as_many_samples_as_requested(model):
    generator = GuacaMolGenerator(model, seed=3, workers=0)
    first, second = generator.generate(5), generator.generate(5)
    assert len(first) == len(second) == 5
    assert first != second
    assert all(MolFromSmiles(text) for text in first + second)
    assert GuacaMolGenerator(model, seed=3, workers=0).generate(5) == first


def test_guacamol_gets_the_best_of_a_search(model):
    asked = []

    class Length:
        def score_list(self, smiles_list):
            asked.extend(smiles_list)
            return [float(len(text)) for text in smiles_list]

    start = "CCCCCCCCCCCCCCCCCCCCCCCCCCCCCC"
    molecules = GuacaMolGenerator(model, budget=8).generate_optimized_molecules(
        Length(), 5, [start]
    )
    assert len(asked) == len(set(asked)) == 8
    assert start in asked
    assert [len(text) for text in molecules] == sorted(map(len, asked), reverse=True)[:5]
