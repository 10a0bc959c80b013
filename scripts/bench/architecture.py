"""Questions about the model, each answered by runs that differ in one thing.

Every run sees the same molecules in the same order on the same number of steps, in a process of
its own with one thread; ``--jobs`` of them side by side. What is finished is not run again. A
Markdown table of held-out figures goes to standard output; "logP shown" and "all shown" are the
nats by which D(1) falls when that condition, or all of them, are shown.

    molvae prepare moses_train.csv.gz -o moses.ds \
        --set data.valid_fraction=0.01 --set data.test_fraction=0.01
    python scripts/bench/architecture.py moses.ds -o runs/architecture --jobs 2
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from rdkit import Chem
from torch import Tensor, nn
from torch.nn import functional

from molvae import checkpoint, chem
from molvae import noise as noise_room
from molvae import train as train_room
from molvae.config import Config, ModelConfig, TrainConfig, load_config
from molvae.dataset import Dataset, pad_tokens
from molvae.diagnostics.base import batches
from molvae.errors import MolvaeError
from molvae.files import write_json
from molvae.loss import reconstruction
from molvae.model import CVAE, Decoding, Posterior
from molvae.recurrent import GRU, compute_dtype, full_precision, recurrence
from molvae.runs import read_record
from molvae.runtime import Draws
from molvae.tokens import Vocabulary
from molvae.train import start as start_room
from molvae.train import train

COMMON = (
    "train.validations=4", "train.patience=4", "train.valid_molecules=2048",
    "train.learning_rate=6e-3",
)  # fmt: skip

GAINS = "gains.json"
FEW = 0.6  # share of molecules that show one to three conditions

# name: (variant of the network, settings beside COMMON)
RUNS: dict[str, tuple[str, tuple[str, ...]]] = {
    "baseline": ("plain", ()),
    "baseline seed 1": ("plain", ("train.seed=1",)),
    "baseline seed 2": ("plain", ("train.seed=2",)),
    # what stands between state and token
    "no readout": ("plain", ("model.tally_size=0", "model.forecast_rank=0")),
    "attention without sums": ("no sums", ()),
    "readout of 128 sums, width 512, no attention": (
        "plain", ("model.tally_size=128", "model.readout_size=512", "model.attention_size=0"),
    ),
    "no attention": ("plain", ("model.attention_size=0",)),
    "attention: 1 head of 64": (
        "plain", ("model.attention_size=64", "model.attention_heads=1"),
    ),
    "attention: 4 heads of 32": ("plain", ("model.attention_heads=4",)),
    "attention: 4 heads of 64": (
        "plain", ("model.attention_size=256", "model.attention_heads=4"),
    ),
    "no forecast": ("plain", ("model.forecast_rank=0",)),
    "forecast weight .3": ("plain", ("train.forecast_weight=0.3",)),
    "forecast weight 3": ("plain", ("train.forecast_weight=3",)),
    "forecast of rank 16": ("plain", ("model.forecast_rank=16",)),
    # how the context enters
    "context at the gates": ("gates", ()),
    "no modulation": ("plain", ("model.modulation=false",)),
    "context not at the readout": ("blind", ()),
    "context in the first state only": ("first", ()),
    # the encoder
    "encoder sums its states": ("pool", ()),
    "encoder 384": ("plain", ("model.encoder_size=384",)),
    "latent 128": ("plain", ("model.latent_size=128",)),
    "tied embedding": ("tied", ()),
    # sizes of the decoder
    "decoder 2 x 384": ("plain", ("model.decoder_size=384", "model.decoder_layers=2")),
    "decoder 3 x 320": ("plain", ("model.decoder_size=320", "model.decoder_layers=3")),
    "decoder 1 x 768": ("plain", ("model.decoder_size=768",)),
    "decoder 1 x 384": ("plain", ("model.decoder_size=384",)),
    # optimisation
    "AdamW, rate 3e-3": ("plain", ("train.optimizer=adamw", "train.learning_rate=3e-3")),
    "rate 3e-3": ("plain", ("train.learning_rate=3e-3",)),
    "rate 1e-2": ("plain", ("train.learning_rate=1e-2",)),
    "batch 128": ("plain", ("train.batch_size=128",)),
    "batch 512": ("plain", ("train.batch_size=512",)),
    "batch 512, rate 1e-2": ("plain", ("train.batch_size=512", "train.learning_rate=1e-2")),
    "clip 5": ("plain", ("train.clip=5",)),
    # which noise levels
    "t: .2 prior, .6 exact": ("plain", ("train.prior_share=0.2", "train.exact_share=0.6")),
    "t: .4 prior, .6 exact": ("plain", ("train.prior_share=0.4", "train.exact_share=0.6")),
    "t: .4 prior, 0 exact": ("plain", ("train.prior_share=0.4", "train.exact_share=0")),
    "t: .6 prior, .3 exact": ("plain", ("train.prior_share=0.6", "train.exact_share=0.3")),
    # rate
    "KL weight .02": ("plain", ("train.kl_weight=0.02",)),
    "KL weight .1": ("plain", ("train.kl_weight=0.1",)),
    "KL weight .2": ("plain", ("train.kl_weight=0.2",)),
    "KL warm-up .8": ("plain", ("train.kl_warm_up=0.8",)),
    "D(0) held at 1": ("plain", ("train.distortion_target=1.0",)),
    # conditions
    "few conditions shown": ("few", ()),
    "always conditions": ("plain", ("train.unconditioned_share=0.02",)),
    # other SELFIES of the same molecule, made from random SMILES
    "encoder reads random SELFIES": ("hetero", ()),
    "random SELFIES in and out": ("random", ()),
    # regularisation and head
    "word dropout .1": ("plain", ("train.word_dropout=0.1",)),
    "dropout .1": ("plain", ("model.dropout=0.1",)),
    "head weight 0": ("plain", ("train.head_weight=0",)),
    "head weight 1": ("plain", ("train.head_weight=1",)),
}  # fmt: skip


# -- variants -----------------------------------------------------------------------------------


class Again:
    """Decoding for variants: the whole prefix is decoded again at every step."""

    def __init__(self, network: CVAE, context: Tensor) -> None:
        self.network, self.context = network, context
        self.tokens = torch.empty(len(context), 0, dtype=torch.long)

    def __call__(self, tokens: Tensor) -> Tensor:
        """Logits (B, V) of the token after these, (B,)."""
        self.tokens = torch.cat([self.tokens, tokens.unsqueeze(1)], dim=1)
        return full_precision(self.network.decode(self.tokens, self.context)[:, -1])

    def keep(self, rows: Tensor) -> None:
        """Go on with these molecules only."""
        self.tokens, self.context = self.tokens[rows], self.context[rows]


class Variant(CVAE):
    """Another decoder, which may be slow at generating."""

    def decoding(self, context: Tensor) -> Decoding:
        """As the parent's."""
        return cast("Decoding", Again(self, context))


class Gates(Variant):
    """The context has weights of its own at every gate.

    The same function as the context concatenated to the input of every step, without its cost.
    """

    def __init__(self, config: ModelConfig, vocabulary_size: int, condition_count: int) -> None:
        super().__init__(config, vocabulary_size, condition_count)
        self.shift = nn.ModuleList(
            nn.Linear(config.context_size, 3 * config.decoder_size)
            for _ in range(config.decoder_layers)
        )

    def states(self, inputs: Tensor, context: Tensor) -> Tensor:
        """As the parent's."""
        states, offsets = self.initial_state(context), self.shifts(context)
        tokens: Tensor | None = inputs.t().contiguous()
        x = self.embedding.weight
        for layer, gru in enumerate(cast("list[GRU]", list(self.decoder))):
            given = functional.linear(x, gru.weight_ih_l0, gru.bias_ih_l0)
            dtype = compute_dtype(given)
            x = recurrence(
                given.to(dtype), tokens, offsets[layer].to(dtype), states[layer].to(dtype),
                gru.weight_hh_l0.to(dtype), gru.bias_hh_l0.to(dtype),
            )  # fmt: skip
            tokens = None
        return x.transpose(0, 1)


class Blind(Variant):
    """The readout does not see the context: conditions enter through the forecast alone."""

    def __init__(self, config: ModelConfig, vocabulary_size: int, condition_count: int) -> None:
        super().__init__(config, vocabulary_size, condition_count)
        assert self.readout is not None
        nn.init.zeros_(self.readout.from_context.weight).requires_grad_(False)


class First(Variant):
    """The context sets the first states of the recurrent layers and nothing else there."""

    def shifts(self, context: Tensor) -> list[Tensor]:
        """Nothing at any step."""
        return [0.0 * shift for shift in super().shifts(context)]


class NoSums(Variant):
    """The memory has no sums: what it holds in their place is zero."""

    def __init__(self, config: ModelConfig, vocabulary_size: int, condition_count: int) -> None:
        super().__init__(config, vocabulary_size, condition_count)
        assert self.memory is not None
        for parameter in self.memory.tally.parameters():
            nn.init.zeros_(parameter).requires_grad_(False)


class Pool(CVAE):
    """The posterior is read off the encoder's last states and a sum over all of them."""

    def __init__(self, config: ModelConfig, vocabulary_size: int, condition_count: int) -> None:
        super().__init__(config, vocabulary_size, condition_count)
        size = 2 * config.encoder_size
        self.added = nn.Linear(size, 128)
        self.posterior: nn.Module = nn.Sequential(  # type: ignore[assignment]
            nn.Linear(size + 128, 256), nn.SiLU(), nn.Linear(256, 2 * config.latent_size)
        )

    def encode(self, targets: Tensor, lengths: Tensor) -> Posterior:
        """As the parent's."""
        rows, position = torch.arange(len(targets)), torch.arange(targets.shape[1])
        last = lengths - 1
        mirror = (last.unsqueeze(1) - position).clamp(min=0)
        table = self.embedding.weight
        start = table.new_zeros(len(targets), self.config.encoder_size)
        ahead = self.encoder_forward.over_tokens(targets, table, start)
        behind = self.encoder_backward.over_tokens(targets.gather(1, mirror), table, start)
        ends = full_precision(torch.cat([ahead[rows, last], behind[rows, last]], dim=-1))
        aligned = behind.gather(1, mirror.unsqueeze(-1).expand_as(behind))
        each = full_precision(functional.silu(self.added(torch.cat([ahead, aligned], dim=-1))))
        inside = (position < lengths.unsqueeze(1)).unsqueeze(-1)
        total = (each * inside).sum(dim=1) / 20
        found = self.posterior(torch.cat([ends, total], dim=-1))
        mean, log_var = full_precision(found).chunk(2, dim=-1)
        return Posterior(mean, log_var.clamp(-12.0, 6.0))


class Tied(Variant):
    """The output's weights are the embedding (Press & Wolf 2017) of projected states."""

    def __init__(self, config: ModelConfig, vocabulary_size: int, condition_count: int) -> None:
        super().__init__(config, vocabulary_size, condition_count)
        last = nn.Linear(config.embedding_size, vocabulary_size)
        last.weight = self.embedding.weight
        self.output: nn.Module = nn.Sequential(  # type: ignore[assignment]
            nn.Linear(config.decoder_size, config.embedding_size), last
        )

    def state_dict(self, *args: Any, **options: Any) -> Any:
        """As the parent's; a file of weights holds nothing twice."""
        return {k: v.clone() for k, v in super().state_dict(*args, **options).items()}


class Hetero(CVAE):
    """In training the encoder reads another SELFIES than the decoder writes."""

    def encode(self, targets: Tensor, lengths: Tensor) -> Posterior:
        """As the parent's."""
        if self.training:
            ids = [row[: n - 1].tolist() for row, n in zip(targets, lengths, strict=True)]
            rows = [np.asarray(random_ids(each), dtype=np.int64) for each in ids]
            _, padded, sizes = pad_tokens(rows)
            targets, lengths = torch.from_numpy(padded), torch.from_numpy(sizes)
        return super().encode(targets, lengths)


VARIANTS: dict[str, type[CVAE]] = {
    "plain": CVAE, "gates": Gates, "blind": Blind, "first": First, "pool": Pool,
    "no sums": NoSums, "tied": Tied,
    "hetero": Hetero, "random": CVAE, "few": CVAE,
}  # fmt: skip


def few_shown(
    items: NDArray[np.int64], count: int, options: TrainConfig, draws: Draws, *, epoch: int
) -> NDArray[np.bool_]:
    """As :func:`molvae.noise.shown`, but most molecules show one to three conditions."""
    u = draws.uniform("shown", items, count + 3, epoch=epoch)
    ranks = u[:, 3:].argsort(axis=1).argsort(axis=1)
    few = ranks < 1 + (3 * u[:, 1:2]).astype(np.int64)
    shown = np.where(u[:, 2:3] < FEW, few, u[:, 3:] < u[:, 1:2])
    return (u[:, :1] >= options.unconditioned_share) & shown


# The vocabulary of the dataset, set before training starts.
words: list[Vocabulary] = []
chance = random.Random(0)


def random_ids(ids: list[int]) -> list[int]:
    """The tokens of a molecule written down from another atom; as they are if new ones appear."""
    molecule = chem.parse(words[0].decode(ids))
    if molecule is None:
        return ids
    order = list(range(molecule.GetNumAtoms()))
    chance.shuffle(order)
    smiles = Chem.MolToSmiles(Chem.RenumberAtoms(molecule, order), canonical=False)
    try:
        return [int(i) for i in words[0].encode(smiles)]
    except MolvaeError:
        return ids


class RandomDataset(Dataset):
    """Training molecules come as random SELFIES, others as they are."""

    def ids(self, item: int) -> NDArray[np.int64]:
        """As the parent's."""
        found = super().ids(item)
        if self.split[item] != 0:
            return found
        return np.asarray(random_ids(found.tolist()), dtype=np.int64)


# -- runs ---------------------------------------------------------------------------------------


def folder_of(root: Path, name: str) -> Path:
    """Where a run lies."""
    return root / "".join(c if c.isalnum() or c == "." else "_" for c in name)


def log_of(root: Path, name: str) -> Path:
    """What a run printed."""
    folder = folder_of(root, name)
    return folder.with_name(f"{folder.name}.log")


def run_one(dataset: Path, root: Path, name: str, epochs: float) -> None:
    """Train one run to its end, here."""
    variant, settings = RUNS[name]
    # Networks are made by these names; weights of variants are of no use elsewhere.
    for module in (start_room, checkpoint):
        vars(module)["CVAE"] = VARIANTS[variant]
    words.append(Dataset(dataset).vocabulary)
    if variant == "random":
        vars(train_room)["Dataset"] = RandomDataset
    if variant == "few":
        vars(noise_room)["shown"] = few_shown
    config: Config = load_config(settings=(*COMMON, *settings), overrides={"train.epochs": epochs})
    train([dataset], folder_of(root, name), config, resume=True)
    gains = condition_gains(checkpoint.load_model(folder_of(root, name)), Dataset(dataset))
    write_json(folder_of(root, name) / GAINS, gains)


@torch.no_grad()
def condition_gains(model: checkpoint.SavedModel, dataset: Dataset) -> dict[str, float]:
    """Nats by which D(1) of held-out molecules falls when a condition is shown, or all are."""
    network, names = model.network.eval(), model.conditions.names
    columns = [dataset.names.index(name) for name in names]
    shown: dict[str, list[int]] = {"none": [], "all": list(range(len(names)))}
    shown |= {name: [k] for k, name in enumerate(names)}
    total = dict.fromkeys(shown, 0.0)
    items = dataset.part("valid")[:2048]
    for _, batch in batches(dataset, items):
        inputs, targets, lengths = map(
            torch.from_numpy, (batch.inputs, batch.targets, batch.lengths)
        )
        values = torch.from_numpy(model.conditions.standardize(batch.values[:, columns])[0])
        z, t = torch.zeros(len(values), network.config.latent_size), torch.ones(len(values))
        for name, which in shown.items():
            mask = torch.zeros_like(values)
            mask[:, which] = 1
            logits = network.decode(inputs, network.make_context(z, t, values, mask))
            total[name] += reconstruction(logits, targets, lengths).sum().item() / len(items)
    return {name: total["none"] - nats for name, nats in total.items() if name != "none"}


def start(dataset: Path, root: Path, name: str, epochs: float) -> None:
    """Train one run in a process of its own; its output goes into a file."""
    with open(log_of(root, name), "a", encoding="utf-8") as log:
        done = subprocess.run(
            [sys.executable, __file__, str(dataset), "-o", str(root), "--epochs", str(epochs),
             "--one", name],
            env={**os.environ, "OMP_NUM_THREADS": "1"}, stdout=log, stderr=log, check=False,
        )  # fmt: skip
    if done.returncode:
        sys.stderr.write(f"{name}: failed, see '{log_of(root, name)}'\n")


def last_record(folder: Path) -> dict[str, Any] | None:
    """The last validation of a finished run."""
    path = folder / "metrics.jsonl"
    if not path.is_file():
        return None
    lines = path.read_text(encoding="utf-8").splitlines()
    records = [record for line in lines if (record := read_record(line))]
    if not any(record["kind"] == "final" for record in records) or not (folder / GAINS).exists():
        return None
    return dict([r for r in records if r["kind"] in ("validation", "final")][-1])


def table(root: Path, names: list[str]) -> list[str]:
    """The finished runs as Markdown."""
    lines = [
        "| run | molecules | D(0) | D(½) | D(1) | R(0) | gap | exact | logP shown | all shown "
        "| molecules/s |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for name in names:
        record = last_record(folder_of(root, name))
        if record is None:
            continue
        d = record["D"]
        gains = json.loads((folder_of(root, name) / GAINS).read_text(encoding="utf-8"))
        lines.append(
            f"| {name} | {record['molecules']:,} | {d['0']:.2f} | {d['0.5']:.2f} | {d['1']:.2f} "
            f"| {record['R']['0']:.1f} | {record['gap']:.1f} | {record['exact']['value']:.3f} "
            f"| {gains['logp']:.2f} | {gains['all']:.2f} | {record['molecules_per_second']:.0f} |"
        )
    return lines


def main() -> None:
    """Run what is missing, print what there is."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--epochs", type=float, default=0.4, help="of the dataset, per run")
    parser.add_argument("--jobs", type=int, default=1, help="runs side by side, one thread each")
    parser.add_argument("--only", action="append", choices=list(RUNS), metavar="NAME")
    parser.add_argument("--one", choices=list(RUNS), help=argparse.SUPPRESS)
    parser.add_argument("--minutes", type=float, help="begin no run later; 0 prints only")
    given = parser.parse_args()
    given.output.mkdir(parents=True, exist_ok=True)
    if given.one:
        run_one(given.dataset, given.output, given.one, given.epochs)
        return
    names = given.only or list(RUNS)
    end = float("inf") if given.minutes is None else time.monotonic() + 60 * given.minutes

    def work(name: str) -> None:
        if time.monotonic() < end and last_record(folder_of(given.output, name)) is None:
            start(given.dataset, given.output, name, given.epochs)

    with ThreadPoolExecutor(given.jobs) as pool:
        list(pool.map(work, names))
    sys.stdout.write("\n".join(table(given.output, names)) + "\n")


if __name__ == "__main__":
    main()
