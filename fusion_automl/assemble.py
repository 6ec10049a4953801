"""From a field of trials to an artifact that keeps its limits: chosen, saved, loaded again, and measured as a user has it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Literal

import numpy as np

from fusion_automl.artifact import load, save
from fusion_automl.artifact.artifact import Artifact
from fusion_automl.artifact.manifest import Manifest, Member
from fusion_automl.data.plain import to_plain
from fusion_automl.data.profile import profiles
from fusion_automl.deadline import Deadline
from fusion_automl.ensemble.build import Ensemble, build_ensemble, build_single, contenders
from fusion_automl.ensemble.field import Field
from fusion_automl.ensemble.price import Limits, Price, Prices
from fusion_automl.errors import FusionError
from fusion_automl.evaluate import Problem
from fusion_automl.refit import PATIENCE, refit, refit_members, refit_seconds
from fusion_automl.search.ledger import Trial
from fusion_automl.store.disk import Store, bytes_in

Preset = Literal["best-quality", "fast-inference"]
PRESETS: tuple[Preset, ...] = ("best-quality", "fast-inference")

MAX_ATTEMPTS = 4
"""An artifact costs somewhat more than its parts; limits that it breaks are drawn in by that much, and at the last attempt
so far that only the cheapest candidate is left."""
MEASURED_ROWS = 21
MEASURED_SECONDS = 1.0
"""More than that is not spent on measuring one row at a time."""
CHOICE_SHARE = 0.2
"""Of the time that is left: for choosing, and for learning how predictions are read."""
REFIT_SHARE = 0.6
"""Of the time for one model or ensemble: for fitting it again on all rows."""
REST_SHARE = 0.15
"""Of the time that is left: for saving and loading, and for comparisons. The test rows come on top, at the speed of the folds'
models: a refit that the deadline ended left these to them, and 100 s of `fashion_mnist` took 106."""


@dataclass(frozen=True, slots=True)
class Winner:
    """The artifact in its folder, loaded from there; `price` was measured on it. `notes` are sentences for people."""

    ensemble: Ensemble
    artifact: Artifact
    price: Price
    notes: tuple[str, ...]


def assemble(
    folder: Path,
    problem: Problem,
    field: Field,
    store: Store,
    *,
    preset: Preset,
    limits: Limits,
    num_test: int,
    deadline: Deadline,
    threads: int,
) -> Winner:
    """Makes the artifact of the best that the field has within `limits`, which will predict `num_test` rows by `deadline`.

    Of the time that is left a fifth goes to choosing, and up to 60 % to fitting what is chosen on all rows. The first choice
    reckons with one model a member; where members kept the models of their folds and that broke a limit, those after it
    reckon with all of these.
    """
    prices = Prices(store)
    within, hopeful = limits, True
    for attempt in range(1, MAX_ATTEMPTS + 1):
        seconds = max(0.2, deadline.seconds_left())
        times = _Times(deadline, seconds, num_test, prices)
        if preset == "fast-inference":
            ensemble, notes = _one_model(problem, field, store, prices, within, times, threads=threads)
        else:
            price_of = prices.of_one_fold if hopeful else prices.of
            ensemble = build_ensemble(field, price_of, within, seconds=CHOICE_SHARE * seconds)
            by = times.refit_by(ensemble.trials)
            ensemble, notes = refit_members(ensemble, problem, store, deadline=by, threads=threads)
        save(make_manifest(problem, store, ensemble), store, folder)
        artifact = load(folder)
        expected = prices.of(ensemble.trials)
        price = measure(artifact, problem, folder, row_seconds=expected.row_seconds)
        if limits.keep(price) or attempt == MAX_ATTEMPTS or deadline.passed():
            break
        if within.keep(expected):
            within = _drawn_in(limits, expected, price, last=attempt == MAX_ATTEMPTS - 1)
        elif hopeful and preset != "fast-inference":
            hopeful = False
        else:
            break
    return Winner(ensemble, artifact, price, (*notes, *_broken(limits, price)))


def measure(artifact: Artifact, problem: Problem, folder: Path, *, row_seconds: float) -> Price:
    """The median time of predicting one row of the training data alone, as a service does, and the size on disk."""
    frame = problem.dataset.frame
    rows = np.linspace(0, len(frame) - 1, MEASURED_ROWS).astype(np.int64)
    artifact.predict_frame(frame.iloc[rows[:1]], where="a row")  # the first call also loads libraries
    seconds: list[float] = []
    while len(seconds) < len(rows) and sum(seconds) < MEASURED_SECONDS:
        row = frame.iloc[rows[len(seconds)] :][:1]
        started = time.perf_counter()
        artifact.predict_frame(row, where="a row")
        seconds.append(time.perf_counter() - started)
    return Price(row_seconds, 1e3 * float(np.median(seconds)), bytes_in(folder) / 1e6)


def make_manifest(problem: Problem, store: Store, ensemble: Ensemble) -> Manifest:
    """The manifest of an artifact that predicts as `ensemble` does."""
    dataset = problem.dataset
    members = tuple(
        Member(trial.candidate, weight, trial.report.score or 0.0, trial.report.outputs)
        for trial, weight in ensemble.members
    )
    nodes = store.ancestry([ref.node for member in members for ref in member.outputs])
    return Manifest(
        task=dataset.task,
        schema=dataset.schema,
        metric=problem.metric.name,
        score=ensemble.score,
        readout=ensemble.readout,
        members=members,
        nodes=tuple(nodes),
        version=version("fusion_automl"),
        example=to_plain(dataset.frame.iloc[:1], dataset.schema)[0],
        profiles=profiles(dataset.frame, dataset.schema),
    )


@dataclass(frozen=True, slots=True)
class _Times:
    """What the `seconds` that an attempt began with, up to `deadline`, are for."""

    deadline: Deadline
    seconds: float
    num_test: int
    prices: Prices

    def refit_by(self, trials: Sequence[Trial]) -> Deadline:
        """When fitting these again must be over, so that the models of their folds could still predict the test rows."""
        test_seconds = self.num_test * self.prices.of(trials).row_seconds
        rest = max(1 - CHOICE_SHARE - REFIT_SHARE, REST_SHARE + test_seconds / self.seconds)
        return self.deadline.earlier(rest * self.seconds)


def _one_model(
    problem: Problem,
    field: Field,
    store: Store,
    prices: Prices,
    limits: Limits,
    times: _Times,
    *,
    threads: int,
) -> tuple[Ensemble, tuple[str, ...]]:
    """One trial, fitted again on all rows; with its folds' models where there is no time for that."""
    seconds = CHOICE_SHARE / 2 * times.seconds  # where the first choice cannot be fitted again there is a second
    trials = contenders(field)
    in_time = [
        trial
        for trial in trials
        if PATIENCE * refit_seconds(trial, problem, store) < times.refit_by([trial]).seconds_left()
    ]
    if in_time:
        single = build_single(field, in_time, prices.of_one_fold, limits, seconds=seconds)
        (trial,) = single.trials
        try:
            again = refit(trial, problem, store, deadline=times.refit_by([trial]), threads=threads)
        except FusionError as error:
            reason = str(error)
        else:
            note = (
                f"One model predicts: {trial.candidate.describe()}, fitted again on all {len(problem.dataset)} rows. "
                f"The score is that of its {len(trial.report.outputs)} folds' models on rows they had not seen."
            )
            return replace(single, members=((again, 1.0),)), (note,)
    else:
        reason = "no candidate would be fitted in the time that is left"
    single = build_single(field, trials, prices.of, limits, seconds=seconds)
    return single, (
        f"There was no fit on all rows ({reason}): the models of all folds predict. Choose a larger --budget.",
    )


def _drawn_in(limits: Limits, expected: Price, measured: Price, *, last: bool) -> Limits:
    """Limits for the parts, such that an artifact which costs as many times its parts as this one keeps `limits`."""
    latency = 0.95 * expected.latency_ms / measured.latency_ms
    size = expected.size_mb / measured.size_mb
    if last:
        latency = size = 1e-6
    return replace(limits, latency_ms=limits.latency_ms * min(1.0, latency), size_mb=limits.size_mb * min(1.0, size))


def _broken(limits: Limits, price: Price) -> list[str]:
    broken = [
        f"{option} {limit:g} (the artifact's is {found:.3g})"
        for option, limit, found in (
            ("--max-latency-ms", limits.latency_ms, price.latency_ms),
            ("--max-size-mb", limits.size_mb, price.size_mb),
        )
        if found > limit
    ]
    if not broken:
        return []
    return [
        f"No candidate keeps {' and '.join(broken)}; the artifact holds the one that comes nearest. Raise the limit, or "
        "search longer: cheaper candidates may turn up."
    ]
