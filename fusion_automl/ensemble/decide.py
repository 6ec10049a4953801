"""From probabilities to labels, where the metric looks at labels: the most probable class is not always the best answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fusion_automl.deadline import Deadline
from fusion_automl.ensemble.honest import deal
from fusion_automl.errors import OutOfTime
from fusion_automl.metrics import Metric

Floats = npt.NDArray[np.float64]
Codes = npt.NDArray[np.int64]

PARTS = 5
NUM_OPTIONS = 41
LARGEST_EXPONENT = 1.5


@dataclass(frozen=True, slots=True)
class Decision:
    """The label is the class with the largest probability times weight; without weights, the most probable class."""

    weights: tuple[float, ...] = ()

    def apply(self, probabilities: Floats) -> Floats:
        """`(rows, classes)` whose largest is the label, each row with sum 1; no probabilities any more."""
        if not self.weights:
            return probabilities
        weighted = probabilities * np.asarray(self.weights)
        return weighted / weighted.sum(axis=1, keepdims=True)

    def to_json(self) -> dict[str, Any]:
        return {"weights": list(self.weights)}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Decision:
        return cls(tuple(value["weights"]))


MOST_PROBABLE = Decision()


def decide(probabilities: Floats, y: Codes, metric: Metric, *, deadline: Deadline) -> Decision:
    """Class weights that raise a metric of labels on rows they did not see by more than noise; else none.

    Two classes: a threshold. More: each class weighted by a power of its rarity, one exponent for all; the best answer to
    balanced accuracy has exponent 1 (Menon et al. 2021). The parts' weights are averaged, which moves less from sample to
    sample than the best of all rows would. Raises OutOfTime when the deadline passes.
    """
    factors = np.exp(_log_weights(probabilities, y))
    part = deal(y, max(2, min(PARTS, len(y) // 2)), np.random.default_rng(len(y)))
    chosen, gains = [], []
    for index in range(part.max() + 1):
        inside = part == index
        others, truth = probabilities[~inside], y[~inside]
        scores = []
        for factor in factors:
            if deadline.passed():
                raise OutOfTime("the deadline passed while class weights were tried")
            scores.append(metric.score(truth, others * factor))
        best = factors[int(np.argmax(scores))]
        chosen.append(best)
        tried = probabilities[inside]
        gains.append(metric.score(y[inside], tried * best) - metric.score(y[inside], tried))
    if not np.mean(gains) > np.std(gains, ddof=1) / np.sqrt(len(gains)):  # nan is no gain
        return MOST_PROBABLE
    weights = np.exp(np.mean(np.log(chosen), axis=0))
    return Decision(tuple((weights / weights.sum()).tolist()))


def _log_weights(probabilities: Floats, y: Codes) -> Floats:
    """`(options, classes)`, the first all zero, which wins a tie."""
    num_classes = probabilities.shape[1]
    if num_classes == 2:
        second = np.clip(probabilities[:, 1], 1e-9, 1 - 1e-9)
        low, high = np.quantile(np.log(second) - np.log1p(-second), [0.005, 0.995])
        lift = -np.linspace(low, high, NUM_OPTIONS)
        options = np.stack([np.zeros_like(lift), lift], axis=1)
    else:
        shares = np.maximum(np.bincount(y, minlength=num_classes), 1) / len(y)
        exponents = np.linspace(0, LARGEST_EXPONENT, NUM_OPTIONS // 2)
        options = -exponents[:, None] * np.log(shares)
    return np.concatenate([np.zeros((1, num_classes)), options])
