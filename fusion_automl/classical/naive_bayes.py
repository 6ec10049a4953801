"""Naive Bayes: multinomial over words for CSR, Gaussian for dense columns; its overconfidence is calibrated away."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import numpy as np
import numpy.typing as npt
import scipy.sparse

from fusion_automl.classical import SampleWeight
from fusion_automl.classical.sklearn_model import FittedSklearn, fit_sklearn
from fusion_automl.deadline import Deadline
from fusion_automl.encoders import Matrix
from fusion_automl.task import Task


@dataclass(frozen=True, slots=True)
class FittedNaiveBayes:
    fitted: FittedSklearn

    def predict(self, X: Matrix) -> npt.NDArray[np.float64]:
        return self.fitted.predict(_as_counts(X))

    def save(self, folder: Path) -> None:
        self.fitted.save(folder)

    @classmethod
    def load(cls, folder: Path) -> Self:
        return cls(FittedSklearn.load(folder))


@dataclass(frozen=True, slots=True)
class NaiveBayes:
    """`alpha` smooths the counts of words (CSR); `var_smoothing` widens the Gaussians (dense)."""

    prefers: ClassVar[Literal["codes", "dense"]] = "dense"
    requires: ClassVar[tuple[str, ...]] = ()
    tasks: ClassVar[tuple[str, ...]] = ("binary", "multiclass")
    max_rows: ClassVar[int] = 1_000_000

    alpha: float = 0.5
    var_smoothing: float = 0.1

    def fit(
        self,
        X: Matrix,
        y: npt.NDArray[Any],
        *,
        task: Task,
        categorical: tuple[int, ...],
        seed: int,
        deadline: Deadline,
        threads: int,
        sample_weight: SampleWeight = None,
    ) -> FittedNaiveBayes:
        from sklearn.naive_bayes import GaussianNB, MultinomialNB

        words = scipy.sparse.issparse(X)
        estimator = MultinomialNB(alpha=self.alpha) if words else GaussianNB(var_smoothing=self.var_smoothing)
        fitted = fit_sklearn(
            estimator,
            _as_counts(X),
            y,
            task=task,
            seed=seed,
            deadline=deadline,
            threads=threads,
            sample_weight=sample_weight,
            scaled=not words,
            calibrated=True,
        )
        return FittedNaiveBayes(fitted)


def _as_counts(X: Matrix) -> Matrix:
    """CSR columns twice, their positive and their negative parts: numbers joined to words may lie below 0."""
    if isinstance(X, np.ndarray):
        return X
    return scipy.sparse.hstack([X.maximum(0), (-X).maximum(0)], format="csr")
