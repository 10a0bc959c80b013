"""Search for input that breaks the readers, the tokens or the target parser, by coverage.

Needs atheris (``pip install atheris``), which has wheels for Linux. Inputs found are
saved in FOLDER as ``crash-*``; add them to the seeds of ``tests/reliability/fuzzing.py``.

    python scripts/fuzz.py reader --seconds 600 --folder /tmp/fuzz
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))


def main() -> None:
    """Parse the command line and hand over to libFuzzer, which ends the process."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("target", choices=["reader", "symbols", "target"])
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--folder", type=Path, default=Path("fuzz"), help="corpus and findings")
    given = parser.parse_args()
    try:
        import atheris
    except ImportError:
        parser.error("needs atheris: pip install atheris")
    with atheris.instrument_imports(include=["molvae"]):
        from tests.reliability.fuzzing import SEEDS, TARGETS
    corpus = given.folder / given.target
    corpus.mkdir(parents=True, exist_ok=True)
    for number, data in enumerate(SEEDS[given.target]):
        (corpus / f"seed-{number}").write_bytes(data)
    options = [
        f"-max_total_time={given.seconds}",
        f"-artifact_prefix={given.folder}/",
        "-timeout=20",
    ]
    atheris.Setup([sys.argv[0], *options, str(corpus)], TARGETS[given.target])
    atheris.Fuzz()


if __name__ == "__main__":
    main()
