from pathlib import Path

import numpy as np

from fusion_automl.candidate import Candidate, Spec
from fusion_automl.data.split import make_split
from fusion_automl.ensemble.field import make_field
from fusion_automl.evaluate import Problem
from fusion_automl.metrics import METRICS
from fusion_automl.search.ledger import Ledger, Report
from fusion_automl.search.propose import BASELINE
from fusion_automl.store.node import Ref
from tests.contracts.rows import mixed_dataset


def _problem() -> Problem:
    dataset = mixed_dataset("binary", rows=60)
    return Problem(dataset, make_split(dataset, num_folds=3, seed=0), METRICS["accuracy"], seed=0)


def _record(problem: Problem, ledger: Ledger, depth: int, folds: int, hits: float) -> str:
    """A trial that finished `folds` folds and is right about a share of `hits` of each fold's rows."""
    tree = Spec.of("decision_tree", max_depth=depth)
    candidate = Candidate(Spec.of("concat"), encoders=(Spec.of("ordinal"),), classical=tree) if depth else BASELINE
    predictions = []
    for fold in problem.folds[:folds]:
        y = problem.dataset.y[fold.valid]
        right = np.arange(len(y)) < hits * len(y)
        predictions.append(np.eye(2)[np.where(right, y, 1 - y)])
    status = "done" if folds == 3 else "out_of_time"
    outputs = (Ref("n", "prediction"),) * folds
    ledger.record(
        candidate, Report(candidate.key, status, None, (0.5,) * folds, 1, 1, 0, 0, outputs=outputs), predictions
    )
    return candidate.key


def test_with_three_complete_trials_only_complete_ones_are_compared(tmp_path: Path) -> None:
    problem, ledger = _problem(), Ledger(tmp_path)
    keys = [_record(problem, ledger, depth, 3, hits) for depth, hits in ((1, 0.6), (2, 0.8), (3, 0.7))]
    _record(problem, ledger, 4, 1, 1.0)
    field = make_field(problem, ledger)
    assert len(field.problem.folds) == 3
    assert [trial.report.key for trial in field.trials] == [keys[1], keys[2], keys[0]]
    assert field.oof(field.trials).shape == (3, 60, 2)
    assert field.scores[0] == METRICS["accuracy"].score(problem.y, field.oof(field.trials)[0])


def test_where_time_ran_out_the_first_fold_decides(tmp_path: Path) -> None:
    problem, ledger = _problem(), Ledger(tmp_path)
    _record(problem, ledger, 0, 3, 0.5)  # the baseline has all folds, it always does
    whole = _record(problem, ledger, 1, 3, 0.6)
    begun = [_record(problem, ledger, depth, 1, hits) for depth, hits in ((2, 0.9), (3, 0.7))]
    field = make_field(problem, ledger)
    assert len(field.problem.folds) == 1
    assert [trial.report.key for trial in field.trials][:3] == [begun[0], begun[1], whole]
    assert field.oof(field.trials[:1]).shape == (1, len(problem.folds[0].valid), 2)


def test_the_baseline_alone_is_a_field(tmp_path: Path) -> None:
    problem, ledger = _problem(), Ledger(tmp_path)
    key = _record(problem, ledger, 0, 3, 0.5)
    assert [trial.report.key for trial in make_field(problem, ledger).trials] == [key]


def test_no_trial_no_field(tmp_path: Path) -> None:
    assert make_field(_problem(), Ledger(tmp_path)).trials == ()
