"""Support vector machine with a Gaussian kernel, with probabilities by Platt scaling."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy.typing as npt

from fusion_automl.classical import SampleWeight
from fusion_automl.classical.sklearn_model import FittedSklearn, fit_sklearn
from fusion_automl.deadline import Deadline
from fusion_automl.encoders import Matrix
from fusion_automl.task import Task

MAX_EXACT_ROWS = 4000
"""The exact solver's cost grows with the square of the rows; from here on the kernel is approximated."""
NUM_LANDMARKS = 500


@dataclass(frozen=True, slots=True)
class KernelSVM:
    """`gamma` acts on rows of mean squared length 1, where 1 is what scikit-learn calls `scale`.

    Beyond 4,000 rows: Nystroem features of 500 rows (Williams and Seeger, 2001) into a linear machine.
    """

    prefers: ClassVar[Literal["codes", "dense"]] = "dense"
    requires: ClassVar[tuple[str, ...]] = ()
    tasks: ClassVar[tuple[str, ...]] = ("binary", "multiclass", "regression")
    max_rows: ClassVar[int] = 50_000

    C: float = 3.0
    gamma: float = 0.2

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
    ) -> FittedSklearn:
        estimator = self._exact(task) if len(y) <= MAX_EXACT_ROWS else self._approximate(task, seed=seed)
        return fit_sklearn(
            estimator,
            X,
            y,
            task=task,
            seed=seed,
            deadline=deadline,
            threads=threads,
            sample_weight=sample_weight,
            scaled=True,
            calibrated=True,
        )

    def _exact(self, task: Task) -> Any:
        from sklearn.svm import SVC, SVR

        return SVC(C=self.C, gamma=self.gamma) if task.is_classification else SVR(C=self.C, gamma=self.gamma)

    def _approximate(self, task: Task, *, seed: int) -> Any:
        from sklearn.kernel_approximation import Nystroem
        from sklearn.pipeline import make_pipeline
        from sklearn.svm import LinearSVC, LinearSVR

        linear = (
            LinearSVC(C=self.C, dual=False, random_state=seed)
            if task.is_classification
            else LinearSVR(C=self.C, dual=False, loss="squared_epsilon_insensitive", random_state=seed)
        )
        return make_pipeline(Nystroem(gamma=self.gamma, n_components=NUM_LANDMARKS, random_state=seed), linear)
