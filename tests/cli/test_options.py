"""An option that is given twice adds up or is an error; the first value is never lost."""

import csv

import click
import pytest
from click.testing import CliRunner
from rdkit import Chem
from rdkit.Chem import FilterCatalog

from molvae.cli import main

REQUIRED = {
    "prepare": "in.csv -o out", "train": "in.csv -o out", "generate": "-n 3 -o out.csv",
    "encode": "in.csv -o out.npy", "decode": "z.npy -o out.csv", "evaluate": "in.csv",
    "interpolate": "CCO CCN -o out.csv", "info": "", "fetch": "zinc250k", "merge": "a b -o out",
    "optimize": "--objective qed --budget 3 -o out.csv", "predict": "in.csv -o out.csv",
    "app": "",
}  # fmt: skip


def value_of(option, place):
    """Two values of an option that its type accepts."""
    if isinstance(option.type, click.Choice):
        return option.type.choices[place % len(option.type.choices)]
    return str(place + 1)


OPTIONS = [
    pytest.param(verb, option, id=f"{verb} {option.opts[-1]}")
    for verb, command in main.commands.items()
    for option in command.params
    if isinstance(option, click.Option)
]


@pytest.mark.parametrize(("verb", "option"), OPTIONS)
def test_an_option_given_twice_adds_up_or_is_an_error(verb, option):
    command = main.commands[verb]
    name = option.opts[-1]
    first, second = (
        [name] if option.is_flag else [name, value_of(option, place)] for place in range(2)
    )
    if option.secondary_opts:
        second = [option.secondary_opts[0]]
    words = [*REQUIRED[verb].split(), *first, *second]
    context = click.Context(command, info_name=verb)
    if option.multiple:
        command.parse_args(context, words)
        assert {"1", "2"} <= {str(value) for value in context.params[option.name]}
    elif option.is_flag and not option.secondary_opts:
        command.parse_args(context, words)  # twice the same
        assert context.params[option.name] is True
    else:
        if name in REQUIRED[verb] or option.opts[0] in REQUIRED[verb].split():
            words = [*REQUIRED[verb].split(), *first]
        with pytest.raises(click.UsageError, match=f"{name}.* is given 2 times, expected once"):
            command.parse_args(context, words)


def test_lists_with_commas_and_several_options_are_one_list():
    command = main.commands["generate"]
    context = click.Context(command)
    line = "-n 1 -o x.csv --alerts brenk,nih --alerts zinc,brenk"
    command.parse_args(context, line.split())
    assert context.params["alerts"] == ("brenk", "nih", "zinc")


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("prepare a -o out --set data.timeout=3 --set data.timeout=4", ["data.timeout", "3", "4"]),
        ("prepare a -o out -p y --transform log10 --transform y=neglog10:nM", ["transform of y"]),
        ("prepare a -o out -p y -p y=z", ["-p y"]),
        ("generate -n 2 -o x.csv -t logp=1 -t logp=2", ["'logp' is asked for twice"]),
        ("generate -n 2 -o x.csv --seed 1 --seed 2", ["--seed is given 2 times"]),
        ("generate -n 2 -n 3 -o x.csv", ["-n/--number is given 2 times"]),
        ("generate -n 2 -o x.csv --walk --no-walk", ["--walk/--no-walk is given 2 times"]),
    ],
)
def test_what_cannot_add_up_is_named(line, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(main, line.split())
    assert done.exit_code == 2
    assert all(word in done.stderr for word in words)


def test_both_catalogs_and_both_substructures_hold(tiny_run, tmp_path):
    output = tmp_path / "out.csv"
    line = (
        f"generate -m {tiny_run} -n 8 -o {output} --alerts brenk --alerts zinc --workers 1 "
        "--scaffold c1ccccc1 --scaffold CC(=O)N"
    )
    done = CliRunner().invoke(main, line.split(), catch_exceptions=False)
    assert done.exit_code == 0, done.stderr
    assert "of the candidates contain the scaffold" in done.stdout
    catalogs = FilterCatalog.FilterCatalogParams.FilterCatalogs
    chosen = FilterCatalog.FilterCatalogParams()
    chosen.AddCatalog(catalogs.BRENK)
    chosen.AddCatalog(catalogs.ZINC)
    catalog = FilterCatalog.FilterCatalog(chosen)
    phenyl, amide = map(Chem.MolFromSmarts, ("c1ccccc1", "[#6]C(=O)[#7]"))
    with output.open() as file:
        mols = [Chem.MolFromSmiles(row["smiles"]) for row in csv.DictReader(file)]
    assert len(mols) == 8
    for mol in mols:
        assert mol.HasSubstructMatch(phenyl)
        assert mol.HasSubstructMatch(amide)
        assert not catalog.HasMatch(mol)


@pytest.mark.parametrize("verb", ["generate -n 2", "optimize --objective qed --budget 5"])
def test_an_impossible_scaffold_is_an_error_before_any_work(verb, tiny_run, tmp_path):
    line = f"{verb} -m {tiny_run} -o {tmp_path}/out.csv --scaffold *=Cc1ccccc1"
    done = CliRunner().invoke(main, line.split(), catch_exceptions=False)
    assert done.exit_code == 2
    assert "multiple bond" in done.stderr
    assert list(tmp_path.iterdir()) == []
