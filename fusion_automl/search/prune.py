"""When a trial is hopeless: the median stopping rule (Golovin et al. 2017, "Google Vizier", section 3.2)."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

MIN_FINISHED = 6
"""Below this many finished trials a median says little."""


def hopeless(fold_scores: Sequence[float], finished: Sequence[Sequence[float]]) -> bool:
    """Whether the mean of these scores lies below the median of the finished trials' means over as many."""
    if len(finished) < MIN_FINISHED:
        return False
    num_folds = len(fold_scores)
    typical = statistics.median(statistics.fmean(scores[:num_folds]) for scores in finished)
    return statistics.fmean(fold_scores) < typical
