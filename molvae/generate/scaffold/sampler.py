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
import random
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice, permutations

import numpy as np
import torch
from numpy.typing import NDArray

from molvae import chem
from molvae.chem.selfies import from_selfies, split_selfies, to_selfies, use_constraints
from molvae.chem.vocabulary import BOS, Vocabulary
from molvae.errors import TargetError
from molvae.generate.decoding import Guidance, Steps, pick
from molvae.generate.scaffold.decoration import Row
from molvae.generate.scaffold.skeleton import Compiler, Grammar, Skeleton, joined
from molvae.model.cvae import CVAE
from molvae.model.records import Context
from molvae.runtime.device import on_device
from molvae.runtime.randomness import Draws

__all__ = ["PARTICLES", "Scaffold", "decode_scaffold"]

PARTICLES = 8  # draws of which one is chosen
HAZARD = 0.2  # chance that the skeleton begins where it may; the weights correct for it
LONGEST = 1000  # characters of a scaffold; RDKit writes much larger ones for minutes
WRITINGS = 64  # ways to write a scaffold to try


class Scaffold:
    """Substructures that every molecule contains: SMILES, optionally with ``*``, or SMARTS.

    With attachment points (``*``), molecules grow there only; otherwise wherever a hydrogen that
    the SMILES does not write out can be replaced. Stereocenters keep their hydrogen. Several parts,
    of one text or of several, are joined to a chain by linkers that the network draws. A SMARTS
    that is not the SMILES of a molecule without some hydrogens can only be checked. Can be pickled.
    """

    def __init__(
        self,
        texts: Sequence[str],
        vocabulary: Vocabulary,
        constraints: dict[str, int],
        limit: int,
        *,
        fill: bool = False,
    ) -> None:
        """``limit``: most symbols of a molecule. ``fill``: every ``*`` is a heavy atom.

        Raises:
            TargetError: a text is no substructure of a molecule, or the model cannot write it.
        """
        self.texts = tuple(dict.fromkeys(texts))
        self.constraints, self.fill = constraints, fill
        for text in self.texts:
            if len(text) > LONGEST:
                raise TargetError(
                    f"scaffold: '{text[:40]}…' has {len(text):,} characters, expected at most "
                    f"{LONGEST:,}"
                )
            chem.require_scaffold(text)
        if fill and not any(map(chem.has_points, self.texts)):
            raise TargetError(f"fill: {self} has no attachment point (*) to fill; add some")
        self._skeletons: list[Skeleton] = []
        parts = self._parts()
        with use_constraints(constraints):
            grammar = Grammar(vocabulary)
            of_parts = [self._written(part, grammar, linked=len(parts) > 1) for part in parts]
            if parts:
                every = of_parts[0] if len(parts) == 1 else self._chains(of_parts)
                self._skeletons = self._usable(every, vocabulary, limit)

    def __str__(self) -> str:
        return " and ".join(f"'{text}'" for text in self.texts)

    def _parts(self) -> list[str]:
        """SMILES of the parts to build, without texts that are contained in other parts."""
        parts: list[str] = []
        by_text = {text: chem.templates(text) for text in self.texts}
        for text, own in by_text.items():
            rest = [part for key, found in by_text.items() if key != text for part in found]
            mols = [mol for part in rest if (mol := chem.parse(part)) is not None]
            if not any(chem.contains(mol, text) for mol in mols):
                parts += own
        return parts

    def _written(self, part: str, grammar: Grammar, *, linked: bool) -> list[Skeleton]:
        """Skeletons of the ways to write a part."""
        skeletons = []
        for writing in chem.writings(part, WRITINGS, fill=self.fill, linked=linked):
            if (selfies := to_selfies(writing.smiles)) is not None:
                compiler = Compiler(split_selfies(selfies), writing.hydrogens, grammar)
                skeletons.append(compiler.skeleton())
        if not skeletons:
            raise TargetError(f"scaffold: '{part}' cannot be written as SELFIES")
        return skeletons

    def _chains(self, of_parts: list[list[Skeleton]]) -> list[Skeleton]:
        """Ways to write all parts as one chain, in any order."""
        shuffle, chains = random.Random(0), []
        last = len(of_parts) - 1
        orders = list(islice(permutations(of_parts), WRITINGS))
        for order in orders * -(-WRITINGS // len(orders)):
            fitting = [
                [
                    skeleton
                    for skeleton in part
                    if (skeleton.follows() if place else not skeleton.led)
                    and (place == last or skeleton.precedes(follows=place > 0))
                ]
                for place, part in enumerate(order)
            ]
            if all(fitting):
                chains.append(joined([shuffle.choice(part) for part in fitting]))
        if not chains:
            raise TargetError(
                f"scaffold: the parts of {self} cannot be joined in a chain; all but two of them "
                "need two attachment points (*) or more"
            )
        return chains

    def _usable(
        self, skeletons: list[Skeleton], vocabulary: Vocabulary, limit: int
    ) -> list[Skeleton]:
        known = [s for s in skeletons if not vocabulary.unknown(s.symbols)]
        if not known:
            lacking = min((vocabulary.unknown(s.symbols) for s in skeletons), key=len)
            raise TargetError(
                f"scaffold: {self} needs the tokens {', '.join(lacking)}, which the model "
                "does not have; choose another scaffold or model"
            )
        short = [s for s in known if len(s.symbols) <= limit]
        if not short:
            size = min(len(s.symbols) for s in known)
            raise TargetError(
                f"scaffold: {self} has {size} symbols, but molecules of this model have at "
                f"most {limit}; choose a smaller scaffold"
            )
        return short

    @property
    def notes(self) -> list[str]:
        """What a user should know about how the texts are read."""
        notes = []
        for text in self.texts:
            parts = chem.templates(text)
            if not parts:
                notes.append(
                    f"'{text}' is a pattern, not a molecule to build around: it is handled by "
                    "rejection sampling, which may take many tries"
                )
            elif parts != (text,) and "." not in text:
                notes.append(f"'{text}' is read as a SMARTS; molecules are built around {parts[0]}")
        return notes

    @property
    def grows(self) -> bool:
        """Whether molecules can be built around the scaffold; otherwise they are only checked."""
        return bool(self._skeletons)

    def holds(self, mol: chem.Mol) -> bool:
        """Whether a molecule contains every text, by `chem.contains`."""
        return all(chem.contains(mol, text, fill=self.fill) for text in self.texts)

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

    def drawn_tokens(self, never: NDArray[np.int64] | None) -> NDArray[np.bool_]:
        """Which tokens (V,) may be drawn: not these ids, unless the scaffold has them."""
        grammar = self._skeletons[0].grammar
        drawn = np.ones(len(grammar.symbols), dtype=np.bool_)
        drawn[[] if never is None else never] = False
        for skeleton in self._skeletons:
            drawn[[grammar.ids[symbol] for symbol in skeleton.symbols]] = True
        return drawn

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
    never: NDArray[np.int64] | None = None,
) -> list[str]:
    """SELFIES that contain the scaffold, one for each of the contexts and items (B,).

    Decodes ``particles`` molecules per context, at that many times the cost, and chooses one of
    those that contain the scaffold. ``limit`` is the most symbols, not above the scaffold's.
    Temperature 0 takes the most likely tokens and the largest weight. ``guidance`` and ``cutoff``
    are as in `decode_tokens`, the latter among the tokens that the scaffold allows. ``never`` are
    ids that come only where the scaffold has them or leaves no other.
    """
    device = context.request.device
    double = torch.float32 if device.type == "mps" else torch.float64
    ways = draws.uniform("skeleton", items, particles).reshape(-1)
    rows = [Row(skeleton, limit) for skeleton in scaffold.skeletons(ways)]
    parts = [draws.uniform("token", items, limit, epoch=k) for k in range(particles)]
    uniform = np.stack(parts, axis=1).reshape(len(rows), limit)
    weights = np.zeros(len(rows))  # log weights
    drawn_tokens = scaffold.drawn_tokens(never)
    repeated = torch.arange(len(items), device=device).repeat_interleave(particles)
    decoding = Steps(network, context.rows(repeated), guidance and guidance.rows(repeated))
    alive = np.arange(len(rows))
    token = torch.full((len(rows),), BOS, dtype=torch.long, device=device)
    for step in range(limit):
        logits = decoding(token)
        drawn = uniform[alive, step]
        _begin_skeletons(rows, alive, drawn, weights)
        choices = np.stack([rows[row].choices() for row in alive])
        drawable = choices & drawn_tokens
        choices = np.where(drawable.any(axis=1, keepdims=True), drawable, choices)
        mask = on_device(choices, device)
        # Temperature 0 scores tokens as temperature 1 does.
        scores = (logits.to(double) / (temperature or 1.0)).log_softmax(dim=-1)
        scores = scores.masked_fill(~mask, -torch.inf)
        sums = scores.logsumexp(dim=-1)
        if temperature == 0:
            token = scores.argmax(dim=-1)
        else:
            shares_drawn = torch.from_numpy(drawn).to(double).to(device)
            token = pick(scores.softmax(dim=-1), shares_drawn, cutoff)
        # Both at once: each read from a GPU waits for it.
        more, taken = torch.stack([sums, token.to(double)]).cpu().numpy()
        weights[alive] += more
        for row, symbol in zip(alive, taken.tolist(), strict=True):
            rows[row].take(int(symbol))
        keep = np.asarray([not rows[row].done for row in alive])
        if not keep.all():
            alive = alive[keep]
            if not len(alive):
                break
            left = on_device(keep, device)
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
