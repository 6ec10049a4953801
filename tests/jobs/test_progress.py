"""Progress from a run folder that is being written, on a disk and in a bucket."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
import s3fs

from fusion_automl.errors import UserError
from fusion_automl.jobs.progress import read_progress
from fusion_automl.search.propose import BASELINE
from tests.conftest import S3

SETTINGS = {"metric": "rmse", "greater_is_better": False, "max_trials": 9, "budget": 600.0}


def _events(now: float) -> str:
    """Two sessions: one of 40 s, killed in the middle of a line, and one that began 20 s ago and last wrote 5 s ago."""

    def trial(key: str, status: str, score: float | None) -> dict[str, Any]:
        return {"event": "trial", "key": key, "status": status, "score": score}

    events = [
        (now - 1000, {"event": "session"}),
        (now - 990, trial(BASELINE.key, "done", -9.0)),
        (now - 970, trial("a", "done", -5.0)),
        (now - 960, trial("b", "out_of_time", None)),
        (now - 20, {"event": "session"}),
        (now - 10, trial("b", "done", -4.0)),
        (now - 5, trial("c", "pruned", -1.0)),
    ]
    lines = [json.dumps({"time": moment, **event}) for moment, event in events]
    return "\n".join([*lines[:4], lines[4][:20], *lines[4:]]) + "\n"


def test_counts_scores_and_time_come_from_the_events(tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert read_progress(str(run)) is None
    run.mkdir()
    (run / "run.json").write_text(json.dumps(SETTINGS))
    begun = read_progress(str(run), running=True)
    assert begun and (begun.trials, begun.best, begun.seconds, begun.finished) == ({}, None, 0.0, False)

    now = time.time()
    (run / "events.jsonl").write_text(_events(now))
    found = read_progress(str(run))
    assert found and found.trials == {"done": 2, "pruned": 1}  # the baseline does not count, and b was tried again
    assert found.best == -4.0  # a pruned trial's score is not over all rows
    assert found.seconds == pytest.approx(40 + 15, abs=0.1)
    running = read_progress(str(run), running=True)
    assert running and running.seconds == pytest.approx(40 + 20, abs=5)

    with (run / "events.jsonl").open("a") as file:
        file.write(json.dumps({"time": now, "event": "finished", "score": -3.9, "seconds": 21.0}) + "\n")
    ended = read_progress(str(run), running=True)
    assert ended and (ended.finished, ended.score) == (True, -3.9)
    assert ended.seconds == pytest.approx(40 + 20, abs=0.1)


def test_a_folder_in_a_bucket_tells_the_same(s3: S3, monkeypatch: pytest.MonkeyPatch) -> None:
    run = f"s3://{s3.bucket}/runs/houses"
    assert read_progress(run) is None
    s3.put("runs/houses/run.json", json.dumps(SETTINGS).encode())
    s3.put("runs/houses/events.jsonl", _events(time.time()).encode())
    found = read_progress(run)
    assert found and (found.trials, found.best, found.run) == ({"done": 2, "pruned": 1}, -4.0, run)
    s3fs.S3FileSystem.clear_instance_cache()
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    with pytest.raises(UserError, match="access was denied"):
        read_progress(run)
