"""The whole story, from data to artifact:

    read -> Dataset -> split -> [candidate x fold -> ledger] -> ensemble -> evidence -> artifact -> test scores

Every stage leaves files in the run folder and starts from files, so an interrupted run goes on where it stopped.
"""

from __future__ import annotations

import importlib
import math
import os
import shutil
import signal
import threading
import time as clock_time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, Literal

from fusion_automl.assemble import PRESETS, Preset
from fusion_automl.candidate import Candidate
from fusion_automl.component import unknown
from fusion_automl.data.beyond import with_shards
from fusion_automl.data.dataset import Dataset
from fusion_automl.data.prepare import prepare, prepare_rows
from fusion_automl.data.sample import Bound
from fusion_automl.data.shards import SHARDS
from fusion_automl.data.split import choose_num_folds, make_split
from fusion_automl.data.storage import is_remote
from fusion_automl.deadline import Deadline
from fusion_automl.ensemble.price import Limits
from fusion_automl.errors import BucketError, DataError, RunError, UserError
from fusion_automl.evaluate import Problem
from fusion_automl.finish import Result, finish, publish
from fusion_automl.metrics import METRICS, VALUES, check_metric, default_metric, metric_for
from fusion_automl.search.clock import DEFAULT_BUDGET, make_clock, parse_budget
from fusion_automl.search.lease import Lease
from fusion_automl.search.ledger import Ledger, Report
from fusion_automl.search.memory import available_bytes
from fusion_automl.search.plan import Listener, Plan
from fusion_automl.search.problem import (
    DATA,
    SETTINGS,
    pull_problem,
    push_problem,
    read_problem,
    read_settings,
    write_problem,
)
from fusion_automl.search.read import read_space
from fusion_automl.search.room import full_disk_told
from fusion_automl.search.space import LocalSpace
from fusion_automl.store.bucket import patience_for
from fusion_automl.store.disk import BUCKET_BYTES_PER_SECOND
from fusion_automl.store.mirror import Mirror, place
from fusion_automl.target import is_imbalanced, is_skewed

Engine = Literal["inline", "ray"]
ENGINES: dict[str, str] = {"inline": "fusion_automl.search.inline", "ray": "fusion_automl.search.tune"}
TABLE_SHARE = 1 / 8
"""Of the free memory so much for the rows as they are read: while they are prepared they take four times that, and each
trial's process has them again, with what its models make of them."""
SHARDS_SHARE = 0.05
"""Of the budget, for the second pass over a table of which only a sample fits; of it a bucket takes as much again."""
DISK_SHARE = 1 / 4
"""Of the free disk so much for rows beyond the sample; fitted nodes need the rest."""


@dataclass(frozen=True, slots=True)
class _Job:
    """A run about to be searched: what was asked, what it is about, and the seconds it has left."""

    problem: Problem
    settings: dict[str, Any]
    seconds_left: float


def fit(
    data: Any = None,
    *,
    target: str | None = None,
    out: str | Path,
    test: Any = None,
    budget: str | float | None = None,
    metric: str | None = None,
    space: str | Path = "default",
    ignore: Sequence[str] = (),
    folds: int | None = None,
    group: str | None = None,
    time: str | None = None,
    schema: str | Path | Mapping[str, Any] | None = None,
    task: str | None = None,
    seed: int = 0,
    max_rows: int | None = None,
    max_trials: int | None = None,
    preset: Preset | None = None,
    max_latency_ms: float | None = None,
    max_size_mb: float | None = None,
    engine: Engine = "inline",
    address: str | None = None,
    max_concurrent: int | None = None,
    workers_per_trial: int | None = None,
    resume: bool = False,
    listener: Listener | None = None,
    started: float | None = None,
) -> Result:
    """Searches for the best fusion for `data` and leaves its artifact in `out/artifact`, within 105 % of `budget`.

    `out` is a folder or a URI, `s3://bucket/folder`; machines that search for it then share nothing but the bucket, and the
    result's `run` is the working copy on this machine. Where the bucket is lost on the way, the search ends, the artifact is
    made there, and BucketError says so.

    `data` and `test` are a path or URI, or a frame in memory. `budget` is seconds, or text such as "10m" (the default),
    counted from `started` on the monotonic clock or from the call. `schema` overrides inferred column kinds. Of more rows than
    `max_rows`, or than memory holds where it is not given, a random sample is used, and a note says so; where memory was the
    bound, nets learn from shards of the other rows as well. With `resume` the run
    in `out` goes on with its own settings and the budget it has left; a `budget`, `preset` or limit given then replaces the
    old one.

    `preset` is "best-quality" (an ensemble, the default) or "fast-inference" (one model); what is chosen is fitted again on
    all rows where the time allows it, and else predicts with the models of all folds. The artifact answers one row in
    `max_latency_ms` milliseconds on this machine, and is no larger than `max_size_mb` megabytes; where no candidate can, it
    holds the nearest and a note says so.

    On Ray, `max_concurrent` trials run at once (one on each CPU that the cluster has at the start), and as many processes train
    a trial's nets together as `workers_per_trial` says, or the cluster's size.

    Ctrl-C or SIGTERM ends the search early and keeps what it found. Raises UserError for anything wrong with the input.
    """
    started = clock_time.monotonic() if started is None else started
    run, mirror = place(out)
    if engine not in ENGINES:
        raise UserError(f"--engine: {unknown('engine', engine, list(ENGINES))}")
    _check_shares({"max-concurrent": max_concurrent, "workers-per-trial": workers_per_trial}, engine, mirror)
    chosen = _chosen(preset, max_latency_ms, max_size_mb)
    where = mirror.uri if mirror else str(run)
    with full_disk_told(where), _only_driver(run, where), Lease(mirror) if mirror else nullcontext() as lease:
        ledger = Ledger(run, mirror)
        if resume:
            job = _take_up(run, ledger, where=where, target=target, budget=budget, chosen=chosen)
        else:
            settings = {
                "budget": parse_budget(budget or DEFAULT_BUDGET),
                "space": str(space),
                "max_trials": max_trials,
                "max_rows": max_rows,
                "engine": engine,
                **chosen,
            }
            job = _begin(
                run,
                data,
                where=where,
                target=target,
                settings=settings,
                metric=metric,
                seed=seed,
                folds=folds,
                columns={"ignore": tuple(ignore), "group": group, "time": time, "overrides": schema, "task_kind": task},
            )
            if mirror:
                push_problem(mirror)
        problem = job.problem
        dataset = problem.dataset
        test_rows = None if test is None else prepare_rows(test, dataset.schema, dataset.task, where="--test")
        if test_rows and test_rows[1] is None:
            raise DataError(
                f"--test: it has no column '{dataset.task.target}', the target; without it there is no score."
            )
        local = _restricted(job.settings["space"], dataset)
        preset = job.settings.get("preset") or PRESETS[0]
        clock = make_clock(job.settings["budget"])
        deadline = Deadline(started + job.seconds_left)
        plan = Plan(
            run=run,
            space=local,
            seed=problem.seed,
            num_folds=len(problem.folds),
            deadline=deadline.earlier(clock.reserve),
            max_seconds_per_trial=clock.max_seconds_per_trial,
            max_trials=max_trials or job.settings["max_trials"],
            threads=len(os.sched_getaffinity(0)),
            address=address,
            max_concurrent=max_concurrent,
            workers_per_trial=workers_per_trial,
            mirror=mirror,
        )
        if mirror:
            mirror.bucket.patience = patience_for(job.settings["budget"])
        ledger.event("session", engine=engine, seconds_left=job.seconds_left)
        loading = _load_ahead("skops.io")
        listener = listener or Quiet()
        interrupted = _search(plan, engine, lease.watch(listener) if lease else listener)
        loading.join(clock.reserve / 2)  # after an early Ctrl-C: imports in two threads may wait for each other
        with _on_sigterm(lambda *signalled: None):  # who sends it wants to have what is just being made
            result = finish(
                ledger,
                problem,
                deadline=deadline.within(clock.reserve) if interrupted else deadline,
                budget=job.settings["budget"],
                started=started,
                test=test_rows,
                notes=(*job.settings["notes"], *local.notes),
                interrupted=interrupted,
                preset=preset,
                limits=_limits(job.settings),
                threads=plan.threads,
            )
            if mirror:
                publish(ledger, mirror)
            return result


def _check_shares(asked: Mapping[str, int | None], engine: str, mirror: Mirror | None) -> None:
    """Raises UserError where a cluster could not be shared among trials and their workers so."""
    for option, number in asked.items():
        if number is not None and number < 1:
            raise UserError(f"--{option}: got {number}, expected 1 or more.")
        if (number or 1) > 1 and engine != "ray":
            raise UserError(f"--{option}: got {number} with the engine '{engine}'. Add --engine ray.")
    if (asked["workers-per-trial"] or 1) > 1 and mirror:
        raise UserError(
            f"--workers-per-trial: workers find their rows in the run folder, and no two machines share {mirror.uri}. "
            "Name a folder that all machines see with --out."
        )


def _chosen(preset: str | None, max_latency_ms: float | None, max_size_mb: float | None) -> dict[str, Any]:
    """What the user said about the artifact, checked. Raises UserError."""
    if preset is not None and preset not in PRESETS:
        raise UserError(f"--preset: {unknown('preset', preset, list(PRESETS))}")
    values = {"preset": preset, "max_latency_ms": max_latency_ms, "max_size_mb": max_size_mb}
    chosen = {name: value for name, value in values.items() if value is not None}
    _limits(chosen)
    return chosen


def _limits(settings: Mapping[str, Any]) -> Limits:
    return Limits(settings.get("max_latency_ms", math.inf), settings.get("max_size_mb", math.inf))


def _begin(
    run: Path,
    data: Any,
    *,
    where: str,
    target: str | None,
    settings: dict[str, Any],
    metric: str | None,
    seed: int,
    folds: int | None,
    columns: Mapping[str, Any],
) -> _Job:
    """Reads the data, checks everything the user said, and writes the problem into a new run folder."""
    if (run / SETTINGS).exists():
        raise RunError(f"{where}: holds a run already. Go on with it by --resume, or name another folder with --out.")
    if data is None or target is None:
        raise UserError("fit: needs DATA and --target, unless --resume goes on with a run that has them.")
    if folds is not None and folds < 1:
        raise UserError(f"--folds: got {folds}, expected 1 (a single holdout) or more.")
    max_rows = settings["max_rows"]
    if max_rows is not None and max_rows < 1:
        raise UserError(f"--max-rows: got {max_rows}, expected 1 or more.")
    read_space(settings["space"])
    if columns["task_kind"] is None and metric in METRICS and METRICS[metric].tasks == VALUES:
        columns = {**columns, "task_kind": "regression"}  # few whole numbers would else be taken for classes
    max_bytes = available_bytes() * TABLE_SHARE if max_rows is None else math.inf
    prepared = prepare(data, target=target, bound=Bound(max_rows, max_bytes, seed), **columns)
    dataset, notes = prepared.dataset, list(prepared.notes)
    usual, why = default_metric(dataset.task, dataset.y)
    chosen = metric_for(dataset.task, metric or usual)
    check_metric(chosen, dataset.task, dataset.y)
    num_folds = folds or choose_num_folds(len(dataset), settings["budget"])
    split = make_split(dataset, num_folds=num_folds, seed=seed)
    local = _restricted(settings["space"], dataset)
    if prepared.left_out and max_rows is None and local.trains_nets:
        seconds, room = SHARDS_SHARE * settings["budget"], DISK_SHARE * shutil.disk_usage(run).free
        if is_remote(where):
            room = min(room, BUCKET_BYTES_PER_SECOND * seconds)
        dataset, note = with_shards(dataset, prepared.left_out, run / DATA / SHARDS, seconds=seconds, max_bytes=room)
        notes.append(note)
    problem = Problem(dataset, split, chosen, seed)
    settings = {**settings, "notes": [*notes, *([why] if why and not metric else [])]}
    write_problem(run, problem, settings)
    return _Job(problem, settings, settings["budget"])


def _restricted(space: str, dataset: Dataset) -> LocalSpace:
    return read_space(space).restrict(
        dataset.schema,
        dataset.task,
        len(dataset),
        skewed=not dataset.task.is_classification and is_skewed(dataset.y),
        imbalanced=dataset.task.is_classification and is_imbalanced(dataset.y),
    )


def _take_up(
    run: Path, ledger: Ledger, *, where: str, target: str | None, budget: str | float | None, chosen: Mapping[str, Any]
) -> _Job:
    """Reads the problem of a run that was begun; its trials stay, those that ran out of time may be tried again."""
    if ledger.mirror:
        pull_problem(ledger.mirror)
        ledger.pull()
    settings = read_settings(run)
    problem = read_problem(run)
    if target is not None and target != problem.dataset.task.target:
        raise RunError(
            f"{where}: this run predicts '{problem.dataset.task.target}', not '{target}'. "
            "Resume without --target, or start another run with --out."
        )
    settings |= chosen
    if budget is not None:
        settings["budget"] = parse_budget(budget)
    ledger.drop_unfinished()
    return _Job(problem, settings, settings["budget"] - ledger.seconds_spent())


def _search(plan: Plan, engine: str, listener: Listener) -> bool:
    """Runs the engine; True where Ctrl-C, SIGTERM or the loss of the bucket ended it."""
    try:
        with _on_sigterm(signal.default_int_handler):  # job schedulers send it before they kill
            importlib.import_module(ENGINES[engine]).search(plan, listener)
    except (KeyboardInterrupt, BucketError):
        return True
    return False


def _load_ahead(module: str) -> threading.Thread:
    """Imports what loading the artifact will need while this process only waits: 3 s of the reserve that it keeps.

    In a thread, for an import that Ctrl-C breaks off cannot be made again where it loads torch.
    """
    thread = threading.Thread(target=importlib.import_module, args=(module,), daemon=True)
    thread.start()
    return thread


@contextmanager
def _on_sigterm(act: Callable[[int, FrameType | None], Any]) -> Iterator[None]:
    """Has SIGTERM do something else for a while; in threads, which cannot say so, it keeps its meaning."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, act)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def _only_driver(run: Path, where: str) -> Iterator[None]:
    """Keeps a second command out of the run folder while this one works in it."""
    from filelock import FileLock, Timeout

    run.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(run / ".lock", timeout=0.2):
            yield
    except Timeout:
        raise RunError(
            f"{where}: another fit is at work in this folder. Wait for it, or name another with --out."
        ) from None


class Quiet:
    """A listener that says nothing."""

    def started(self, candidate: Candidate) -> None: ...

    def fold_done(self, candidate: Candidate, fold: int, score: float) -> None: ...

    def finished(self, candidate: Candidate, report: Report) -> None: ...
