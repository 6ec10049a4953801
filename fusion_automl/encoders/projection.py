"""Principal components of a dense matrix, as two arrays: what the image encoders shrink their features with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

Dense = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Projection:
    """`(rows, features)` -> `(rows, components)`: `(X - mean) @ axes`, `axes` being `(features, components)`."""

    mean: Dense
    axes: Dense

    @classmethod
    def fit(cls, X: Dense, *, components: int, whiten: bool, seed: int) -> Self:
        """Randomized SVD (Halko et al. 2011); fewer components where there are fewer rows or features.

        The components have unit variance, each (`whiten`) or on average, so that they stand beside scaled tables.
        """
        from sklearn.utils.extmath import randomized_svd

        mean = X.mean(axis=0)
        size = max(1, min(components, *X.shape))
        _, singular, axes = randomized_svd(X - mean, size, n_iter=4, random_state=seed)
        deviation = singular / np.sqrt(max(len(X) - 1, 1))
        if not whiten:
            deviation = np.full_like(deviation, np.sqrt(np.mean(deviation**2)))
        # A direction which hardly varies in training is noise: whitening must not blow it up.
        floor = 1e-4 * max(float(deviation.max()), 1e-4)
        return cls(mean=mean, axes=(axes / np.maximum(deviation, floor)[:, None]).T.astype(np.float32))

    def apply(self, X: Dense) -> Dense:
        return np.asarray((X - self.mean) @ self.axes, dtype=np.float32)
