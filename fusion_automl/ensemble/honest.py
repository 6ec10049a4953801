"""What a choice is worth on rows that did not make it.

Picking the best of many candidates by their out-of-fold scores, or weighing them, uses those scores up: the winner's own
score is flattered. So the rows are cut into parts; the choice is made again without each part and predicts it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
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


NUM_PARTS = 10
"""Of the rows, on which two candidates are compared to see how far their difference varies."""
AS_CHEAP = 2.0
"""A cost up to twice the least counts as the least; measured costs vary by nearly as much."""


def best_cheap(metric: Metric, costs: Floats) -> Choose:
    """The choice of the best among the cheapest of those candidates that are not worse than the best but for noise.

    Noise is one standard error of the difference over parts of the rows (the rule of Breiman et al. 1984 for trees).
    """

    def choose(oof: Floats, y: npt.NDArray[Any]) -> Floats:
        scores = np.array([metric.score(y, candidate) for candidate in oof])
        scores = np.where(np.isfinite(scores), scores, -np.inf)
        part = deal(y, max(2, min(NUM_PARTS, len(y) // 2)), np.random.default_rng(len(y)))
        inside = [part == index for index in range(part.max() + 1)]
        by_part = np.array([[metric.score(y[rows], candidate[rows]) for rows in inside] for candidate in oof])
        behind = by_part[int(np.argmax(scores))] - by_part  # (candidates, parts)
        noise = behind.std(axis=1, ddof=1) / np.sqrt(len(inside))
        alike = (behind.mean(axis=1) <= noise) | (scores == scores.max())
        cheap = alike & (costs <= AS_CHEAP * costs[alike].min())
        weights = np.zeros(len(oof))
        weights[int(np.argmax(np.where(cheap, scores, -np.inf)))] = 1.0
        return weights

    return choose


@dataclass(frozen=True, slots=True)
class CrossChoice:
    """A choice made again without each part: `part` `(rows,)` of each row, and `weights` `(parts, candidates)`."""

    part: npt.NDArray[np.int64]
    weights: Floats

    def predict(self, oof: Floats) -> Floats:
        """`(rows, outputs)`, each row by the weights that were chosen without it."""
        return np.asarray(np.einsum("rc,cro->ro", self.weights[self.part], oof))

    def spread(self, oof: Floats) -> Floats:
        """`(rows,)`: how far those candidates lie apart, of whose single output the prediction is the weighted mean."""
        return spread(self.weights[self.part].T, oof[:, :, 0])


def cross_choose(oof: Floats, y: npt.NDArray[Any], choose: Choose, *, parts: int = 5, seed: int = 0) -> CrossChoice:
    """Makes a choice without each of `parts` parts of the rows.

    Parts are drawn at random within classes (within rank neighbours for values). With fewer rows than twice the parts
    every choice is too poor to mean much, and there are as many parts as half the rows.
    """
    num_parts = max(2, min(parts, len(y) // 2))
    part = deal(y, num_parts, np.random.default_rng([seed, len(y)]))
    weights = [choose(oof[:, part != index], y[part != index]) for index in range(num_parts)]
    return CrossChoice(part, np.stack(weights))


def cross_predict(oof: Floats, y: npt.NDArray[Any], choose: Choose, *, parts: int = 5, seed: int = 0) -> Floats:
    """Predictions `(rows, outputs)` where each row is predicted by weights chosen without the part it lies in."""
    return cross_choose(oof, y, choose, parts=parts, seed=seed).predict(oof)


def spread(weights: Floats, values: Floats) -> Floats:
    """`(rows,)`: the weighted standard deviation over candidates, for weights and values `(candidates, rows)`."""
    mean = (weights * values).sum(axis=0)
    return np.asarray(np.sqrt((weights * (values - mean) ** 2).sum(axis=0)))


def deal(y: npt.NDArray[Any], num_parts: int, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """The part `(rows,)` of each row: sorting by target with random ties and dealing out in turn stratifies classes and
    values alike."""
    order = np.lexsort((rng.random(len(y)), y))
    part = np.empty(len(y), dtype=np.int64)
    part[order] = np.arange(len(y)) % num_parts
    return part
