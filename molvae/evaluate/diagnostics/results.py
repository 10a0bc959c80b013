"""Results of an examination: plain data, and a table for the terminal."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from molvae.evaluate.diagnostics.calibration import Calibration
from molvae.evaluate.diagnostics.head import HeadError
from molvae.evaluate.diagnostics.held_out import Origin
from molvae.evaluate.diagnostics.latent import Information, LatentMap
from molvae.evaluate.diagnostics.paths import Interpolation
from molvae.evaluate.diagnostics.reconstruction import Reconstruction
from molvae.evaluate.metrics import Metric

__all__ = ["ModelReport", "lines", "table_rows"]

SCHEMA = 1


@dataclass(frozen=True)
class ModelReport:
    """Result of :func:`molvae.evaluate.diagnostics.examine.examine`; the JSON form is stable.

    ``rate`` holds what :func:`molvae.evaluate.diagnostics.figures` calls ``n``, ``R``, ``D``,
    ``nats_per_token``, ``gap`` and ``active_units``, and ``latent_size``.
    """

    model: dict[str, Any]  # folder, sha256 of the weights, parameters
    molecules: Origin
    rate: dict[str, Any]
    information: Information
    marginal_kl: Metric
    reconstruction: tuple[Reconstruction, ...]
    head: tuple[HeadError, ...]
    interpolation: Interpolation
    control: tuple[Calibration, ...]
    latent_map: LatentMap
    seed: int
    device: str
    versions: dict[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Plain data with a schema number; the latent map without its points."""
        return {
            "schema": SCHEMA,
            "model": self.model,
            "molecules": self.molecules.to_json(),
            "rate": self.rate,
            "mutual_information": self.information.to_json(),
            "marginal_kl": self.marginal_kl.to_json(),
            "reconstruction": {f"{r.t:g}": r.to_json() for r in self.reconstruction},
            "head": {error.name: error.to_json() for error in self.head},
            "interpolation": self.interpolation.to_json(),
            "control": {control.name: control.to_json() for control in self.control},
            "latent_map": self.latent_map.to_json(),
            "seed": self.seed,
            "device": self.device,
            "versions": self.versions,
        }


def table_rows(report: ModelReport) -> list[tuple[str, str, str]]:
    """(name, value, explanation) per row, for 80 columns."""
    return [
        *_molecule_rows(report.molecules),
        *_rate_rows(report),
        *_reconstruction_rows(report),
        *_path_rows(report.interpolation),
        *(_head_row(error) for error in report.head),
        *(_control_row(control) for control in report.control),
        ("latent map", _plain(sum(report.latent_map.shares)), "variance on its two axes"),
    ]


def lines(report: ModelReport) -> list[str]:
    """The table, as text of at most 80 columns, and the notes below it."""
    table = [
        f"{name:<20}{value:>10}  {textwrap.shorten(note, 48, placeholder='…')}"
        for name, value, note in table_rows(report)
    ]
    notes = [*report.molecules.notes, *filter(None, (c.note for c in report.control))]
    for note in dict.fromkeys(notes):
        table += textwrap.wrap(f"note: {note}", 80, subsequent_indent="  ")
    return table


def _plain(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"


def _molecule_rows(origin: Origin) -> Iterator[tuple[str, str, str]]:
    files = ", ".join(source["file"] for source in origin.sources)
    part = {"test": "test part of ", "valid": "validation part of "}.get(origin.split, "")
    yield "molecules", f"{origin.n:,}", f"of {origin.available:,}; {part}{files}"
    for reason, count in origin.left_out.items():
        yield "  left out", f"{count:,}", reason


def _rate_rows(report: ModelReport) -> Iterator[tuple[str, str, str]]:
    rate, information = report.rate, report.information
    for level, distortion in rate["D"].items():
        yield f"D({level})", f"{distortion:.2f}", f"nats; R({level}) {rate['R'][level]:.2f}"
    yield "nats per token", _plain(rate["nats_per_token"]), "D(1) by the mean number of tokens"
    yield "gap", f"{rate['gap']:.2f}", "R(0) + D(0) - D(1); 0 is perfect"
    yield "active units", f"{rate['active_units']}", f"of {rate['latent_size']}"
    capped = "at its cap" if information.note else "cap"
    detail = f"nats ± {information.standard_error:.2g}; {capped} {information.cap:.2f}"
    yield "I(x; z)", f"{information.value:.2f}", detail
    bound = "; an upper bound" if information.note else ""
    yield "KL(q(z) | prior)", f"{report.marginal_kl.value:.2f}", f"nats: R(0) - I(x; z){bound}"


def _reconstruction_rows(report: ModelReport) -> Iterator[tuple[str, str, str]]:
    for entry in report.reconstruction:
        exact = entry.exact
        free, forced = entry.tokens_free_running.value, entry.tokens_teacher_forced.value
        yield (
            f"exact, t = {entry.t:g}",
            "-" if exact.value is None else f"{exact.value:.4f}",
            f"{exact.numerator:,}/{exact.denominator:,}; "
            f"tokens {free:.3f}, given true {forced:.3f}",
        )


def _path_rows(paths: Interpolation) -> Iterator[tuple[str, str, str]]:
    if not paths.paths:
        yield "path similarity", "-", paths.consecutive.note
        return
    detail = f"of neighbors on {paths.paths:,} paths; ends {_plain(paths.baseline.value)}"
    yield "path similarity", _plain(paths.consecutive.value), detail
    yield "path lowest", _plain(paths.lowest.value), "lowest of each path, mean"
    yield "path molecules", _plain(paths.distinct.value), f"distinct, of {paths.points} points"
    ends = f"{paths.ends.numerator:,}/{paths.ends.denominator:,} paths with both ends right"
    yield "path ends", _plain(paths.ends.value), ends


def _head_row(error: HeadError) -> tuple[str, str, str]:
    kind = "accuracy" if error.kind == "yesno" else "MAE"
    name = f"{error.name} head"
    if error.error.value is None:
        return name, "-", error.error.note
    always = "majority" if error.kind == "yesno" else "mean"
    detail = f"{kind}; {always} alone {_plain(error.baseline)}"
    r2 = "" if error.r2 is None else f"; R2 {error.r2:.3f}"
    return name, _plain(error.error.value), f"{detail}{r2}; n = {error.error.n:,}"


def _control_row(control: Calibration) -> tuple[str, str, str]:
    if control.mad is None or control.bias is None:
        return f"{control.name} slope", "-", "no molecule has a value"
    slope = "-" if control.slope is None else f"{control.slope:.3f}"
    ignored = "" if control.baseline is None else f", ignored {control.baseline:.3g}"
    detail = f"MAD {control.mad:.3g}{ignored}; bias {control.bias:+.2g}; n {control.n:,}"
    return f"{control.name} slope", slope, detail
