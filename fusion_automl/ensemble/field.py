"""The trials that can be compared: those that have the same folds, best first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from fusion_automl.deadline import Deadline
from fusion_automl.ensemble.honest import Choose, best_single, cross_choose, cross_predict
from fusion_automl.ensemble.readout import Judged, make_readout
from fusion_automl.evaluate import Problem
from fusion_automl.search.ledger import Ledger, Trial
from fusion_automl.search.propose import BASELINE

Floats = npt.NDArray[np.float64]

ENOUGH = 3
"""So many trials on all folds are worth more than many on the first folds only."""


@dataclass(frozen=True, slots=True)
class Field:
    """Trials with the out-of-fold predictions that they all have; `problem` is cut down to the folds in common.

    Usually these are all folds. Where time ran out before even three trials had all of them, a trial that has the first
    fold is better than none.
    """

    problem: Problem
    ledger: Ledger
    trials: tuple[Trial, ...]
    scores: tuple[float, ...]

    def oof(self, trials: Sequence[Trial]) -> Floats:
        """`(trials, covered rows, outputs)`."""
        return np.stack([_predictions(self.problem, self.ledger, trial) for trial in trials])

    def honest(self, trials: Sequence[Trial], choose: Choose) -> Floats:
        """Predictions for the covered rows, each by a choice among `trials` made without its row."""
        return cross_predict(self.oof(trials), self.problem.y, choose, seed=self.problem.seed)

    def read(self, trials: Sequence[Trial], choose: Choose, *, deadline: Deadline) -> tuple[Floats, Judged]:
        """The weights `(trials,)` of a choice among `trials`, and how their weighted mean is read."""
        problem, oof = self.problem, self.oof(trials)
        weights = choose(oof, problem.y)
        cross = cross_choose(oof, problem.y, choose, seed=problem.seed)
        task = problem.dataset.task
        return weights, make_readout(oof, problem.y, weights, cross, task, problem.metric, deadline=deadline)

    def honest_best(self, trials: Sequence[Trial]) -> Floats:
        """Predictions of "the best of these trials", chosen without the rows it predicts."""
        return self.honest(trials, best_single(self.problem.metric))

    def score_of(self, trial: Trial) -> float:
        return self.scores[self.trials.index(trial)]


def make_field(problem: Problem, ledger: Ledger) -> Field:
    """Finds the largest number of first folds that three trials have, the baseline aside, or the most trials have."""
    trials = [trial for trial in ledger.trials() if trial.report.outputs]
    counts = {
        folds: sum(len(trial.report.outputs) >= folds and trial.candidate != BASELINE for trial in trials)
        for folds in range(len(problem.folds), 0, -1)
    }
    enough = [folds for folds, count in counts.items() if count >= ENOUGH]
    num_folds = enough[0] if enough else max(counts, key=lambda folds: counts[folds])
    common = replace(problem, folds=problem.folds[:num_folds])
    scored = [
        (common.metric.score(common.y, _predictions(common, ledger, trial)), trial)
        for trial in trials
        if len(trial.report.outputs) >= num_folds
    ]
    scored = sorted((pair for pair in scored if np.isfinite(pair[0])), key=lambda pair: (-pair[0], pair[1].report.key))
    return Field(common, ledger, tuple(trial for _, trial in scored), tuple(score for score, _ in scored))


def _predictions(problem: Problem, ledger: Ledger, trial: Trial) -> Floats:
    """A trial's out-of-fold predictions for the covered rows of `problem`; it may have more folds than that."""
    return np.concatenate(ledger.oof(trial.report.key)[: len(problem.folds)])[_table_order(problem)]


def _table_order(problem: Problem) -> npt.NDArray[np.int64]:
    return np.argsort(np.concatenate([fold.valid for fold in problem.folds]), kind="stable")
