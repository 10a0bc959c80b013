"""Readers, tokens and the target parser under any bytes: what hypothesis finds in a few seconds."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.reliability.fuzzing import SEEDS, TARGETS

PIECES = {
    "reader": [
        b"smiles", b",", b"\t", b'"', b"\n", b"\r", b"CCO", b"$$$$\n", b"M  END\n", b"\x00",
        b"\xff", b"\xef\xbb\xbf", b"#", b"> <y>\n", b"V2000", b"\x1f\x8b\x08", b"PAR1", b";",
    ],
    "symbols": [b"[", b"]", b"C", b"=", b"1", b"(", b")", b"%", b"@", b"+", b"."],
    "target": [b"=", b":", b"logp", b"1", b".", b"e", b"-", b"+", b"yes", b"inf", b"nan", b" "],
}  # fmt: skip


@pytest.mark.parametrize("name", TARGETS)
def test_seeds(name):
    for data in SEEDS[name]:
        TARGETS[name](data)


@pytest.mark.parametrize("name", TARGETS)
def test_any_bytes(name):
    words = st.lists(st.sampled_from(PIECES[name]) | st.binary(max_size=8), max_size=30)

    @settings(max_examples=3 * settings.default.max_examples)
    @given(st.binary(max_size=300) | words.map(b"".join), st.sampled_from(range(7)))
    def run(data, kind):
        TARGETS[name](bytes([kind]) + data)

    run()
