"""Bayesian model averaging of calibrated members (Yao, Vehtari, Simpson and Gelman, 2018), with its uncertainty.

Each member becomes a predictive distribution: its probabilities at a temperature of its own, or Student's t around its
value, as wide as its errors are on rows that it did not learn from. The average is a mixture of those.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fusion_automl.component import unknown
from fusion_automl.errors import SpaceError
from fusion_automl.store.combiners import Floats
from fusion_automl.store.combiners.scores import logarithms, softmax, typical_errors
from fusion_automl.task import Task

WEIGHTS = ("stacking", "pseudo_bma")
NUM_BOOTSTRAPS = 1000
NUM_STEPS = 500
FREEDOM = 4
"""Degrees of freedom of Student's t, because errors have heavy tails. With Gaussians, intervals of 50 % held 79 % of the
prices in ames_housing."""
LARGEST_LOG_TEMPERATURE = 3.0
USUAL_LOG_TEMPERATURE = 0.2
"""Prior deviation. With 76 holdout rows (german_credit) a prior five times as wide cost 0.007 of log loss; where 285 rows
tell of a wrong temperature, it makes no difference."""


@dataclass(frozen=True, slots=True)
class Mixture:
    """`scales` holds each member's temperature (classes) or the scale of its Student's t (values)."""

    weights: Floats  # (members,), >= 0, sum 1
    scales: Floats  # (members,), > 0
    is_classification: bool

    def outputs(self, members: Sequence[Floats]) -> dict[str, Floats]:
        outputs = {"prediction": self.combine(members)}
        return outputs if self.is_classification else outputs | {"deviation": self.deviation(members)}

    def combine(self, members: Sequence[Floats]) -> Floats:
        """The mixture's probabilities, or its mean, `(rows, outputs)`."""
        parts = _tempered(members, self.scales) if self.is_classification else np.stack(members)
        return np.asarray(np.einsum("m,mro->ro", self.weights, parts))

    def deviation(self, members: Sequence[Floats]) -> Floats:
        """The standard deviation of the mixture over values, `(rows, 1)`: within the members and between them."""
        between = np.einsum("m,mro->ro", self.weights, (np.stack(members) - self.combine(members)) ** 2)
        within = FREEDOM / (FREEDOM - 2) * self.weights @ self.scales**2
        return np.asarray(np.sqrt(between + within))

    def interval(self, members: Sequence[Floats], level: float) -> Floats:
        """`(rows, 2)`: between which values the mixture expects a share of `level`, as much being above as below."""
        return np.column_stack([self._quantile(members, (1 - level) / 2), self._quantile(members, (1 + level) / 2)])

    def _quantile(self, members: Sequence[Floats], probability: float) -> Floats:
        """By bisection between the members' own quantiles, which the mixture's lies between."""
        from scipy.special import stdtr, stdtrit

        means, scales = np.hstack(members), self.scales  # (rows, members)
        quantiles = means + scales * stdtrit(FREEDOM, probability)
        low, high = quantiles.min(axis=1), quantiles.max(axis=1)
        for _ in range(50):
            middle = (low + high) / 2
            below = stdtr(FREEDOM, (middle[:, None] - means) / scales) @ self.weights < probability
            low, high = np.where(below, middle, low), np.where(below, high, middle)
        return np.asarray((low + high) / 2)

    def save(self, folder: Path) -> None:
        np.savez(
            folder / "mixture.npz",
            weights=self.weights,
            scales=self.scales,
            is_classification=self.is_classification,
        )

    @classmethod
    def load(cls, folder: Path) -> Mixture:
        with np.load(folder / "mixture.npz", allow_pickle=False) as arrays:
            return cls(arrays["weights"], arrays["scales"], bool(arrays["is_classification"]))


@dataclass(frozen=True, slots=True)
class Bayesian:
    """`weights` by `stacking` of predictive distributions (the mixture under which the holdout targets are most probable)
    or `pseudo_bma` (pseudo-BMA+: each member's share of the probability, averaged over the Bayesian bootstrap)."""

    weights: str = "stacking"

    def __post_init__(self) -> None:
        if self.weights not in WEIGHTS:
            raise SpaceError(f"[fusion.bayesian]: {unknown('weights', self.weights, list(WEIGHTS))}")

    def fit(self, members: Sequence[Floats], y: npt.NDArray[Any], *, task: Task, seed: int) -> Mixture:
        if task.is_classification:
            scales = np.array([_temperature(logarithms(member), y) for member in members])
            densities = np.log(_tempered(members, scales)[:, np.arange(len(y)), y])
        else:
            errors = np.stack([member[:, 0] - y for member in members])
            scales = _scales(errors, typical_errors(members, y))
            standardised = errors / scales[:, None]
            densities = -(FREEDOM + 1) / 2 * np.log1p(standardised**2 / FREEDOM) - np.log(scales)[:, None]
        weights = _stacking(densities) if self.weights == "stacking" else _pseudo_bma(densities, seed=seed)
        return Mixture(weights, scales, task.is_classification)


def _tempered(members: Sequence[Floats], temperatures: Floats) -> Floats:
    return softmax(np.stack([logarithms(member) for member in members]) / temperatures.reshape(-1, 1, 1))


def _temperature(logs: Floats, y: npt.NDArray[Any]) -> float:
    """The temperature at which the targets are most probable, with a prior around 1."""
    from scipy.optimize import minimize_scalar

    def loss(log_temperature: float) -> float:
        scores = logs / np.exp(log_temperature)
        chosen = scores[np.arange(len(y)), y] - np.logaddexp.reduce(scores, axis=1)
        return float(0.5 * (log_temperature / USUAL_LOG_TEMPERATURE) ** 2 - chosen.sum())

    bounds = (-LARGEST_LOG_TEMPERATURE, LARGEST_LOG_TEMPERATURE)
    return float(np.exp(minimize_scalar(loss, bounds=bounds, method="bounded").x))


def _scales(errors: Floats, typical: Floats) -> Floats:
    """The scale of Student's t under which `(members, rows)` of errors are most probable, by expectation-maximisation from
    `typical` ones, and never below a hundredth of those."""
    scales = typical
    for _ in range(100):
        trust = (FREEDOM + 1) / (FREEDOM + (errors / scales[:, None]) ** 2)
        scales = np.maximum(np.sqrt((trust * errors**2).mean(axis=1)), typical / 100)
    return scales


def _stacking(densities: Floats) -> Floats:
    """`(members, rows)` log densities -> weights, by expectation-maximisation: the problem is convex, so it finds the best.

    Each member counts as if one row spoke for it, so that few rows do not rule one out.
    """
    likelihoods = np.exp(densities - densities.max(axis=0))
    weights = np.full(len(densities), 1 / len(densities))
    for _ in range(NUM_STEPS):
        shares = weights[:, None] * likelihoods
        counts = (shares / shares.sum(axis=0)).sum(axis=1) + 1
        weights, before = counts / counts.sum(), weights
        if np.abs(weights - before).max() < 1e-9:
            break
    return weights


def _pseudo_bma(densities: Floats, *, seed: int) -> Floats:
    num_rows = densities.shape[1]
    shares = np.random.default_rng(seed).dirichlet(np.ones(num_rows), NUM_BOOTSTRAPS)
    return np.asarray(softmax(num_rows * shares @ densities.T).mean(axis=0))
