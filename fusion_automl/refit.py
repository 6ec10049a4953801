"""A chosen candidate fitted once more, on all rows: one model where the search left one for each fold."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from fusion_automl.data.split import whole_fold
from fusion_automl.deadline import Deadline
from fusion_automl.evaluate import Problem
from fusion_automl.fusion import fit_candidate
from fusion_automl.fusion.bench import Bench
from fusion_automl.search.ledger import Trial
from fusion_automl.store.disk import Store


def refit(trial: Trial, problem: Problem, store: Store, *, deadline: Deadline, threads: int) -> Trial:
    """The trial with one model that learned from every row in place of its folds' models.

    Its score stays that of the folds: no row is left to judge the new model on. Raises FitError or OutOfTime.
    """
    fold = whole_fold(problem.dataset, seed=problem.seed)
    bench = Bench(problem.dataset, fold, store, problem.seed, deadline, deadline, threads)
    output = fit_candidate(trial.candidate, bench)
    return replace(trial, report=replace(trial.report, outputs=(output,), nodes=tuple(bench.used)))


def refit_seconds(trial: Trial, problem: Problem, store: Store) -> float:
    """What a refit should take: as long as one fold took, for as many more rows as there are."""
    stats = [store.stats(node) for node in trial.report.nodes]
    num_rows = len(problem.dataset)
    spent = sum(each["fit_seconds"] + num_rows * each["apply_seconds_per_row"] for each in stats)
    learned_from = float(np.mean([len(fold.train) for fold in problem.folds]))
    return spent / max(1, len(trial.report.outputs)) * num_rows / learned_from
