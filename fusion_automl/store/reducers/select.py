"""Feature selection: the columns that tell most about the target, each looked at by itself."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import scipy.sparse

from fusion_automl.encoders import Matrix
from fusion_automl.errors import SpaceError
from fusion_automl.store.columns import stack_columns
from fusion_automl.task import Task

Codes = npt.NDArray[np.int64]
NUM_BINS = 10
MAX_LEVELS = 100
"""Codes of categories are in order of frequency; those beyond count as one."""
MAX_ROWS = 20_000
"""More are not looked at: the order of the columns hardly changes, and 10,000 dense columns take seconds as it is."""


@dataclass(frozen=True, slots=True)
class Selected:
    """`kept` holds for each matrix the columns that stay."""

    kept: tuple[tuple[int, ...], ...]
    categorical: tuple[int, ...]

    def transform(self, matrices: Sequence[Matrix]) -> Matrix:
        chosen = [matrix[:, list(columns)] for matrix, columns in zip(matrices, self.kept, strict=True) if columns]
        return stack_columns(chosen, matrices[0].shape[0])

    def save(self, folder: Path) -> None:
        (folder / "selected.json").write_text(json.dumps({"kept": self.kept, "categorical": self.categorical}))

    @classmethod
    def load(cls, folder: Path) -> Selected:
        value = json.loads((folder / "selected.json").read_text())
        return cls(tuple(map(tuple, value["kept"])), tuple(value["categorical"]))


@dataclass(frozen=True, slots=True)
class Select:
    """Keeps `features` columns (above 1), or that share of them (at most 1), at least one.

    A column's worth is its mutual information with the target, less what chance would give (the G-test's degrees of freedom
    over twice the rows): one measure for numbers (cut into ten bins), category codes, missing cells (a bin of their own) and
    words (there or not), blind to no shape of dependence. Values to predict are cut into ten bins too.
    """

    features: float = 0.3
    learns_target: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.features <= 0:
            raise SpaceError(f"[fusion.concat_select]: features must be above 0, got {self.features}.")

    def fit(
        self, matrices: Sequence[Matrix], y: npt.NDArray[Any], *, task: Task, categorical: tuple[int, ...], seed: int
    ) -> Selected:
        rows = np.sort(np.random.default_rng(seed).permutation(len(y))[:MAX_ROWS])
        target = np.asarray(y[rows], dtype=np.int64) if task.is_classification else _bins(np.asarray(y[rows]))
        codes = set(categorical)
        worth: list[float] = []
        for matrix in matrices:
            inside = {column - len(worth) for column in codes}
            worth += (
                _of_words(matrix[rows], target)
                if scipy.sparse.issparse(matrix)
                else [
                    _worth(_levels(matrix[rows, column]) if column in inside else _bins(matrix[rows, column]), target)
                    for column in range(matrix.shape[1])
                ]
            )
        wanted = self.features if self.features > 1 else math.ceil(self.features * len(worth))
        best = np.sort(np.argsort(-np.asarray(worth), kind="stable")[: max(1, int(wanted))])
        ends = np.cumsum([0, *(matrix.shape[1] for matrix in matrices)])
        kept = tuple(
            tuple(int(column - start) for column in best if start <= column < end) for start, end in pairwise(ends)
        )
        return Selected(kept, tuple(place for place, column in enumerate(best.tolist()) if column in codes))


def _bins(values: npt.NDArray[Any]) -> Codes:
    """Numbers -> 0 .. 9 by their deciles, where equal numbers share a bin; 10 where missing."""
    missing = np.isnan(values)
    present = values[~missing] if not missing.all() else np.zeros(1)
    edges = np.unique(np.quantile(present, np.arange(1, NUM_BINS) / NUM_BINS))
    return np.where(missing, NUM_BINS, np.searchsorted(edges, values, side="left"))


def _levels(codes: npt.NDArray[Any]) -> Codes:
    return np.minimum(np.nan_to_num(codes, nan=MAX_LEVELS), MAX_LEVELS).astype(np.int64)


def _worth(codes: Codes, target: Codes) -> float:
    table = np.zeros((codes.max() + 1, target.max() + 1))
    np.add.at(table, (codes, target), 1)
    return float(_information(table[None])[0])


def _of_words(matrix: Any, target: Codes) -> list[float]:
    """The worth of each CSR column, by whether it is there."""
    classes = np.eye(target.max() + 1)[target]
    there = np.asarray((matrix != 0).astype(np.float64).T @ classes)  # (columns, classes)
    worth: list[float] = _information(np.stack([there, classes.sum(axis=0) - there], axis=1)).tolist()
    return worth


def _information(tables: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """`(tables, levels, classes)` of counts -> mutual information in nats beyond what chance would give."""
    total = tables.sum(axis=(1, 2), keepdims=True)
    levels, classes = tables.sum(axis=2, keepdims=True), tables.sum(axis=1, keepdims=True)
    expected = levels * classes / total
    ratio = np.divide(tables, expected, out=np.ones_like(tables), where=tables > 0)
    information = (tables * np.log(ratio)).sum(axis=(1, 2)) / total[:, 0, 0]
    freedom = ((levels > 0).sum(axis=(1, 2)) - 1) * ((classes > 0).sum(axis=(1, 2)) - 1)
    return np.asarray(information - freedom / (2 * total[:, 0, 0]))
