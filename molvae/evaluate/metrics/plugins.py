"""Metrics that installed packages add under the entry point ``molvae.metrics``."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from numbers import Real
from typing import Any, Literal

from molvae.errors import ConfigError, RunError
from molvae.evaluate.metrics.base import NO_VALID, Metric
from molvae.runtime.plugins import load_plugin, plugin_names, plugin_package

__all__ = ["PluginMetric", "plugin_metrics"]


@dataclass(frozen=True)
class PluginMetric:
    """A number for a set of molecules.

    ``function`` gets the canonical SMILES of the valid molecules, at most as many as ``--sample``,
    and those of the ``reference`` set as a second argument, if it needs one. It returns a number or
    a :class:`Metric`, or None where there is no value. ``definition`` is a phrase for the page;
    ``better`` decides whether a difference between two sets is marked.
    """

    name: str
    definition: str
    function: Callable[..., float | Metric | None]
    reference: Literal["", "train", "test"] = ""
    better: Literal["", "higher", "lower"] = ""

    def __call__(self, smiles: Sequence[str], reference: Sequence[str] | None) -> Metric:
        """The metric of a set; ``reference`` is None where the set is not given.

        Raises:
            RunError: the function of the package fails.
        """
        if self.reference and reference is None:
            role = "training" if self.reference == "train" else self.reference
            return Metric(None, len(smiles), note=f"needs a {role} set (--{self.reference})")
        if not smiles:
            return Metric(None, 0, note=NO_VALID)
        given = [list(smiles), *([list(reference or ())] if self.reference else [])]
        try:
            value: Any = self.function(*given)
        except Exception as error:
            package = plugin_package("metric", self.name)
            raise RunError(
                f"metric '{self.name}' of the package {package} fails: {error!r}"
            ) from error
        if isinstance(value, Metric):
            finite = value.value is None or math.isfinite(value.value)
            return value if finite else replace(value, value=None, note="the value is not finite")
        number = float(value) if isinstance(value, Real) else math.nan
        if math.isfinite(number):
            return Metric(number, len(smiles))
        return Metric(None, len(smiles), note=f"the package gave {value!r:.40}, no number")


@functools.cache
def plugin_metrics(taken: Collection[str]) -> Mapping[str, PluginMetric]:
    """The metrics of installed packages by name; ``taken`` are the kinds of built-in ones.

    Raises:
        ConfigError: an entry point is no :class:`PluginMetric`, or has the name of another metric.
    """
    metrics = {}
    for name in plugin_names("metric"):
        package = plugin_package("metric", name)
        if name in taken or "/" in name or not name.isprintable():
            raise ConfigError(
                f"metric '{name}' of the package {package}: expected a printable name without '/' "
                "that no built-in metric has; rename its entry point, or uninstall the package"
            )
        metric = load_plugin("metric", name)
        if not isinstance(metric, PluginMetric) or metric.name != name:
            raise ConfigError(
                f"metric '{name}' of the package {package}: got {metric!r:.80}, expected a "
                "molvae.evaluate.metrics.PluginMetric of that name"
            )
        metrics[name] = metric
    return metrics
