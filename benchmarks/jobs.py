"""One job: a system fits a case with a seed in a budget, and then predicts the test rows; one line of a file each.

Scores come from one place: a peer leaves predictions, and this package's metrics judge them all.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from cases import Case
from measure import Run, measure
from systems import PEERS, System

from fusion_automl.data.images import decode_images
from fusion_automl.data.target import encode_target, infer_task
from fusion_automl.metrics import METRICS, all_values
from fusion_automl.task import Task

PATIENCE = 3.0
"""A fit that takes more than so many budgets, and five minutes, is ended."""
PREDICT_SECONDS = 1800.0


@dataclass(frozen=True, slots=True)
class Job:
    """What is done once and told in one line; `key` finds the line again."""

    system: System
    case: Case
    seed: int
    budget: float

    @property
    def key(self) -> tuple[str, str, int, float]:
        return (self.system.name, self.case.name, self.seed, self.budget)


def plan(
    systems: Sequence[System],
    cases: Sequence[Case],
    seeds: Sequence[int],
    budgets: Sequence[float],
    *,
    all_seeds: bool = False,
) -> list[Job]:
    """All jobs, the systems side by side within a case; the first seed alone where a case is not to be repeated."""
    return [
        Job(system, case, seed, budget)
        for budget in budgets
        for case in cases
        for seed in (seeds if case.repeat or all_seeds else seeds[:1])
        for system in systems
    ]


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The lines of finished jobs; one that was cut short by a kill is left out."""
    lines = []
    for text in path.read_text().splitlines() if path.exists() else ():
        try:
            lines.append(json.loads(text))
        except json.JSONDecodeError:
            continue
    return lines


def run_all(jobs: Iterable[Job], out: Path, *, data: Path, venvs: Path) -> Iterator[dict[str, Any]]:
    """Runs the jobs that `out` does not have, appends each one's line as it ends, and gives it."""
    done = {(line["system"], line["case"], line["seed"], line["budget"]) for line in read_lines(out)}
    work, data = out.resolve().with_suffix(".work"), data.resolve()  # jobs run in folders of their own
    for job in jobs:
        if job.key in done:
            continue
        work.mkdir(parents=True, exist_ok=True)
        line = run_job(job, work, data=data, venvs=venvs)
        _append(out, json.dumps(line))
        yield line


def _append(path: Path, text: str) -> None:
    """Adds a line, on a line of its own also behind one that a kill cut short."""
    with path.open("a+b") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - 1))
        cut = file.read(1) not in (b"", b"\n")
        file.write(("\n" if cut else "").encode() + text.encode() + b"\n")


def run_job(job: Job, work: Path, *, data: Path, venvs: Path) -> dict[str, Any]:
    """Fits and predicts in processes of their own; the logs stay in `work`, the models do not."""
    name = "-".join(map(str, (job.system.name, job.case.name, job.seed, f"{job.budget:g}")))
    folder = work / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    rows = rows_for(job, data, work)
    (folder / "job.json").write_text(json.dumps(_words(job, rows, folder)))
    line: dict[str, Any] = {
        **dict(zip(("system", "case", "seed", "budget"), job.key, strict=True)),
        "metric": job.case.metric,
        "machine": f"{platform.machine()}, {len(os.sched_getaffinity(0))} cores",
    }
    try:
        log = work / f"{name}.fit.log"
        fit, told = _stage("fit", job, folder, log, venvs, PATIENCE * job.budget + 300)
        line |= {"seconds": fit.seconds, "call_seconds": told.get("seconds"), "peak_bytes": fit.peak_bytes}
        if fit.code:
            return line | {"scores": None, "reason": _reason(fit, log)}
        log = work / f"{name}.predict.log"
        predict, told = _stage("predict", job, folder, log, venvs, PREDICT_SECONDS)
        line |= {"predict_peak_bytes": predict.peak_bytes}
        if predict.code:
            return line | {"scores": None, "reason": _reason(predict, log)}
        return line | told | {"scores": scores(job.case, folder / "predictions.npz", *rows)}
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def rows_for(job: Job, data: Path, work: Path) -> tuple[Path, Path]:
    """Paths of the train and test rows in the form that the system takes; flattened ones are made once, in `work`."""
    case = job.case
    source = data.resolve() / case.dataset
    if not case.images or job.system.takes_images:
        return source / "train.parquet", source / "test.parquet"
    paths = tuple(work / f"{case.name}.{part}.parquet" for part in ("train", "test"))
    for path, part in zip(paths, ("train", "test"), strict=True):
        if not path.exists():
            flatten(pd.read_parquet(source / f"{part}.parquet"), case.images, case.image_size).to_parquet(path)
    return paths[0], paths[1]


def flatten(frame: pd.DataFrame, images: Sequence[str], size: int) -> pd.DataFrame:
    """Images replaced by `size` x `size` columns of grey values each, named after the column."""
    parts = [frame.drop(columns=list(images))]
    for name in images:
        pixels = decode_images(list(frame[name]), size=size, channels=1).reshape(len(frame), -1)
        columns = [f"{name}_{position}" for position in range(pixels.shape[1])]
        parts.append(pd.DataFrame(pixels, index=frame.index, columns=columns))
    return pd.concat(parts, axis=1)


def scores(case: Case, predictions: Path, train: Path, test: Path) -> dict[str, float]:
    """Every metric of the case's task for the predictions that a peer left; its label is the most probable class."""
    columns = [pd.read_parquet(path, columns=[case.target])[case.target] for path in (train, test)]
    task = infer_task(columns[0], case.target, kind=case.task)
    with np.load(predictions) as left:
        found = in_order(task, left["predictions"], [str(label) for label in left["classes"]])
    return all_values(task, encode_target(columns[1], task, where=str(test)), found, found)


def in_order(task: Task, predictions: npt.NDArray[np.float64], classes: Sequence[str]) -> npt.NDArray[np.float64]:
    """The columns of `(rows, outputs)` in the order of the task's classes."""
    if not task.is_classification:
        return predictions
    return predictions[:, [classes.index(str(label)) for label in task.classes]]


def greater_is_better(metric: str) -> bool:
    return METRICS[metric].greater_is_better


def _words(job: Job, rows: tuple[Path, Path], folder: Path) -> dict[str, Any]:
    """The job as a peer reads it."""
    flat = bool(job.case.images) and not job.system.takes_images
    return {
        **asdict(job.case),
        "images": () if flat else job.case.images,
        "train": str(rows[0]),
        "test": str(rows[1]),
        "budget": job.budget,
        "seed": job.seed,
        "space": job.system.space,
        "preset": job.system.preset,
        "out": str(folder),
    }


def _stage(
    stage: str, job: Job, folder: Path, log: Path, venvs: Path, limit_seconds: float
) -> tuple[Run, dict[str, Any]]:
    """Runs a peer's script; how it ended, and the figures that it told where it came to its end."""
    command = [str(job.system.python(venvs)), str(PEERS / job.system.script), stage, str(folder / "job.json")]
    # No hub is asked for weights: what is on the machine is what all have.
    run = measure(command, log=log, limit_seconds=limit_seconds, cwd=folder, env={**os.environ, "HF_HUB_OFFLINE": "1"})
    # Ray's workers may still have something to say after the script's last line.
    told = [text for text in log.read_text(errors="replace").splitlines() if text.startswith('{"')]
    return run, json.loads(told[-1]) if run.code == 0 and told else {}


def _reason(run: Run, log: Path) -> str:
    """Why a stage left nothing: that it was ended, or its last line, which is what an exception says of itself."""
    if run.timed_out:
        return f"ended after {run.seconds:.0f} s"
    words = log.read_text(errors="replace").strip().splitlines()
    return words[-1][-300:] if words else f"it said nothing and left with code {run.code}"
