"""The package as syntax trees, parsed once per process."""

import ast
import functools
from pathlib import Path

ROOT = Path(__file__).parents[2]


@functools.cache
def trees() -> dict[Path, ast.Module]:
    """Path of each module, relative to the repository -> its tree."""
    return {
        path.relative_to(ROOT): ast.parse(path.read_text(encoding="utf-8"))
        for path in sorted((ROOT / "molvae").rglob("*.py"))
    }
