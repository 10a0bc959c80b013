"""Molecules that contain a given substructure by construction: it is written, not hoped for.

The scaffold is written down as a *skeleton*: the SELFIES symbols of one way to write it. The
network reads them as if it had drawn them. Around them it draws *decorations*: a chain before the
first atom, branches at atoms with a replaceable hydrogen (or at the attachment points), longer
branches and a longer end. What was announced before it was known, the lengths of branches and the
distances of ring closures, is written anew in the end.

Drawn so, a molecule is not yet typical of the network: the network was never asked whether it would
have written the scaffold there, in that order. Each draw therefore carries its weight, the
probability of all symbols that were allowed, over all steps; of several draws one is taken with
the odds of their weights (sampling-importance resampling, Rubin 1987).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from molvae import chem
from molvae.chem.selfies import from_selfies, split_selfies, to_selfies, use_constraints
from molvae.chem.vocabulary import BOS, Vocabulary
from molvae.errors import TargetError
from molvae.generate.decoding import Guidance, Steps, pick
from molvae.generate.scaffold.decoration import Row
from molvae.generate.scaffold.skeleton import Compiler, Grammar, Skeleton
from molvae.model.cvae import CVAE
from molvae.runtime.randomness import Draws

__all__ = ["PARTICLES", "Scaffold", "decode_scaffold"]

PARTICLES = 8  # draws of which one is taken
HAZARD = 0.2  # chance that the skeleton begins, wherever it may; the weights make up for it
WRITINGS = 64  # ways to write a scaffold that are tried


class Scaffold:
    """A substructure that molecules shall have: a SMILES, perhaps with attachment points ``*``.

    With attachment points molecules are decorated there alone, else wherever a hydrogen can be
    replaced that the SMILES does not name. A SMARTS can be checked only, and so can a SMILES of
    several parts. Stereo centres keep their hydrogen. Can be pickled.
    """

    def __init__(
        self, text: str, vocabulary: Vocabulary, constraints: dict[str, int], limit: int
    ) -> None:
        """``limit``: symbols that a molecule may have."""
        if not chem.is_pattern(text):
            raise TargetError(
                f"scaffold: got '{text}', expected a SMILES such as c1ccc2[nH]ccc2c1, perhaps "
                "with attachment points (*), or a SMARTS"
            )
        self.text, self.constraints = text, constraints
        self._skeletons: list[Skeleton] = []
        with use_constraints(constraints):
            grammar = Grammar(vocabulary)
            found = chem.writings(text, WRITINGS)
            for writing in found:
                if (selfies := to_selfies(writing.smiles)) is not None:
                    symbols = split_selfies(selfies)
                    compiler = Compiler(symbols, writing.hydrogens, grammar)
                    self._skeletons.append(compiler.skeleton())
        if found:
            self._skeletons = self._usable(vocabulary, limit)

    def _usable(self, vocabulary: Vocabulary, limit: int) -> list[Skeleton]:
        if not self._skeletons:
            raise TargetError(f"scaffold: '{self.text}' cannot be written as SELFIES")
        known = [s for s in self._skeletons if not vocabulary.unknown(s.symbols)]
        if not known:
            lacking = min((vocabulary.unknown(s.symbols) for s in self._skeletons), key=len)
            raise TargetError(
                f"scaffold: '{self.text}' needs the tokens {', '.join(lacking)}, which the model "
                "has never seen; choose another scaffold or model"
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
        """Whether molecules can be built around it; otherwise they can only be checked."""
        return bool(self._skeletons)

    def holds(self, mol: chem.Mol) -> bool:
        """Whether a molecule has it, as `chem.contains` says."""
        return chem.contains(mol, self.text)

    def first(self, texts: Iterable[str]) -> str:
        """The first SELFIES that has it; if there is none, the first of all.

        Hardly any draw lacks it: a decoration can make a bond aromatic, or a stereo centre none.
        """
        texts = iter(texts)
        first = text = next(texts)
        with use_constraints(self.constraints):
            while (mol := chem.parse(from_selfies(text))) is None or not self.holds(mol):
                if (text := next(texts, "")) == "":
                    return first
        return text

    def skeletons(self, shares: NDArray[np.float64]) -> list[Skeleton]:
        """Ways to write it, by numbers from 0 to 1."""
        places = (shares * len(self._skeletons)).astype(np.int64)
        return [self._skeletons[i] for i in places]


def _drawn(weights: NDArray[np.float64], share: float) -> Iterator[int]:
    """Indices by the odds of logarithmic weights, each once; ``share`` from 0 to 1."""
    odds = np.exp(weights - weights.max())
    for _ in range(len(weights)):
        steps = odds.cumsum()
        chosen = int(np.searchsorted(steps, share * steps[-1]))
        if odds[chosen] == 0:  # the others are out of the question
            return
        yield chosen
        odds[chosen] = 0.0


@torch.no_grad()
def decode_scaffold(
    network: CVAE,
    context: Tensor,
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
    """SELFIES with the scaffold in them, one for each of the contexts (B, K) and addresses (B,).

    ``limit``: symbols, not more than the scaffold was made for. One of ``particles`` molecules is
    taken, of those that the scaffold `holds`, if there are any; they cost as many times the time.
    Temperature 0 takes the likeliest tokens and the largest weight. ``guidance`` and ``cutoff``
    as in `decode_tokens`; the latter among the tokens that the scaffold allows.
    """
    device = context.device
    double = torch.float32 if device.type == "mps" else torch.float64
    ways = draws.uniform("skeleton", items, particles).reshape(-1)
    rows = [Row(skeleton, limit) for skeleton in scaffold.skeletons(ways)]
    parts = [draws.uniform("token", items, limit, epoch=k) for k in range(particles)]
    uniform = np.stack(parts, axis=1).reshape(len(rows), limit)
    weights = np.zeros(len(rows))  # logarithms
    context = context.repeat_interleave(particles, dim=0)
    if guidance is not None:
        guidance = Guidance(*(each.repeat_interleave(particles, dim=0) for each in guidance))
    decoding = Steps(network, context, guidance)
    alive = np.arange(len(rows))
    token = torch.full((len(rows),), BOS, dtype=torch.long, device=device)
    for step in range(limit):
        logits = decoding(token)
        drawn = uniform[alive, step]
        for i, row in enumerate(alive):
            if rows[row].may_begin:
                begins = drawn[i] < HAZARD
                low, chance = (0.0, HAZARD) if begins else (HAZARD, 1 - HAZARD)
                drawn[i] = (drawn[i] - low) / chance
                weights[row] -= math.log(chance)
                if begins:
                    rows[row].begin()
        mask = torch.from_numpy(np.stack([rows[row].choices() for row in alive])).to(device)
        # At temperature 0 they are odds of the network as it is.
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
    table = weights.reshape(len(items), particles)
    shares = draws.uniform("particle", items, 1)[:, 0]
    texts = []
    for i, each in enumerate(table):
        order = np.argsort(-each) if temperature == 0 else _drawn(each, shares[i])
        several = (rows[i * particles + k].text() for k in order)
        texts.append(scaffold.first(several))
    return texts
