"""One or several scoring functions → the number that is maximized."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from molvae.errors import ConfigError
from molvae.objectives.columns import Columns, ColumnScorer, checked_pessimism
from molvae.objectives.docking import DockOptions, DockScorer
from molvae.objectives.scorers import FileScorer, PluginScorer, Scorer, TaskScorer, find_scorer
from molvae.objectives.shapes import Ramp, Window
from molvae.targets import NUMBER

__all__ = ["Objective", "Part", "parse_objective"]

# Names of other columns in the files of a search.
LIGHTEST, HEAVIEST = 1e-6, 1e6  # weights
LONGEST = 10_000_000  # seconds for one molecule: four months
TAKEN = frozenset({"smiles", "front", "value", "call", "round", "origin", "status", "note"})
_TAIL = re.compile(
    rf"(?P<scorer>.+?)(?:@(?P<zero>{NUMBER}):(?P<one>{NUMBER}))?(?:\*(?P<weight>{NUMBER}))?"
)


@dataclass(frozen=True)
class Part:
    """One scoring function of an objective, the desirability of its scores, and its weight.

    A property with a range, ``logp=2:3``, has a ``window``: its score is the property itself.
    """

    text: str
    scorer: Scorer
    ramp: Ramp | None = None
    weight: float = 1.0
    window: Window | None = None

    @property
    def bounded(self) -> bool:
        """Whether the desirability is known to lie between 0 and 1."""
        return self.ramp is not None or self.window is not None or self.scorer.bounded

    @property
    def is_probability(self) -> bool:
        """Whether the score is the probability that a measured column lies in a range."""
        return isinstance(self.scorer, ColumnScorer) and self.scorer.window is not None

    def worth(self, score: float) -> float:
        """The desirability of a score, or the score itself without a window and ramp."""
        if self.window is not None:
            score = self.window(score)
        return score if self.ramp is None else self.ramp(score)


@dataclass(frozen=True)
class Objective:
    """Scores of molecules, one column per part, and the number that is maximized.

    The score of a single part is used as it is, or negated with ``minimize``. Several parts are
    desirabilities from 0 to 1, combined by their weighted geometric mean (Derringer & Suich 1980).
    """

    parts: tuple[Part, ...]
    minimize: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the parts as columns: unique, repeated ones numbered."""
        names = [
            f"{part.scorer.name}_score"
            if part.scorer.name in TAKEN or part.is_probability
            else part.scorer.name
            for part in self.parts
        ]
        columns: list[str] = []
        for name in names:
            numbered = (f"{name}_{number}" for number in itertools.count(1))
            free = (column for column in numbered if column not in columns and column not in names)
            columns.append(name if names.count(name) == 1 else next(free))
        return tuple(columns)

    @property
    def columns(self) -> tuple[str, ...]:
        """`names`, and the column ``NAME_score`` of the desirability of each property's range."""
        names = list(self.names)
        for name, part in zip(self.names, self.parts, strict=True):
            if part.window is not None:
                numbered = (f"{name}_score_{number}" for number in itertools.count(1))
                options = itertools.chain([f"{name}_score"], numbered)
                names.append(next(column for column in options if column not in names))
        return tuple(names)

    def cells(self, scores: Sequence[float]) -> list[float]:
        """The numbers of `columns` for a molecule."""
        pairs = zip(self.parts, scores, strict=True)
        return [*scores, *(p.window(score) for p, score in pairs if p.window is not None)]

    def load(self) -> None:
        """Import the files and packages of the parts, which may take a while."""
        for part in self.parts:
            if isinstance(part.scorer, FileScorer | PluginScorer | DockScorer):
                part.scorer.load()

    def shipped(self) -> Objective:
        """The same for another machine, with the text of its Python files."""
        parts = (
            replace(part, scorer=part.scorer.shipped())
            if isinstance(part.scorer, FileScorer)
            else part
            for part in self.parts
        )
        return Objective(tuple(parts), self.minimize)

    def scores(self, smiles: Sequence[str]) -> list[tuple[float, ...]]:
        """The score of every part for each molecule; NaN where there is none."""
        columns = [part.scorer(smiles) for part in self.parts]
        return list(zip(*columns, strict=True))

    def worth(self, scores: Sequence[float]) -> tuple[float, ...]:
        """The desirability of each part's score; greater is better."""
        sign = -1.0 if self.minimize else 1.0
        return tuple(sign * part.worth(x) for part, x in zip(self.parts, scores, strict=True))

    def value(self, scores: Sequence[float]) -> float:
        """The number that is maximized; NaN if a score is missing."""
        worth = self.worth(scores)
        if len(worth) == 1:
            return worth[0]
        if any(math.isnan(x) for x in worth):
            return math.nan
        weights = [part.weight for part in self.parts]
        if any(x <= 0 for x in worth):
            return 0.0
        logs = math.fsum(w * math.log(x) for w, x in zip(weights, worth, strict=True))
        return math.exp(logs / math.fsum(weights))

    def displayed(self, value: float) -> float:
        """The value as it is displayed: what is minimized gets back its sign."""
        return -value if self.minimize else value


def parse_objective(
    texts: Sequence[str],
    *,
    minimize: bool = False,
    pareto: bool = False,
    timeout: float | None = None,
    columns: Columns | None = None,
    pessimism: float = 1.0,
    docking: DockOptions | None = None,
) -> Objective:
    """An objective from texts such as ``qed``, ``docking.py:score@-4:-10`` or ``logp=2:3*0.5``.

    ``@ZERO:ONE`` gives the scores with desirability 0 and 1, linear in between; ``*WEIGHT`` is the
    weight among several. Several scoring functions need scores from 0 to 1, or such a ramp, unless
    a Pareto front is requested. ``columns`` gives the measured columns of a model, which are scored
    ``pessimism`` standard deviations worse than their mean. ``docking`` is for ``dock:TARGET``,
    whose energies are better where lower: alone it needs ``minimize``, or else such a ramp.
    """
    checked_pessimism(pessimism)
    if not texts:
        raise ConfigError("objective: got none, expected at least one --objective")
    docking = docking or DockOptions()
    deviations = -pessimism if minimize else pessimism
    parts = tuple(_part(text, timeout, columns, deviations, docking) for text in texts)
    if minimize and len(parts) > 1:
        raise ConfigError(
            "--minimize is for a single objective; for several, give NAME@WORST:BEST for each"
        )
    if minimize and parts[0].ramp is not None:
        raise ConfigError(
            f"objective '{parts[0].text}': @WORST:BEST already defines which scores are better; "
            "leave out --minimize"
        )
    if timeout is not None and not 0 < timeout <= LONGEST:
        raise ConfigError(f"timeout: got {timeout:g}, expected more than 0, up to {LONGEST:,} s")
    weighted = [part.text for part in parts if part.weight != 1]
    if pareto and weighted:
        raise ConfigError(
            f"objective '{weighted[0]}': --pareto does not use weights; leave out the weight, or "
            "--pareto"
        )
    if pareto and len(parts) == 1:
        raise ConfigError("--pareto needs several objectives: give --objective more than once")
    for part in parts:
        if isinstance(part.scorer, DockScorer) and part.ramp is None and not minimize:
            raise ConfigError(
                f"objective '{part.text}': docking energies are better where lower; add --minimize "
                f"if it is the only objective, or give the energies for 0 and 1: "
                f"'{part.text}@-4:-12'"
            )
        if len(parts) > 1 and not pareto and not part.bounded:
            raise ConfigError(
                f"objective '{part.text}': scores that may lie outside 0 to 1 cannot be combined; "
                f"give the scores for 0 and 1, as in '{part.text}@0:10', or use --pareto"
            )
    return Objective(parts, minimize)


def _part(
    text: str,
    timeout: float | None,
    columns: Columns | None,
    deviations: float,
    docking: DockOptions,
) -> Part:
    match = _TAIL.fullmatch(text.strip())
    if match is None:
        raise ConfigError(f"objective '{text}': expected NAME, NAME@ZERO:ONE or NAME*WEIGHT")
    ramp = None
    if match["zero"] is not None:
        zero, one = float(match["zero"]), float(match["one"])
        if zero == one:
            raise ConfigError(f"objective '{text}': the scores for 0 and 1 are equal")
        ramp = Ramp(zero, one)
        deviations = -deviations if zero > one else deviations
    weight = 1.0 if match["weight"] is None else float(match["weight"])
    if not LIGHTEST <= weight <= HEAVIEST:
        raise ConfigError(
            f"objective '{text}': got weight {weight:g}, expected from {LIGHTEST:g} to {HEAVIEST:g}"
        )
    scorer = find_scorer(
        match["scorer"], timeout=timeout, columns=columns, deviations=deviations, docking=docking
    )
    window = None
    if isinstance(scorer, TaskScorer):
        window, scorer = scorer.shape, replace(scorer, window=None)
    return Part(text.strip(), scorer, ramp, weight, window)
