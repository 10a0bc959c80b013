"""What is asked of the sampler, and what it gives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from molvae.checkpoint import SavedModel
from molvae.conditions import Target, parse_targets
from molvae.errors import TargetError
from molvae.properties import PROPERTIES

__all__ = ["TRIES", "Generated", "Request"]

TRIES = 1 << 20  # candidate numbers reserved for each wanted molecule


@dataclass(frozen=True)
class Request:
    """What to generate."""

    targets: tuple[Target, ...] = ()
    noise: float = 1.0  # noise level t of the decoder, from 0 to 1
    temperature: float = 1.0  # of the token distribution; 0 takes the likeliest token
    critic: bool = True  # choose among candidates by their true properties
    candidates: int = 8  # per wanted molecule, when a point is asked for
    max_tries: int | None = None  # candidates per wanted molecule before giving up; at least 64
    allow_misses: bool = False  # write molecules outside a requested range
    unique: bool = True  # write no molecule twice

    def __post_init__(self) -> None:
        if not 0 <= self.noise <= 1:
            raise TargetError(f"noise: got {self.noise:g}, expected a level from 0 to 1")
        if not self.temperature >= 0:
            raise TargetError(f"temperature: got {self.temperature:g}, expected 0 or more")
        for name, number in (("candidates", self.candidates), ("max-tries", self.tries)):
            if not 1 <= number < TRIES:
                raise TargetError(f"{name}: got {number}, expected from 1 to {TRIES - 1:,}")

    @property
    def tries(self) -> int:
        """Candidates per wanted molecule before it is given up."""
        return max(64, self.candidates) if self.max_tries is None else self.max_tries

    def parse(self, texts: Sequence[str], model: SavedModel) -> tuple[Target, ...]:
        """Targets from texts such as ``logp=2:3``: built-in properties or columns of the model."""
        return parse_targets(texts, {*PROPERTIES, *model.conditions.names})


@dataclass(frozen=True)
class Generated:
    """A molecule to write, with the requested properties: exact, or predicted for user columns."""

    smiles: str
    values: dict[str, float]
