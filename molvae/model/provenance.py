"""The shape of what a model folder says about its training, which anyone may have written."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, FiniteFloat, NonNegativeInt, field_validator

from molvae.predict.assess import Assessment

__all__ = ["Training"]


class _Part(BaseModel):
    """JSON whose known fields have these types; others are kept as they are."""

    model_config = ConfigDict(strict=True, extra="allow")


class _Ratio(_Part):
    value: FiniteFloat
    numerator: NonNegativeInt
    denominator: NonNegativeInt


class _Figures(_Part):
    head: dict[str, dict[str, FiniteFloat | None]] | None = None
    exact: _Ratio | None = None
    active_units: NonNegativeInt | None = None
    R: dict[str, FiniteFloat] | None = None
    D: dict[str, FiniteFloat] | None = None
    columns: dict[str, dict[str, Any]] | None = None

    @field_validator("columns")
    @classmethod
    def _assessed(cls, columns: dict[str, dict[str, Any]] | None) -> dict[str, Any] | None:
        for entry in (columns or {}).values():
            Assessment.from_json(entry)
        return columns


class _Config(_Part):
    data: dict[str, Any] | None = None


class _Data(_Part):
    molecules: NonNegativeInt | None = None
    content_sha256: str | None = None
    sources: list[dict[str, Any]] | None = None


class _Optimized(_Part):
    objective: list[str]
    calls: NonNegativeInt
    condition: str


class Training(_Part):
    """``training`` of config.json; every part may be missing."""

    config: _Config | None = None
    data: _Data | None = None
    figures: _Figures | None = None
    optimized: _Optimized | None = None  # of a model that a search tuned
    step: NonNegativeInt | None = None
