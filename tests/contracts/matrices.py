"""Matrices of every layout for the contract suite of classical models: one hidden number per row shows through."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import scipy.sparse

from fusion_automl.encoders import Matrix
from fusion_automl.task import TaskKind

Layout = Literal["codes", "words", "joined"]
LAYOUTS: tuple[Layout, ...] = ("codes", "words", "joined")
CATEGORICAL: dict[Layout, tuple[int, ...]] = {"codes": (3, 4), "words": (), "joined": (43, 44)}


def make_rows(kind: TaskKind, layout: Layout, rows: int = 60, seed: int = 0) -> tuple[Matrix, npt.NDArray[Any]]:
    """Numbers with gaps and two columns of codes, or 40 columns of weighted words with a nan, or both as CSR."""
    rng = np.random.default_rng([seed, rows])
    hidden = rng.normal(size=rows)
    codes = np.column_stack(
        [
            hidden * 100 + rng.normal(scale=30, size=rows) + 5000,
            rng.normal(size=rows),
            np.full(rows, 3.0),
            np.clip(np.round(hidden + 3), 0, 5),
            rng.integers(0, 4, rows),
        ]
    ).astype(np.float32)
    codes[rng.random(rows) < 0.15, 0] = np.nan
    frequent = 1 / (1 + np.exp(-np.outer(hidden, np.linspace(-3, 3, 40)) + 1.5))
    words = (rng.random((rows, 40)) < frequent) * rng.random((rows, 40))
    words = (words / np.maximum(np.linalg.norm(words, axis=1, keepdims=True), 1e-9)).astype(np.float32)
    words[0, 3] = np.nan
    columns = {"codes": codes, "words": words, "joined": np.hstack([words, codes])}[layout]
    X: Matrix = columns if layout == "codes" else scipy.sparse.csr_matrix(columns)
    noisy = hidden + rng.normal(scale=0.2, size=rows)
    if kind == "regression":
        return X, noisy * 50_000 + 200_000
    return X, np.digitize(noisy, [0.0] if kind == "binary" else [-0.5, 0.5]).astype(np.int64)
