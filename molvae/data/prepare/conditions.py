"""Which conditions a dataset holds, and names that a user's column cannot have."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from molvae.chem.properties import BUILTIN, PROPERTIES, TAKEN, get_property
from molvae.config import DataConfig
from molvae.data.columns import is_name
from molvae.errors import PropertyError
from molvae.targets import DISTANCE

__all__ = ["condition_names", "expand_conditions"]

EVERY_BUILTIN = "builtin"  # stands for all of them in a list of conditions
# Their endings, where they say more about another condition: distance to a target, prediction.
ENDINGS = (
    DISTANCE, "_predicted", "_low", "_high", "_mean", "_sd", "_nearest", "_similarity",
    "_nearest_value", "_inside",
)  # fmt: skip


def expand_conditions(names: Sequence[str] | None) -> list[str] | None:
    """The names of ``--conditions``, where ``builtin`` stands for all built-in properties."""
    if names is None:
        return None
    return [n for name in names for n in (BUILTIN if name == EVERY_BUILTIN else [name])]


def condition_names(config: DataConfig) -> tuple[list[str], list[str]]:
    """(built-in names, user names) a dataset of this configuration holds; clashes are errors."""
    for name in config.properties:
        if not is_name(name):
            raise PropertyError(
                f"{name!r} cannot be the name of a condition (printable, without '=', no space "
                "at its ends, at most 200 characters); give your column another: -p NAME=COLUMN"
            )
        written = [f"{other}{ending}" for other in config.properties for ending in ENDINGS]
        if name == EVERY_BUILTIN:
            raise PropertyError(
                f"'{name}' stands for the built-in properties in --conditions; give your column "
                f"another name: -p {shlex.quote(f'my_{name}={config.properties[name]}')}"
            )
        if name in TAKEN or name in written or name.endswith(DISTANCE):
            raise PropertyError(
                f"'{name}' is a column that molvae writes; give your column another name: "
                f"-p {shlex.quote(f'my_{name}={config.properties[name]}')}"
            )
        if name in PROPERTIES:
            raise PropertyError(
                f"'{name}' is a {'built-in property' if name in BUILTIN else 'plugin property'}; "
                "give your column another name: "
                f"-p {shlex.quote(f'my_{name}={config.properties[name]}')}"
            )
    wanted = expand_conditions(config.conditions)
    wanted = [*BUILTIN, *config.properties] if wanted is None else wanted
    if len(set(wanted)) != len(wanted):
        raise PropertyError(f"conditions: a name appears twice in {list(wanted)}")
    if left_out := [name for name in config.properties if name not in wanted]:
        raise PropertyError(
            f"column '{left_out[0]}' is not among the conditions {list(wanted)}; "
            "add it there, or leave out its -p"
        )
    builtin = [name for name in wanted if name not in config.properties]
    for name in builtin:
        get_property(name)
    return builtin, list(config.properties)
