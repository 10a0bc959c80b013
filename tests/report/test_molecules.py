"""Drawings keep their look in a quarter of RDKit's bytes; cards print comparable numbers."""

import re

import pytest

from molvae import chem
from molvae.report import Card, Page, render
from molvae.report.molecules import grouped, slim

MOLECULES = (
    "O=S(=O)(c1cccnc1)N1C[C@H]2C[C@@H]1CN2c1ncnc2[nH]ccc12",
    "C[C@@H]1COCCN1C(=O)c1ccc(-c2ccccc2)o1",
    "[NH3+]CC([2H])(Br)C#N.[Cl-]",
    "C",
    "C[CH]C",
    "F/C=C/Cl",
)
FIGURE = re.compile(r"-?(?:\d+\.?\d*|\.\d+)")


def absolute(path):
    """The end points of a path, relative or not, joined by whatever line."""
    x = y = 0.0
    points = []
    for letter, content in re.findall(r"([A-Za-z])([^A-Za-z]*)", path):
        values = [float(v) for v in FIGURE.findall(content)]
        size = {"M": 2, "L": 2, "Q": 4, "C": 6}.get(letter.upper(), 0)
        for i in range(0, len(values), size or 1):
            ox, oy = (x, y) if letter.islower() else (0.0, 0.0)
            x, y = ox + values[i + size - 2], oy + values[i + size - 1]
            points.append((round(x, 1), round(y, 1)))
    return points


def places(svg):
    result = [absolute(d) for d in re.findall(r"\sd='([^']*)'", svg)]
    return sorted(point for points in result for point in points)


@pytest.mark.parametrize("smiles", MOLECULES)
def test_a_slim_drawing_has_the_same_lines(smiles):
    full = chem.draw_svg(chem.parse(smiles))
    thin = slim(full)
    assert places(thin) == places(full)
    assert len(thin) < len(full) / 2


@pytest.mark.parametrize("smiles", MOLECULES)
def test_a_slim_drawing_keeps_its_colors(smiles):
    full = chem.draw_svg(chem.parse(smiles))
    wanted = {c.upper() for c in re.findall(r"#\w{6}", full)} - {"#000000"}
    thin = slim(full)
    result = {
        "#" + (c[1:] if len(c) == 7 else "".join(2 * x for x in c[1:])).upper()
        for c in re.findall(r"#\w{3,6}", thin)
    }
    assert result - {"#000000"} == wanted


def test_paths_in_other_letters_stay_as_they_are():
    svg = "<svg viewBox='0 0 9 9'>\n<path d='M 1,1 A 1,1 0 0 1 2,2' style='fill:none;stroke:#FF0000;stroke-width:2.0px'/>\n</svg>"  # noqa: E501
    assert slim(svg) == (
        "<svg viewBox='0 0 9 9' aria-hidden='true'>"
        "<path stroke='#F00' d='M 1,1 A 1,1 0 0 1 2,2'/></svg>"
    )


def test_numbers_of_one_property_have_the_same_decimals():
    cards = [
        Card("C", {"mw": 312.44, "logp": 0.06, "qed": 0.5, "rings": 3.0}),
        Card("CC", {"mw": 441.0, "logp": 3.0, "qed": float("nan"), "rings": 0.0}),
    ]
    first, second = grouped(cards)[""]
    assert [text for _, text in first.values] == ["312.4", "0.06", "0.500", "3"]
    assert [text for _, text in second.values] == ["441.0", "3.00", "–", "0"]


def test_cards_are_shown_with_their_sample():
    cards = [Card("C", {}, group="a"), Card("CC", {}, group="b"), Card("CCC", {}, group="a")]
    groups = grouped(cards)
    assert {name: [d.card.smiles for d in drawn] for name, drawn in groups.items()} == {
        "a": ["C", "CCC"],
        "b": ["CC"],
    }
    html = render(Page("t", "s", cards=cards))
    assert re.findall(r"<h3>(\w)</h3>", html) == ["a", "b"]


def test_the_neighbor_is_drawn_with_its_similarity():
    html = render(Page("t", "s", cards=[Card("CCO", {}, 0.617, "CCN")]))
    assert html.count('role="img"') == 2
    assert 'nearest in training, <span class="whole">Tanimoto 0.62</span>' in html


@pytest.mark.parametrize(
    ("card", "drawings", "words"),
    [
        (Card("CCO", {}), 1, False),
        (Card("CCO", {}, 0.5), 1, True),
        (Card("CCO", {}, neighbor="CCN"), 2, True),
        (Card("CCO", {}, 0.5, "not a molecule"), 1, True),
        (Card("not a molecule", {}), 0, False),
    ],
)
def test_cards_with_gaps(card, drawings, words):
    html = render(Page("t", "s", cards=[card]))
    assert html.count("<svg viewBox") == drawings
    assert ("nearest in training" in html) == words
    assert card.neighbor in html
