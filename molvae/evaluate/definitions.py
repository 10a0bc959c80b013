"""What each metric means, and which of its values is better."""

from __future__ import annotations

from collections.abc import Mapping

from molvae.evaluate.metrics import PluginMetric, plugin_metrics

__all__ = ["DEFINITIONS", "better", "definition", "of_plugins"]

DEFINITIONS = {
    "valid": "share of all rows that RDKit parses to at least one atom",
    "unique": "share of distinct canonical SMILES among the valid",
    "unique@1000": "share of distinct canonical SMILES among the first 1,000 valid",
    "unique@10000": "share of distinct canonical SMILES among the first 10,000 valid",
    "novelty": "share of the distinct valid molecules that are not in the training set",
    "IntDiv": "1 - mean Tanimoto similarity over all pairs; higher is more diverse",
    "IntDiv2": "like IntDiv, with the root mean square similarity of each molecule to all",
    "FCD": "Fréchet distance of the ChemNet activations to those of the reference; higher for "
    "small numbers of molecules",
    "SNN": "mean Tanimoto similarity to the nearest reference molecule",
    "Frag": "cosine between the BRICS fragment counts of generated and reference molecules",
    "Scaf": "cosine between the counts of ring scaffolds of generated and reference molecules",
    "Filters": "share of the valid molecules that pass MOSES' structural filters",
    "unseen ring systems": "share of the valid molecules with a ring system that no training "
    "molecule has",
    "unseen environments": "share of the valid molecules with an atom whose element, charge, "
    "hydrogens and neighbors together no training molecule has",
    "realism AUC": "area under the ROC curve of a logistic regression that separates held-out "
    "generated molecules from training molecules; 0.5: not at all",
    "W1": "1-Wasserstein distance to the reference values, in the unit of the property",
    "MAD": "mean absolute difference between obtained and requested value",
    "hit rate": "share of the molecules with a value that are in the requested range",
    "GuacaMol/validity": "share of the first 10,000 texts that RDKit parses",
    "GuacaMol/uniqueness": "distinct molecules among the first 10,000 valid, without stereo",
    "GuacaMol/novelty": "share of the first 10,000 distinct molecules not in the training set",
    "GuacaMol/KL": "mean of exp(-KL) over ten descriptors, against 10,000 training molecules",
    "GuacaMol/FCD": "exp(-0.2 FCD) against 10,000 training molecules",
}
HIGHER = {"valid", "unique", "unique@1000", "unique@10000", "Filters", "hit rate", "Frag", "Scaf"}
# For the other metrics, neither is better without limit.
LOWER = {"FCD", "W1", "MAD", "unseen ring systems", "unseen environments", "realism AUC"}


def of_plugins() -> Mapping[str, PluginMetric]:
    """The metrics of installed packages by name."""
    return plugin_metrics(frozenset(DEFINITIONS))


def definition(kind: str) -> str:
    """What a kind of metric means, as a phrase; empty if nobody says."""
    if kind in DEFINITIONS or kind not in of_plugins():
        return DEFINITIONS.get(kind, "")
    return of_plugins()[kind].definition


def better(kind: str) -> str:
    """Whether higher or lower values are better; empty if neither is, without limit."""
    if kind in HIGHER | LOWER:
        return "higher" if kind in HIGHER else "lower"
    return of_plugins()[kind].better if kind in of_plugins() else ""
