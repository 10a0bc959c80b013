"""Padding, the folder on disk, and the plan of batches."""

import gzip
import json
import shutil

import numpy as np
import pytest

from molvae.chem.vocabulary import BOS, EOS, PAD, Vocabulary, read_vocabulary
from molvae.data.dataset import Dataset, batch_plan, check_shares, pad_tokens, steps_per_epoch
from molvae.errors import ConfigError, FileError
from molvae.runtime.randomness import Draws


def plan(n=1000, batch_size=8, seed=0, epoch=0):
    lengths = np.random.default_rng(1).integers(5, 60, n)
    items = np.arange(n, dtype=np.int64) * 3 + 7  # item numbers need not start at 0
    return items, lengths, batch_plan(items, lengths, batch_size, Draws(seed), epoch=epoch)


def same(a, b):
    return len(a) == len(b) and all(np.array_equal(x, y) for x, y in zip(a, b, strict=True))


def test_padding_puts_start_end_and_fill_where_they_belong():
    inputs, targets, lengths = pad_tokens([np.array([5, 6, 7]), np.array([8])])
    assert inputs.tolist() == [[BOS, 5, 6, 7], [BOS, 8, PAD, PAD]]
    assert targets.tolist() == [[5, 6, 7, EOS], [8, EOS, PAD, PAD]]
    assert lengths.tolist() == [4, 2]


def test_every_molecule_is_in_one_batch_of_the_epoch():
    items, _, batches = plan()
    assert sorted(np.concatenate(batches)) == items.tolist()
    assert sum(len(batch) < 8 for batch in batches) <= 1


def test_the_plan_is_a_function_of_seed_and_epoch():
    first = plan()[2]
    assert same(first, plan()[2])
    assert not same(first, plan(seed=1)[2])
    assert not same(first, plan(epoch=1)[2])


def test_molecules_of_a_batch_are_of_similar_length():
    items, lengths, batches = plan()
    by_item = dict(zip(items.tolist(), lengths.tolist(), strict=True))
    spans = [np.ptp([by_item[i] for i in batch.tolist()]) for batch in batches]
    assert np.mean(spans) < np.ptp(lengths) / 10


def test_batches_of_an_epoch_do_not_come_sorted_by_length():
    items, lengths, batches = plan()
    by_item = dict(zip(items.tolist(), lengths.tolist(), strict=True))
    means = [np.mean([by_item[i] for i in batch.tolist()]) for batch in batches]
    assert abs(np.corrcoef(means, np.arange(len(means)))[0, 1]) < 0.5


def test_parts_share_out_the_molecules(tiny_dataset):
    dataset = Dataset(tiny_dataset)
    parts = [dataset.part(name) for name in ("train", "valid", "test")]
    assert sorted(np.concatenate(parts)) == list(range(len(dataset)))
    assert all(len(part) for part in parts)


def test_a_batch_holds_the_molecules_it_was_asked_for(tiny_dataset):
    dataset = Dataset(tiny_dataset)
    items = np.array([7, 0, 19])
    batch = dataset.batch(items)
    for row, item in enumerate(items):
        assert batch.targets[row, : batch.lengths[row] - 1].tolist() == dataset.ids(item).tolist()
    assert np.array_equal(batch.lengths, dataset.lengths(items) + 1)
    assert batch.values.shape == (3, len(dataset.names))


def test_stored_tokens_decode_to_the_stored_smiles(tiny_dataset):
    import pandas as pd

    from molvae.chem import canonical_smiles

    dataset = Dataset(tiny_dataset)
    table = pd.read_csv(tiny_dataset / "molecules.csv.gz")
    for item in range(0, len(dataset), 10):
        smiles = dataset.vocabulary.decode(dataset.ids(item).tolist())
        assert canonical_smiles(smiles) == table["smiles"][item]


def damaged(source, target, name, change):
    shutil.copytree(source, target)
    change(target / name)
    return target


def shorten(path):
    path.write_bytes(path.read_bytes()[:-8])


def drop_schema(path):
    path.write_text(json.dumps({**json.loads(path.read_text()), "schema": 99}))


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("tokens.bin", shorten, "damaged"),
        ("offsets.npy", shorten, "damaged"),
        ("properties.npy", lambda path: path.unlink(), "damaged"),
        ("vocab.json", lambda path: path.write_text("{}"), "vocab"),
        ("manifest.json", lambda path: path.write_text("{"), "manifest.json"),
        ("manifest.json", lambda path: path.write_text('{"schema": 1}'), "manifest.json"),
        ("manifest.json", drop_schema, "99"),
        ("manifest.json", lambda path: path.unlink(), "dataset folder"),
    ],
)
def test_a_damaged_folder_is_a_clear_error(tiny_dataset, tmp_path, name, change, message):
    folder = damaged(tiny_dataset, tmp_path / "ds", name, change)
    with pytest.raises(FileError, match=message):
        Dataset(folder)


def test_a_vocabulary_file_keeps_order_and_limits(tiny_dataset):
    vocabulary, limits = read_vocabulary(tiny_dataset / "vocab.json")
    stored = json.loads((tiny_dataset / "vocab.json").read_text())
    assert list(vocabulary.tokens) == stored["tokens"]
    assert limits == stored["constraints"]


@pytest.mark.parametrize(("molecules", "sizes"), [(17, [8, 9]), (18, [2, 8, 8]), (1, [1])])
def test_a_small_last_batch_joins_the_one_before(molecules, sizes):
    items, lengths = np.arange(molecules), np.full(molecules, 9)
    batches = batch_plan(items, lengths, 8, Draws(0), epoch=0)
    assert sorted(map(len, batches)) == sizes
    assert len(batches) == steps_per_epoch(molecules, 8)
    assert sorted(np.concatenate(batches)) == items.tolist()


@pytest.mark.parametrize(("molecules", "batch_size"), [(3, 16), (100, 15)])
def test_more_processes_than_molecules_of_a_batch_are_refused(molecules, batch_size):
    with pytest.raises(ConfigError, match="processes"):
        check_shares(molecules, batch_size, 4)
    check_shares(molecules, batch_size, 1)
    check_shares(100, 16, 4)


def test_ids_of_another_vocabulary(tiny_dataset):
    dataset, translated = Dataset(tiny_dataset), Dataset(tiny_dataset)
    other = Vocabulary([*dataset.vocabulary.tokens[:3], "[Po]", *dataset.vocabulary.tokens[:2:-1]])
    translated.translate(other)
    items = np.arange(20)
    for row, again in zip(
        dataset.batch(items).targets, translated.batch(items).targets, strict=True
    ):
        assert dataset.vocabulary.selfies(row.tolist()) == other.selfies(again.tolist())
    assert translated.vocabulary is other


def test_an_epoch_is_taken_up_in_the_middle_by_index():
    _, _, first = plan(epoch=3)
    _, _, again = plan(epoch=3)
    assert same(first[40:], again[40:])


def test_smiles_are_those_of_the_molecules(tiny_dataset, tmp_path):
    dataset = Dataset(tiny_dataset)
    items = np.asarray([0, 7, 299])
    for item, text in zip(items, dataset.smiles(items), strict=True):
        assert dataset.vocabulary.encode(text).tolist() == dataset.ids(item).tolist()
    folder = shutil.copytree(tiny_dataset, tmp_path / "ds")
    with gzip.open(folder / "molecules.csv.gz", "rt") as handle:
        rows = handle.read().splitlines(keepends=True)
    with gzip.open(folder / "molecules.csv.gz", "wt") as handle:
        handle.writelines(rows[:-1])
    with pytest.raises(FileError, match=r"molecules\.csv\.gz.*prepare the data again"):
        Dataset(folder).smiles(items)
    (folder / "molecules.csv.gz").unlink()
    with pytest.raises(FileError, match=r"molecules\.csv\.gz"):
        Dataset(folder).smiles(items)
