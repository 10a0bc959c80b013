"""Engines by name, of installed packages (entry point ``molvae.engines``), and of the caller."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np

from molvae.errors import ConfigError, MolvaeError, RunError, suggest
from molvae.generate.proposer import Proposer
from molvae.optimize.archive import Answer, Archive
from molvae.optimize.engines.base import Candidate, Engine, Sampling, TunesModel
from molvae.optimize.engines.cma import LatentCMA
from molvae.optimize.engines.evolution import Evolution
from molvae.optimize.engines.learning import Learning
from molvae.optimize.engines.trust import TrustRegion
from molvae.runtime.plugins import load_plugin, plugin_names

__all__ = ["METHODS", "EngineMaker", "choose_method", "make_engine"]

METHODS = ("evolution", "learning", "cma", "trust", "sampling")
EngineMaker = Callable[[Proposer, Archive, int], Engine]  # the last argument is the budget
_T = TypeVar("_T")


def choose_method(method: str | Engine | EngineMaker) -> str:
    """The name of a method; ``auto`` is evolution, the best at every budget measured.

    Raises:
        ConfigError: there is none of that name, or a package offers one of a built-in name.
    """
    if not isinstance(method, str):
        made = getattr(method, "func", method)  # of a partial
        return str(getattr(made, "__name__", type(made).__name__))
    if method == "auto":
        return "evolution"
    plugins = plugin_names("engine")
    if method not in METHODS and method not in plugins:
        raise ConfigError(
            f"unknown method '{method}': {suggest(method, {*METHODS, 'auto', *plugins})}"
        )
    if method in METHODS and method in plugins:
        raise ConfigError(
            f"engine '{method}': a package offers one with the name of a built-in method; rename "
            "its entry point, or uninstall the package"
        )
    return method


def make_engine(
    method: str | Engine | EngineMaker, proposer: Proposer, archive: Archive, budget: int
) -> Engine:
    """The engine of a method: built in, of a package, a maker to call, or itself an engine."""
    first = int(np.clip(budget // 10, 4, 200))
    parents = int(np.clip(budget // 20, 5, 100))
    if not isinstance(method, str) or method not in METHODS:
        return _Foreign(method, proposer, archive, budget)
    if method in ("evolution", "learning"):
        kind = Learning if method == "learning" else Evolution
        return kind(proposer, archive, parents=parents, first=first)
    if method == "cma":
        return LatentCMA(proposer, archive, first=first)
    if method == "trust":
        return TrustRegion(proposer, archive, first=first)
    return Sampling(proposer, archive)


class _Foreign:
    """An engine that is not molvae's own: what it raises or returns wrongly is one clear error."""

    def __init__(
        self, method: str | Engine | EngineMaker, proposer: Proposer, archive: Archive, budget: int
    ) -> None:
        """``method`` as of :func:`make_engine`."""
        self.name = choose_method(method)
        made: Any = load_plugin("engine", method) if isinstance(method, str) else method
        if isinstance(made, type) or not hasattr(made, "ask"):
            if not callable(made):
                raise ConfigError(
                    f"engine '{self.name}': got {made!r:.80}, expected an engine or what makes one"
                )
            make = made
            made = self._tried("making it", lambda: make(proposer, archive, budget))
        lacking = [n for n in ("ask", "choose", "tell", "restore") if not hasattr(made, n)]
        if lacking:
            raise ConfigError(f"engine '{self.name}': has no method '{lacking[0]}'")
        self.engine: Engine = made
        self.ahead = bool(getattr(made, "ahead", False))
        if isinstance(made, TunesModel):
            self.tuned_model = made.tuned_model

    def ask(self, count: int, round_: int) -> list[Candidate]:
        """Candidates of the engine, checked."""
        candidates = self._tried("ask", lambda: list(self.engine.ask(count, round_)))
        for candidate in candidates:
            if not isinstance(candidate, Candidate) or not isinstance(candidate.text, str):
                raise RunError(
                    f"engine '{self.name}': ask: got {candidate!r:.80}, expected a Candidate with "
                    "a SELFIES text"
                )
        return candidates

    def choose(self, smiles: Sequence[str], count: int) -> list[str]:
        """The molecules that the engine chooses, checked."""
        chosen = self._tried("choose", lambda: list(self.engine.choose(smiles, count)))
        if len(set(chosen)) > count or not set(chosen) <= set(smiles):
            raise RunError(
                f"engine '{self.name}': choose: expected up to {count} of the given molecules, got "
                f"{len(set(chosen))}"
            )
        return list(dict.fromkeys(chosen))

    def tell(self, candidates: Sequence[Candidate], answers: Sequence[Answer | None]) -> None:
        """Pass the answers on."""
        self._tried("tell", lambda: self.engine.tell(candidates, answers))

    def restore(self, answers: Sequence[Answer]) -> None:
        """Pass the answers of the resumed run on."""
        self._tried("restore", lambda: self.engine.restore(answers))

    def _tried(self, what: str, call: Callable[[], _T]) -> _T:
        try:
            return call()
        except MolvaeError:
            raise
        except Exception as error:
            raise RunError(
                f"engine '{self.name}' fails ({what}): {error!r}; the calls so far are kept: mend "
                "it and continue with --resume"
            ) from error
