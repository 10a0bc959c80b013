"""Paths between two molecules."""

import numpy as np
import pytest
from rdkit import DataStructs
from rdkit.Chem import MolFromSmiles, MolToSmiles, rdFingerprintGenerator

from molvae.errors import InputError, OutputExistsError, TargetError
from molvae.generate.decoding import decode_latents
from molvae.latent.interpolate import interpolate, interpolate_file, path_between
from molvae.runtime.randomness import Draws

FIRST, LAST = "CC(=O)Nc1ccccc1", "CCN(CC)C(=O)c1ccccc1"


def test_points_are_decoded_from_the_path_of_latents(tiny_model):
    result = interpolate(tiny_model, FIRST, LAST, points=5)
    from molvae import MolVAE

    z = MolVAE(tiny_model).encode([FIRST, LAST])
    path = path_between(z[:1], z[1:], 5)[0].astype(np.float32)
    rows = decode_latents(tiny_model, path, noise=0.0, draws=Draws(0))
    expected = [MolFromSmiles(tiny_model.vocabulary.decode(row.tolist())) for row in rows]
    assert [one.smiles for one in result] == [MolToSmiles(mol) for mol in expected]
    assert [one.share for one in result] == [0, 0.25, 0.5, 0.75, 1]
    generator = rdFingerprintGenerator.GetMorganGenerator(radius=2, fpSize=1024)
    ends = [generator.GetFingerprint(MolFromSmiles(text)) for text in (FIRST, LAST)]
    for mol, point in zip(expected, result, strict=True):
        bits = generator.GetFingerprint(mol)
        shown = (point.similarity_first, point.similarity_last)
        assert shown == pytest.approx([DataStructs.TanimotoSimilarity(bits, e) for e in ends])


def test_a_path_is_written_and_drawn(tiny_run, tmp_path):
    table, picture = tmp_path / "path.csv", tmp_path / "path.svg"
    result = interpolate_file(FIRST, LAST, model=tiny_run, output=table, grid=picture, points=4)
    lines = table.read_text().splitlines()
    assert lines[0] == "smiles,share,similarity_first,similarity_last"
    assert len(lines) == 1 + sum(bool(one.smiles) for one in result)
    assert b"<svg" in picture.read_bytes()
    with pytest.raises(OutputExistsError):
        interpolate_file(FIRST, LAST, model=tiny_run, output=table)


@pytest.mark.parametrize(
    ("ends", "options", "error", "message"),
    [
        (("CCX", LAST), {}, InputError, "'CCX'.*valid SMILES"),
        ((FIRST, "CC[Xe]"), {}, InputError, r"'CC\[Xe\]' \(element not allowed\)"),
        ((FIRST, LAST), {"points": 1}, InputError, "points.* 1"),
        ((FIRST, LAST), {"points": 10**9}, InputError, "points.* 2 to 100,000"),
        ((FIRST, LAST), {"noise": 1.5}, TargetError, "noise.*1.5"),
    ],
)
def test_bad_input_is_named(tiny_model, ends, options, error, message):
    with pytest.raises(error, match=message):
        interpolate(tiny_model, *ends, **options)
