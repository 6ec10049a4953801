"""How well a candidate may be expected to do, from how its family did."""

from __future__ import annotations

import bisect

from fusion_automl.candidate import Candidate
from fusion_automl.search.ledger import Trial

UNSEEN = 0.5


class Promise:
    """A family's best score as the share of all scores that it reaches; half for a family that was never seen."""

    def __init__(self) -> None:
        self._scores: list[float] = []
        self._best: dict[str, float] = {}

    def learn(self, trial: Trial) -> None:
        """Takes full scores, and those of pruned trials, which are over fewer rows but on the same scale."""
        score = trial.report.score
        if score is not None:
            bisect.insort(self._scores, score)
            family = trial.candidate.describe()
            self._best[family] = max(score, self._best.get(family, score))

    def of(self, candidate: Candidate) -> float:
        """Between 0 and 1."""
        best = self._best.get(candidate.describe())
        return UNSEEN if best is None else bisect.bisect_right(self._scores, best) / len(self._scores)
