"""The ledger: one folder per finished trial, the truth about a search. Resume, leaderboard and ensemble read only this."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from fusion_automl.candidate import Candidate
from fusion_automl.store.disk import Store
from fusion_automl.store.mirror import MOVED, Mirror
from fusion_automl.store.node import Ref

EVENTS = "events.jsonl"
Status = Literal["done", "pruned", "failed", "out_of_time"]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Report:
    """How a trial ended. `score` is over all out-of-fold rows when it is done, the mean of its folds when it was pruned, and
    that of its `preview` when that was all; higher is better, None is worse than any number.

    `outputs` are the candidate's prediction in each fold it finished, `nodes` all parts they use. `fit_seconds` is what
    the trial spent in fitting and applying parts that the store did not have, `peak_bytes` the most memory that its
    process had in use.
    """

    key: str
    status: Status
    score: float | None
    fold_scores: tuple[float, ...]
    seconds: float
    fit_seconds: float
    hits: int
    misses: int
    reason: str = ""
    outputs: tuple[Ref, ...] = ()
    nodes: tuple[str, ...] = ()
    finished_at: float = 0.0
    peak_bytes: int = 0
    preview: float | None = None

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Report:
        lists: dict[str, Any] = {
            "fold_scores": tuple(value["fold_scores"]),
            "outputs": tuple(Ref(*ref) for ref in value["outputs"]),
            "nodes": tuple(value["nodes"]),
        }
        return cls(**{**value, **lists})


@dataclass(frozen=True, slots=True)
class Trial:
    candidate: Candidate
    report: Report


class Ledger:
    """The trials of a run folder; every method may be called while other processes write.

    With a mirror the trials of other machines are in the bucket. They come here when they are asked for by name (`fetch`) or
    all together (`pull`), never otherwise: `get` and `trials` are asked hundreds of times a candidate.
    """

    def __init__(self, run: Path, mirror: Mirror | None = None) -> None:
        self.run = run
        self.mirror = mirror
        self.folder = run / "trials"
        self._known: dict[str, Trial] = {}

    def record(self, candidate: Candidate, report: Report, predictions: Sequence[Floats] = ()) -> None:
        """Writes a finished trial; `predictions` are `(rows, outputs)` for the validation rows of each fold it finished.

        Raises BucketError when it is written but does not reach the bucket.
        """
        final = self.folder / report.key
        partial = self.folder / f".{report.key}.{os.getpid()}"
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        (partial / "candidate.json").write_text(json.dumps(candidate.to_json(), indent=1))
        values = {**asdict(report), "finished_at": report.finished_at or time.time()}
        (partial / "report.json").write_text(json.dumps(values, indent=1))
        folds: dict[str, Any] = {f"fold_{index}": fold for index, fold in enumerate(predictions)}
        np.savez(partial / "oof.npz", **folds)
        (partial / "fitted").mkdir()
        (partial / "fitted" / "nodes.json").write_text(json.dumps(list(report.nodes)))
        (partial / "DONE").touch()
        shutil.rmtree(final, ignore_errors=True)
        partial.rename(final)
        if self.mirror is None:
            self._trial_event(report)
        self.push(report.key)

    def _trial_event(self, report: Report) -> None:
        names = ("key", "status", "score", "seconds", "reason")
        self.event("trial", **{name: getattr(report, name) for name in names})

    def push(self, key: str) -> None:
        """Brings a trial of this machine to the bucket after the nodes it uses, so that who sees it finds all of it."""
        if self.mirror is None or (self.folder / key / MOVED).exists():
            return
        store, nodes = Store(self.run / "store", self.mirror), self._read(key).report.nodes
        store.push(nodes)
        (self.folder / key / "fitted" / "facts.json").write_text(json.dumps(store.facts(nodes)))
        self.mirror.push(f"trials/{key}")

    def fetch(self, key: str) -> Trial | None:
        """A trial that should just have finished, here or, with a mirror, elsewhere; to be called once by who writes events."""
        if self.mirror is None or not self.mirror.pull(f"trials/{key}"):
            return self.get(key)
        trial = self.get(key)
        assert trial is not None
        self._trial_event(trial.report)
        return trial

    def pull(self) -> None:
        """Brings the trials here that other machines have finished."""
        if self.mirror is not None:
            self.mirror.pull_all("trials")

    def pull_news(self) -> None:
        """The same, but seldom, and without a word where the bucket does not answer."""
        if self.mirror is not None:
            self.mirror.pull_news("trials")

    def event(self, kind: str, **values: Any) -> None:
        """Appends one line to events.jsonl; one write, so that lines of several processes do not mix."""
        self.run.mkdir(parents=True, exist_ok=True)
        with (self.run / EVENTS).open("a") as file:
            file.write(json.dumps({"time": time.time(), "event": kind, **values}) + "\n")

    def seconds_spent(self) -> float:
        """Seconds of earlier sessions."""
        path = self.run / EVENTS
        return seconds_spent(read_events(path.read_text() if path.exists() else ""))

    def get(self, key: str) -> Trial | None:
        """The finished trial of this candidate, if there is one."""
        if key not in self._known and (self.folder / key / "DONE").exists():
            self._known[key] = self._read(key)
            facts = self.folder / key / "fitted" / "facts.json"
            if facts.exists():
                Store(self.run / "store").learn_facts(json.loads(facts.read_text()))
        return self._known.get(key)

    def _read(self, key: str) -> Trial:
        folder = self.folder / key
        return Trial(
            Candidate.from_json(json.loads((folder / "candidate.json").read_text())),
            Report.from_json(json.loads((folder / "report.json").read_text())),
        )

    def trials(self) -> list[Trial]:
        """All finished trials in the order in which they finished."""
        keys = [path.name for path in self.folder.glob("*") if not path.name.startswith(".")]
        found = [trial for trial in map(self.get, keys) if trial]
        return sorted(found, key=lambda trial: (trial.report.finished_at, trial.report.key))

    def ranked(self) -> list[Trial]:
        """Trials that were evaluated on every fold, best first."""
        done = [trial for trial in self.trials() if trial.report.status == "done" and trial.report.score is not None]
        return sorted(done, key=lambda trial: (-(trial.report.score or 0.0), trial.report.key))

    def oof(self, key: str) -> list[Floats]:
        """Predictions `(rows, outputs)` for the validation rows of each fold that the trial finished."""
        with np.load(self.folder / key / "oof.npz", allow_pickle=False) as arrays:
            return [np.asarray(arrays[f"fold_{index}"], dtype=np.float64) for index in range(len(arrays.files))]

    def drop_unfinished(self) -> int:
        """Removes what crashed processes left half-written, and trials that ran out of time (a resume has more of it)."""
        dropped = 0
        for path in self.folder.glob(".*"):
            shutil.rmtree(path, ignore_errors=True)
        for trial in self.trials():
            if trial.report.status == "out_of_time":
                if self.mirror is not None:
                    self.mirror.remove(f"trials/{trial.report.key}")
                shutil.rmtree(self.folder / trial.report.key)
                del self._known[trial.report.key]
                dropped += 1
        return dropped


def read_events(text: str) -> list[dict[str, Any]]:
    """The events in the text of an events.jsonl, oldest first, each with its `time` and `event`."""
    events = []
    for line in text.splitlines():
        try:
            events.append(json.loads(line))
        except ValueError:  # a killed process may leave half a line
            continue
    return events


def seconds_spent(events: Sequence[dict[str, Any]]) -> float:
    """Seconds of all sessions, each from its start to the last thing that it wrote down."""
    spent, before = 0.0, None
    for event in events:
        if before is not None and event["event"] != "session":
            spent += event["time"] - before
        before = event["time"]
    return spent
