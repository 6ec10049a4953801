from pathlib import Path

import numpy as np
import pytest

from fusion_automl.candidate import Candidate, Spec
from fusion_automl.search.ledger import Ledger, Report, Status
from fusion_automl.store.node import Ref


def _candidate(depth: int) -> Candidate:
    return Candidate(
        Spec.of("concat"), encoders=(Spec.of("ordinal"),), classical=Spec.of("decision_tree", max_depth=depth)
    )


def _record(ledger: Ledger, depth: int, score: float | None, status: Status = "done") -> str:
    candidate = _candidate(depth)
    report = Report(
        candidate.key, status, score, (0.5,), 1.0, 0.5, 1, 2, outputs=(Ref("n", "prediction"),), nodes=("n",)
    )
    ledger.record(candidate, report, [np.full((4, 2), 0.5)])
    return candidate.key


def test_what_was_recorded_is_read_back_by_another_process_view(tmp_path: Path) -> None:
    key = _record(Ledger(tmp_path), 3, 0.75)
    trial = Ledger(tmp_path).get(key)
    assert trial is not None and trial.candidate == _candidate(3)
    assert trial.report.score == 0.75 and trial.report.outputs == (Ref("n", "prediction"),)
    assert [fold.shape for fold in Ledger(tmp_path).oof(key)] == [(4, 2)]
    assert (tmp_path / "trials" / key / "DONE").exists()


def test_a_trial_without_done_does_not_exist(tmp_path: Path) -> None:
    key = _record(Ledger(tmp_path), 3, 0.75)
    (tmp_path / "trials" / key / "DONE").unlink()
    assert Ledger(tmp_path).get(key) is None and Ledger(tmp_path).trials() == []


def test_only_trials_on_every_fold_are_ranked(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    low, high = _record(ledger, 1, 0.6), _record(ledger, 2, 0.9)
    _record(ledger, 3, 0.99, "pruned")
    _record(ledger, 4, None, "failed")
    assert [trial.report.key for trial in ledger.ranked()] == [high, low]
    assert len(ledger.trials()) == 4


def test_a_resume_drops_half_written_trials_and_those_out_of_time(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    kept = _record(ledger, 1, 0.6)
    _record(ledger, 2, None, "out_of_time")
    (tmp_path / "trials" / ".abc.1").mkdir()
    assert ledger.drop_unfinished() == 1
    assert [path.name for path in (tmp_path / "trials").iterdir()] == [kept]


def test_time_between_sessions_is_not_spent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ledger = Ledger(tmp_path)
    for moment, kind in [(100.0, "session"), (107.0, "trial"), (500.0, "session"), (503.0, "trial")]:
        monkeypatch.setattr("fusion_automl.search.ledger.time.time", lambda moment=moment: moment)
        ledger.event(kind)
    with (tmp_path / "events.jsonl").open("a") as file:
        file.write('{"time": 5')  # a killed process left half a line
    assert ledger.seconds_spent() == 10.0
