"""Objectives that score molecules: benchmark tasks, properties, user functions, other programs.

:func:`parse_objective` reads the values of ``molvae optimize --objective``. It calls no scoring
function, since a call may be costly.
"""

from molvae.objectives.columns import ColumnScorer
from molvae.objectives.combined import Objective, Part, parse_objective
from molvae.objectives.docking import DockOptions, DockScorer
from molvae.objectives.program import ProcessScorer
from molvae.objectives.scorers import (
    FileScorer,
    FunctionScorer,
    PluginScorer,
    Scorer,
    TaskScorer,
    find_scorer,
)
from molvae.objectives.shapes import AtLeast, AtMost, Gaussian, Ramp, Shape, Window
from molvae.objectives.tasks import ABSENT, PMO, TASKS, plogp

__all__ = [
    "ABSENT",
    "PMO",
    "TASKS",
    "AtLeast",
    "AtMost",
    "ColumnScorer",
    "DockOptions",
    "DockScorer",
    "FileScorer",
    "FunctionScorer",
    "Gaussian",
    "Objective",
    "Part",
    "PluginScorer",
    "ProcessScorer",
    "Ramp",
    "Scorer",
    "Shape",
    "TaskScorer",
    "Window",
    "find_scorer",
    "parse_objective",
    "plogp",
]
