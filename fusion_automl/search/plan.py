"""What an engine is asked to do, and whom it tells."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from fusion_automl.candidate import Candidate
from fusion_automl.deadline import Deadline
from fusion_automl.search.ledger import Report
from fusion_automl.search.space import LocalSpace
from fusion_automl.store.mirror import Mirror


class Listener(Protocol):
    """Hears of a search as it goes, in the process that runs it."""

    def started(self, candidate: Candidate) -> None: ...

    def fold_done(self, candidate: Candidate, fold: int, score: float) -> None: ...

    def finished(self, candidate: Candidate, report: Report) -> None: ...


@dataclass(frozen=True, slots=True)
class Plan:
    """A search: where (`run` is the working copy of what `mirror` has), over what, until when, and how much at once.

    `max_trials` counts finished trials of the whole run, earlier sessions included, without the baseline; None leaves
    the end to the deadline. `threads` is what this machine offers; `address` is a Ray cluster's. `max_concurrent` trials
    run at once on Ray; None stands for one on each CPU. `workers_per_trial` processes train a trial's nets there; None leaves
    that to the cluster's size.
    """

    run: Path
    space: LocalSpace
    seed: int
    num_folds: int
    deadline: Deadline
    max_seconds_per_trial: float
    max_trials: int | None
    threads: int
    address: str | None = None
    max_concurrent: int | None = None
    workers_per_trial: int | None = None
    mirror: Mirror | None = None
