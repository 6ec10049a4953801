"""Rare classes: the rows that a classical model learns from, drawn, invented or weighted until all classes count alike.

Only rows to learn from are touched. A model that learned from balanced rows takes every class for equally frequent, so its
probabilities are shifted back to the true shares: log loss and averages over models keep their meaning, and what the model
gained is how well it ranks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fusion_automl.classical import SampleWeight
from fusion_automl.encoders import Matrix
from fusion_automl.errors import FitError
from fusion_automl.target import FittedTarget
from fusion_automl.task import Task

BALANCES = ("none", "oversample", "undersample", "smote", "weights")
NUM_NEIGHBOURS = 5
"""SMOTE invents a row on the way from one of a class to one of its five nearest."""


@dataclass(frozen=True, slots=True)
class Balanced:
    """Rows to learn from, what each counts (`None`: all the same), and the way back for the predictions."""

    X: Matrix
    y: npt.NDArray[Any]
    sample_weight: SampleWeight
    target: FittedTarget


def balance(
    how: str, X: Matrix, y: npt.NDArray[Any], *, task: Task, categorical: tuple[int, ...], seed: int
) -> Balanced:
    """Rows in which all classes count alike, by one of `BALANCES`: every class as frequent as the largest (`oversample`
    repeats rows, `smote` invents some: Chawla et al., 2002) or as the smallest (`undersample`), or as heavy (`weights`).

    Raises FitError for values in place of classes, and where rows between rows would make no sense.
    """
    if not task.is_classification:
        raise FitError(f"balance '{how}' needs classes, but '{task.target}' holds values")
    counts = np.bincount(y, minlength=task.num_outputs)
    num_present = np.count_nonzero(counts)
    if num_present < 2:
        return Balanced(X, y, None, FittedTarget())
    if how == "weights":
        weights = len(y) / (num_present * np.maximum(counts, 1))
        return Balanced(X, y, weights[y], _shift(counts, counts * weights))
    X, labels = _invent(X, y, counts, task, categorical, seed) if how == "smote" else _draw(how, X, y, seed)
    return Balanced(X, labels, None, _shift(counts, np.bincount(labels, minlength=task.num_outputs)))


def _draw(how: str, X: Matrix, y: npt.NDArray[Any], seed: int) -> tuple[Matrix, npt.NDArray[Any]]:
    from imblearn.over_sampling import RandomOverSampler
    from imblearn.under_sampling import RandomUnderSampler

    sampler = (RandomOverSampler if how == "oversample" else RandomUnderSampler)(random_state=seed)
    drawn, labels = sampler.fit_resample(np.arange(len(y)).reshape(-1, 1), y)
    return X[drawn[:, 0]], labels


def _invent(
    X: Matrix, y: npt.NDArray[Any], counts: npt.NDArray[Any], task: Task, categorical: tuple[int, ...], seed: int
) -> tuple[Matrix, npt.NDArray[Any]]:
    if not isinstance(X, np.ndarray):
        raise FitError("smote invents rows between rows, which has no meaning for words; use 'oversample' or 'weights'")
    if categorical:
        raise FitError("smote cannot stand between two categories; use one-hot columns, 'oversample' or 'weights'")
    if np.isnan(X).any():
        raise FitError("smote needs rows without missing numbers; use an encoder that fills them in, or 'weights'")
    rarest = int(np.argmin(np.where(counts > 0, counts, len(y) + 1)))
    if counts[rarest] <= NUM_NEIGHBOURS:
        raise FitError(
            f"smote needs at least {NUM_NEIGHBOURS + 1} rows of each class, and {task.classes[rarest]!r} has "
            f"{counts[rarest]}; use 'oversample' or 'weights'"
        )
    from imblearn.over_sampling import SMOTE

    resampled: tuple[Matrix, npt.NDArray[Any]] = SMOTE(k_neighbors=NUM_NEIGHBOURS, random_state=seed).fit_resample(X, y)
    return resampled


def _shift(counts: npt.NDArray[Any], learned: npt.NDArray[Any]) -> FittedTarget:
    """The way from the shares that a model learned from to the true ones; classes without rows stay at 0 anyway."""
    true, seen = counts / counts.sum(), learned / learned.sum()
    ratios = np.divide(true, seen, out=np.ones(len(true)), where=seen > 0)
    return FittedTarget("prior_shift", ratios=tuple(ratios.tolist()))
