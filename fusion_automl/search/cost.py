"""What a candidate will cost, learned from the trials of the run."""

from __future__ import annotations

import math
import statistics
from collections import defaultdict

from fusion_automl.candidate import Candidate, Spec
from fusion_automl.search.ledger import Report


class CostModel:
    """Seconds by what a candidate is made of, whatever its hyperparameters: the median over the trials seen.

    A backbone that ran out of time on its own would do so again in every fusion that needs it: those cost infinitely much.
    """

    def __init__(self) -> None:
        self._seconds: dict[str, list[float]] = defaultdict(list)
        self._too_slow: set[Spec] = set()

    def learn(self, candidate: Candidate, report: Report, *, num_folds: int) -> None:
        """Takes a trial that finished at least one fold; one that stopped early counts as if it had gone on."""
        if candidate.fusion.name == "backbone" and report.status == "out_of_time":
            self._too_slow |= set(candidate.backbones)
        folds = len(report.fold_scores)
        if folds:
            self._seconds[candidate.describe()].append(report.seconds * num_folds / folds)

    def seconds(self, candidate: Candidate) -> float:
        """The expected seconds; what was never seen is as dear as its members, and those never seen cost nothing."""
        if self._too_slow & set(candidate.backbones):
            return math.inf
        seen = self._seconds.get(candidate.describe())
        if seen:
            return statistics.median(seen)
        return sum(self.seconds(member) for member in candidate.members)
