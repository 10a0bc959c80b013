"""One server and one browser for all walks; the logic of pages runs without either."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

ROOT = Path(__file__).parents[2]
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)
READY = 240  # seconds, on a busy machine


@pytest.fixture
def app(request, tmp_path, monkeypatch):
    """AppTest of the whole app, in a temporary folder; with the tiny model, or that of ``app``.

    ``@pytest.mark.parametrize("app", ["measured_run"], indirect=True)`` names another fixture.
    """
    run = request.getfixturevalue(getattr(request, "param", "tiny_run"))
    testing = pytest.importorskip(
        "streamlit.testing.v1", reason="molvae app needs streamlit: pip install 'molvae[app]'"
    )
    from molvae.app import settings

    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "__main__", sys.modules["__main__"])  # Streamlit replaces it
    before = settings.settings()
    settings.use(settings.Settings(str(run), (), tmp_path / "molvae-app"))
    yield testing.AppTest.from_file(ROOT / "molvae/app/script/start.py", default_timeout=250)
    settings.use(before)


@pytest.fixture(scope="session")
def served(tiny_run, tmp_path_factory):
    """A running server: its ``url``, the ``folder`` it was started in, and its ``seconds``."""
    pytest.importorskip("streamlit", reason="molvae app needs: pip install 'molvae[app]'")
    folder = tmp_path_factory.mktemp("served")
    # Pictures of the guide show the default model.
    model = [] if os.environ.get("MOLVAE_TEST_PICTURES") else ["-m", str(tiny_run)]
    command = [sys.executable, "-m", "molvae", "app", *model, "--no-browser", "--json"]
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    log = open(folder / "server.log", "w+")  # noqa: SIM115
    started = time.monotonic()
    server = subprocess.Popen(
        command, cwd=folder, stdout=subprocess.PIPE, stderr=log, text=True,
        env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    try:
        text = ""
        while not text.rstrip().endswith("}"):
            line = server.stdout.readline()
            assert line, f"the server ended: {(folder / 'server.log').read_text()}"
            text += line
        yield SimpleNamespace(
            url=json.loads(text)["url"], folder=folder, process=server,
            seconds=time.monotonic() - started,
        )  # fmt: skip
    finally:
        server.send_signal(signal.SIGINT)
        try:
            server.wait(20)
        except subprocess.TimeoutExpired:
            server.kill()
        server.stdout.close()
        log.close()


@pytest.fixture(scope="session")
def chromium():
    """Debian's Chromium under Playwright."""
    api = pytest.importorskip("playwright.sync_api", reason="walks need: pip install playwright")
    if CHROMIUM is None:
        pytest.skip("walks need Chromium: apt-get install chromium")
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox"] if os.geteuid() == 0 else []
        )
        yield browser
        browser.close()


@pytest.fixture
def walk(chromium, served):
    """A tab of the app; at the end, nothing may have left this machine or gone wrong in it."""
    context = chromium.new_context(viewport={"width": 1280, "height": 900}, accept_downloads=True)
    context.set_default_timeout(180_000)
    page = context.new_page()
    asked, wrong = [], []
    page.on("request", lambda request: asked.append(request.url))
    page.on("websocket", lambda socket: asked.append(socket.url))
    page.on("console", lambda said: wrong.append(said.text) if said.type == "error" else None)
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.goto(served.url)
    page.get_by_role("heading", name="Generate").wait_for()
    yield page
    context.close()
    place = served.url.removeprefix("http://")
    own = (f"http://{place}", f"ws://{place}", "data:", "blob:")
    assert [url[:200] for url in asked if not url.startswith(own)] == []
    assert wrong == []
