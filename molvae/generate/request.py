"""What is asked of the sampler, and what it gives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from molvae.chem.properties import PROPERTIES
from molvae.errors import TargetError
from molvae.model.checkpoint import SavedModel
from molvae.targets import Target, parse_targets

__all__ = ["SIMILARITY", "TRIES", "Generated", "Request", "Span"]

TRIES = 1 << 20  # candidate numbers reserved for each wanted molecule
SIMILARITY = "similarity"  # Tanimoto, to the start molecule: a target that needs no training
GUIDANCE = 2.0  # towards a value (docs/experiments.md); ranges can be met without
ANALOGS = (0.2, 0.5)  # noise around given molecules (docs/experiments.md)

Span = float | tuple[float, float]  # one value, or low and high of a uniform draw per candidate


@dataclass(frozen=True)
class Request:
    """What to generate."""

    targets: tuple[Target, ...] = ()
    like: tuple[str, ...] = ()  # SMILES of start molecules; wanted molecules take turns
    scaffold: str | None = None  # SMILES or SMARTS that every molecule must hold
    noise: Span | None = None  # level t of the decoder, 0 … 1; None: 1, around given ones less
    guidance: Span | None = None  # classifier-free, a weight; 1 for none; None: 2 towards values
    temperature: float = 1.0  # of the token distribution; 0 takes the likeliest token
    epsilon_cutoff: float = 0.0  # no token less likely than this is drawn
    critic: bool = True  # choose among candidates by their true properties
    walk: bool | None = None  # move candidates in the latent space; None: where it helps
    candidates: int = 8  # per wanted molecule, when a point is asked for
    max_tries: int | None = None  # candidates per wanted molecule before giving up; at least 64
    allow_misses: bool = False  # write molecules outside a requested range
    unique: bool = True  # write no molecule twice
    alerts: tuple[str, ...] = ()  # catalogues of structural alerts no molecule may match
    elements: tuple[str, ...] = ()  # the only ones allowed; none given: any
    max_ring: int | None = None  # atoms in the largest ring allowed; 0 allows none
    nll: bool = False  # tell −log p of every molecule

    def __post_init__(self) -> None:
        low, high = _ends(self.levels)
        if not 0 <= low <= high <= 1:
            raise TargetError(f"noise: got {_shown(self.levels)}, expected levels from 0 to 1")
        low, high = _ends(self.weights)
        if not 0 <= low <= high < float("inf"):
            raise TargetError(
                f"guidance: got {_shown(self.weights)}, expected a weight of 0 or more, or a range"
            )
        if not self.temperature >= 0:
            raise TargetError(f"temperature: got {self.temperature:g}, expected 0 or more")
        if not 0 <= self.epsilon_cutoff < 1:
            raise TargetError(
                f"epsilon-cutoff: got {self.epsilon_cutoff:g}, expected a probability below 1"
            )
        if self.max_ring is not None and self.max_ring < 0:
            raise TargetError(f"max-ring: got {self.max_ring}, expected 0 or more atoms")
        for name, number in (("candidates", self.candidates), ("max-tries", self.tries)):
            if not 1 <= number < TRIES:
                raise TargetError(f"{name}: got {number}, expected from 1 to {TRIES - 1:,}")

    @property
    def levels(self) -> Span:
        """Noise levels of the decoder."""
        if self.noise is None:
            return ANALOGS if self.like else 1.0
        return self.noise

    @property
    def weights(self) -> Span:
        """Weights of guidance."""
        if self.guidance is None:
            return GUIDANCE if any(target.is_point for target in self.targets) else 1.0
        return self.guidance

    @property
    def tries(self) -> int:
        """Candidates per wanted molecule before it is given up."""
        return max(64, self.candidates) if self.max_tries is None else self.max_tries

    @property
    def compares(self) -> bool:
        """Whether the best of several candidates is wanted, and not the first that will do."""
        points = any(t.is_point for t in self.targets)
        return self.critic and (points or (self.allow_misses and bool(self.targets)))

    @property
    def extras(self) -> tuple[str, ...]:
        """Fields of :class:`Generated` that are wanted beside the targets."""
        names = ["start", SIMILARITY] if self.like else []
        asked = {target.name for target in self.targets}
        return tuple(n for n in (*names, *(["nll"] if self.nll else [])) if n not in asked)

    def parse(
        self, texts: str | Sequence[str] | Mapping[str, object], model: SavedModel
    ) -> tuple[Target, ...]:
        """Targets from texts such as ``logp=2:3``: built-in properties or columns of the model.

        Also from a table of names and values, ``{"logp": "2:3", "pIC50": 8}``. Around given
        molecules ``similarity`` is known too.
        """
        if isinstance(texts, Mapping):
            texts = [f"{name}={value}" for name, value in texts.items()]
        more = {SIMILARITY} if self.like else set()
        own = set(model.conditions.names) - set(PROPERTIES)
        hint = "" if own else " A column of your own needs the model trained with it (-m)."
        return parse_targets(texts, {*PROPERTIES, *own, *more}, hint=hint)


@dataclass(frozen=True)
class Generated:
    """A molecule to write, with the requested properties: exact, or predicted for user columns."""

    smiles: str
    values: dict[str, float]
    start: str = ""  # the given molecule it was made from
    similarity: float | None = None  # Tanimoto, to that
    nll: float | None = None  # −log p of its SELFIES at t = 1 and without conditions, in nats


def _ends(span: Span) -> tuple[float, float]:
    return span if isinstance(span, tuple) else (span, span)


def _shown(span: Span) -> str:
    return f"{span[0]:g}:{span[1]:g}" if isinstance(span, tuple) else f"{span:g}"
