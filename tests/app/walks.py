"""What walks through the pages share: opening a page, making a picture of it.

Pictures are made only where the environment variable MOLVAE_TEST_PICTURES names a folder.
"""

import os
from pathlib import Path

PICTURES = os.environ.get("MOLVAE_TEST_PICTURES")


def picture(page, name, width=1280, height=800):
    """Write the top of a page, in a window of this size, to the folder of pictures."""
    if PICTURES:
        page.set_viewport_size({"width": width, "height": height})
        page.locator("[data-testid=stMain]").evaluate("main => main.scrollTo(0, 0)")
        page.wait_for_timeout(1500)
        page.screenshot(path=Path(PICTURES) / f"app_{name}.png")
        page.set_viewport_size({"width": 1280, "height": 900})


def open_page(page, title):
    """Open a page by its link in the side bar."""
    page.get_by_role("link", name=title).click()
    page.get_by_role("heading", name=title, exact=True).wait_for()


def choose(page, box, option):
    """Choose in a select box by keys: a menu may open outside the window while the page grows."""
    box.click()
    page.keyboard.type(option)
    page.get_by_role("option", name=option).first.wait_for()
    page.keyboard.press("Enter")
