"""One trial on real rows: what its report says, and what is not begun."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from fusion_automl.candidate import Candidate, Spec
from fusion_automl.data.split import make_split
from fusion_automl.deadline import Deadline
from fusion_automl.evaluate import Problem
from fusion_automl.metrics import DEFAULTS, METRICS
from fusion_automl.search.ledger import Report
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


def run(runner: TrialRunner, candidate: Candidate, *, needs_bytes: float = 0.0) -> Report:
    return runner.run(
        candidate,
        deadline=Deadline.never(),
        needs_bytes=needs_bytes,
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
    monkeypatch.setattr("fusion_automl.search.trial.available_bytes", lambda: 2e9)
    report = run(runner, TREE, needs_bytes=3.26e9)
    assert (report.status, report.reason) == ("failed", "would need 3.3 GB of the 2.0 GB free")
    assert report.misses == 0 and not report.fold_scores
    monkeypatch.setattr("fusion_automl.search.trial.available_bytes", lambda: math.inf)
    assert run(runner, TREE, needs_bytes=3.26e9).status == "done"
