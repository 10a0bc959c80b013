"""The plan of a preparation: equal plans and equal rows give equal parts.

``plan.json`` in the folder of unfinished parts says whether they can be used again;
``shard.json`` says which shards belong together.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

from pydantic import ValidationError

from molvae import chem
from molvae.chem.properties import property_versions
from molvae.config import DataConfig, differences
from molvae.data.prepare.parts import Recipe
from molvae.data.shard import Shard
from molvae.errors import ConfigError, FileError
from molvae.runtime.device import versions
from molvae.runtime.files import write_json

__all__ = ["Plan", "read_shard", "work_versions"]

RULES = "2"  # of reading and cleaning; other rules can give other molecules
SCHEMA = 1  # of the files named above, and of parts
# What plans have called the usual cleaning from the first on, wherever its module is.
CLEANING = "molvae.chem.cleaning.clean"


@dataclass(frozen=True)
class Plan:
    """Options, sources and versions of a preparation."""

    config: DataConfig
    builtin: tuple[str, ...]
    constraints: Mapping[str, int]
    vocabulary: tuple[str, ...] | None
    clean: str  # name of the cleaning function
    sources: list[dict[str, Any]]
    versions: dict[str, str]
    chunk: int  # rows

    @classmethod
    def of(cls, recipe: Recipe, sources: list[dict[str, Any]], chunk: int) -> Self:
        """The plan of a recipe for these sources."""
        return cls(
            config=recipe.config,
            builtin=recipe.builtin,
            constraints=recipe.constraints,
            vocabulary=recipe.vocabulary,
            clean=_name_of(recipe.clean),
            sources=sources,
            versions={**work_versions(), **property_versions(recipe.builtin)},
            chunk=chunk,
        )

    def recipe(self) -> Recipe:
        """What assembling the parts needs to know."""
        return Recipe(self.config, self.builtin, dict(self.constraints), self.vocabulary)

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "schema": SCHEMA,
            "options": self.config.model_dump(mode="json"),
            "builtin": list(self.builtin),
            "constraints": dict(self.constraints),
            "vocabulary": None if self.vocabulary is None else list(self.vocabulary),
            "clean": self.clean,
            "sources": self.sources,
            "versions": self.versions,
            "chunk": self.chunk,
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Self:
        """Read plain data again; anything unexpected in it is a ``ValueError`` or ``KeyError``."""
        if data["schema"] != SCHEMA:
            raise ValueError(f"schema {data['schema']!r}, this molvae reads {SCHEMA}")
        return cls(
            config=DataConfig.model_validate_json(json.dumps(data["options"])),
            builtin=tuple(data["builtin"]),
            constraints=dict(data["constraints"]),
            vocabulary=None if data["vocabulary"] is None else tuple(data["vocabulary"]),
            clean=str(data["clean"]),
            sources=list(data["sources"]),
            versions=dict(data["versions"]),
            chunk=int(data["chunk"]),
        )

    def conflict(self, other: Plan) -> str:
        """The first difference that makes parts of the two plans differ, as text; empty if none."""
        mine, theirs = self._decisive().to_json(), other._decisive_beside(self).to_json()
        return min(differences(mine, theirs), default="")

    def _decisive(self) -> Plan:
        # What to do about unknown tokens is decided when the parts are put together.
        return replace(self, config=self.config.model_copy(update={"unknown_tokens": "error"}))

    def _decisive_beside(self, other: Plan) -> Plan:
        mine, theirs = self.config.bad_labels, other.config.bad_labels
        plan = self._decisive()
        if "error" in (mine, theirs):  # no part of one of them has a bad label
            return replace(plan, config=plan.config.model_copy(update={"bad_labels": theirs}))
        return plan

    def write(self, path: Path, **more: Any) -> None:
        """Write the plan, and ``more`` fields of the file."""
        write_json(path, {"plan": self.to_json(), **more})


def read_shard(folder: Path) -> tuple[Plan, Shard, int]:
    """(plan, which shard, number of chunks of the whole input) of a finished shard."""
    try:
        record = json.loads((folder / "shard.json").read_text(encoding="utf-8"))
        index, count = record["shard"]
        return Plan.from_json(record["plan"]), Shard(int(index), int(count)), int(record["chunks"])
    except OSError:
        raise FileError(
            f"'{folder}': not a finished shard (no readable shard.json); make it with "
            "molvae prepare --shard i/n"
        ) from None
    except (ValueError, KeyError, TypeError, AttributeError, ConfigError, ValidationError) as error:
        raise FileError(
            f"'{folder}': shard.json is damaged or of another version of molvae "
            f"({str(error).splitlines()[0]})"
        ) from None


def _name_of(clean: Any) -> str:
    return CLEANING if clean is chem.clean else f"{clean.__module__}.{clean.__qualname__}"


def work_versions() -> dict[str, str]:
    """Versions of what decides the content of a part."""
    known = versions()
    return {name: known[name] for name in ("molvae", "rdkit", "selfies")} | {"rules": RULES}
