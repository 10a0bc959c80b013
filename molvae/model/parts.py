"""The files of a model folder besides its weights: which belong to it, and what may be missing."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from molvae.errors import ModelFolderError
from molvae.model.conditions import ConditionSet
from molvae.predict.store import FILES as PREDICTOR_FILES
from molvae.predict.store import Predictors
from molvae.realism.critic import (
    INPUTS_FILE,
    WEIGHTS_FILE,
    RealismCritic,
    load_critic,
    save_critic,
)
from molvae.realism.plausibility import (
    PLAUSIBILITY_FILE,
    Plausibility,
    load_plausibility,
    save_plausibility,
)
from molvae.runtime.files import fingerprint
from molvae.runtime.untrusted import MAX_JSON_BYTES, require_file

__all__ = ["ALL_FILES", "OPTIONAL", "PARTS", "OptionalParts", "verify_files"]

PARTS = ("model.safetensors", "vocab.json", "conditions.json")
OPTIONAL = (WEIGHTS_FILE, INPUTS_FILE, PLAUSIBILITY_FILE, *PREDICTOR_FILES)
ALL_FILES = ("config.json", *PARTS, *OPTIONAL, "card.md")
MAX_BYTES = 20_000_000_000  # of any file; far above those of the largest network


class OptionalParts(NamedTuple):
    """What a model may lack: models from before there was such a part, or from too little data."""

    critic: RealismCritic | None = None
    plausibility: Plausibility | None = None
    predictors: Predictors | None = None

    def save(self, folder: Path) -> tuple[str, ...]:
        """Write the parts that there are; names of the files."""
        names: tuple[str, ...] = ()
        if self.critic is not None:
            save_critic(folder, self.critic)
            names += (WEIGHTS_FILE, INPUTS_FILE)
        if self.plausibility is not None:
            save_plausibility(folder, self.plausibility)
            names += (PLAUSIBILITY_FILE,)
        if self.predictors:
            self.predictors.save(folder)
            names += PREDICTOR_FILES
        return names

    @classmethod
    def load(cls, folder: Path, names: set[str], conditions: ConditionSet) -> OptionalParts:
        """The parts of a verified folder; ``names`` are the files that its config.json states.

        Raises:
            ModelFolderError: a file is damaged, or does not fit the others.
        """
        parts = cls(
            load_critic(folder) if names & {WEIGHTS_FILE, INPUTS_FILE} else None,
            load_plausibility(folder) if PLAUSIBILITY_FILE in names else None,
            Predictors.load(folder) if names & set(PREDICTOR_FILES) else None,
        )
        kinds = {c.name: c.kind for c in conditions.conditions}
        for name, predictor in (parts.predictors or {}).items():
            if kinds.get(name) != predictor.kind:
                raise ModelFolderError(
                    f"'{folder}': {PREDICTOR_FILES[1]}: column '{name}' is a {predictor.kind}; "
                    f"expected {kinds.get(name) or 'no such column'} by conditions.json"
                )
        return parts


def verify_files(folder: Path, config: dict[str, Any]) -> set[str]:
    """Compare the files with size and sha256 in config.json; names of those stated.

    Raises:
        ModelFolderError: a file is missing or changed, or is there and not stated.
    """
    files = config.get("files")
    if not isinstance(files, dict):
        raise ModelFolderError(f"'{folder}': config.json: no field 'files'")
    for name in OPTIONAL:
        if name not in files and (folder / name).exists():
            raise ModelFolderError(
                f"'{folder}': config.json: files: no entry for {name}; the file belongs to another "
                "model: remove it, or copy the folder again"
            )
    names = (*PARTS, *(name for name in OPTIONAL if name in files))
    for name in names:
        path, stated = folder / name, files.get(name)
        if not isinstance(stated, dict):
            raise ModelFolderError(f"'{folder}': config.json: files: no entry for {name}")
        require_file(path, MAX_JSON_BYTES if path.suffix == ".json" else MAX_BYTES)
        size = path.stat().st_size
        if size != stated.get("size"):
            raise ModelFolderError(
                f"'{folder}': {name} has {size} bytes, config.json states {stated.get('size')}; "
                "the file is truncated or replaced"
            )
        if fingerprint(path)["sha256"] != stated.get("sha256"):
            raise ModelFolderError(f"'{folder}': {name} does not match its sha256 in config.json")
    return set(names)
