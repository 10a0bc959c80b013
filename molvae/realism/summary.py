"""What is said of a critic and a table: by ``molvae train`` and ``molvae info``."""

from __future__ import annotations

from typing import Any

from molvae.realism.critic import RealismCritic
from molvae.realism.plausibility import Plausibility

__all__ = ["realism_lines"]


def realism_lines(
    critic: RealismCritic | None, table: Plausibility | None
) -> tuple[dict[str, Any], list[str]]:
    """(plain data, lines of text) about the critic and the table of a model."""
    lines = []
    if critic is None:
        lines.append("realism critic: none; molvae train fits one at its end")
    else:
        record = critic.record
        kept = record["kept"]
        lines.append(
            f"realism critic: AUC {record['auc']:.2f} held out, {record['molecules']:,} training "
            f"molecules against {record['own_samples']:,} own samples; of 100 samples "
            f"{100 * kept['own']:.0f} are kept, of 100 held-out training molecules "
            f"{100 * kept['real']:.0f}"
        )
    if table is None:
        lines.append("plausibility table: none")
    else:
        lines.append(
            f"plausibility table: {len(table.ring_systems):,} ring systems and "
            f"{len(table.environments):,} atom environments of {table.molecules:,} molecules"
        )
    data = {
        "critic": None if critic is None else dict(critic.record),
        "plausibility": None
        if table is None
        else {
            "ring_systems": len(table.ring_systems),
            "environments": len(table.environments),
            "molecules": table.molecules,
        },
    }
    return data, lines
