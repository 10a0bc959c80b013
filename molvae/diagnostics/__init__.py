"""What a model does to held-out molecules: rate, distortion, reconstruction, latent space, control.

Each function measures one thing and says with every figure how many molecules went in;
``docs/metrics.md`` has the formulas. Training calls :func:`figures`; ``examine`` calls all.

Shapes: N molecules, Z latent dimensions, C conditions; P paths of K points.
"""

from molvae.diagnostics.base import LEVELS, Advance, Molecules
from molvae.diagnostics.calibration import Calibration, Reply, calibrate, requests
from molvae.diagnostics.head import HeadError, head_errors
from molvae.diagnostics.latent import (
    Encoded,
    Information,
    LatentMap,
    encode_molecules,
    latent_map,
    mutual_information,
)
from molvae.diagnostics.paths import Interpolation, along, interpolate, random_pairs, smoothness
from molvae.diagnostics.rates import figures
from molvae.diagnostics.reconstruction import Reconstruction, reconstructions

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
    "along",
    "calibrate",
    "encode_molecules",
    "figures",
    "head_errors",
    "interpolate",
    "latent_map",
    "mutual_information",
    "random_pairs",
    "reconstructions",
    "requests",
    "smoothness",
]
