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
from fusion_automl.store.node import Ref

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
    """The trials of a run folder; every method may be called while other processes write."""

    def __init__(self, run: Path) -> None:
        self.run = run
        self.folder = run / "trials"
        self._known: dict[str, Trial] = {}

    def record(self, candidate: Candidate, report: Report, predictions: Sequence[Floats] = ()) -> None:
        """Writes a finished trial; `predictions` are `(rows, outputs)` for the validation rows of each fold it finished."""
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
        self.event("trial", **{name: values[name] for name in ("key", "status", "score", "seconds", "reason")})

    def event(self, kind: str, **values: Any) -> None:
        """Appends one line to events.jsonl; one write, so that lines of several processes do not mix."""
        self.run.mkdir(parents=True, exist_ok=True)
        with (self.run / "events.jsonl").open("a") as file:
            file.write(json.dumps({"time": time.time(), "event": kind, **values}) + "\n")

    def seconds_spent(self) -> float:
        """Seconds of earlier sessions, each from its start to the last thing that it wrote down."""
        path = self.run / "events.jsonl"
        times: list[tuple[float, bool]] = []
        for line in path.read_text().splitlines() if path.exists() else []:
            try:
                event = json.loads(line)
            except ValueError:  # a killed process may leave half a line
                continue
            times.append((event["time"], event["event"] == "session"))
        spent, before = 0.0, None
        for moment, begins in times:
            if before is not None and not begins:
                spent += moment - before
            before = moment
        return spent

    def get(self, key: str) -> Trial | None:
        """The finished trial of this candidate, if there is one."""
        if key not in self._known and (self.folder / key / "DONE").exists():
            folder = self.folder / key
            self._known[key] = Trial(
                Candidate.from_json(json.loads((folder / "candidate.json").read_text())),
                Report.from_json(json.loads((folder / "report.json").read_text())),
            )
        return self._known.get(key)

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
                shutil.rmtree(self.folder / trial.report.key)
                del self._known[trial.report.key]
                dropped += 1
        return dropped
