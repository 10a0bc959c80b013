"""Molecular properties: name → meaning, unit, typical range, function.

To the built-in ones, installed packages add theirs under the entry point ``molvae.properties``.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from rdkit.Chem import rdMolDescriptors

from molvae.chem.fast_scores import Facts, npscore, qed, sas
from molvae.chem.molecules import Mol, has_radical, parse, to_smiles
from molvae.chem.selfies import from_selfies, selfies_of, use_constraints
from molvae.errors import PropertyError, suggest
from molvae.runtime.plugins import load_plugin, plugin_names, plugin_package

__all__ = [
    "BUILTIN",
    "PROPERTIES",
    "Measured",
    "Property",
    "ScreenResult",
    "compute",
    "get_property",
    "measure_selfies",
    "property_versions",
    "require_no_property",
]

# Columns that molvae writes in addition to those of properties.
TAKEN = frozenset({"smiles", "start", "similarity", "nll"})


@dataclass(frozen=True)
class Property:
    """A number that is computed from a molecule.

    ``low`` and ``high`` bound what is usual for drug-like molecules; they are for axes and hints,
    never a limit. ``integer`` marks counts. ``function`` takes an RDKit molecule; it returns NaN or
    raises ValueError where there is no value, and anything else that it raises is an error.
    """

    name: str
    description: str
    unit: str
    low: float
    high: float
    function: Callable[[Mol], float]
    integer: bool = False


@dataclass(frozen=True)
class _Rule:
    """The function of a property that shares facts with others; it also works alone."""

    of: Callable[[Facts], float]

    def __call__(self, mol: Mol) -> float:
        return self.of(Facts(mol))


def _table(*properties: Property) -> dict[str, Property]:
    return {p.name: p for p in properties}


BUILTIN: Mapping[str, Property] = _table(
    Property("arom", "aromatic rings", "", 0, 5, _Rule(lambda facts: facts.arom), True),
    Property("fsp3", "fraction of sp3 carbons", "", 0, 1, rdMolDescriptors.CalcFractionCSP3),
    Property("hba", "hydrogen-bond acceptors", "", 0, 10, rdMolDescriptors.CalcNumHBA, True),
    Property("hbd", "hydrogen-bond donors", "", 0, 5, _Rule(lambda facts: facts.hbd), True),
    Property("heavy", "heavy atoms", "", 10, 40, lambda mol: mol.GetNumHeavyAtoms(), True),
    Property(
        "logp", "octanol-water partition (Crippen)", "", -2, 6, _Rule(lambda facts: facts.logp)
    ),
    Property("mw", "average molecular weight", "Da", 150, 550, _Rule(lambda facts: facts.mw)),
    Property("npscore", "natural-product likeness (Ertl 2008)", "", -4, 4, _Rule(npscore)),
    Property("qed", "quantitative drug-likeness (Bickerton 2012)", "", 0, 1, _Rule(qed)),
    Property("rings", "rings", "", 0, 6, rdMolDescriptors.CalcNumRings, True),
    Property("rotb", "rotatable bonds", "", 0, 12, _Rule(lambda facts: facts.rotb), True),
    Property("sas", "synthetic accessibility (Ertl 2009)", "", 1, 6, _Rule(sas)),
    Property(
        "tpsa", "topological polar surface area", "Å²", 0, 150, _Rule(lambda facts: facts.tpsa)
    ),
)


class _Properties(Mapping[str, Property]):
    """The built-in properties, then those of installed packages, which are imported when used."""

    def __getitem__(self, name: str) -> Property:
        return BUILTIN[name] if name in BUILTIN else _plugin_property(name)

    def __contains__(self, name: object) -> bool:
        return name in BUILTIN or name in plugin_names("property")

    def __iter__(self) -> Iterator[str]:
        for name in plugin_names("property"):
            _check_name(name)
        return itertools.chain(BUILTIN, plugin_names("property"))

    def __len__(self) -> int:
        return len(BUILTIN) + len(plugin_names("property"))


PROPERTIES: Mapping[str, Property] = _Properties()


def _check_name(name: str) -> None:
    if name in BUILTIN or name in TAKEN or not name.isidentifier():
        raise PropertyError(
            f"property '{name}' of the package {plugin_package('property', name)}: expected an "
            "identifier that no built-in property or column has; rename its entry point, or "
            "uninstall the package"
        )


def _plugin_property(name: str) -> Property:
    if name not in plugin_names("property"):
        raise KeyError(name)
    _check_name(name)
    loaded = load_plugin("property", name)
    if not isinstance(loaded, Property) or loaded.name != name:
        raise PropertyError(
            f"property '{name}' of the package {plugin_package('property', name)}: got "
            f"{loaded!r:.80}, expected a molvae.chem.properties.Property of that name"
        )
    return loaded


def property_versions(names: Iterable[str]) -> dict[str, str]:
    """Packages and versions that plugin properties among ``names`` come from, by name."""
    known = plugin_names("property")
    return {name: plugin_package("property", name) for name in names if name in known}


def require_no_property(name: str, where: str) -> None:
    """Refuse a measured column, stored earlier, whose name is that of a property by now.

    The name would mean the column in one place and the property in another.

    Raises:
        PropertyError: it is; the message says what to do.
    """
    if name in BUILTIN:
        raise PropertyError(
            f"{where}: the measured column '{name}' has the name of a property of this version of "
            "molvae; prepare and train again with another name: -p NAME=COLUMN"
        )
    if name in PROPERTIES:
        raise PropertyError(
            f"{where}: the measured column '{name}' has the name of a property of the installed "
            f"package {plugin_package('property', name)}; uninstall the package, rename its "
            "property, or prepare and train again with another name: -p NAME=COLUMN"
        )


def get_property(name: str) -> Property:
    """The property of that name; an unknown name is an error naming the nearest."""
    if name not in PROPERTIES:
        raise PropertyError(f"unknown property '{name}': {suggest(name, PROPERTIES)}")
    return PROPERTIES[name]


def compute(mol: Mol, names: Iterable[str]) -> NDArray[np.float64]:
    """Values of the named properties of one molecule, NaN where there is none.

    Raises:
        PropertyError: the function of a plugin fails in another way than its contract allows.
    """
    facts = Facts(mol)
    values = []
    for name in names:
        function = get_property(name).function
        try:
            value = float(function.of(facts) if isinstance(function, _Rule) else function(mol))
        except (ValueError, RuntimeError, ZeroDivisionError, OverflowError):
            value = math.nan
        except Exception as error:
            if name in BUILTIN:
                raise
            package = plugin_package("property", name)
            raise PropertyError(
                f"property '{name}' of the package {package} fails on '{to_smiles(mol)}': {error!r}"
            ) from error
        values.append(value if math.isfinite(value) else math.nan)
    return np.asarray(values, dtype=np.float64)


class ScreenResult(NamedTuple):
    """What a screen adds to the properties of a molecule."""

    refusal: str = ""  # why the molecule is refused; empty if it is not
    example: str = ""  # what of the molecule is refused, if the reason does not name it
    fingerprint: bytes = b""  # Morgan bits, packed; empty if not requested
    counted: bytes = b""  # bits that also count environments, packed; empty if not requested
    core: str = ""  # Bemis-Murcko scaffold; empty if not requested
    margin: float = math.inf  # realism: logit − log M
    skip: bool = False  # refused before its properties are computed


NOT_SCREENED = ScreenResult()


@dataclass(frozen=True)
class Measured:
    """A generated molecule as RDKit sees it; ``smiles`` is empty if it is not valid."""

    smiles: str
    values: tuple[float, ...]
    radical: bool = False  # it has unpaired electrons
    selfies: str = ""  # of the canonical SMILES, if asked for and expressible
    screened: ScreenResult = NOT_SCREENED  # the result of ``inspect``


def measure_selfies(
    texts: Sequence[str],
    names: tuple[str, ...],
    constraints: dict[str, int],
    *,
    rewrite: bool = False,
    sift: Callable[[str, Mol], ScreenResult | None] | None = None,
    inspect: Callable[[str, Mol], ScreenResult] | None = None,
) -> list[Measured]:
    """Canonical SMILES and built-in properties of SELFIES strings; runs in worker processes.

    ``rewrite`` adds the SELFIES of the canonical SMILES, as an encoder was trained to read it.
    ``sift`` gets each text with its molecule, whose atoms have the order of the text; a molecule
    for which it returns a result is not examined further, and its SMILES is not canonical. The
    result of ``inspect``, which is called before properties are computed, is kept with every other
    molecule; properties are not computed where it says ``skip``. A SELFIES that describes no atom,
    or that RDKit refuses, is not valid.
    """
    results, limits = [], tuple(constraints.items())
    with use_constraints(constraints):
        for text in texts:
            raw = from_selfies(text)
            mol, smiles = parse(raw), ""
            if mol is not None:
                screened = None if sift is None else sift(text, mol)
                if screened is not None:
                    values = (math.nan,) * len(names)
                    results.append(Measured(raw, values, has_radical(mol), "", screened))
                    continue
                # Parsed twice: what is measured is what the written SMILES says.
                smiles = to_smiles(mol)
                mol = parse(smiles)
            if mol is None:
                results.append(Measured("", ()))
                continue
            screened = NOT_SCREENED if inspect is None else inspect(text, mol)
            values, again = (math.nan,) * len(names), ""
            if not screened.skip:
                values = tuple(compute(mol, names).tolist())
                again = selfies_of(smiles, limits) if rewrite else ""
            results.append(Measured(smiles, values, has_radical(mol), again, screened))
    return results
