"""One candidate on one split: fold by fold, out-of-fold predictions and a score. Start reading here.

Nothing in here knows about search, Ray or ensembles. A candidate's parts come from the store when an earlier candidate
already needed them.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fusion_automl.candidate import Candidate
from fusion_automl.data.dataset import Dataset
from fusion_automl.data.split import Fold
from fusion_automl.deadline import Deadline
from fusion_automl.errors import OutOfTime
from fusion_automl.fusion import fit_candidate
from fusion_automl.fusion.bench import Bench
from fusion_automl.metrics import Metric
from fusion_automl.store.disk import Store
from fusion_automl.store.node import Ref

Floats = npt.NDArray[np.float64]

SHRINKABLE = 0.7
"""A fold that has less time than this share of what another fold took is not begun; a net can do with somewhat less."""
LEARNING_SHARE = 0.85
"""Of a fold's time, for what learns in rounds; what was learned is then applied to all rows. A text net that learned for the
whole 56 s of its fold was done after 80, and the other two folds did not fit any more."""
PREVIEW_SHARE = 0.25
"""Share of the first fold's train rows that a preview learns from."""


@dataclass(frozen=True, slots=True)
class Problem:
    """What every candidate of a run is evaluated on."""

    dataset: Dataset
    folds: tuple[Fold, ...]
    metric: Metric
    seed: int

    @property
    def covered(self) -> npt.NDArray[np.int64]:
        """The rows which some fold validates, sorted: all of them, except for a single holdout or a time-ordered split."""
        return np.sort(np.concatenate([fold.valid for fold in self.folds]))

    @property
    def y(self) -> npt.NDArray[Any]:
        """Targets of the covered rows."""
        return self.dataset.y[self.covered]


@dataclass(frozen=True, slots=True)
class FoldResult:
    """A candidate's predictions for the validation rows of one fold, `(rows, outputs)` in the order of `Fold.valid`; in
    `seconds` what was made for all folds at once does not count."""

    fold: int
    score: float
    predictions: Floats
    output: Ref
    nodes: tuple[str, ...]
    seconds: float


def evaluate(
    candidate: Candidate, problem: Problem, store: Store, *, deadline: Deadline, threads: int
) -> Iterator[FoldResult]:
    """Yields one result a fold, in order, so that the caller may stop after any.

    Raises OutOfTime when the deadline passes, or when the folds so far show that the rest would not fit before it;
    FitError when the candidate cannot be fitted.
    """
    fastest = math.inf  # the first fold of a run also pays for imports, so the fastest tells what a fold costs
    for index, fold in enumerate(problem.folds):
        folds_left = len(problem.folds) - index
        seconds_left = deadline.seconds_left()
        if index and SHRINKABLE * fastest * folds_left > seconds_left:
            folds = "one fold" if folds_left == 1 else f"{folds_left} folds"
            raise OutOfTime(f"no time for {folds} of {fastest:.1f} s more, with {max(0.0, seconds_left):.1f} s left")
        share = deadline.within(LEARNING_SHARE * seconds_left / folds_left)
        bench = Bench(problem.dataset, fold, store, problem.seed, deadline, share, threads, folds_left=folds_left)
        result = _fold_result(candidate, problem, bench, index)
        fastest = min(fastest, result.seconds)
        yield result


def preview(candidate: Candidate, problem: Problem, store: Store, *, deadline: Deadline, threads: int) -> float:
    """The score on the first fold's validation rows when the candidate learns from PREVIEW_SHARE of its train rows.

    Nets run their whole schedule on the fewer rows, so that all families are cut down alike. Raises what `evaluate` does.
    """
    fold = thinned(problem.folds[0], problem.dataset.y, seed=problem.seed)
    share = deadline.within(PREVIEW_SHARE * deadline.seconds_left() / len(problem.folds))
    bench = Bench(problem.dataset, fold, store, problem.seed, deadline, share, threads, folds_left=len(problem.folds))
    return _fold_result(candidate, problem, bench, 0).score


def _fold_result(candidate: Candidate, problem: Problem, bench: Bench, index: int) -> FoldResult:
    started = time.perf_counter()
    output = fit_candidate(candidate, bench)
    predictions = bench.store.read(output, bench.fold.valid)
    seconds = time.perf_counter() - started - bench.once_seconds
    score = problem.metric.score(problem.dataset.y[bench.fold.valid], predictions)
    return FoldResult(index, score, predictions, output, tuple(bench.used), seconds)


def thinned(fold: Fold, y: npt.NDArray[Any], *, seed: int) -> Fold:
    """A fold with PREVIEW_SHARE of its train rows, in which classes and quantiles of the target keep their shares."""
    rng = np.random.default_rng([seed, 3])
    step = round(1 / PREVIEW_SHARE)

    def thin(rows: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        shuffled = rng.permutation(rows)
        return np.sort(shuffled[np.argsort(y[shuffled], kind="stable")][::step])

    fit, holdout = thin(fold.fit), thin(fold.holdout)
    return Fold(train=np.union1d(fit, holdout), valid=fold.valid, fit=fit, holdout=holdout)


def out_of_fold(problem: Problem, results: list[FoldResult]) -> Floats:
    """Joins the folds' predictions into `(covered rows, outputs)`, in table order."""
    rows = np.concatenate([problem.folds[result.fold].valid for result in results])
    return np.concatenate([result.predictions for result in results])[np.argsort(rows, kind="stable")]
