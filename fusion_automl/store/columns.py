"""Matrices side by side."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import scipy.sparse

from fusion_automl.encoders import Matrix


def stack_columns(matrices: Sequence[Matrix], num_rows: int) -> Matrix:
    """Puts matrices side by side; CSR as soon as one of them is CSR, one column of zeros where there is none."""
    if not matrices:
        return np.zeros((num_rows, 1), dtype=np.float32)
    if len(matrices) == 1:
        return matrices[0]
    if any(scipy.sparse.issparse(matrix) for matrix in matrices):
        return scipy.sparse.hstack([scipy.sparse.csr_matrix(matrix) for matrix in matrices], format="csr")
    return np.hstack(matrices)
