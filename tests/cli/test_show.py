"""What people read: errors in their usual sign, gains told in the unit of the metric."""

import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from fusion_automl.candidate import Candidate, Spec
from fusion_automl.cli.progress import Progress
from fusion_automl.cli.show import Scale, _verdict
from fusion_automl.search.ledger import Report


def _report(score: float | None) -> Report:
    return Report("abc", "done" if score is not None else "failed", score, (), 1.0, 1.0, 0, 0, reason="it broke")


def test_an_error_is_shown_as_people_write_it() -> None:
    error, score = Scale("rmse", is_error=True), Scale("roc_auc", is_error=False)
    assert (error.show(-3.25), score.show(0.75), error.show(None)) == ("3.2500", "0.7500", "-")


def test_the_users_own_metric_is_shown_by_its_name_and_in_its_sign() -> None:
    scale = Scale.of({"metric": "/home/me/profit.py:cost", "greater_is_better": False})
    assert (scale.metric, scale.show(-0.5), scale.direction) == ("profit.py:cost", "0.5000", "lower is better")


def test_progress_shows_errors_in_their_usual_sign(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    candidate = Candidate(Spec.of("baseline"))
    progress = Progress(tmp_path, budget="60s", started=0.0)
    (tmp_path / "run.json").write_text(json.dumps({"metric": "rmse", "greater_is_better": False}))
    for score in (-5.0, -3.25, -4.0):
        progress.started(candidate)
        progress.fold_done(candidate, 0, score)
        progress.finished(candidate, _report(score))
    lines = capsys.readouterr().err.splitlines()
    assert "rmse=4.0000 best=3.2500" in lines[2]


def test_the_live_table_says_which_way_is_better(tmp_path: Path) -> None:
    progress = Progress(tmp_path, budget="60s", started=0.0)
    assert "0 done" in _drawn(progress)  # before the run folder says what the metric is
    (tmp_path / "run.json").write_text(json.dumps({"metric": "mae", "greater_is_better": False}))
    progress.started(Candidate(Spec.of("baseline")))
    progress.finished(Candidate(Spec.of("baseline")), _report(-12.5))
    assert "mae (lower is better)" in _drawn(progress) and " 12.5000" in _drawn(progress)


def _drawn(progress: Progress) -> str:
    console = Console(width=120, file=io.StringIO())
    with console.capture() as captured:
        console.print(progress._render())
    return captured.get()


def test_a_gain_in_an_error_is_a_smaller_error() -> None:
    gain = {"value": 2.0, "ci95": [1.0, 3.5], "p_value": 0.01, "test": "paired bootstrap"}
    assert (
        _verdict(gain, Scale("rmse", is_error=True), "a against b")
        == "helped: -2 rmse [-3.5, -1], p = 0.01 (a against b)"
    )
    assert (
        _verdict(gain, Scale("roc_auc", is_error=False), "a against b")
        == "helped: +2 roc_auc [+1, +3.5], p = 0.01 (a against b)"
    )
