"""The parts of the pages: requests as commands, work with a stop, the guard, files, sliders."""

import asyncio
import math
import shlex
import time
from concurrent.futures import ThreadPoolExecutor

import click
import numpy as np
import pytest
from click.testing import CliRunner
from rdkit import Chem

from molvae.cli import main
from molvae.errors import ConfigError, InputError, RunError
from molvae.generate.request import Request
from molvae.model.conditions import ConditionSet
from molvae.targets import parse_target

pytest.importorskip("streamlit", reason="molvae app needs: pip install 'molvae[app]'")

from molvae.app import cards, making, server, sketch, targets, work

REQUESTS = [
    Request(realism=None),
    Request(targets=(parse_target("logp=1.5:"), parse_target("qed=0.8")), realism=0.5),
    Request(like=("CC(=O)Nc1ccc(O)cc1",), noise=(0.2, 0.5), realism=None),
    Request(scaffold="*c1ccccc1", fill=True, alerts=("pains", "brenk"), realism=None),
    Request(elements=("C", "N"), max_ring=6, novel_rings=True, allow_misses=True, realism=None),
]


@pytest.mark.parametrize("request_", REQUESTS)
def test_the_command_line_asks_for_the_same_molecules(request_, monkeypatch, tmp_path):
    seen = {}

    def generate_file(output, number, **options):
        seen.update(options, output=output, number=number)
        raise RunError("seen")

    monkeypatch.setattr("molvae.generate.run.generate_file", generate_file)
    known = tmp_path / "known molecules.smi"
    known.write_text("CCO\n")
    asked = making.Making("default", 7, request_, seed=3, novel=(known,))
    line = shlex.split(shlex.join(making.words(asked)))
    assert "seen" in CliRunner().invoke(main, line).output
    assert seen["request"] == request_
    assert (seen["number"], seen["seed"], seen["novel"]) == (7, 3, (known,))
    assert seen["model"] == "default"


# -- work -----------------------------------------------------------------------------------------


def test_work_is_stopped_and_keeps_what_it_made():
    def forever(it):
        it.add([{"smiles": "C"}])
        while True:
            it.check()

    running = work.Work(5, forever).start()
    while not running.rows:
        pass
    running.stop()
    running.wait(240)
    assert not running.running
    assert running.stopped
    assert running.rows == [{"smiles": "C"}]
    assert running.error == ""
    assert running.first is not None


def test_work_of_a_closed_tab_ends(monkeypatch):
    monkeypatch.setattr(work, "PATIENCE", 0.0)

    def forever(it):
        while True:
            it.check()

    left = work.Work(5, forever).start()
    left.wait(240)
    assert left.stopped
    assert not left.running


def test_errors_of_work_are_words():
    def fail(error):
        def do(it):
            raise error

        done = work.Work(1, do).start()
        done.wait(240)
        return done.error

    assert fail(InputError("give a file")) == "give a file"
    assert "ZeroDivisionError" in fail(ZeroDivisionError("secret"))
    assert "secret" not in fail(ZeroDivisionError("secret"))


def test_long_work_lets_another_tab_compute():
    order = []

    def long(it):
        order.append("begin")
        for _ in range(5000):
            it.check()
            if "short" in order:
                break
            time.sleep(0.002)
        order.append("end")

    first = work.Work(1, long).start()
    while not order:
        pass
    second = work.Work(1, lambda it: order.append("short")).start()
    first.wait(240)
    second.wait(240)
    assert order == ["begin", "short", "end"]


# -- the guard ------------------------------------------------------------------------------------


def answer(headers, kind="http"):
    """Status (or close code) and headers that the guard's server gives on port 8501."""
    sent = []

    async def inside(scope, receive, send):
        if kind == "http":
            await send({"type": "http.response.start", "status": 200, "headers": []})
        else:
            await send({"type": "websocket.accept"})

    async def receive():
        return {"type": f"{kind}.connect" if kind == "websocket" else "http.request"}

    async def send(message):
        sent.append(message)

    scope = {"type": kind, "headers": [(k.encode(), v.encode()) for k, v in headers]}
    request = server.Guard(inside, port=8501)(scope, receive, send)
    with ThreadPoolExecutor(1) as threads:  # the loop of the browser walks may run in this one
        threads.submit(asyncio.run, request).result()
    return sent[0].get("status") or sent[0]["type"], dict(sent[0].get("headers", ()))


@pytest.mark.parametrize("host", ["127.0.0.1:8501", "localhost:8501", "LOCALHOST:8501"])
def test_own_pages_are_served_and_may_load_nothing_from_elsewhere(host):
    status, headers = answer([("host", host)])
    assert status == 200
    policy = headers[b"content-security-policy"].decode()
    assert "default-src 'self'" in policy
    assert "http:" not in policy.replace(f"ws://{host}", "")
    assert "frame-ancestors 'none'" in policy
    assert answer([("host", host), ("origin", "http://localhost:8501")])[0] == 200
    assert answer([("host", host)], "websocket")[0] == "websocket.accept"


@pytest.mark.parametrize(
    "headers",
    [
        [("host", "evil.example:8501")],
        [("host", "127.0.0.1.evil.example:8501")],
        [("host", "127.0.0.1:80")],
        [("host", "127.0.0.1")],
        [],
        [("host", "127.0.0.1:8501"), ("host", "evil.example")],
        [("host", "127.0.0.1:8501"), ("origin", "http://evil.example")],
        [("host", "127.0.0.1:8501"), ("origin", "http://127.0.0.1:9999")],
        [("host", "127.0.0.1:8501"), ("origin", "null")],
        [("host", "127.0.0.1:8501"), ("origin", "https://127.0.0.1:8501")],
    ],
)
def test_foreign_hosts_and_origins_are_refused(headers):
    assert answer(headers)[0] == 403
    assert answer(headers, "websocket")[0] == "websocket.close"


def test_ports():
    first = server.free_port()
    assert server.FIRST_PORT <= first < server.FIRST_PORT + server.PORTS
    with server.socket.socket() as taken:
        taken.bind((server.ADDRESS, 0))
        taken.listen()
        with pytest.raises(RunError, match=str(taken.getsockname()[1])):
            server.free_port(taken.getsockname()[1])
    with pytest.raises(ConfigError, match="70000"):
        server.free_port(70_000)


# -- the command ----------------------------------------------------------------------------------


def test_the_command_names_the_missing_extra(monkeypatch):
    monkeypatch.setattr("molvae.cli.app._installed", lambda name: name != "streamlit_jsme")
    done = CliRunner().invoke(main, ["app"])
    assert done.exit_code == 2
    assert "pip install 'molvae[app]'" in done.output
    assert "streamlit_jsme" in done.output


@pytest.mark.parametrize(
    ("given", "named"),
    [
        (["-m", "nowhere"], "nowhere"),
        (["--objectives", "missing.py"], "missing.py"),
        (["--folder", "file"], "file"),
    ],
)
def test_wrong_options_are_reported_before_the_browser_opens(given, named, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    monkeypatch.setattr("molvae.app.server.serve", lambda *_, **__: pytest.fail("served"))
    done = CliRunner().invoke(main, ["app", *given])
    assert done.exit_code == 2
    assert named in done.output
    assert isinstance(main.commands["app"], click.Command)


# -- cards, sliders, sketcher ---------------------------------------------------------------------


def test_downloads_hold_every_value():
    rows = [
        {"smiles": "CCO", "logp": -0.5, "tag": "shown", "origin": "generated"},
        {"smiles": "c1ccccc1", "logp": 1.5, "realism": 0.25},
    ]
    table = cards._file(rows, "csv").decode().splitlines()
    assert table == ["smiles,logp,origin,realism", "CCO,-0.5,generated,", "c1ccccc1,1.5,,0.25"]
    supplier = Chem.SDMolSupplier()
    supplier.SetData(cards._file(rows, "sdf").decode())
    mols = list(supplier)
    assert [Chem.MolToSmiles(mol) for mol in mols] == ["CCO", "c1ccccc1"]
    assert mols[1].GetProp("realism") == "0.25"


def test_cards_are_sorted_with_unknown_values_last():
    rows = [{"smiles": s, "logp": v} for s, v in [("C", 2.0), ("N", math.nan), ("O", 1.0)]]
    assert [r["smiles"] for r in cards._sorted(rows, "logp", False)] == ["O", "C", "N"]
    assert [r["smiles"] for r in cards._sorted(rows, "logp", True)] == ["C", "O", "N"]


def test_sliders_span_what_was_seen_in_round_steps():
    values = np.stack([np.linspace(-1.234, 6.789, 50), np.arange(50) % 7], axis=1)
    conditions = ConditionSet.fit(["logp", "hba"], values.astype(np.float32), {})
    low, high, step = targets.limits("logp", conditions["logp"])
    assert low <= -1.234 < low + step
    assert high - step < 6.789 <= high
    assert step == pytest.approx(0.1)
    assert targets.limits("hba", conditions["hba"]) == (0, 6, 1)
    assert targets.limits("tpsa", None)[:2] == (0, 150)


def test_attachment_points_of_the_sketcher():
    assert sketch.with_points("[R]c1ccc([R1])cc1") == "*c1ccc(*)cc1"
    assert sketch.with_points("[Rb+].CCBr") == "[Rb+].CCBr"
    assert sketch.with_points("CC[X]") == "CC*"
