"""One trial on real rows: what its report says, and what is not begun."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fusion_automl.candidate import Candidate, Spec
from fusion_automl.data.split import make_split
from fusion_automl.deadline import Deadline
from fusion_automl.evaluate import Problem, thinned
from fusion_automl.metrics import DEFAULTS, METRICS
from fusion_automl.search.ledger import Report
from fusion_automl.search.order import Order
from fusion_automl.search.problem import write_problem
from fusion_automl.search.trial import TrialRunner
from tests.contracts.rows import mixed_dataset

TREE = Candidate(Spec.of("concat"), (Spec.of("ordinal"),), (), Spec.of("decision_tree", max_depth=3))


@pytest.fixture
def runner(tmp_path: Path) -> TrialRunner:
    dataset = mixed_dataset(rows=80)
    problem = Problem(dataset, make_split(dataset, num_folds=2, seed=0), METRICS[DEFAULTS[dataset.task.kind]], 0)
    write_problem(tmp_path, problem, {})
    return TrialRunner(tmp_path, threads=1)


def run(runner: TrialRunner, candidate: Candidate, *, needs_bytes: float = 0.0, preview: bool = False) -> Report:
    return runner.run(
        Order(candidate, needs_bytes, preview),
        deadline=Deadline.never(),
        on_fold=lambda fold, score: None,
        may_end_process=False,
    )


def test_the_report_knows_the_memory_that_was_in_use(runner: TrialRunner) -> None:
    report = run(runner, TREE)
    assert report.status == "done" and len(report.fold_scores) == 2
    assert 50e6 < report.peak_bytes < 20e9
    trial = runner.ledger.get(TREE.key)
    assert trial is not None and trial.report.peak_bytes == report.peak_bytes


def test_what_would_not_fit_in_memory_is_not_begun(runner: TrialRunner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fusion_automl.search.admission.available_bytes", lambda: 2e9)
    report = run(runner, TREE, needs_bytes=3.26e9)
    assert (report.status, report.reason) == ("failed", "would need 3.3 GB of the 2.0 GB free")
    assert report.misses == 0 and not report.fold_scores
    monkeypatch.setattr("fusion_automl.search.admission.available_bytes", lambda: math.inf)
    assert run(runner, TREE, needs_bytes=3.26e9).status == "done"


def look(runner: TrialRunner, depth: int, score: float) -> None:
    """Puts a trial into the ledger that had this score at first sight."""
    candidate = replace(TREE, classical=Spec.of("decision_tree", max_depth=depth))
    report = Report(candidate.key, "pruned", score, (), 1.0, 1.0, 0, 0, preview=score)
    runner.ledger.record(candidate, report)


def test_what_looks_poor_at_first_sight_is_pruned_without_a_fold(runner: TrialRunner) -> None:
    for depth in range(4, 10):
        look(runner, depth, 1.1)  # better than any
    report = run(runner, TREE, preview=True)
    assert report.status == "pruned" and report.fold_scores == report.outputs == ()
    assert report.score == report.preview and 0.0 < report.score <= 1.0
    assert report.reason == "among the worst quarter of first looks at 25% of the first fold's rows"
    assert runner.ledger.ranked() == [] and runner.ledger.oof(TREE.key) == []


def test_what_looks_good_is_evaluated_as_if_nobody_had_looked(runner: TrialRunner, tmp_path: Path) -> None:
    for depth in range(4, 10):
        look(runner, depth, -1.0)
    report = run(runner, TREE, preview=True)
    assert report.status == "done" and report.preview is not None
    plain = run(runner, TREE)
    assert plain.preview is None
    assert (report.score, report.fold_scores, report.nodes) == (plain.score, plain.fold_scores, plain.nodes)


def test_a_first_look_learns_from_a_quarter_of_the_rows_with_all_classes(runner: TrialRunner) -> None:
    problem = runner.problem
    fold, whole = thinned(problem.folds[0], problem.dataset.y, seed=0), problem.folds[0]
    for few, all_rows in ((fold.fit, whole.fit), (fold.holdout, whole.holdout)):
        assert set(few) <= set(all_rows) and len(few) == math.ceil(len(all_rows) / 4)
        shares = [np.bincount(problem.dataset.y[rows]) / len(rows) for rows in (few, all_rows)]
        assert np.abs(shares[0] - shares[1]).max() <= 1.5 / len(few)
    assert set(fold.train) == set(fold.fit) | set(fold.holdout)
    assert fold.valid is whole.valid
