"""What a candidate will cost, learned from the trials of the run."""

from __future__ import annotations

import statistics
from collections import defaultdict

from fusion_automl.candidate import Candidate
from fusion_automl.search.ledger import Report


class CostModel:
    """Seconds by what a candidate is made of, whatever its hyperparameters: the median over the trials seen."""

    def __init__(self) -> None:
        self._seconds: dict[str, list[float]] = defaultdict(list)

    def learn(self, candidate: Candidate, report: Report, *, num_folds: int) -> None:
        """Takes a trial that finished at least one fold; one that stopped early counts as if it had gone on."""
        folds = len(report.fold_scores)
        if folds:
            self._seconds[candidate.describe()].append(report.seconds * num_folds / folds)

    def seconds(self, candidate: Candidate) -> float:
        """The expected seconds; what was never seen is as dear as its members, and those never seen cost nothing."""
        seen = self._seconds.get(candidate.describe())
        if seen:
            return statistics.median(seen)
        return sum(self.seconds(member) for member in candidate.members)
