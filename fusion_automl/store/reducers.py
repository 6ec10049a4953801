"""The table of reducers: a dense matrix -> a narrower one, learned without the target."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
REDUCERS: dict[str, str] = {"pca": "fusion_automl.store.reducers:PCA"}


@dataclass(frozen=True, slots=True)
class FittedPCA:
    """Standardised columns projected on the leading principal axes."""

    mean: Floats
    scale: Floats
    axes: Floats  # (features, components)

    def transform(self, X: Floats) -> Floats:
        """`(rows, features)` -> `(rows, components)` float32."""
        return np.asarray(((X - self.mean) / self.scale) @ self.axes, dtype=np.float32)

    def save(self, folder: Path) -> None:
        np.savez(folder / "pca.npz", mean=self.mean, scale=self.scale, axes=self.axes)

    @classmethod
    def load(cls, folder: Path) -> FittedPCA:
        with np.load(folder / "pca.npz", allow_pickle=False) as arrays:
            return cls(arrays["mean"], arrays["scale"], arrays["axes"])


@dataclass(frozen=True, slots=True)
class PCA:
    """Principal components of standardised columns; as many as asked for, or as rows and columns allow."""

    components: int = 30

    def fit(self, X: Floats, *, seed: int) -> FittedPCA:
        from sklearn.decomposition import PCA as SklearnPCA

        mean, scale = X.mean(axis=0), X.std(axis=0)
        scale = np.where(scale > 1e-6, scale, 1.0).astype(np.float32)
        components = min(self.components, *X.shape)
        solver = "randomized" if components < 0.5 * min(X.shape) else "full"
        axes = SklearnPCA(components, svd_solver=solver, random_state=seed).fit((X - mean) / scale).components_.T
        return FittedPCA(mean.astype(np.float32), scale, axes.astype(np.float32))
