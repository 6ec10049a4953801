"""Is one set of predictions better than another on the same rows, and by how much?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fusion_automl.deadline import Deadline
from fusion_automl.metrics import Metric

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Gain:
    """A difference of scores (higher is better), its 95 % interval, and a two-sided p-value for no difference."""

    value: float
    low: float
    high: float
    p_value: float
    test: str

    def to_json(self) -> dict[str, Any]:
        return {"value": self.value, "ci95": [self.low, self.high], "p_value": self.p_value, "test": self.test}


def paired_bootstrap(
    y: npt.NDArray[Any],
    first: Floats,
    second: Floats,
    metric: Metric,
    *,
    seed: int,
    deadline: Deadline,
    resamples: int = 1000,
) -> Gain:
    """Score of `first` minus score of `second` over rows drawn with replacement, the same rows for both.

    Percentile interval; the p-value is twice the smaller tail share, with one added to both counts (Davison and Hinkley
    1997, section 4.4). Works for any metric, also where a row has no score of its own (AUC). Stops early at the deadline,
    after at least 100 resamples, and says how many it drew.
    """
    rng = np.random.default_rng([seed, len(y)])
    differences: list[float] = []
    for index in range(resamples):
        if index >= 100 and deadline.passed():
            break
        rows = rng.integers(0, len(y), len(y))
        difference = metric.score(y[rows], first[rows]) - metric.score(y[rows], second[rows])
        if np.isfinite(difference):
            differences.append(difference)
    drawn = np.array(differences)
    value = metric.score(y, first) - metric.score(y, second)
    if not len(drawn):
        return Gain(value, float("nan"), float("nan"), 1.0, "paired bootstrap, no usable resample")
    tail = min(int((drawn <= 0).sum()), int((drawn >= 0).sum()))
    p_value = min(1.0, 2 * (tail + 1) / (len(drawn) + 1))
    low, high = np.percentile(drawn, [2.5, 97.5])
    return Gain(value, float(low), float(high), p_value, f"paired bootstrap over {len(y)} rows, {len(drawn)} resamples")
