"""What people read about jobs on a cluster."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from fusion_automl.cli.show import Scale, console, line, metric_label

if TYPE_CHECKING:
    from fusion_automl.jobs.job import Job
    from fusion_automl.jobs.progress import Progress
    from fusion_automl.jobs.submission import Submission


def submitted(submission: Submission, address: str) -> None:
    """The id, the run folder, and the commands that go on from here."""
    for note in submission.notes:
        line(f"note: {note}")
    line(f"submitted {submission.id}")
    line(f"run folder: {submission.run}")
    where = f"{submission.id} --address {shlex.quote(address)}"
    line("follow it, or end it early:")
    line(f"  fusion-automl jobs status {where}")
    line(f"  fusion-automl jobs logs {where} --follow")
    line(f"  fusion-automl jobs stop {where}")


def jobs(found: Sequence[tuple[Job, Progress | None]]) -> None:
    """A table of jobs in the order given."""
    table = Table(box=None, pad_edge=False)
    for heading in ("id", "status", "target", "budget", "started", "progress", "run"):
        table.add_column(heading, overflow="fold", no_wrap=heading == "id")
    for each, progress in found:
        far = "-" if progress is None else ", ".join([*_counts(progress), _best(progress)])
        table.add_row(each.id, each.status, each.target, each.budget, _clock(each.started), far, each.run)
    # Without a terminal the table is as wide as it needs to be.
    (console if console.is_terminal else Console(stderr=True, width=240, highlight=False)).print(table)


def job(each: Job) -> None:
    code = "" if each.exit_code is None else f", exit code {each.exit_code}"
    line(f"{each.id}  {each.status}{code}  started {_clock(each.started)}")
    if each.status == "FAILED" and each.exit_code is None and each.message:
        line(each.message.strip().partition("\n")[0])


def progress(far: Progress) -> None:
    """Trials, scores and time of a run."""
    most = f" of {far.max_trials}" if far.max_trials else ""
    line(f"run folder: {far.run}")
    line(f"trials{most}: {', '.join(_counts(far))}")
    line(f"best so far: {_best(far)} ({_scale(far).direction})")
    if far.finished:
        line(f"result: {_scale(far).metric} {_scale(far).show(far.score)}, on rows that did not choose it")
    line(f"time: {far.seconds:.0f} s of {far.budget_seconds:.0f} s{', finished' if far.finished else ''}")


def _scale(far: Progress) -> Scale:
    return Scale(metric_label(far.metric), not far.greater_is_better)


def _best(far: Progress) -> str:
    return f"{_scale(far).metric} {_scale(far).show(far.best)}"


def _counts(far: Progress) -> list[str]:
    words = {"done": "done", "pruned": "pruned", "failed": "failed", "out_of_time": "out of time"}
    return [f"{far.trials[key]} {word}" for key, word in words.items() if far.trials.get(key)] or ["none yet"]


def _clock(moment: float | None) -> str:
    return "-" if moment is None else f"{datetime.fromtimestamp(moment):%Y-%m-%d %H:%M:%S}"
