"""What is made of a search whose bucket is lost: the best of what this machine has."""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import Any

import pytest

from fusion_automl.artifact import load
from fusion_automl.assemble import PRESETS, Preset, assemble
from fusion_automl.candidate import Candidate, Spec
from fusion_automl.data.split import make_split
from fusion_automl.deadline import Deadline
from fusion_automl.ensemble.field import make_field
from fusion_automl.ensemble.price import Limits
from fusion_automl.errors import RunError
from fusion_automl.evaluate import Problem
from fusion_automl.finish import Result, finish
from fusion_automl.metrics import DEFAULTS, METRICS
from fusion_automl.search.ledger import Ledger
from fusion_automl.search.order import Order
from fusion_automl.search.problem import write_problem
from fusion_automl.search.trial import TrialRunner
from fusion_automl.store.disk import Store
from fusion_automl.store.mirror import place
from tests.contracts.rows import mixed_dataset

CANDIDATES = [
    Candidate(Spec.of("concat"), (Spec.of(encoder),), (), Spec.of(classical))
    for encoder, classical in (("onehot", "logistic"), ("ordinal", "decision_tree"))
]


def _finish_without(gone: list[Candidate], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Result:
    """Finishes a run of which other machines fitted the candidates that are `gone`, behind an endpoint that is dead."""
    monkeypatch.setenv("FUSION_AUTOML_CACHE", str(tmp_path))
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "any")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "any")
    run, mirror = place("s3://lost/run", patience=0.5)
    dataset = mixed_dataset("binary")
    problem = Problem(dataset, make_split(dataset, num_folds=2, seed=0), METRICS[DEFAULTS["binary"]], 0)
    write_problem(run, problem, {})
    runner = TrialRunner(run, threads=1)
    for candidate in CANDIDATES:
        runner.run(Order(candidate), deadline=Deadline.never(), on_fold=lambda *_: None, may_end_process=False)
    for candidate in gone:
        trial = runner.ledger.get(candidate.key)
        assert trial is not None
        Store(run / "store").learn_facts(runner.store.facts(trial.report.nodes))
        for node in trial.report.nodes:
            shutil.rmtree(run / "store" / node)
    no_time_to_refit = Deadline.after(0.0)
    return finish(
        Ledger(run, mirror),
        problem,
        deadline=no_time_to_refit,
        budget=60,
        started=time.monotonic(),
        test=None,
        notes=[],
        interrupted=True,
    )


@pytest.mark.parametrize(("num_test", "refitted"), [(0, True), (10**12, False)])
@pytest.mark.parametrize("preset", PRESETS)
def test_nothing_is_fitted_again_at_the_cost_of_the_test_rows(
    preset: Preset, num_test: int, refitted: bool, tmp_path: Path
) -> None:
    dataset = mixed_dataset("binary")
    problem = Problem(dataset, make_split(dataset, num_folds=2, seed=0), METRICS[DEFAULTS["binary"]], 0)
    write_problem(tmp_path, problem, {})
    runner = TrialRunner(tmp_path, threads=1)
    runner.run(Order(CANDIDATES[0]), deadline=Deadline.never(), on_fold=lambda *_: None, may_end_process=False)
    winner = assemble(
        tmp_path / "artifact",
        problem,
        make_field(problem, runner.ledger),
        runner.store,
        preset=preset,
        limits=Limits(),
        num_test=num_test,
        deadline=Deadline.after(60.0),
        threads=1,
    )
    (trial,) = winner.ensemble.trials
    assert len(trial.report.outputs) == (1 if refitted else 2)


def test_the_artifact_is_made_for_as_many_rows_as_are_tested(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, Any] = {}

    class Enough(Exception):
        """Nothing that follows is of interest."""

    def stop(*_: Any, **settings: Any) -> None:
        asked.update(settings)
        raise Enough

    dataset = mixed_dataset("binary")
    problem = Problem(dataset, make_split(dataset, num_folds=2, seed=0), METRICS[DEFAULTS["binary"]], 0)
    write_problem(tmp_path, problem, {})
    runner = TrialRunner(tmp_path, threads=1)
    runner.run(Order(CANDIDATES[0]), deadline=Deadline.never(), on_fold=lambda *_: None, may_end_process=False)
    monkeypatch.setattr("fusion_automl.finish.assemble", stop)
    with pytest.raises(Enough):
        finish(
            runner.ledger,
            problem,
            deadline=Deadline.after(60.0),
            budget=60,
            started=time.monotonic(),
            test=(dataset.frame.iloc[:7], dataset.y[:7]),
            notes=[],
            interrupted=False,
        )
    assert asked["num_test"] == 7


def test_members_are_those_whose_parts_are_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    result = _finish_without(CANDIDATES[:1], monkeypatch, tmp_path)
    assert [member["key"] for member in result.summary["members"]] == [CANDIDATES[1].key]
    assert result.summary["run"] == "s3://lost/run"
    assert [member.candidate for member in load(result.run).manifest.members] == [CANDIDATES[1]]


def test_with_nothing_here_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(RunError, match=r"^s3://lost/run: no trial was fitted on this machine, and the bucket"):
        _finish_without(CANDIDATES, monkeypatch, tmp_path)
