"""Predictive intervals: between which values a target lies, in nine rows of ten.

Split-conformal (Lei et al. 2018): half the width is a quantile of absolute errors on rows that the model had not seen.
Where errors grow with something known beforehand, the interval is as wide as they are there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fusion_automl.ensemble.honest import deal

Floats = npt.NDArray[np.float64]

LEVEL = 0.9
PARTS = 5
ROWS_IN_BIN = 50
MAX_BINS = 10
LEAST_SCALE = 0.1
"""Of the mean error: no bin's errors are taken for smaller."""


@dataclass(frozen=True, slots=True)
class Interval:
    """Half the width is `margin`, or read off straight lines from `at` to `margin` by the `prediction` or its `spread`.

    `coverage` is the share of targets inside, `width` the mean width, both on rows that had no part in it.
    """

    level: float
    by: str
    at: tuple[float, ...]
    margin: tuple[float, ...]
    coverage: float = float("nan")
    width: float = float("nan")

    def ends(self, values: Floats, spread: Floats) -> Floats:
        """`(rows, 2)`, the lower and the upper end for predictions and their spread, `(rows,)` each."""
        half = np.interp(spread if self.by == "spread" else values, self.at, self.margin)
        return np.stack([values - half, values + half], axis=1)

    def to_json(self) -> dict[str, Any]:
        return {
            "level": self.level,
            "by": self.by,
            "at": list(self.at),
            "margin": list(self.margin),
            "coverage": self.coverage,
            "width": self.width,
        }

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Interval:
        return cls(**{**value, "at": tuple(value["at"]), "margin": tuple(value["margin"])})


def fit_interval(values: Floats, spread: Floats, y: Floats, *, level: float = LEVEL) -> Interval:
    """The narrowest interval that keeps its level, for honest predictions `(rows,)`, their spread between members, and
    targets.

    Each kind is fitted without a fifth of the rows and tried on it; it keeps its level when its coverage is no more than a
    standard error below.
    """
    part = deal(y, max(2, min(PARTS, len(y) // 2)), np.random.default_rng(len(y)))
    tried = []
    for by in ("nothing", "prediction", "spread"):
        ends = np.empty((len(y), 2))
        for index in range(part.max() + 1):
            inside = part == index
            fitted = _fit(by, values[~inside], spread[~inside], y[~inside], level)
            ends[inside] = fitted.ends(values[inside], spread[inside])
        coverage = float(((ends[:, 0] <= y) & (y <= ends[:, 1])).mean())
        tried.append((coverage, float((ends[:, 1] - ends[:, 0]).mean()), by))
    enough = level - np.sqrt(level * (1 - level) / len(y))
    coverage, width, by = min([one for one in tried if one[0] >= enough] or tried[:1], key=lambda one: one[1])
    fitted = _fit(by, values, spread, y, level)
    return Interval(level, by, fitted.at, fitted.margin, coverage, width)


def _fit(by: str, values: Floats, spread: Floats, y: Floats, level: float) -> Interval:
    errors = np.abs(y - values)
    at, scale = _local(errors, {"prediction": values, "spread": spread}.get(by, np.zeros_like(values)))
    known = spread if by == "spread" else values
    ratios = np.sort(errors / np.interp(known, at, scale))
    rank = int(np.ceil((len(y) + 1) * level))  # the one more stands for the row to be predicted
    margin = ratios[min(rank, len(y)) - 1] * scale
    return Interval(level, by, tuple(at.tolist()), tuple(margin.tolist()))


def _local(errors: Floats, known: Floats) -> tuple[Floats, Floats]:
    """Mean absolute errors `scale` at ascending places `at` of what is known, in bins of equally many rows."""
    least = max(LEAST_SCALE * float(errors.mean()), float(np.finfo(np.float64).tiny))
    bins = np.array_split(np.argsort(known, kind="stable"), max(1, min(MAX_BINS, len(known) // ROWS_IN_BIN)))
    at, first = np.unique([known[rows].mean() for rows in bins], return_index=True)
    scale = np.array([errors[rows].mean() for rows in bins])[first]
    return at, np.clip(scale, least, None)
