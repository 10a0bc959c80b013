"""Molecules that are given to a model are cleaned as prepare cleans them, wherever they come in."""

import numpy as np
import pandas as pd
import pytest

from molvae import MolVAE
from molvae.chem import Likeness, parse
from molvae.errors import InputError
from molvae.generate.request import Request, read_seed_molecules
from molvae.generate.run import generate
from molvae.latent.interpolate import interpolate
from molvae.model.given import clean_given, cleaned
from molvae.objectives import parse_objective

BASE, ACID = "CC(=O)Nc1ccccc1CN", "O=C(O)c1ccccc1"
SALT, IONS = f"{BASE}.Cl", "[Na+].[O-]C(=O)c1ccccc1"


def test_a_salt_is_read_as_its_parent(tiny_model):
    assert cleaned([SALT, IONS], tiny_model) == ["CC(=O)Nc1ccccc1CN", "O=C(O)c1ccccc1"]
    assert clean_given([SALT, IONS], tiny_model, name="like") == (BASE, ACID)


def test_a_bad_text_is_rejected_alone_and_named(tiny_model, capsys):
    assert clean_given([SALT, "C1CC", "[Rn]CC"], tiny_model, name="like") == (BASE,)
    note = capsys.readouterr().err
    assert "like: 2 of 3 molecules are left out" in note
    assert "'C1CC' (not a valid SMILES)" in note
    assert "'[Rn]CC'" in note
    with pytest.raises(InputError, match=r"like: no molecule can be used: 'C1CC' \(not a valid"):
        clean_given(["C1CC"], tiny_model, name="like")
    assert clean_given([], tiny_model, name="like") == ()


def test_a_file_of_start_molecules_names_its_bad_rows(tmp_path, capsys):
    path = tmp_path / "like.csv"
    path.write_text(f"smiles,id\n{SALT},a\nnot a molecule,b\n,c\nCCO,d\n")
    assert read_seed_molecules([str(path)]) == (SALT, "CCO")
    note = capsys.readouterr().err
    assert f"'{path}': 2 of 4 rows hold no molecule: row 2 'not a molecule', row 3 ''" in note
    path.write_text("smiles,id\nnot a molecule,b\n")
    with pytest.raises(InputError, match="none of 1 rows"):
        read_seed_molecules([str(path)])


def test_analogs_of_a_salt_start_at_its_parent(tiny_model):
    same = [
        [(m.smiles, m.start) for m in generate(3, model=tiny_model, request=Request(like=like))]
        for like in ((SALT, "C1CC"), (BASE,))
    ]
    assert same[0] == same[1]
    assert {start for _, start in same[0]} == {BASE}


def test_paths_and_latents_are_those_of_the_parent(tiny_model):
    assert interpolate(tiny_model, SALT, IONS, points=3) == interpolate(
        tiny_model, BASE, ACID, points=3
    )
    with pytest.raises(InputError, match=r"'CCX' \(not a valid SMILES\)"):
        interpolate(tiny_model, "CCX", ACID)
    model = MolVAE(tiny_model)
    latents = model.encode([SALT, "C1CC", IONS], invalid="nan")
    assert np.isnan(latents[1]).all()
    assert (latents[[0, 2]] == model.encode([BASE, ACID])).all()
    with pytest.raises(InputError, match="'C1CC' is not valid"):
        model.encode([SALT, "C1CC"])


def test_no_salt_reaches_an_objective(tiny_model, tmp_path):
    seen = []

    def score(smiles):
        seen.extend(smiles)
        return [float(len(text)) for text in smiles]

    table = MolVAE(tiny_model).optimize(score, budget=4, given=[SALT, IONS, "C1CC"], workers=0)
    assert {BASE, ACID} <= set(seen)
    assert not any("." in text for text in seen)
    assert isinstance(table, pd.DataFrame)


def test_similarity_is_to_the_parent():
    scorer = parse_objective([f"similarity:{SALT}"])
    [parts] = scorer.scores([BASE])
    assert parts[0] == Likeness(BASE)(parse(BASE)) == 1
