"""Probabilities that come true: of the rows that are given 70 %, about 70 % should have the class."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fusion_automl.ensemble.honest import deal

Floats = npt.NDArray[np.float64]
Codes = npt.NDArray[np.int64]

PARTS = 5
NOISE = 2.0
"""Standard errors by which the log loss must fall before probabilities are bent."""
SLOPE = 0.05
"""Of the identity that is mixed into isotonic steps: rows keep their order, so no rank metric is harmed."""
MAX_TEMPERATURE = 5.0


@dataclass(frozen=True, slots=True)
class Calibration:
    """A map of probabilities `(rows, classes)` that keeps the order of the rows in each class of two.

    `temperature` divides log probabilities by a number (Guo et al. 2017); `isotonic` draws straight lines from `at` to `to`
    for the probability of the second of two classes.
    """

    name: str = "none"
    temperature: float = 1.0
    at: tuple[float, ...] = ()
    to: tuple[float, ...] = ()

    def apply(self, probabilities: Floats) -> Floats:
        if self.name == "temperature":
            return _heated(np.log(np.clip(probabilities, 1e-15, 1.0)), self.temperature)
        if self.name == "isotonic":
            second = np.interp(probabilities[:, 1], self.at, self.to)
            return np.stack([1.0 - second, second], axis=1)
        return probabilities

    def to_json(self) -> dict[str, Any]:
        fields = {"temperature": ("temperature",), "isotonic": ("at", "to")}.get(self.name, ())
        return {field: getattr(self, field) for field in ("name", *fields)}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Calibration:
        return cls(**{**value, "at": tuple(value.get("at", ())), "to": tuple(value.get("to", ()))})


UNCHANGED = Calibration()


def calibrate(probabilities: Floats, y: Codes) -> Calibration:
    """The calibration that lowers the log loss of rows it did not see, by more than noise; none where no one does.

    A more flexible one must beat the simpler one by as much again.
    """
    part = deal(y, max(2, min(PARTS, len(y) // 2)), np.random.default_rng(len(y)))
    ways = [_fit_temperature, _fit_isotonic] if probabilities.shape[1] == 2 else [_fit_temperature]
    chosen: Callable[[Floats, Codes], Calibration] | None = None
    losses = _losses(probabilities, y)
    for way in ways:
        bent = np.empty_like(losses)
        for index in range(part.max() + 1):
            inside = part == index
            fitted = way(probabilities[~inside], y[~inside])
            bent[inside] = _losses(fitted.apply(probabilities[inside]), y[inside])
        gains = losses - bent
        if gains.mean() > NOISE * gains.std() / np.sqrt(len(gains)):
            chosen, losses = way, bent
    return chosen(probabilities, y) if chosen else UNCHANGED


def calibration_error(probabilities: Floats, y: Codes, *, num_bins: int = 10) -> float:
    """Mean distance of what was said from what came true, over bins of equally many rows.

    Said of the second of two classes, or of the most probable of more.
    """
    if probabilities.shape[1] == 2:
        said, came = probabilities[:, 1], y == 1
    else:
        said, came = probabilities.max(axis=1), probabilities.argmax(axis=1) == y
    bins = np.array_split(np.argsort(said, kind="stable"), min(num_bins, len(y)))
    return float(sum(len(rows) * abs(said[rows].mean() - came[rows].mean()) for rows in bins) / len(y))


def _losses(probabilities: Floats, y: Codes) -> Floats:
    return -np.log(np.clip(probabilities[np.arange(len(y)), y], 1e-15, 1.0))


def _heated(logs: Floats, temperature: float) -> Floats:
    powers = np.exp((logs - logs.max(axis=1, keepdims=True)) / temperature)
    return powers / powers.sum(axis=1, keepdims=True)


def _fit_temperature(probabilities: Floats, y: Codes) -> Calibration:
    from scipy.optimize import minimize_scalar

    logs = np.log(np.clip(probabilities, 1e-15, 1.0))
    found = minimize_scalar(
        lambda log_t: _losses(_heated(logs, np.exp(log_t)), y).mean(),
        bounds=(-np.log(MAX_TEMPERATURE), np.log(MAX_TEMPERATURE)),
        method="bounded",
        options={"xatol": 0.01},
    )
    return Calibration("temperature", temperature=float(np.exp(found.x)))


def _fit_isotonic(probabilities: Floats, y: Codes) -> Calibration:
    """Isotonic regression, its steps joined at their middles (Oron and Flournoy 2017) and given a slope."""
    from sklearn.isotonic import isotonic_regression

    order = np.argsort(probabilities[:, 1], kind="stable")
    said = probabilities[order, 1]
    steps = isotonic_regression(y[order].astype(np.float64))
    starts = np.flatnonzero(np.r_[True, np.diff(steps) > 0])
    middles = np.add.reduceat(said, starts) / np.diff(np.r_[starts, len(said)])
    at, first = np.unique(np.r_[0.0, middles, 1.0], return_index=True)  # equal probabilities may lie in several steps
    to = np.r_[steps[0], steps[starts], steps[-1]][first]
    to = (1 - SLOPE) * to + SLOPE * at
    return Calibration("isotonic", at=tuple(at.tolist()), to=tuple(to.tolist()))
