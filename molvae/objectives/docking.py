"""Docking as a scoring function: the prepared receptors and AutoDock Vina of dockstring.

García-Ortegón et al., J. Chem. Inf. Model. 2022, 62, 3486. Needs the extra ``docking``.
"""

from __future__ import annotations

import functools
import hashlib
import importlib
import importlib.util
import math
import os
import shutil
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from molvae.chem.poses import conformers_sdf
from molvae.errors import ConfigError, FileError, RunError, suggest
from molvae.runtime.files import atomic_text

__all__ = ["DockOptions", "DockScorer", "dock_scorer"]

EXTRA = "dock:TARGET needs the extra: pip install 'molvae[docking]'"


@dataclass(frozen=True)
class DockOptions:
    """CPUs of one docking, and a folder for the poses, if they are wanted.

    Many dockings at a time with one CPU each are faster than one after the other with many.
    """

    cpus: int = 1
    poses: Path | None = None

    def __post_init__(self) -> None:
        """Reject a number of CPUs that makes no sense."""
        if self.cpus < 1:
            raise ConfigError(f"dock cpus: got {self.cpus}, expected 1 or more")


@dataclass(frozen=True)
class DockScorer:
    """The energy of the best pose in one of dockstring's receptors, kcal/mol; lower is better.

    The molecule is protonated at pH 7.4 and its conformer embedded by dockstring, with its fixed
    seed: the same molecule gets the same score. Poses of a molecule go to
    ``TARGET-HASH.sdf``, the best first, each with its energy.
    """

    target: str
    options: DockOptions = DockOptions()
    bounded: bool = False

    @property
    def name(self) -> str:
        """The name in tables."""
        return f"dock_{self.target}"

    def load(self) -> Any:
        """The target; an error without the packages, Open Babel or the folder for the poses."""
        folder = self.options.poses
        if folder is not None and not folder.is_dir():
            raise FileError(
                f"poses: no folder '{folder}' on this machine; it must be one that all workers see"
            )
        with _programs_on_path():
            if shutil.which("obabel") is None:
                raise ConfigError(f"no program 'obabel' on this machine; {EXTRA}")
        return _target(self.target)

    def __call__(self, smiles: Sequence[str]) -> list[float]:
        """One energy per SMILES; NaN for a failure, which of a single molecule is an error."""
        target, scores = self.load(), []
        for text in smiles:
            try:
                scores.append(self._dock(target, text))
            except RunError:
                if len(smiles) == 1:
                    raise
                scores.append(math.nan)
        return scores

    def _dock(self, target: Any, smiles: str) -> float:
        try:
            with _programs_on_path():
                score, details = target.dock(smiles, num_cpus=self.options.cpus)
        except Exception as error:  # RDKit's, Open Babel's and Vina's come in many classes
            reason = " ".join(str(error).split()) or "no reason given"
            raise RunError(f"docking: {type(error).__name__}: {reason}") from None
        if score is None or not math.isfinite(score):
            raise RunError("docking: Vina found no pose")
        if self.options.poses is not None:
            self._write(smiles, details["ligand"], details["affinities"])
        return float(score)

    def _write(self, smiles: str, ligand: Any, energies: Sequence[float]) -> None:
        properties = {
            "target": [self.target] * len(energies),
            "energy": [f"{energy:g}" for energy in energies],
        }
        path = self.pose(smiles)
        try:
            with atomic_text(path) as file:
                file.write(conformers_sdf(ligand, smiles, properties))
        except OSError as error:
            raise RunError(f"poses: '{path}' cannot be written: {error}") from None

    def pose(self, smiles: str) -> Path:
        """The file for the poses of a molecule."""
        digest = hashlib.sha256(smiles.encode()).hexdigest()[:16]
        return (self.options.poses or Path()) / f"{self.target}-{digest}.sdf"


def dock_scorer(name: str, options: DockOptions) -> DockScorer:
    """The scorer of a target; an error without the packages, or with the names of all targets."""
    names = sorted(_dockstring().list_all_target_names())
    if name not in names:
        raise ConfigError(
            f"objective 'dock:{name}': unknown target '{name}': {suggest(name, names)}"
        )
    return DockScorer(name, options)


def _dockstring() -> Any:
    try:
        package = importlib.import_module("dockstring")
    except ImportError:
        raise ConfigError(EXTRA) from None
    if importlib.util.find_spec("openbabel") is None:
        raise ConfigError(EXTRA)
    return package


@functools.lru_cache(maxsize=4)
def _target(name: str) -> Any:
    return _dockstring().load_target(name)


@contextmanager
def _programs_on_path() -> Iterator[None]:
    """Let dockstring find the ``obabel`` of this Python's environment, activated or not."""
    before = os.environ.get("PATH", "")
    os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), before])
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        os.environ["PATH"] = before
