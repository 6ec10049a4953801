"""What a choice is worth on rows that did not make it.

Picking the best of many candidates by their out-of-fold scores, or weighing them, uses those scores up: the winner's own
score is flattered. So the rows are cut into parts; the choice is made again without each part and predicts it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from fusion_automl.metrics import Metric

Floats = npt.NDArray[np.float64]
Choose = Callable[[Floats, npt.NDArray[Any]], Floats]
"""Out-of-fold predictions `(candidates, rows, outputs)` and targets -> weights `(candidates,)`."""


def best_single(metric: Metric) -> Choose:
    """The choice that puts all weight on the candidate with the best score."""

    def choose(oof: Floats, y: npt.NDArray[Any]) -> Floats:
        scores = np.array([metric.score(y, candidate) for candidate in oof])
        weights = np.zeros(len(oof))
        weights[int(np.argmax(np.nan_to_num(scores, nan=-np.inf, neginf=-np.inf)))] = 1.0
        return weights

    return choose


def cross_predict(oof: Floats, y: npt.NDArray[Any], choose: Choose, *, parts: int = 5, seed: int = 0) -> Floats:
    """Predictions `(rows, outputs)` where each row is predicted by weights chosen without the part it lies in.

    Parts are drawn at random within classes (within rank neighbours for values). With fewer rows than twice the parts
    every choice is too poor to mean much, and there are as many parts as half the rows.
    """
    num_parts = max(2, min(parts, len(y) // 2))
    rng = np.random.default_rng([seed, len(y)])
    # Sorting by target with random ties and dealing out in turn stratifies classes and values alike.
    order = np.lexsort((rng.random(len(y)), y))
    part = np.empty(len(y), dtype=np.int64)
    part[order] = np.arange(len(y)) % num_parts
    result = np.empty(oof.shape[1:])
    for index in range(num_parts):
        inside = part == index
        weights = choose(oof[:, ~inside], y[~inside])
        result[inside] = np.tensordot(weights, oof[:, inside], axes=1)
    return result
