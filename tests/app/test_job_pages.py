"""The pages of long work, without a browser: own data, optimize, evaluate."""

import csv
import gzip
import json
import time
import zipfile
from io import BytesIO

import pytest

pytest.importorskip("streamlit", reason="needs the extra app")

from streamlit.testing.v1 import AppTest

from molvae.app import jobs, objectives
from molvae.app.pages import evaluate
from molvae.app.settings import Settings, use
from molvae.app.words import plain
from molvae.data.readers import excel

TABLE = (
    "smiles,pIC50,active,relation,species\n"
    + "".join(f"{'C' * n}O,{n / 3:.2f},{n % 2},=,rat\n" for n in range(3, 30))
    + "CCCO,2.5,1,=,human\nnonsense,1,0,=,human\nC[Si](C)(C)[Si],,,,rat\n"
)
FUNCTIONS = "import nothing_of_that_name\ndef score(smiles):\n    return 1.0\ndef _no(s): ...\n"


@pytest.fixture
def app(tmp_path, tiny_run):
    """Opens a page with the tiny model and jobs in a folder of the test."""
    (tmp_path / "mine.py").write_text(FUNCTIONS)
    use(Settings(str(tiny_run), (tmp_path / "mine.py",), tmp_path / "jobs"))
    yield lambda page: AppTest.from_string(
        f"from molvae.app.pages import {page} as page\npage.show()", default_timeout=250
    ).run()
    for job in jobs.all_jobs(tmp_path / "jobs"):
        job.stop()
    use(Settings())


def named(widgets, label):
    """The only widget of this label."""
    (widget,) = [w for w in widgets if w.label == label]
    return widget


def upload(page, label, name, content):
    named(page.file_uploader, label).set_value((name, content, "text/csv"))
    return page.run()


def command(page):
    """The first command line shown."""
    return next(code.value for code in page.code if code.value.startswith("molvae "))


def ended(page, root):
    """The newest job of the page after its end."""
    job = jobs.all_jobs(root / "jobs")[0]
    limit = time.monotonic() + 280
    while job.active:
        assert time.monotonic() < limit, job.log
        time.sleep(0.1)
    page.run()
    return job


def words(page):
    """All text of a page."""
    parts = [*page.markdown, *page.caption, *page.error, *page.warning, *page.info]
    return "\n".join(part.value for part in parts)


def test_columns_become_options(app):
    page = upload(app("data"), "Molecule file", "mine.csv", TABLE.encode())
    assert "30 rows, 4 columns" in words(page)
    shown = page.dataframe[1].value
    assert dict(zip(shown["column"], shown["holds"], strict=True)) == {
        "pIC50": "numbers", "active": "yes/no", "relation": "relations (<, =, >)",
        "species": "text",
    }  # fmt: skip
    chosen = named(page.multiselect, "Measured columns to train on")
    assert chosen.options == ["pIC50", "active"]
    chosen.set_value(["pIC50"]).run()
    named(page.text_input, "Name in the model").set_value("potency")
    named(page.selectbox, "Values").set_value("−log10 of M, from nM (IC50 → pIC50)")
    named(page.selectbox, "Column with the relation (<, =, >)").set_value("relation")
    named(page.multiselect, "Choose rows by these columns").set_value(["species"]).run()
    named(page.multiselect, "Rows where species is").set_value(["rat"])
    named(page.radio, "Hold out for testing").set_value("whole scaffolds")
    named(page.checkbox, "Remove stereochemistry").set_value(True).run()
    assert command(page).endswith(
        "-o my_molecules.ds --property potency=pIC50 --transform potency=neglog10:nM "
        "--relation potency=relation --where species=rat --no-stereo --split scaffold"
    )


@pytest.mark.process
def test_a_cell_that_is_no_number_can_be_left_out_on_the_page(app, tmp_path):
    table = TABLE + 'CCCCCCO,"3,5",1,=,rat\n'
    page = upload(app("data"), "Molecule file", "Lösung.csv", table.encode())
    named(page.multiselect, "Measured columns to train on").set_value(["pIC50"]).run()
    named(page.button, "Prepare the file").click().run()
    job = ended(page, tmp_path)
    assert job.state == "failed"
    assert job.title == "Data of Losung.csv"
    (error,) = [e.value.replace("\\", "") for e in page.error]
    assert error.startswith("'Losung.csv' row 31: column 'pIC50' holds '3,5'")
    assert "On this page, `--bad-labels` is *Cells that hold no number" in words(page)
    named(page.selectbox, "Cells that hold no number").set_value("missing").run()
    named(page.button, "Prepare the file").click().run()
    job = ended(page, tmp_path)
    assert job.state == "finished", job.log
    assert {m.label: m.value for m in page.metric}["rows read"] == "31"


@pytest.mark.parametrize(
    ("name", "error"), [("qed", "built-in property"), ("a=b", "cannot be the name"), ("", "''")]
)
def test_a_name_that_no_condition_can_have_is_explained_before_the_work(app, name, error):
    page = upload(app("data"), "Molecule file", "mine.csv", TABLE.encode())
    named(page.multiselect, "Measured columns to train on").set_value(["pIC50"]).run()
    named(page.text_input, "Name in the model").set_value(name).run()
    assert error in page.error[0].value.replace("\\", "")
    assert [button for button in page.button if button.label == "Prepare the file"] == []


@pytest.mark.process
def test_rows_are_accounted_for_and_a_model_is_trained(app, tmp_path):
    page = upload(app("data"), "Molecule file", "mine.csv", TABLE.encode())
    named(page.multiselect, "Measured columns to train on").set_value(["pIC50"]).run()
    named(page.button, "Prepare the file").click().run()
    job = ended(page, tmp_path)
    assert job.state == "finished", job.log
    assert {m.label: m.value for m in page.metric} == {
        "rows read": "30", "kept": "27", "merged": "1", "rejected": "2",
    }  # fmt: skip
    reasons = next(d.value for d in page.dataframe if "rejected because" in d.value)
    assert reasons["rows"].sum() == 2
    named(page.number_input, "Minutes").set_value(0.1).run()
    named(page.button, "Train").click().run()
    job = ended(page, tmp_path)
    assert job.state == "finished", job.log
    dataset = jobs.all_jobs(tmp_path / "jobs")[1].output("data.ds")
    assert job.arguments[:3] == ("train", str(dataset), "--from")
    assert job.arguments[-2:] == ("--max-time", "6s")
    assert "**pIC50** on" in words(page)
    named(page.button, "Use this model on all pages").click().run()
    assert page.session_state["molvae.model"] == str(job.folder / "run")
    assert page.success


@pytest.mark.parametrize(
    ("name", "content", "error"),
    [
        ("mine.csv", b"", "the file is empty"),
        ("mine.csv", b"a,b\n1,2\n", "'mine.csv': no SMILES column"),
        ("mine.csv", b"a,b\n1,2\n", "or enter its name as SMILES column below"),
        ("mine.csv", b"PK\x03\x04", "'mine.csv': is an Excel file or another ZIP archive"),
        ("mine.sdf.gz", b"not gzip", "damaged gzip"),
        ("mine.xlsx", b"PK\x03\x04 broken", "damaged"),
        ("mine.parquet", b"PAR1", "damaged"),
        ("mine.gz", b"x", "unknown file type"),
        ("mine.csv", "smiles\nCCO\n".encode("utf-16"), "UTF-16"),
    ],
)
def test_wrong_files_are_explained(app, name, content, error):
    page = upload(app("data"), "Molecule file", name, content)
    assert not page.exception
    assert error in page.error[0].value.replace("\\", "")


def test_a_gzip_bomb_is_shown_by_its_beginning(app):
    bomb = gzip.compress(b"smiles,x\nCCO,1\n" + b"C" * 60_000_000)
    page = upload(app("data"), "Molecule file", "bomb.csv.gz", bomb)
    assert not page.exception
    assert "2 rows" in words(page)


def test_a_workbook_bomb_is_refused(app, monkeypatch):
    monkeypatch.setattr(excel, "LARGEST", 1_000_000)
    file = BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as parts:
        parts.writestr("xl/sharedStrings.xml", b" " * 3_000_000)
    page = upload(app("data"), "Molecule file", "bomb.xlsx", file.getvalue())
    assert "unpacks to 3 MB, expected at most 1;" in page.error[0].value.replace("\\", "")


HOSTILE = "<img src=x onerror=alert(1)>![x](http://evil.example/x.png)"


def test_untrusted_names_stay_text(app, tmp_path):
    table = f'smiles,"{HOSTILE}"\nCCO,1\nCCN,2\n'
    page = upload(app("data"), "Molecule file", f"../../{HOSTILE}.csv", table.encode())
    assert not page.exception
    chosen = named(page.multiselect, "Measured columns to train on")
    chosen.set_value([HOSTILE]).run()
    texts = [m.value for m in page.markdown] + [e.label for e in page.expander]
    assert not any("<img" in text.replace(r"\<", "") or "![" in text for text in texts)
    (stored,) = (tmp_path / "jobs" / "uploads").glob("server-*/*/*")
    assert set(stored.name) <= set(
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-"
    )


def test_markdown_of_a_name_is_shown_letter_by_letter():
    assert plain("a_b *c* [d](e) <f> $g$") == r"a\_b \*c\* \[d\]\(e\) \<f\> \$g\$"
    joiner = "\N{WORD JOINER}"  # without it, an address becomes a link
    assert plain("http://x www.y C/C") == f"http:{joiner}//x www{joiner}\\.y C/C"


# -- optimize ------------------------------------------------------------------------------------


def test_one_objective_is_used_as_it_is(app):
    page = app("optimize")
    assert "--objective qed" in command(page)
    named(page.selectbox, "Property").set_value("sas").run()
    assert "--objective sas --minimize" in command(page)
    assert "-t mw=:500" in command(page)


def test_several_objectives_get_scales_and_weights(app):
    page = app("optimize")
    named(page.button, "Add an objective").click().run()
    second = [s for s in page.selectbox if s.label == "Property"][1]
    second.set_value("logp").run()
    goals = [g for g in page.button_group if g.label == "Goal"]
    goals[1].set_value("in a range").run()
    named(page.number_input, "At least").set_value(1.0)
    named(page.number_input, "At most").set_value(3.0)
    [w for w in page.slider if w.label == "Weight"][1].set_value(2.0).run()
    assert "--objective qed@0:1 --objective 'logp=1:3*2'" in command(page)
    named(page.toggle, "Search for the Pareto front").set_value(True).run()
    assert "--objective qed@0:1 --objective logp=1:3 --pareto" in command(page)


def test_functions_of_a_file_are_offered_without_running_it(app, tmp_path):
    page = app("optimize")
    named(page.selectbox, "Objective 1").set_value("file").run()
    assert named(page.selectbox, "Function").options == ["score"]
    assert f"--objective {tmp_path / 'mine.py'}:score " in command(page)


def test_a_similarity_needs_a_molecule(app):
    page = app("optimize")
    named(page.selectbox, "Objective 1").set_value("similarity").run()
    assert [b for b in page.button if b.label == "Start the search"] == []
    named(page.text_input, "SMILES").set_value("C1CC").run()
    assert "cannot read" in words(page)
    named(page.text_input, "SMILES").set_value("c1ccccc1O").run()
    assert "--objective 'similarity:c1ccccc1O*1'" in command(page)


def test_measured_columns_of_the_model_are_offered(app, measured_run):
    use(Settings(str(measured_run)))
    page = app("optimize")
    named(page.selectbox, "Objective 1").set_value("column").run()
    assert "--objective assay " in command(page)


@pytest.mark.process
def test_a_search_shows_its_best_molecules_and_continues(app, tmp_path):
    page = app("optimize")
    named(page.number_input, "Molecules to score").set_value(12)
    named(page.checkbox, "Allow ring systems that no training molecule has").set_value(True).run()
    named(page.button, "Start the search").click().run()
    job = ended(page, tmp_path)
    assert job.state == "finished", job.log
    assert not page.exception
    assert "12 molecules were scored" in words(page)
    with open(job.output("best.csv"), encoding="utf-8") as file:
        assert 0 < len(list(csv.DictReader(file))) <= 12
    named(page.number_input, "More molecules").set_value(10).run()
    named(page.button, "Continue").click().run()
    job = ended(page, tmp_path)
    assert job.result["calls"] == 22, job.log


# -- evaluate ------------------------------------------------------------------------------------


@pytest.mark.process
def test_a_report_is_shown_inside_a_frame_without_rights(app, tmp_path):
    page = app("evaluate")
    upload(page, "File to evaluate", "made.smi", b"CCO <script>alert(1)</script>\nCCN\nCCO\nC1\n")
    upload(page, "Training set (optional)", "known.smi", b"CCO\nCCCC\n")
    named(page.button, "Evaluate").click().run()
    job = ended(page, tmp_path)
    assert job.state == "finished", job.log
    assert not page.exception
    metrics = json.loads(job.output("results.json").read_text())["metrics"]
    assert (metrics["valid"]["numerator"], metrics["valid"]["denominator"]) == (3, 4)
    assert (metrics["novelty"]["numerator"], metrics["novelty"]["denominator"]) == (1, 2)
    report = job.output("report.html").read_text()
    assert "<script" not in report


def test_a_damaged_job_folder_is_explained(app, tmp_path):
    """The words come from the panel of the job, which runs again without the page around it."""
    folder = jobs.new_folder(tmp_path / "jobs", "optimize")
    (folder / jobs.JOB).write_text('{"arguments": ["optimize"], "title": "damaged"}')
    (folder / jobs.ENDED).write_text('{"code": 0}')
    (folder / "best.calls.csv").write_text(
        "call,round,origin,smiles,status,value,note,qed\n1,0,sample,CCO,answered,half,,half\n"
    )
    page = app("optimize")
    assert not page.exception
    assert "ValueError" in page.error[0].value


def test_files_of_jobs_are_offered(app, tmp_path):
    for verb, title, name in (
        ("optimize", "Search for qed", "best.csv"),
        ("prepare", "Data of mine.csv", "data.ds/molecules.csv.gz"),
    ):
        folder = jobs.new_folder(tmp_path / "jobs", verb)
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).touch()
        about = {"arguments": [verb], "title": title, "created": 0.0}
        (folder / jobs.JOB).write_text(json.dumps(about))
    page = app("evaluate")
    for label, title in (("Molecules", "Search for qed"), ("Compare with", "Data of mine.csv")):
        (option,) = [o for o in named(page.selectbox, label).options if o.startswith(title)]
        named(page.selectbox, label).set_value(option).run()
    made, known = ([*(tmp_path / "jobs").glob(f"*/{end}")] for end in ("best.csv", "data.ds/*"))
    assert command(page).startswith(f"molvae evaluate {made[0]} --train {known[0]} ")


def test_a_frame_cannot_be_left():
    frame = evaluate.framed("""<p title='"'>a & b</p>"></iframe><script>alert(1)</script>""")
    assert frame.count("<iframe") == 1
    assert " sandbox " in frame
    assert "<script" not in frame
    assert frame.endswith('&lt;/script&gt;"></iframe>')


def test_objectives_of_a_request():
    chosen = objectives.Chosen(("qed", "sas@6:2"), pareto=True)
    assert chosen.words() == ["--objective", "qed", "--objective", "sas@6:2", "--pareto"]
