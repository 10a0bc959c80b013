"""Molecules that contain a given substructure by construction.

The scaffold is a *skeleton*: the SELFIES symbols of one way to write it. The network reads them as
if it had drawn them. Around them it draws *decorations*: a chain before the first atom, branches at
atoms with a replaceable hydrogen (or at the attachment points), longer branches and a longer end.
SELFIES states lengths of branches and distances of ring closures before they are known; they are
corrected at the end.

Such a molecule is not yet a sample of the network, which never decided to write the scaffold there,
in that order. Each draw therefore has a weight: the product, over all steps, of the probability of
the symbols that were allowed. One of several draws is taken with odds proportional to the weights
(sampling-importance resampling, Rubin 1987).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from molvae import chem
from molvae.chem.selfies import from_selfies, split_selfies, to_selfies, use_constraints
from molvae.chem.vocabulary import BOS, Vocabulary
from molvae.errors import TargetError
from molvae.generate.decoding import Guidance, Steps, pick
from molvae.generate.scaffold.decoration import Row
from molvae.generate.scaffold.skeleton import Compiler, Grammar, Skeleton
from molvae.model.cvae import CVAE
from molvae.model.records import Context
from molvae.runtime.randomness import Draws

__all__ = ["PARTICLES", "Scaffold", "decode_scaffold"]

PARTICLES = 8  # draws of which one is chosen
HAZARD = 0.2  # chance that the skeleton begins where it may; the weights correct for it
WRITINGS = 64  # ways to write a scaffold to try


class Scaffold:
    """A required substructure: a SMILES, optionally with attachment points ``*``, or a SMARTS.

    With attachment points, molecules grow there only; otherwise wherever a hydrogen that the SMILES
    does not write out can be replaced. Stereocenters keep their hydrogen. Molecules cannot be built
    around a SMARTS, or a SMILES of several parts; these can only be checked. Can be pickled.
    """

    def __init__(
        self, text: str, vocabulary: Vocabulary, constraints: dict[str, int], limit: int
    ) -> None:
        """``limit``: most symbols of a molecule."""
        if not chem.is_pattern(text):
            raise TargetError(
                f"scaffold: got '{text}', expected a SMILES such as c1ccc2[nH]ccc2c1, optionally "
                "with attachment points (*), or a SMARTS"
            )
        self.text, self.constraints = text, constraints
        self._skeletons: list[Skeleton] = []
        with use_constraints(constraints):
            grammar = Grammar(vocabulary)
            writings = chem.writings(text, WRITINGS)
            for writing in writings:
                if (selfies := to_selfies(writing.smiles)) is not None:
                    symbols = split_selfies(selfies)
                    compiler = Compiler(symbols, writing.hydrogens, grammar)
                    self._skeletons.append(compiler.skeleton())
        if writings:
            self._skeletons = self._usable(vocabulary, limit)

    def _usable(self, vocabulary: Vocabulary, limit: int) -> list[Skeleton]:
        if not self._skeletons:
            raise TargetError(f"scaffold: '{self.text}' cannot be written as SELFIES")
        known = [s for s in self._skeletons if not vocabulary.unknown(s.symbols)]
        if not known:
            lacking = min((vocabulary.unknown(s.symbols) for s in self._skeletons), key=len)
            raise TargetError(
                f"scaffold: '{self.text}' needs the tokens {', '.join(lacking)}, which the model "
                "does not have; choose another scaffold or model"
            )
        short = [s for s in known if len(s.symbols) <= limit]
        if not short:
            size = min(len(s.symbols) for s in known)
            raise TargetError(
                f"scaffold: '{self.text}' has {size} symbols, but molecules of this model have at "
                f"most {limit}; choose a smaller scaffold"
            )
        return short

    @property
    def grows(self) -> bool:
        """Whether molecules can be built around the scaffold; otherwise they are only checked."""
        return bool(self._skeletons)

    def holds(self, mol: chem.Mol) -> bool:
        """Whether a molecule contains the scaffold, by `chem.contains`."""
        return chem.contains(mol, self.text)

    def first(self, texts: Iterable[str]) -> str:
        """The first SELFIES that contains the scaffold; the first of all if none does.

        Rarely a draw lacks it: a decoration can make a bond aromatic, or remove a stereocenter.
        """
        texts = iter(texts)
        first = text = next(texts)
        with use_constraints(self.constraints):
            while (mol := chem.parse(from_selfies(text))) is None or not self.holds(mol):
                if (text := next(texts, "")) == "":
                    return first
        return text

    def skeletons(self, shares: NDArray[np.float64]) -> list[Skeleton]:
        """Ways to write the scaffold, chosen by numbers from 0 to 1."""
        places = (shares * len(self._skeletons)).astype(np.int64)
        return [self._skeletons[i] for i in places]


def _drawn(weights: NDArray[np.float64], share: float) -> Iterator[int]:
    """Draw indices without repeats, with log weights; ``share`` is the random number in [0, 1)."""
    odds = np.exp(weights - weights.max())
    for _ in range(len(weights)):
        steps = odds.cumsum()
        chosen = int(np.searchsorted(steps, share * steps[-1]))
        if odds[chosen] == 0:  # the others are impossible
            return
        yield chosen
        odds[chosen] = 0.0


@torch.no_grad()
def decode_scaffold(
    network: CVAE,
    context: Context,
    scaffold: Scaffold,
    items: NDArray[np.int64],
    draws: Draws,
    *,
    limit: int,
    temperature: float,
    particles: int = PARTICLES,
    guidance: Guidance | None = None,
    cutoff: float = 0.0,
) -> list[str]:
    """SELFIES that contain the scaffold, one for each of the contexts and items (B,).

    Decodes ``particles`` molecules per context, at that many times the cost, and chooses one of
    those that contain the scaffold. ``limit`` is the most symbols, not above the scaffold's.
    Temperature 0 takes the most likely tokens and the largest weight. ``guidance`` and ``cutoff``
    are as in `decode_tokens`, the latter among the tokens that the scaffold allows.
    """
    device = context.request.device
    double = torch.float32 if device.type == "mps" else torch.float64
    ways = draws.uniform("skeleton", items, particles).reshape(-1)
    rows = [Row(skeleton, limit) for skeleton in scaffold.skeletons(ways)]
    parts = [draws.uniform("token", items, limit, epoch=k) for k in range(particles)]
    uniform = np.stack(parts, axis=1).reshape(len(rows), limit)
    weights = np.zeros(len(rows))  # log weights
    repeated = torch.arange(len(items), device=device).repeat_interleave(particles)
    decoding = Steps(network, context.rows(repeated), guidance and guidance.rows(repeated))
    alive = np.arange(len(rows))
    token = torch.full((len(rows),), BOS, dtype=torch.long, device=device)
    for step in range(limit):
        logits = decoding(token)
        drawn = uniform[alive, step]
        _begin_skeletons(rows, alive, drawn, weights)
        mask = torch.from_numpy(np.stack([rows[row].choices() for row in alive])).to(device)
        # Temperature 0 scores tokens as temperature 1 does.
        scores = (logits.to(double) / (temperature or 1.0)).log_softmax(dim=-1)
        scores = scores.masked_fill(~mask, -torch.inf)
        weights[alive] += scores.logsumexp(dim=-1).cpu().numpy()
        if temperature == 0:
            token = scores.argmax(dim=-1)
        else:
            shares_drawn = torch.from_numpy(drawn).to(device, double)
            token = pick(scores.softmax(dim=-1), shares_drawn, cutoff)
        for row, taken in zip(alive, token.tolist(), strict=True):
            rows[row].take(taken)
        keep = np.asarray([not rows[row].done for row in alive])
        if not keep.all():
            alive = alive[keep]
            if not len(alive):
                break
            left = torch.from_numpy(keep).to(device)
            token = token[left]
            decoding.keep(left)
    shares = draws.uniform("particle", items, 1)[:, 0]
    texts = []
    for i, of_item in enumerate(weights.reshape(len(items), particles)):
        order = np.argsort(-of_item) if temperature == 0 else _drawn(of_item, shares[i])
        texts.append(scaffold.first(rows[i * particles + k].text() for k in order))
    return texts


def _begin_skeletons(
    rows: Sequence[Row],
    alive: NDArray[np.int64],
    drawn: NDArray[np.float64],
    weights: NDArray[np.float64],
) -> None:
    """Decide which molecules begin their skeleton now, by the random number of their next token.

    The number is rescaled to [0, 1) for the token; the weight is corrected for the decision.
    """
    for i, row in enumerate(alive):
        if rows[row].may_begin:
            begins = drawn[i] < HAZARD
            low, chance = (0.0, HAZARD) if begins else (HAZARD, 1 - HAZARD)
            drawn[i] = (drawn[i] - low) / chance
            weights[row] -= math.log(chance)
            if begins:
                rows[row].begin()
