"""Scoring functions by name, from files, from packages and from other programs.

All of them can be pickled: worker processes load the functions and files that they name.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import inspect
import math
import sys
import textwrap
import tokenize
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from numbers import Real
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol

from molvae import chem
from molvae.chem.properties import PROPERTIES, compute
from molvae.errors import ConfigError, FileError, TargetError, suggest
from molvae.objectives.columns import Columns, column_scorer
from molvae.objectives.docking import DockOptions, dock_scorer
from molvae.objectives.program import ProcessScorer, as_scores, split_command
from molvae.objectives.shapes import Window
from molvae.objectives.tasks import ABSENT, TASKS, Term, mean
from molvae.runtime.plugins import import_foreign, load_plugin, plugin_names
from molvae.runtime.processes import delay_interrupts
from molvae.targets import YES_NO, parse_target

__all__ = [
    "FileScorer",
    "FunctionScorer",
    "PluginScorer",
    "Scorer",
    "TaskScorer",
    "find_scorer",
]

DOCKING = DockOptions()
SHARE = 0.1  # of a property's usual range: spread of the score outside a requested range


class Scorer(Protocol):
    """A scoring function; greater is better."""

    @property
    def name(self) -> str:
        """The name in tables."""

    @property
    def bounded(self) -> bool:
        """Whether its scores are known to lie between 0 and 1."""

    def __call__(self, smiles: Sequence[str]) -> list[float]:
        """One score per canonical SMILES; NaN where there is none."""


@dataclass(frozen=True)
class TaskScorer:
    """A benchmark objective, a built-in property, or the similarity to a molecule.

    ``text`` is the name of a task or property, ``NAME=LOW:HIGH`` (1 inside, less outside) or
    ``similarity:SMILES`` (ECFP4).
    """

    text: str
    window: tuple[float, float] | None = None

    @property
    def name(self) -> str:
        """The name in tables."""
        return "similarity" if self.text.startswith("similarity:") else self.text

    @property
    def bounded(self) -> bool:
        """Whether its scores are known to lie between 0 and 1."""
        if self.text in TASKS:
            return TASKS[self.text].bounded
        return self.window is not None or self.name in ("similarity", "qed", "fsp3")

    @property
    def shape(self) -> Window | None:
        """The desirability of a property with a window."""
        if self.window is None:
            return None
        known = PROPERTIES[self.text]
        return Window(*self.window, SHARE * (known.high - known.low))

    def __call__(self, smiles: Sequence[str]) -> list[float]:
        """One score per SMILES; NaN where RDKit has none."""
        scores = []
        for text in smiles:
            with delay_interrupts():
                mol = chem.parse(text)
                scores.append(math.nan if mol is None else self.of(mol))
        return scores

    def of(self, mol: chem.Mol) -> float:
        """The score of a molecule."""
        terms, geometric = _terms(self)
        return mean((term(mol) for term in terms), geometric=geometric)


def _likeness(smiles: str) -> chem.Likeness:
    """Similarity to a molecule that is cleaned as ``prepare`` does, without its counter-ion."""
    mol = chem.parse(smiles)
    return chem.Likeness(smiles if mol is None else chem.to_smiles(chem.standardize(mol)))


@functools.lru_cache(maxsize=64)
def _terms(scorer: TaskScorer) -> tuple[list[Term], bool]:
    if scorer.text in TASKS:
        task = TASKS[scorer.text]
        # The geometric mean of a single number is that number, unless it is negative.
        return task.terms(), task.geometric and task.bounded
    if scorer.name == "similarity":
        return [Term(_likeness(scorer.text.partition(":")[2]))], False
    return [Term(lambda mol: float(compute(mol, [scorer.text])[0]), scorer.shape)], False


@dataclass(frozen=True)
class FileScorer:
    """A function of a Python file: list of SMILES → list of scores, or one SMILES → its score.

    With ``source``, the text of the file, it needs no file.
    """

    path: str
    function: str
    bounded: bool = False
    source: str | None = None

    @property
    def name(self) -> str:
        """The name in tables."""
        return self.function

    def shipped(self) -> FileScorer:
        """The same with the text of the file, for another machine."""
        file = Path(self.path).resolve()
        try:
            with tokenize.open(file) as text:  # in the encoding that it declares
                return replace(self, path=str(file), source=text.read())
        except (OSError, SyntaxError, UnicodeError) as error:
            raise FileError(f"objective: '{self.path}' cannot be read: {error}") from None

    def load(self) -> Callable[[Any], Any]:
        """The function; an error if there is none, or if the file cannot be run."""
        attribute = getattr(_module(self.path, self.source), self.function, None)
        if not callable(attribute):
            raise ConfigError(
                f"objective: '{self.path}' has no function '{self.function}'; expected "
                f"`def {self.function}(smiles: list[str]) -> list[float]`, or of a single SMILES"
            )
        function: Callable[[Any], Any] = attribute
        return function

    def __call__(self, smiles: Sequence[str]) -> list[float]:
        """The scores that the function returns."""
        return _call(self.load(), smiles)


@functools.lru_cache(maxsize=16)
def _module(path: str, source: str | None = None) -> ModuleType:
    file = Path(path).resolve()
    if source is None and not file.is_file():
        raise FileError(f"objective: no file '{path}'")
    spec = importlib.util.spec_from_file_location(f"molvae_objective_{file.stem}", file)
    if spec is None or spec.loader is None:
        raise FileError(f"objective: '{path}' is not a Python file; expected NAME.py:FUNCTION")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    if str(file.parent) not in sys.path:  # it may import modules beside it
        sys.path.insert(0, str(file.parent))
    loader = spec.loader

    def run() -> None:
        if source is None:
            loader.exec_module(module)
        else:
            exec(compile(source, str(file), "exec"), module.__dict__)

    import_foreign(run, f"objective: '{path}'")
    return module


@dataclass(frozen=True)
class FunctionScorer:
    """A Python function, as in :class:`FileScorer`. It need not be picklable."""

    function: Callable[[Any], Any]
    bounded: bool = False

    @property
    def name(self) -> str:
        """The name in tables."""
        name = str(getattr(self.function, "__name__", ""))
        return name if name.isidentifier() else "objective"  # a lambda has no name

    def __call__(self, smiles: Sequence[str]) -> list[float]:
        """The scores that the function returns."""
        return _call(self.function, smiles)


@dataclass(frozen=True)
class PluginScorer:
    """A function that an installed package offers under the entry point ``molvae.objectives``."""

    name: str
    bounded: bool = False

    def load(self) -> Callable[[Any], Any]:
        """The function; an error if its package cannot be imported."""
        plugin = load_plugin("objective", self.name)
        if not callable(plugin):
            raise ConfigError(f"objective '{self.name}': {plugin!r:.80} is no function")
        function: Callable[[Any], Any] = plugin
        return function

    def __call__(self, smiles: Sequence[str]) -> list[float]:
        """The scores that the function returns."""
        return _call(self.load(), smiles)


# Whether a function takes one SMILES at a time. By identity, as callables need not be hashable; the
# function is held, so that no later one gets the same identity.
_takes_one: dict[int, tuple[Callable[[Any], Any], bool]] = {}


def _call(function: Callable[[Any], Any], smiles: Sequence[str]) -> list[float]:
    """Scores from a function of a list of SMILES or, as its first call shows, of a single one."""
    key = id(function)
    if key not in _takes_one and _is_for_one(function):
        _takes_one[key] = function, True
    known = key in _takes_one
    if known and _takes_one[key][1]:
        return as_scores([function(text) for text in smiles], len(smiles))
    try:
        result = function(list(smiles))
    except (TypeError, AttributeError) as error:  # such as RDKit's, given a list
        if known:
            raise
        try:
            first = _score_of_one(function, smiles[0])
        except Exception as error_of_one:  # neither call works: show both errors
            raise TypeError(
                f"given one SMILES: {_brief(error_of_one)}; given a list of them: {_brief(error)}"
            ) from error
        if first is None:
            raise
    else:
        # A function of one SMILES may return None, or a number, for a list.
        first = None
        if not known and (result is None or isinstance(result, Real)):
            with contextlib.suppress(Exception):  # if it raises, it is not for one SMILES
                first = _score_of_one(function, smiles[0])
        if first is None:
            scores = as_scores(result, len(smiles))
            _takes_one[key] = function, False
            return scores
    _takes_one[key] = function, True
    return as_scores([first, *(function(text) for text in smiles[1:])], len(smiles))


def _is_for_one(function: Callable[[Any], Any]) -> bool:
    """Whether the annotation of the first parameter is a single string."""
    try:
        first = next(iter(inspect.signature(function).parameters.values()))
    except (TypeError, ValueError, StopIteration):
        return False
    return first.annotation in (str, "str")


def _score_of_one(function: Callable[[Any], Any], smiles: str) -> float | None:
    score = function(smiles)
    return float(score) if isinstance(score, Real) else None


def _brief(error: Exception) -> str:
    """The beginning of an error message; RDKit's list every signature of a function."""
    return textwrap.shorten(str(error) or type(error).__name__, 90, placeholder=" …")


def find_scorer(
    text: str,
    *,
    timeout: float | None = None,
    columns: Columns | None = None,
    deviations: float = 1.0,
    docking: DockOptions = DOCKING,
) -> Scorer:
    """The scoring function that a text names; no molecule is scored.

    ``qed``, ``logp=2:3``, ``similarity:CCO``, ``docking.py:score``, ``process:COMMAND``,
    ``dock:TARGET``, the name of an entry point, or a measured column of a model, ``pIC50`` or
    ``pIC50=7:``. ``columns`` gives these; ``deviations`` is for them, ``docking`` for ``dock``.
    """
    head, colon, rest = text.partition(":")
    if head == "process" and colon:
        key, equals, command = rest.partition("=")
        named = bool(equals) and key.isidentifier()
        return _runnable(
            ProcessScorer(command if named else rest, key if named else "", timeout), text
        )
    if head == "dock" and colon:
        return dock_scorer(rest, docking)
    if head == "similarity" and colon:
        _likeness(rest)
        return TaskScorer(text)
    path, colon, function = text.rpartition(":")
    if colon and path.endswith(".py"):
        scorer = FileScorer(path, function)
        scorer.load()
        return scorer
    return _named(text, columns, deviations)


def _runnable(scorer: ProcessScorer, text: str) -> ProcessScorer:
    try:
        words = split_command(scorer.command)
    except ValueError as error:
        raise ConfigError(f"objective '{text}': {error}") from None
    if not words:
        raise ConfigError(f"objective '{text}': expected process:COMMAND or process:NAME=COMMAND")
    return scorer


def _named(text: str, columns: Columns | None, deviations: float) -> Scorer:
    name, equals, _ = text.partition("=")
    plugins = plugin_names("objective")
    if equals and name in PROPERTIES:
        return TaskScorer(name, _window(text))
    if text in TASKS or text in PROPERTIES:
        return TaskScorer(text)
    if text in plugins:
        plugin = PluginScorer(text)
        plugin.load()
        return plugin
    measured = (columns() if columns is not None else None) or {}
    if (scorer := column_scorer(text, measured, deviations)) is not None:
        return scorer
    if text in ABSENT:
        raise ConfigError(
            f"objective '{text}' is a trained classifier that molvae may not distribute; wrap "
            "your copy of it as FILE.py:FUNCTION"
        )
    raise ConfigError(
        f"unknown objective '{text}': {suggest(text, {*TASKS, *PROPERTIES, *plugins, *measured})} "
        "Your own function is FILE.py:FUNCTION, a program process:COMMAND, a measured column the "
        "name it has in the model (-m)"
    )


def _window(text: str) -> tuple[float, float]:
    try:
        target = parse_target(text)
    except TargetError as error:
        raise ConfigError(f"objective: {error}") from None
    if text.partition("=")[2].strip().lower() in YES_NO:
        raise ConfigError(f"objective '{text}': expected a number or a range, as in NAME=2:3")
    return target.low, target.high
