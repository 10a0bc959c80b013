"""Sets of molecules → numbers: a plain library, each metric a function of SMILES or descriptions.

By the definitions of MOSES (Polykovskiy et al. 2020) and, in
:mod:`molvae.evaluate.metrics.guacamol`, of GuacaMol (Brown et al. 2019); `docs/metrics.md` has
every formula with its source. Molecules are described once (:func:`describe`: parsed,
canonicalised, fingerprinted, cut into fragments) and every metric reads that description. A metric
that cannot be computed has the value None and says why.

Shapes: ``N`` molecules, ``P`` properties; fingerprints are packed, 8 bits in a byte.
"""

from molvae.evaluate.metrics.base import NO_VALID, Metric, ratio
from molvae.evaluate.metrics.control import (
    Bin,
    Calibration,
    Control,
    calibrate,
    control,
    control_by_row,
    is_yes_no,
)
from molvae.evaluate.metrics.distributions import (
    cosine,
    fragment_similarity,
    normal_frechet,
    property_distance,
    scaffold_similarity,
    wasserstein,
)
from molvae.evaluate.metrics.molecules import (
    FINGERPRINT_BYTES,
    Molecules,
    MoleculeSet,
    Occurrences,
    Wanted,
    as_set,
    describe,
    merge,
)
from molvae.evaluate.metrics.plugins import PluginMetric, plugin_metrics
from molvae.evaluate.metrics.ratios import fraction_passing, novelty, unique, valid
from molvae.evaluate.metrics.similarity import (
    internal_diversity,
    nearest,
    nearest_similarity,
    similarity_sums,
)

__all__ = [
    "FINGERPRINT_BYTES",
    "NO_VALID",
    "Bin",
    "Calibration",
    "Control",
    "Metric",
    "MoleculeSet",
    "Molecules",
    "Occurrences",
    "PluginMetric",
    "Wanted",
    "as_set",
    "calibrate",
    "control",
    "control_by_row",
    "cosine",
    "describe",
    "fraction_passing",
    "fragment_similarity",
    "internal_diversity",
    "is_yes_no",
    "merge",
    "nearest",
    "nearest_similarity",
    "normal_frechet",
    "novelty",
    "plugin_metrics",
    "property_distance",
    "ratio",
    "scaffold_similarity",
    "similarity_sums",
    "unique",
    "valid",
    "wasserstein",
]
