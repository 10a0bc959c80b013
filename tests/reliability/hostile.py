"""Lines that no molecule file should hold, and that some do."""

import random
from collections.abc import Iterator

PLAIN = [
    "CCO", "CC(=O)Oc1ccccc1C(=O)O", "CN1C=NC2=C1C(=O)N(C(=O)N2C)C", "c1ccc2ccccc2c1", "CC(C)Cl",
    "C[C@H](N)C(=O)O", "O=C(O)CCC(=O)O", "[O-][N+](=O)c1ccccc1", "CCO.Cl", "CC[NH3+].[Cl-]",
]  # fmt: skip
ODD = [
    "C1CC", "C(", "C)", "[", "]", "[C", "c1cccc1", "F=C=F=F", "C%", "C%1", "C%(99999)CC%(99999)",
    "*CC*", "[R1]CC", "CC>>CO", "CC.>>", "CC |$;R1$|", "[C+9]", "[C+999]", "[C-15]", "[999C]",
    "[99999999999C]", "[2H]O[2H]", "[#6]", "[#999]", "[U+6]", "[Og]", "[C:1][C:2]", "[C@TH3]",
    "[Fe@OH30]", "[C@@@]", "C/C=C\\C", "C\\\\C", "=CC", "#", "-", "~", "$", "C$C", "C:C", "nan",
    "NaN", "None", "null", "-inf", "1e999", "True", "N/A", "[C][=O]", "[C][Branch1][C][O]",
    "InChI=1S/CH4/h1H4", "=cmd|'/C calc'!A0", "+1+1", "@SUM(A1:A9)", "-2+3", "=HYPERLINK(\"x\")",
    "CC\t=1+1", "smiles", "SMILES id", "#CC", "# comment", "../../etc/passwd", "$(reboot)", "`id`",
    "%s%n%x", "{0.__class__}", "\u202ecco", "С\u0421O", "ＣＣＯ", "C\u200bC", "🧪", "é" * 50,
    "C\x00C",
    "\x1b[31mred", "\x7f", "\x85", "\u2028", "\ufeffCCO", "\x0b", "\x0c", "\x1c\x1d\x1e",
]  # fmt: skip


def _long(chance: random.Random) -> str:
    """Something with a great number of something."""
    n = chance.choice([100, 1000, 10_000])
    return chance.choice([
        "(" * n, "C" + "(C" * n + ")" * n, "[" * n, "]" * n, "C" * n, "C1" + "C" * n + "1",
        "." * n, "C." * n, "C=" * n, "[C]" * n, "C1CC1" * (n // 5), "c1ccccc1" * (n // 8),
        "C%10" * n, "C12" * n, "[" + "9" * n + "C]", "[C+" + "1" * n + "]", "[N" + "+" * n + "]",
        "C" + "(F)" * n, "N" * n, "OO" * n, "C(C)" * n, "[nH]" * n, "S(=O)(=O)" * n, "@" * n,
    ])  # fmt: skip


def _bytes(chance: random.Random) -> bytes:
    return bytes(chance.choices(range(256), k=chance.randint(0, 60)))


def _damaged(chance: random.Random) -> str:
    """A molecule with a character replaced, dropped or doubled."""
    text = chance.choice(PLAIN)
    i = chance.randrange(len(text))
    piece = chance.choice(["", text[i] * 2, chance.choice("CNOcno()[]=#123%@/\\.+-H*")])
    return text[:i] + piece + text[i + 1 :]


def hostile_lines(count: int, seed: int) -> Iterator[bytes]:
    """So many lines, each without an end of line; about a third are molecules."""
    chance = random.Random(seed)
    for number in range(count):
        if number % 10_007 == 10_006:
            yield chance.choice([b"C", b"\x00", b"[", b"\xff"]) * 1_000_000
            continue
        match chance.choices(range(5), (30, 30, 25, 13, 2))[0]:
            case 0:
                line = f"{chance.choice(PLAIN)} molecule-{number}".encode()
            case 1:
                line = _damaged(chance).encode()
            case 2:
                line = chance.choice(ODD).encode()
            case 3:
                line = _bytes(chance)
            case _:
                line = _long(chance).encode()
        yield line.replace(b"\n", b"").replace(b"\r", b"")


def hostile_records(count: int, seed: int) -> Iterator[bytes]:
    """So many SDF records, each with its ``$$$$``."""
    chance = random.Random(seed)
    atom = "    0.0000    0.0000    0.0000 {:<3} 0  0  0  0  0  0  0  0  0  0  0  0\n"
    for number in range(count):
        atoms = chance.choice([0, 1, 3, 3, 3, 999])
        bonds = chance.choice([0, max(atoms - 1, 0), 999])
        symbols = [chance.choice(["C", "C", "N", "O", "Xx", "R#", "*", ""]) for _ in range(atoms)]
        lines = [
            f"record {number}\n  molvae\n\n{atoms:3d}{bonds:3d}  0  0  0  0  0  0  0  0999 V2000\n"
        ]
        lines += [atom.format(symbol) for symbol in symbols]
        lines += [f"{i:3d}{i + 1:3d}  1  0\n" for i in range(1, min(bonds, atoms + 2) + 1)]
        lines += ["M  END\n", f">  <y>\n{chance.choice(['1', 'x', '=1+1', '1e999', ''])}\n\n"]
        if chance.random() < 0.3:
            del lines[chance.randrange(len(lines))]
        text = "".join(lines).encode()
        if chance.random() < 0.2:
            i = chance.randrange(len(text))
            text = text[:i] + _bytes(chance).replace(b"$", b"") + text[i + 20 :]
        yield text.rstrip(b"\r\n") + b"\n$$$$\n"
