"""The table of reducers: matrices -> one matrix, narrower or in other terms."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Protocol, Self

import numpy.typing as npt

from fusion_automl.encoders import Matrix
from fusion_automl.task import Task


class FittedReducer(Protocol):
    """`categorical` holds the indices of output columns that are category codes."""

    categorical: tuple[int, ...]

    def transform(self, matrices: Sequence[Matrix]) -> Matrix:
        """Matrices of the widths that it was fitted on -> `(rows, features)`; each row's result depends on that row alone."""

    def save(self, folder: Path) -> None:
        """Writes the state into an existing, empty folder, without pickle."""

    @classmethod
    def load(cls, folder: Path) -> Self: ...


class Reducer(Protocol):
    """A frozen dataclass whose fields are hyperparameters. `learns_target` tells which rows it may be fitted on: those that
    what comes after it learns from, or else all of the fold's train rows."""

    learns_target: ClassVar[bool]

    def fit(
        self,
        matrices: Sequence[Matrix],
        y: npt.NDArray[Any],
        *,
        task: Task,
        categorical: tuple[int, ...],
        seed: int,
    ) -> FittedReducer:
        """Matrices are dense or CSR and may hold nan; `categorical` counts columns over all of them, side by side."""


REDUCERS: dict[str, str] = {
    "pca": "fusion_automl.store.reducers.pca:PCA",
    "select": "fusion_automl.store.reducers.select:Select",
    "member_scores": "fusion_automl.store.reducers.member_scores:MemberScores",
}
