"""Counts of refused candidates, with an example where the reason does not name what it found."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from molvae.chem.properties import ScreenResult

__all__ = ["Refusals", "example", "with_examples"]


def example(reason: str, examples: Mapping[str, str]) -> str:
    """The example of a refusal in words; empty if there is none."""
    return f"such as {examples[reason]}" if reason in examples else ""


def with_examples(refused: Mapping[str, int], examples: Mapping[str, str]) -> dict[str, int]:
    """Counts of refusals for people: by reasons with their example."""
    return {", ".join(filter(None, [why, example(why, examples)])): n for why, n in refused.items()}


class Refusals(Counter[str]):
    """Counts refused candidates by reason; for reasons that need one, an example of each."""

    def __init__(self) -> None:
        super().__init__()
        self.examples: dict[str, str] = {}

    def add(self, screened: ScreenResult) -> None:
        """Count the refusal of a screen."""
        self[screened.refusal] += 1
        if screened.example:
            self.examples.setdefault(screened.refusal, screened.example)
