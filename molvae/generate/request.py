"""The request to the sampler, and the molecules it returns."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from numbers import Integral, Real
from typing import TYPE_CHECKING, Self

from molvae import chem
from molvae.chem.properties import PROPERTIES
from molvae.data.readers import read_smiles
from molvae.errors import InputError, TargetError
from molvae.runtime.progress import say
from molvae.targets import Target, parse_targets, target_list

if TYPE_CHECKING:
    from molvae.model.checkpoint import SavedModel

__all__ = ["SIMILARITY", "TRIES", "Generated", "Request", "Span", "Targets", "read_seed_molecules"]

TRIES = 1 << 20  # candidate numbers reserved for each wanted molecule
SIMILARITY = "similarity"  # Tanimoto, to the seed molecule: a target that needs no training
HOTTEST = 100  # sampling temperature: tokens are drawn almost evenly
STRONGEST = 1000  # weight of guidance
GUIDANCE = 2.0  # for points (research/log.md); ranges do not need it
ANALOGS = (0.2, 0.5)  # noise levels for analogs (research/log.md)

Span = float | tuple[float, float]  # one value, or low and high of a uniform draw per candidate
# Texts such as "logp=2:3", parsed targets, or a table {"logp": (2, 3), "mw": ":450", "pIC50": 8}.
Targets = str | Sequence[str | Target] | Mapping[str, object]

_SPANS = ("noise", "guidance")
_OPTIONAL = (*_SPANS, "realism", "max_tries", "max_ring")
_NUMBERS: dict[str, type] = {
    **dict.fromkeys((*_SPANS, "temperature", "epsilon_cutoff", "realism"), Real),
    **dict.fromkeys(("candidates", "max_tries", "max_ring"), Integral),
}


@dataclass(frozen=True)
class Request:
    """What to generate.

    The options of `molvae generate`; ``noise`` and ``guidance`` as one value, or as low and high of
    a uniform draw per candidate.
    """

    targets: tuple[Target, ...] = ()
    like: tuple[str, ...] = ()  # SMILES of seed molecules for analogs; wanted molecules take turns
    scaffold: str | Sequence[str] | None = None  # SMILES, SMARTS that every molecule must contain
    fill: bool = False  # put a heavy atom at every attachment point (*) of the scaffold
    noise: Span | None = None  # level t of the decoder, 0 … 1; None: 1, with `like` 0.2 … 0.5
    guidance: Span | None = None  # weight of classifier-free guidance; None: 2 for points, else 1
    temperature: float = 1.0  # sampling temperature; 0 takes the most likely token
    epsilon_cutoff: float = 0.0  # tokens with a lower probability are never drawn
    critic: bool = True  # select candidates by their RDKit properties and by realism
    walk: bool | None = None  # move candidates in the latent space; None: where it helps
    candidates: int = 8  # per wanted molecule, with point targets
    max_tries: int | None = None  # candidates per wanted molecule; None: see `tries`
    allow_misses: bool = False  # keep molecules outside a requested range
    unique: bool = True  # keep no molecule twice
    alerts: tuple[str, ...] = ()  # catalogs of structural alerts that no molecule may match
    elements: tuple[str, ...] = ()  # the only elements allowed; empty: all
    max_ring: int | None = None  # atoms in the largest ring allowed; 0 allows no ring
    nll: bool = False  # compute −log p of every molecule
    realism: float | None = 0.5  # share of candidates kept by the realism critic; None: all
    novel_rings: bool = False  # allow ring systems and atom environments without training molecules

    def __post_init__(self) -> None:
        self._require_numbers()
        low, high = _ends(self.levels)
        if not 0 <= low <= high <= 1:
            raise TargetError(f"noise: got {_shown(self.levels)}, expected levels from 0 to 1")
        low, high = _ends(self.weights)
        if not 0 <= low <= high <= STRONGEST:
            raise TargetError(
                f"guidance: got {_shown(self.weights)}, expected a weight from 0 to {STRONGEST:,}, "
                "or a range"
            )
        if not 0 <= self.temperature <= HOTTEST:
            raise TargetError(f"temperature: got {self.temperature:g}, expected 0 to {HOTTEST}")
        if not 0 <= self.epsilon_cutoff < 1:
            raise TargetError(
                f"epsilon-cutoff: got {self.epsilon_cutoff:g}, expected a probability below 1"
            )
        if self.max_ring is not None and self.max_ring < 0:
            raise TargetError(f"max-ring: got {self.max_ring}, expected 0 or more atoms")
        if self.realism is not None and not 0 < self.realism <= 1:
            raise TargetError(
                f"realism: got {self.realism:g}, expected the share of candidates to keep, above 0 "
                "and at most 1, or off"
            )
        for name, number in (("candidates", self.candidates), ("max-tries", self.tries)):
            if not 1 <= number < TRIES:
                raise TargetError(f"{name}: got {number}, expected from 1 to {TRIES - 1:,}")

    def _require_numbers(self) -> None:
        """Refuse what is not a number, which a Python caller can give."""
        for name, kind in _NUMBERS.items():
            value = getattr(self, name)
            if value is None and name in _OPTIONAL:
                continue
            is_span = name in _SPANS and isinstance(value, tuple) and len(value) == 2
            if not all(isinstance(end, kind) for end in (value if is_span else (value,))):
                expected = "an integer" if kind is Integral else "a number"
                expected += ", a tuple (LOW, HIGH)" if name in _SPANS else ""
                expected += " or None" if name in _OPTIONAL else ""
                raise TargetError(f"{name}: got {value!r}, expected {expected}")

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
    def scaffolds(self) -> tuple[str, ...]:
        """All substructures that every molecule must contain."""
        if isinstance(self.scaffold, str):
            return (self.scaffold,)
        return tuple(self.scaffold or ())

    @property
    def drawn(self) -> int:
        """Candidates to decode so that ``candidates`` of them pass the realism critic on average.

        The distance of the closest of n to a target is about proportional to 1 / (n + 1); with
        half of the eight refused it would be twice as large.
        """
        share = self.realism or 1.0
        return min(math.ceil(self.candidates / share), TRIES - 1)

    @property
    def tries(self) -> int:
        """Candidates per wanted molecule before it is given up.

        By default as many pass the realism critic as are tried without it.
        """
        if self.max_tries is not None:
            return self.max_tries
        tries = max(64, self.candidates)
        return tries if self.realism is None else min(math.ceil(tries / self.realism), TRIES - 1)

    @property
    def compares(self) -> bool:
        """Whether the best of several candidates is wanted, and not the first that passes."""
        points = any(t.is_point for t in self.targets)
        return self.critic and (points or (self.allow_misses and bool(self.targets)))

    @property
    def extras(self) -> tuple[str, ...]:
        """Fields of :class:`Generated` to output after the targets."""
        names = ["start", SIMILARITY] if self.like else []
        asked = {target.name for target in self.targets}
        return tuple(n for n in (*names, *(["nll"] if self.nll else [])) if n not in asked)

    def with_targets(self, targets: Targets, model: SavedModel) -> Self:
        """This request with more targets; all must be built-in properties or columns of the model.

        With seed molecules, ``similarity`` is known too.

        Raises:
            TargetError: a target is malformed, unknown, or asked for twice.
        """
        chem.require_elements(self.elements)
        more = {SIMILARITY} if self.like else set()
        own = set(model.conditions.names) - set(PROPERTIES)
        hint = "" if own else " A column of your own needs the model trained with it (-m)."
        known = {*PROPERTIES, *own, *more}
        asked = [*self.targets, *target_list(targets)]
        return replace(self, targets=parse_targets(asked, known, hint=hint))


@dataclass(frozen=True)
class Generated:
    """A molecule with the requested properties: exact, or predicted for columns of the user."""

    smiles: str
    values: dict[str, float]
    start: str = ""  # the seed molecule
    similarity: float | None = None  # Tanimoto, to the seed molecule
    nll: float | None = None  # −log p of its SELFIES at t = 1 and without conditions, in nats
    evidence: Mapping[str, object] = field(default_factory=dict)  # for predicted columns


def read_seed_molecules(texts: Sequence[str]) -> tuple[str, ...]:
    """SMILES from what ``--like`` takes: SMILES and names of molecule files.

    A note counts the rows of a file that hold no molecule and names the first of them.
    """
    smiles: list[str] = []
    for text in texts:
        if os.path.isfile(text):  # unlike Path, takes a name of any length
            smiles += _molecules_of(text)
        elif chem.canonical_smiles(text) is None:
            raise InputError(
                f"like: '{text}' is neither a valid SMILES nor a file; give the SMILES of the "
                "molecule (names are not looked up)"
            )
        else:
            smiles.append(text)
    return tuple(smiles)


def _molecules_of(file: str) -> list[str]:
    texts = read_smiles([file])
    usable = [text for text in texts if chem.canonical_smiles(text) is not None]
    if not usable:
        raise InputError(f"like: '{file}': none of {len(texts)} rows holds a molecule")
    if bad := len(texts) - len(usable):
        kept = set(usable)
        rows = [f"row {i} '{text[:40]}'" for i, text in enumerate(texts, 1) if text not in kept]
        more = f" and {bad - 5} more" if bad > 5 else ""
        say(
            f"note: like: '{file}': {bad} of {len(texts)} rows hold no molecule: "
            f"{', '.join(rows[:5])}{more}"
        )
    return usable


def _ends(span: Span) -> tuple[float, float]:
    return span if isinstance(span, tuple) else (span, span)


def _shown(span: Span) -> str:
    return f"{span[0]:g}:{span[1]:g}" if isinstance(span, tuple) else f"{span:g}"
