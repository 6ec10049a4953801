"""When a trial is hopeless: percentile stopping (the median rule of Golovin et al. 2017, "Google Vizier", section 3.2, set at
the lower quartile)."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

import numpy as np

MIN_OTHERS = 6
"""With fewer trials to compare with a quartile says little."""
WORST_SHARE = 0.25
"""The median of the trials that were finished would save more time, but leave the ensemble little to choose from: of 54
candidates on 800 rows 38 went after a fold or two, most within the noise of the best."""


def hopeless(fold_scores: Sequence[float], others: Sequence[Sequence[float]]) -> bool:
    """Whether the mean of these scores lies among the worst quarter of the means over as many folds of all other trials that
    have those, whatever became of them: survivors alone would raise the bar with every trial."""
    num_folds = len(fold_scores)
    means = [fmean(scores[:num_folds]) for scores in others if len(scores) >= num_folds]
    return len(means) >= MIN_OTHERS and bool(fmean(fold_scores) < np.quantile(means, WORST_SHARE))
