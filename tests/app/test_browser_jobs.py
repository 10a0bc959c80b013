"""Walks through the pages of long work in a real browser; see test_browser.py."""

import csv
import gzip
import itertools
import re
from pathlib import Path

import pytest

from tests.app.walks import choose, open_page, picture

pytestmark = [pytest.mark.slow, pytest.mark.process]

DEMO = Path(__file__).parents[2] / "data" / "demo.csv.gz"
LONG = 250_000  # milliseconds for the end of a job on a busy machine
HOSTILE = "<img src=x onerror=alert(1)>![x](http://evil.example/x.png)"


@pytest.fixture(scope="module")
def upload(tmp_path_factory):
    """200 molecules; the identifier of the first is a piece of HTML."""
    path = tmp_path_factory.mktemp("upload") / "series.csv"
    with gzip.open(DEMO, "rt", encoding="utf-8") as rows:
        table = list(csv.reader(itertools.islice(rows, 201)))
    table[1][1] = HOSTILE
    with open(path, "w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(table)
    return path


def number(page, label, value):
    box = page.get_by_role("spinbutton", name=label)
    box.fill(str(value))
    box.press("Enter")
    page.get_by_text(f"{value}").first.wait_for(state="attached")


def test_train_on_an_upload_and_use_the_model(walk, upload):
    open_page(walk, "Own data")
    walk.locator("input[type=file]").set_input_files(upload)
    walk.get_by_text("200 rows").wait_for()
    choose(walk, walk.get_by_role("combobox", name="Measured columns to train on"), "assay")
    walk.keyboard.press("Escape")
    walk.get_by_text("Column assay").wait_for()
    walk.get_by_role("button", name="Prepare the file").click()
    walk.get_by_text("rows read").wait_for(timeout=LONG)
    picture(walk, "data", height=1900)
    walk.get_by_role("spinbutton", name="Minutes").fill("0.1")
    walk.get_by_role("spinbutton", name="Minutes").press("Enter")
    walk.get_by_role("button", name="Train", exact=True).click()
    use = walk.get_by_role("button", name="Use this model on all pages")
    use.wait_for(timeout=LONG)
    walk.get_by_text(re.compile("assay on .* held-out molecules")).wait_for()
    picture(walk, "training", height=1500)
    picture(walk, "training-narrow", 390, 844)
    use.click()
    walk.get_by_text("All pages of this tab use this model.").wait_for()
    open_page(walk, "Optimize")
    choose(walk, walk.get_by_role("combobox", name="Objective 1"), "Measured column of the model")
    walk.get_by_role("combobox", name="Column").wait_for()


def test_stop_a_search_close_the_tab_and_resume_it_in_another(walk, served):
    open_page(walk, "Optimize")
    number(walk, "Molecules to score", 3000)
    walk.get_by_role("button", name="Start the search").click()
    walk.get_by_text("Best so far").wait_for(timeout=LONG)
    walk.get_by_role("button", name="Stop").click()
    resume = walk.get_by_role("button", name="Resume")
    resume.wait_for(timeout=LONG)
    picture(walk, "optimize", height=1500)
    other = walk.context.new_page()
    walk.close()
    other.goto(served.url)
    open_page(other, "Optimize")
    other.get_by_role("button", name="Resume").click()
    other.get_by_role("button", name="Stop").wait_for()
    other.get_by_role("button", name="Stop").click()
    other.get_by_role("button", name="Resume").wait_for(timeout=LONG)


def test_evaluate_a_file_inside_the_page(walk, upload, tmp_path):
    open_page(walk, "Evaluate")
    for place in range(2):
        walk.locator("input[type=file]").nth(place).set_input_files(upload)
        walk.get_by_text("series.csv").nth(place).wait_for()
    walk.get_by_role("button", name="Evaluate", exact=True).click()
    walk.get_by_role("button", name="HTML report").wait_for(timeout=LONG)
    frame = walk.frame_locator("[data-testid=stIFrame]").frame_locator("iframe")
    frame.get_by_role("heading", name="Evaluation of generated molecules").wait_for()
    picture(walk, "evaluate", height=1400)
    with walk.expect_download() as download:
        walk.get_by_role("button", name="HTML report").click()
    path = tmp_path / "report.html"
    download.value.save_as(path)
    assert "200 valid molecules" in path.read_text(encoding="utf-8")
