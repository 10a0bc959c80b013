"""Options about reading molecules, shared by prepare and train, and their configuration."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import click

from molvae.cli.options import PATH, list_option, listed, smiles_column_option
from molvae.errors import ConfigError

if TYPE_CHECKING:
    from molvae.config import Config

__all__ = ["configuration", "data_options"]

data_options = listed(
    click.option(
        "-p",
        "--property",
        "columns",
        multiple=True,
        metavar="NAME[=COLUMN]",
        help="Condition on this measured column too; it may have gaps (repeatable).",
    ),
    list_option(
        "--conditions",
        "Condition on these properties only; builtin stands for all built-in ones, and those of "
        "plugin packages are added by name (default: builtin and every -p; repeatable).",
    ),
    smiles_column_option,
    click.option(
        "--transform",
        "transforms",
        multiple=True,
        metavar="[NAME=]LOG[:UNIT]",
        help="Take the logarithm of a -p column; neglog10:nM turns IC50 into pIC50 (repeatable).",
    ),
    click.option(
        "--where",
        multiple=True,
        metavar="COLUMN=VALUE",
        help="Read only rows with this value; of one column any of several (repeatable).",
    ),
    click.option(
        "--relation",
        "relations",
        multiple=True,
        metavar="[NAME=]COLUMN",
        help="Column with the relation of a -p column's values: those not = are censored.",
    ),
    click.option(
        "--unit",
        "units",
        multiple=True,
        metavar="[NAME=]COLUMN",
        help="Column with the unit of a -p column's values, to convert them for --transform.",
    ),
    click.option(
        "--bad-labels",
        type=click.Choice(["error", "reject", "missing"]),
        help="Cells of a -p column that are no number, yes/no or gap: stop, reject the row, or "
        "treat them as missing (default: error).",
    ),
    click.option(
        "--censored",
        type=click.Choice(["missing", "limit"]),
        help="Values such as >10000: treat them as missing, or use the limit (default: missing).",
    ),
    click.option(
        "--standardize",
        type=click.Choice(["rdkit", "chembl", "none"]),
        help="Clean molecules as RDKit or as ChEMBL does, or not at all (default: rdkit).",
    ),
    click.option("--no-stereo", is_flag=True, help="Remove stereochemistry."),
    list_option("--elements", "Reject molecules with other elements (repeatable)."),
    click.option(
        "--min-heavy",
        type=int,
        metavar="N",
        help="Reject molecules with fewer heavy atoms (default: 3).",
    ),
    click.option(
        "--max-heavy",
        type=int,
        metavar="N",
        help="Reject molecules with more heavy atoms (default: 60).",
    ),
    click.option(
        "--max-tokens",
        type=int,
        metavar="N",
        help="Reject molecules with more SELFIES symbols (default: 120).",
    ),
    click.option(
        "--isotopes", is_flag=True, help="Keep molecules with isotope labels (default: reject)."
    ),
    click.option(
        "--no-charged", is_flag=True, help="Reject molecules that neutralization leaves charged."
    ),
    click.option(
        "--split",
        metavar="random|scaffold|COLUMN",
        help="Hold out molecules at random, by scaffold, or as a column says (default: random).",
    ),
    click.option(
        "--timeout",
        type=float,
        metavar="SECONDS",
        help="Time limit per molecule; slower ones are rejected (default: 20).",
    ),
    click.option(
        "--scheduler",
        metavar="ADDRESS",
        help="Prepare on the workers of this Dask scheduler, e.g. tcp://127.0.0.1:8786.",
    ),
    click.option(
        "--config", "config_file", type=PATH, metavar="FILE", help="Read settings from a TOML file."
    ),
    click.option(
        "--set",
        "settings",
        multiple=True,
        metavar="KEY=VALUE",
        help="Change one setting, e.g. train.batch_size=128 (repeatable).",
    ),
)


def _columns(texts: tuple[str, ...]) -> dict[str, str] | None:
    columns: dict[str, str] = {}
    for text in texts:
        name, _, column = text.partition("=")
        if name in columns:
            raise ConfigError(f"-p {name} is given twice")
        columns[name] = column or name
    return columns or None


def _named(
    option: str, texts: tuple[str, ...], columns: dict[str, str] | None
) -> Iterator[tuple[str, str]]:
    """(condition name, value) of texts NAME=VALUE; the name may be omitted for a single column."""
    given: dict[str, str] = {}
    for text in texts:
        name, sign, value = text.partition("=")
        if not sign or (option != "transform" and columns is not None and name not in columns):
            if columns is None or len(columns) != 1:
                raise ConfigError(
                    f"--{option} {text}: say for which -p column, as in --{option} NAME={text}"
                )
            name, value = next(iter(columns)), text
        if name in given:
            raise ConfigError(f"--{option} of {name} is given twice: {given[name]} and {value}")
        given[name] = value
        yield name, value


def _transforms(texts: tuple[str, ...], columns: dict[str, str] | None) -> dict[str, str] | None:
    from molvae.data.columns import parse_transform

    transforms = dict(_named("transform", texts, columns))
    for transform in transforms.values():
        parse_transform(transform)
    return transforms or None


def _where(texts: tuple[str, ...]) -> dict[str, list[str]] | None:
    """Column -> the values that its rows may have."""
    wanted: dict[str, list[str]] = {}
    for text in texts:
        column, sign, value = text.partition("=")
        if not sign or not column:
            raise ConfigError(f"--where '{text}': expected COLUMN=VALUE")
        wanted.setdefault(column, []).append(value)
    return wanted or None


def configuration(
    options: dict[str, Any], more: Mapping[str, Any], *, fine_tuning: bool = False
) -> Config:
    """The effective configuration from :func:`data_options`, and from ``more`` by dotted keys."""
    from molvae.config import load_config

    columns = _columns(options["columns"])
    return load_config(
        preset=options.get("preset"),
        file=options["config_file"],
        settings=options["settings"],
        overrides={
            "data.smiles_column": options["smiles_column"],
            "data.properties": columns,
            "data.conditions": options["conditions"],
            "data.transforms": _transforms(options["transforms"], columns),
            "data.where": _where(options["where"]),
            "data.relations": dict(_named("relation", options["relations"], columns)) or None,
            "data.units": dict(_named("unit", options["units"], columns)) or None,
            "data.bad_labels": options["bad_labels"],
            "data.censored": options["censored"],
            "data.max_tokens": options["max_tokens"],
            "data.split": options["split"],
            "data.timeout": options["timeout"],
            "data.cleaning.standardize": options["standardize"],
            "data.cleaning.stereo": False if options["no_stereo"] else None,
            "data.cleaning.elements": options["elements"],
            "data.cleaning.min_heavy_atoms": options["min_heavy"],
            "data.cleaning.max_heavy_atoms": options["max_heavy"],
            "data.cleaning.isotopes": True if options["isotopes"] else None,
            "data.cleaning.charged": False if options["no_charged"] else None,
            **more,
        },
        fine_tuning=fine_tuning,
    )
