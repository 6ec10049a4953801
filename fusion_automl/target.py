"""How a target is bent before a model learns it, and how predictions are bent back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
TARGETS = ("identity", "log")


@dataclass(frozen=True, slots=True)
class FittedTarget:
    """`log` learns log(y - offset); the inverse is clipped to the training range stretched by half its width in log
    space, because a linear model that extrapolates by 10 in log space would answer 22,000 times too much.

    `prior_shift` is for a classifier that learned from rows in which classes were made more or less frequent: `ratios`
    holds each class's true share over the one it learned from (Saerens et al., 2002).
    """

    name: str = "identity"
    offset: float = 0.0
    low: float = -np.inf
    high: float = np.inf
    ratios: tuple[float, ...] = ()

    def forward(self, y: Floats) -> Floats:
        return np.log(y - self.offset) if self.name == "log" else y

    def inverse(self, predictions: Floats) -> Floats:
        if self.name == "prior_shift":
            shifted = predictions * np.asarray(self.ratios)
            return shifted / shifted.sum(axis=1, keepdims=True)
        if self.name != "log":
            return predictions
        return np.exp(np.clip(predictions, self.low, self.high)) + self.offset

    def to_json(self) -> dict[str, Any]:
        fields = {"log": ("offset", "low", "high"), "prior_shift": ("ratios",)}.get(self.name, ())
        return {field: getattr(self, field) for field in ("name", *fields)}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> FittedTarget:
        return cls(**{**value, "ratios": tuple(value.get("ratios", ()))})


def fit_target(name: str, y: npt.NDArray[Any]) -> FittedTarget:
    """Fits `identity` or `log` on training targets `(rows,)`; targets that reach zero or below are shifted first."""
    if name != "log":
        return FittedTarget()
    values = np.asarray(y, dtype=np.float64)
    offset = 0.0 if values.min() > 0 else float(values.min() - 0.01 * (values.max() - values.min()) - 1e-9)
    bent = np.log(values - offset)
    margin = 0.5 * float(bent.max() - bent.min())
    return FittedTarget("log", offset, float(bent.min() - margin), float(bent.max() + margin))


def is_skewed(y: Floats) -> bool:
    """Whether a regression target has a long right tail that a logarithm would shorten (skewness over 1, and halved)."""
    from scipy.stats import skew

    return bool(skew(y) > 1 and abs(skew(fit_target("log", y).forward(y))) < 0.5 * skew(y))


RARE = 0.5
"""A class with less than this share of what it would have if all were equally frequent is rare."""


def is_imbalanced(y: npt.NDArray[Any]) -> bool:
    """Whether a class of the codes `y` is rare."""
    shares = np.unique(y, return_counts=True)[1] / len(y)
    return bool(shares.min() * len(shares) < RARE)
