"""What ``molvae app`` was started with, for all tabs of the process."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

__all__ = ["FOLDER", "Settings", "settings", "use"]

FOLDER = Path("molvae-app")  # where jobs write if no other folder is given


@dataclass(frozen=True)
class Settings:
    """The options of ``molvae app`` that its pages need."""

    model: str | None = None  # what `-m` takes; None: the shipped model `default`
    objectives: tuple[Path, ...] = ()  # Python files whose functions may be optimized
    folder: Path = FOLDER  # of jobs and their runs; made by the first job


_current = Settings()


def settings() -> Settings:
    """The settings in force."""
    return _current


def use(new: Settings) -> None:
    """Put settings in force, for the whole process."""
    global _current
    _current = new
