"""How far a run is, read from its folder alone: while a job writes there, and when its cluster is long gone."""

from __future__ import annotations

import json
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fusion_automl.data.storage import explained, is_remote
from fusion_automl.search.ledger import EVENTS, read_events, seconds_spent
from fusion_automl.search.problem import SETTINGS
from fusion_automl.search.propose import BASELINE
from fusion_automl.store.bucket import Bucket

PATIENCE_SECONDS = 2.0
"""For how long a bucket is asked again: there may be many runs to look at."""


@dataclass(frozen=True, slots=True)
class Progress:
    """`trials` counts by status, without the baseline. `best` is the highest score of a trial so far, `score` the
    ensemble's once the run is finished; higher is better, whatever the metric."""

    run: str
    metric: str
    greater_is_better: bool
    trials: dict[str, int]
    max_trials: int | None
    best: float | None
    seconds: float
    budget_seconds: float
    finished: bool
    score: float | None


def read_progress(run: str, *, running: bool = False) -> Progress | None:
    """What the folder says, None where there is no run in it (yet).

    While it is `running` the time since the last event counts as well. Raises UserError where the folder
    cannot be looked at from this machine.
    """
    settings = settings_of(run)
    if settings is None:
        return None
    events = read_events((_read(run, EVENTS) or b"").decode())
    since = [event for event in events if event["event"] in ("session", "finished")]
    end = since[-1] if since and since[-1]["event"] == "finished" else None
    trials = {event["key"]: event for event in events if event["event"] == "trial" and event["key"] != BASELINE.key}
    scores = [trial["score"] for trial in trials.values() if trial["status"] == "done" and trial["score"] is not None]
    seconds = seconds_spent(events)
    if running and events and not end:
        seconds += max(0.0, time.time() - events[-1]["time"])
    return Progress(
        run=run,
        metric=settings["metric"],
        greater_is_better=settings["greater_is_better"],
        trials=dict(Counter(trial["status"] for trial in trials.values())),
        max_trials=settings["max_trials"],
        best=max(scores, default=None),
        seconds=seconds,
        budget_seconds=settings["budget"],
        finished=end is not None,
        score=end["score"] if end else None,
    )


def settings_of(run: str) -> dict[str, Any] | None:
    """The settings of a run, None where the folder holds none. Raises UserError where it cannot be looked at."""
    text = _read(run, SETTINGS)
    return None if text is None else json.loads(text)


def _read(run: str, name: str) -> bytes | None:
    if is_remote(run):
        return Bucket(run, patience=PATIENCE_SECONDS).read(name)
    path = Path(run) / name
    with explained(str(path)):
        return path.read_bytes() if path.exists() else None
