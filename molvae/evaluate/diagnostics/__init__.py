"""Diagnostics on held-out molecules: rate, distortion, reconstruction, latent space, control.

Each function measures one thing and says with every figure how many molecules went in;
``docs/diagnostics.md`` has the formulas. Training calls :func:`figures`; ``examine`` calls all.

Shapes: N molecules, Z latent dimensions, C conditions; P paths of K points.
"""

from molvae.evaluate.diagnostics.base import LEVELS, Advance, Molecules
from molvae.evaluate.diagnostics.calibration import Calibration, Reply, calibrate, requests
from molvae.evaluate.diagnostics.head import HeadError, head_errors
from molvae.evaluate.diagnostics.latent import (
    Encoded,
    Information,
    LatentMap,
    encode_molecules,
    latent_map,
    mutual_information,
)
from molvae.evaluate.diagnostics.paths import Interpolation, random_pairs, smoothness
from molvae.evaluate.diagnostics.rates import figures
from molvae.evaluate.diagnostics.reconstruction import Reconstruction, reconstructions

__all__ = [
    "LEVELS",
    "Advance",
    "Calibration",
    "Encoded",
    "HeadError",
    "Information",
    "Interpolation",
    "LatentMap",
    "Molecules",
    "Reconstruction",
    "Reply",
    "calibrate",
    "encode_molecules",
    "figures",
    "head_errors",
    "latent_map",
    "mutual_information",
    "random_pairs",
    "reconstructions",
    "requests",
    "smoothness",
]
