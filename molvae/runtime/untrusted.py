"""Read files of a model folder, which anyone may have written: size first, then content.

Every fault is a ModelFolderError that names the file. No code of a file is run.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from molvae.errors import ModelFolderError

__all__ = ["MAX_JSON_BYTES", "read_json", "read_tensors", "require_file"]

# A larger vocabulary, table of statistics or description is damaged or malicious.
MAX_JSON_BYTES = 20_000_000


def require_file(path: Path, most: int) -> None:
    """Refuse a file that is missing, no plain file, or larger than ``most`` bytes."""
    if not path.is_file():  # a device has no size and no end
        raise ModelFolderError(f"'{path.parent}': incomplete: {path.name} is missing")
    if (size := path.stat().st_size) > most:
        raise ModelFolderError(
            f"'{path}': has {size:,} bytes, expected at most {most:,}; molvae did not write it"
        )


def read_json(path: Path, *, schema: int | None = None) -> dict[str, Any]:
    """The object in a JSON file, which must state this ``schema``, if one is given."""
    require_file(path, MAX_JSON_BYTES)
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ModelFolderError(f"'{path}': not valid JSON ({_first_line(error)})") from None
    if not isinstance(data, dict):
        raise ModelFolderError(f"'{path}': expected a JSON object")
    if schema is not None and data.get("schema") != schema:
        raise ModelFolderError(
            f"'{path}': schema is {data.get('schema')!r}, this molvae reads {schema}; a newer "
            "molvae may have written it"
        )
    return data


def read_tensors(path: Path, most: int) -> dict[str, NDArray[Any]]:
    """The arrays in a safetensors file of at most ``most`` bytes; all numbers are finite."""
    from safetensors import SafetensorError
    from safetensors.numpy import load

    require_file(path, most)
    try:
        tensors: dict[str, NDArray[Any]] = load(path.read_bytes())
    except (SafetensorError, ValueError, TypeError, KeyError) as error:
        raise ModelFolderError(f"'{path}': not a safetensors file ({_first_line(error)})") from None
    for name, tensor in tensors.items():
        if not np.isfinite(tensor).all():
            raise ModelFolderError(f"'{path}': tensor '{name}' holds NaN or infinity")
    return tensors


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
