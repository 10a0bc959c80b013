"""Walks through the pages in a real browser, as a user would: mouse, keyboard, downloads."""

import re

import pytest
from rdkit import Chem

from tests.app.walks import choose, open_page, picture

pytestmark = [pytest.mark.slow, pytest.mark.process]


def settled(page):
    page.get_by_text(re.compile(r"molecules, done after")).first.wait_for()


def few(page, number=4):
    page.get_by_role("spinbutton", name="Number of molecules").fill(str(number))
    page.keyboard.press("Enter")
    page.get_by_text(f"-n {number} ").wait_for(state="attached")


def smiles_of_card(card):
    return card.locator("button.paper").get_attribute("aria-label").partition(": ")[2]


def downloaded(page, name, folder):
    with page.expect_download() as download:
        page.get_by_role("button", name=name).click()
    path = folder / download.value.suggested_filename
    download.value.save_as(path)
    return path


def test_a_slider_cards_and_the_sdf_file(walk, tmp_path):
    few(walk, 6)
    choose(walk, walk.get_by_label("Target properties"), "logp")
    walk.keyboard.press("Escape")
    shown = walk.locator("[data-testid=stCaptionContainer] code", has_text="-t logp=")
    slider = walk.get_by_role("slider").first
    before = float(slider.input_value())
    slider.focus()
    for _ in range(5):
        walk.keyboard.press("ArrowLeft")
    after = float(slider.input_value())
    assert after < before
    # The page follows the slider a moment later, perhaps in several steps.
    shown.filter(has_text=f"-t logp={after:g}:").wait_for()
    low, high = map(float, shown.inner_text().partition("=")[2].split(":"))
    walk.get_by_role("button", name="Generate").click()
    settled(walk)
    cards = walk.locator(".card")
    cards.nth(5).wait_for()
    assert cards.count() == 6
    picture(walk, "generate")
    picture(walk, "generate-narrow", 390, 844)
    path = downloaded(walk, re.compile(r"^SDF \(6\)"), tmp_path)
    mols = list(Chem.SDMolSupplier(str(path)))
    assert len(mols) == 6
    assert all(mol is not None and mol.GetNumAtoms() for mol in mols)
    values = [float(mol.GetProp("logp")) for mol in mols]
    assert low - 1e-6 <= min(values) <= max(values) <= high + 1e-6
    cards.nth(1).locator("input").check()
    walk.get_by_role("button", name=re.compile(r"^CSV \(1\)")).wait_for()
    page = downloaded(walk, "HTML report", tmp_path)
    assert "Generated molecules" in page.read_text(encoding="utf-8")


def test_draw_with_the_mouse_then_analogs_then_a_click_on_one(walk):
    open_page(walk, "Molecule")
    sketch = walk.locator(".sketch")
    sketch.locator("svg").first.wait_for()
    box = sketch.bounding_box()
    walk.mouse.click(box["x"] + 211, box["y"] + 37)  # benzene
    walk.mouse.click(box["x"] + 300, box["y"] + 200)
    walk.get_by_text("c1ccccc1", exact=True).first.wait_for()
    walk.get_by_label("or paste a SMILES").fill("CC(=O)Nc1ccc(O)cc1")
    walk.keyboard.press("Enter")
    walk.get_by_text("CC(=O)Nc1ccc(O)cc1", exact=True).first.wait_for()
    few(walk)
    walk.get_by_role("button", name="Make them").click()
    settled(walk)
    picture(walk, "molecule", height=1500)
    picture(walk, "molecule-narrow", 390, 844)
    first = walk.locator(".card").first
    smiles = smiles_of_card(first)
    first.locator("button.paper").click()
    walk.get_by_text(smiles, exact=True).first.wait_for()
    walk.get_by_text("Path to another").click()
    walk.get_by_label("SMILES of the other end").fill("CCO")
    walk.keyboard.press("Enter")
    walk.get_by_text("of the way").first.wait_for()


def test_a_scaffold_with_attachment_points(walk):
    open_page(walk, "Molecule")
    walk.get_by_label("or paste a SMILES").fill("c1ccccc1")
    walk.keyboard.press("Enter")
    walk.get_by_text("Keep a scaffold").click()
    walk.get_by_label(re.compile("^Scaffold as SMILES")).fill("*c1ccccc1")
    walk.keyboard.press("Enter")
    walk.get_by_text("Put an atom at every").wait_for()
    few(walk)
    walk.get_by_role("button", name="Make them").click()
    settled(walk)
    ring = Chem.MolFromSmarts("c1ccccc1")
    walk.locator(".card").first.wait_for()
    for card in walk.locator(".card").all():
        assert Chem.MolFromSmiles(smiles_of_card(card)).HasSubstructMatch(ring)


def test_a_box_on_the_map(walk):
    open_page(walk, "Map")
    chart = walk.locator("[data-testid=stVegaLiteChart]").first
    chart.locator("svg, canvas").first.wait_for()
    walk.wait_for_timeout(500)
    box = chart.bounding_box()
    picture(walk, "map")
    walk.mouse.move(box["x"] + 0.3 * box["width"], box["y"] + 0.3 * box["height"])
    walk.mouse.down()
    walk.mouse.move(box["x"] + 0.6 * box["width"], box["y"] + 0.6 * box["height"], steps=6)
    walk.mouse.up()
    walk.get_by_role("button", name="Generate there").wait_for()
    walk.locator(".card").first.wait_for()


def test_a_point_of_the_map_by_keyboard_alone(walk):
    open_page(walk, "Map")
    unfold = walk.locator("summary", has_text="Choose points by keyboard")
    unfold.focus()
    walk.keyboard.press("Enter")
    box = walk.get_by_role("combobox", name=re.compile("^One of "))
    for _ in range(20):  # the ends of the box come before it
        walk.keyboard.press("Tab")
        if box.evaluate("box => box === document.activeElement"):
            break
    walk.keyboard.press("ArrowDown")
    walk.get_by_role("option").first.wait_for()
    walk.keyboard.press("Enter")
    walk.get_by_role("button", name="Generate there").wait_for()
    walk.locator(".card").first.wait_for()
    assert walk.locator(".card").count() == 1


def test_a_narrow_screen_has_no_sideways_scroll(walk):
    walk.set_viewport_size({"width": 390, "height": 844})
    for _ in range(20):
        wide = walk.evaluate("document.documentElement.scrollWidth")
        if wide <= 390:
            break
        walk.wait_for_timeout(100)
    assert wide <= 390
