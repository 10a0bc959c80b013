"""``manifest.json`` of a dataset folder, which anyone may have written."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    FiniteFloat,
    NonNegativeInt,
    PositiveInt,
    ValidationError,
)

from molvae.data.columns import is_name
from molvae.errors import FileError, ModelFolderError
from molvae.runtime.untrusted import read_json

__all__ = ["SCHEMA", "SPLITS", "read_manifest"]

SCHEMA = 1
SPLITS = ("train", "valid", "test")


def _named(name: str) -> str:
    if not is_name(name):
        raise ValueError("expected the name of a column")
    return name


_Name = Annotated[str, AfterValidator(_named)]


class _Part(BaseModel):
    """JSON whose known fields have these types; others are kept as they are."""

    model_config = ConfigDict(strict=True, extra="allow")


class _Column(_Part):
    kind: Literal["number", "yesno"]
    known: NonNegativeInt
    mean: FiniteFloat
    std: FiniteFloat
    min: FiniteFloat
    max: FiniteFloat


class _Options(_Part):
    properties: dict[_Name, str]
    conditions: list[str] | None = None
    transforms: dict[str, str] = {}
    cleaning: dict[str, Any] = {}


class _Source(_Part):
    file: str
    sha256: str | None = None


class _Manifest(_Part):
    rows_read: NonNegativeInt
    kept: PositiveInt
    merged: NonNegativeInt
    rejected: NonNegativeInt
    reasons: dict[str, NonNegativeInt]
    split: dict[Literal["train", "valid", "test"], NonNegativeInt]
    longest: PositiveInt
    properties: dict[_Name, _Column]
    content_sha256: str
    options: _Options
    sources: list[_Source]


def read_manifest(path: Path) -> dict[str, Any]:
    """The manifest as plain data; a FileError names the field that is wrong."""
    try:
        data = read_json(path, schema=SCHEMA)
        manifest = _Manifest.model_validate(data)
    except (ModelFolderError, OSError) as error:
        raise FileError(f"{error}: damaged dataset") from None
    except ValidationError as error:
        first = error.errors()[0]
        field, got = ".".join(map(str, first["loc"])), first["input"]
        raise FileError(
            f"'{path}': damaged dataset: {field}: {first['msg']}, got "
            f"{textwrap.shorten(repr(got), 80, placeholder=' …')}"
        ) from None
    if missing := manifest.options.properties.keys() - data["properties"].keys():
        raise FileError(f"'{path}': damaged dataset: properties: no column '{min(missing)}'")
    return data
