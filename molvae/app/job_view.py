"""What a page shows of its jobs: state, progress, live figures, buttons, log, command line."""

from __future__ import annotations

from collections.abc import Callable

import streamlit as st

from molvae.app import command, state, storage
from molvae.app.guard import guarded
from molvae.app.jobs import Job, all_jobs, load
from molvae.app.settings import settings
from molvae.app.words import plain
from molvae.errors import MolvaeError
from molvae.runtime.progress import duration

__all__ = ["Details", "jobs_of", "listing", "panel", "show_next"]

EVERY = 1.0  # seconds between two looks at a running job
LOG_LINES = 200
WORDS = {
    "running": ("running", "blue", ":material/progress_activity:"),
    "stopping": ("stopping", "orange", ":material/hourglass_bottom:"),
    "finished": ("finished", "green", ":material/check:"),
    "stopped": ("stopped", "orange", ":material/stop_circle:"),
    "failed": ("failed", "red", ":material/error:"),
    "killed": ("interrupted", "red", ":material/error:"),
}
RESUME = "Continues from what was saved, with the same options."

Details = Callable[[Job], None]


def jobs_of(*verbs: str) -> list[Job]:
    """The jobs of these molvae commands in the folder of the app, the newest first."""
    return [job for job in all_jobs(settings().folder) if job.verb in verbs]


def listing(jobs: list[Job], details: Details, *, key: str, none: str = "") -> None:
    """Let the user choose one of the jobs, the newest at first, and show it."""
    if not jobs:
        if none:
            st.caption(none)
        return
    by_name = {job.folder.name: job for job in jobs}
    if (started := st.session_state.pop(f"{key}.next", None)) is not None:
        st.session_state[key] = started
    shown = st.session_state.get(key)
    if shown not in by_name:
        st.session_state[key] = next(iter(by_name))
    chosen = st.selectbox(
        "Jobs",
        list(by_name),
        format_func=lambda name: by_name[name].label if name in by_name else name,
        key=key,
        help="Jobs are files in the folder of the app: they stay when this page is closed.",
    )
    panel(by_name[chosen], details)


def show_next(job: Job, key: str) -> None:
    """Draw the page again, with this job in the :func:`listing` of that key."""
    st.session_state[f"{key}.next"] = job.folder.name
    st.rerun()


def panel(job: Job, details: Details) -> None:
    """Show a job; while it runs, the panel looks at its files every second."""
    running = job.active

    def look() -> None:
        if state.page_is_pending():
            st.rerun()
        now = load(job.folder)
        if now is None:
            st.caption("This job was deleted.")
            return
        if running and not now.active:
            st.rerun()  # the whole page: its result may be used elsewhere
        _head(now)
        if running:
            _stop_button(now)
        details(now)
        if not running:
            for line in now.log:
                if line.startswith("note: "):
                    note = storage.without_folder(line.removeprefix("note: "))
                    st.info(plain(note), icon=":material/info:")
            _buttons(now)
        command.show(now.arguments, note=_missing(now))
        if lines := now.log:
            with st.expander("Log"):
                st.code("\n".join(lines[-LOG_LINES:]), language=None, wrap_lines=True, height=300)

    with st.container(border=True):
        st.fragment(guarded(look), run_every=EVERY if running else None)()


def _missing(job: Job) -> str:
    """What the command line of a job needs in a terminal: its uploads may be gone."""
    names = ", ".join(f"`{name}`" for name in storage.removed(job.arguments))
    return names and f"Put your file in place of {names}: the app has removed its copy."


def _head(job: Job) -> None:
    word, color, icon = WORDS[job.state]
    with st.container(horizontal=True, vertical_alignment="center"):
        st.markdown(f"**{plain(job.title)}**")
        st.badge(word, color=color, icon=icon)  # type: ignore[arg-type]  # a literal
        st.caption(duration(job.seconds))
    progress = job.progress
    if job.active:
        share = progress.share
        st.progress(0.0 if share is None else share, text=plain(progress.text or "starting …"))
    elif job.state in ("failed", "killed"):
        st.error(plain(storage.without_folder(job.error)), icon=":material/error:")
    elif job.state == "stopped":
        st.warning("Stopped; what was done is saved.", icon=":material/stop_circle:")


def _stop_button(job: Job) -> None:
    asked = job.stop_requests
    label = ("Stop", "Stop at once", "End the process")[min(asked, 2)]
    help_ = "Saves what is done, to be resumed." if not asked else "Does not wait."
    st.button(
        label,
        key=f"stop.{job.folder.name}",
        help=help_,
        icon=":material/stop:",
        on_click=job.stop,
    )


def _buttons(job: Job) -> None:
    with st.container(horizontal=True):
        if job.resumable and st.button(
            "Resume", key=f"resume.{job.folder.name}", help=RESUME, icon=":material/play_arrow:"
        ):
            try:
                job.resume()
            except MolvaeError as error:
                st.error(plain(str(error)))
            else:
                st.rerun()
        with st.popover("Delete", icon=":material/delete:"):
            st.caption("Deletes the folder of this job with all its files.")
            if st.button("Delete for good", key=f"delete.{job.folder.name}"):
                try:
                    job.remove()
                except MolvaeError as error:
                    st.error(plain(str(error)))
                else:
                    st.rerun()
