"""Principal components of one matrix."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import scipy.sparse

from fusion_automl.classical.matrix import prepare
from fusion_automl.encoders import Matrix
from fusion_automl.task import Task

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class FittedPCA:
    """Standardised columns projected on the leading principal axes; CSR columns, where 0 is the rule, as they are."""

    mean: Floats
    scale: Floats
    axes: Floats  # (features, components)
    categorical: ClassVar[tuple[int, ...]] = ()

    def transform(self, matrices: Sequence[Matrix]) -> Floats:
        """`(rows, features)` -> `(rows, components)` float32; missing numbers stand at the column's mean."""
        (X,) = matrices
        if scipy.sparse.issparse(X):
            return np.asarray(prepare(X) @ self.axes, dtype=np.float32)
        return np.asarray(np.nan_to_num((X - self.mean) / self.scale, copy=False) @ self.axes, dtype=np.float32)

    def save(self, folder: Path) -> None:
        np.savez(folder / "pca.npz", mean=self.mean, scale=self.scale, axes=self.axes)

    @classmethod
    def load(cls, folder: Path) -> FittedPCA:
        with np.load(folder / "pca.npz", allow_pickle=False) as arrays:
            return cls(arrays["mean"], arrays["scale"], arrays["axes"])


@dataclass(frozen=True, slots=True)
class PCA:
    """Principal components of standardised columns, or of CSR without centring them (latent semantic analysis, Deerwester
    et al., 1990); as many as asked for, or as rows and columns allow."""

    components: int = 30
    learns_target: ClassVar[bool] = False

    def fit(
        self, matrices: Sequence[Matrix], y: npt.NDArray[Any], *, task: Task, categorical: tuple[int, ...], seed: int
    ) -> FittedPCA:
        (X,) = matrices
        return self._fit_sparse(prepare(X), seed) if scipy.sparse.issparse(X) else self._fit_dense(np.asarray(X), seed)

    def _fit_dense(self, X: Floats, seed: int) -> FittedPCA:
        from sklearn.decomposition import PCA as SklearnPCA

        missing = np.isnan(X)
        present = np.where(missing.all(axis=0), np.float32(0), X)
        mean = np.asarray(np.nanmean(present, axis=0, dtype=np.float64), dtype=np.float32)
        scale = np.nanstd(present, axis=0, dtype=np.float64)
        scale = np.where(scale > 1e-6, scale, 1.0).astype(np.float32)
        components = min(self.components, *X.shape)
        solver = "randomized" if components < 0.5 * min(X.shape) else "full"
        standardised = np.nan_to_num((present - mean) / scale, copy=False)
        axes = SklearnPCA(components, svd_solver=solver, random_state=seed).fit(standardised).components_.T
        return FittedPCA(mean, scale, axes.astype(np.float32))

    def _fit_sparse(self, X: Matrix, seed: int) -> FittedPCA:
        from sklearn.utils.extmath import randomized_svd

        components = min(self.components, *X.shape)
        axes = randomized_svd(X, components, n_iter=4, random_state=seed)[2].T
        width = X.shape[1]
        return FittedPCA(np.zeros(width, np.float32), np.ones(width, np.float32), axes.astype(np.float32))
