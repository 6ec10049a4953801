"""Matrices before the library: dense copies within bounds, and scaling that suits one-hot columns and words."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse

from fusion_automl.classical.matrix import fit_scaler, prepare, scale
from fusion_automl.errors import FitError


def test_a_dense_copy_that_is_too_big_is_an_error_with_its_size() -> None:
    X = scipy.sparse.csr_matrix((100_000, 20_000), dtype=np.float32)
    with pytest.raises(FitError, match=r"a dense copy of 100000 rows x 20000 features needs 7\.5 GB, more than 2 GB"):
        prepare(X, dense=True)


def test_nan_in_csr_becomes_an_absent_word_and_leaves_the_given_matrix_alone() -> None:
    X = scipy.sparse.csr_matrix(np.array([[np.nan, 2.0]], dtype=np.float32))
    np.testing.assert_array_equal(prepare(X, dense=True), [[0.0, 2.0]])
    assert np.isnan(X.data).sum() == 1


def test_dense_columns_get_the_same_size_but_0_and_1_keep_theirs() -> None:
    rng = np.random.default_rng(0)
    X = np.column_stack([rng.normal(1000, 300, 500), rng.normal(0, 0.01, 500), rng.random(500) < 0.02]).astype(
        np.float32
    )
    scaled = scale(fit_scaler(X), X)
    deviation = np.asarray(scaled).std(axis=0)
    assert deviation[0] == pytest.approx(deviation[1], rel=1e-4)
    assert deviation[2] < 0.2 * deviation[0]


def test_rows_get_the_length_asked_for_in_the_quadratic_mean() -> None:
    rng = np.random.default_rng(0)
    dense = rng.normal(size=(200, 30)).astype(np.float32)
    sparse = scipy.sparse.random(200, 1000, density=0.02, format="csr", random_state=0, dtype=np.float32) * 50
    for X in (dense, sparse):
        scaled = scale(fit_scaler(X, row_length=3.0), X)
        squares = scaled**2 if isinstance(scaled, np.ndarray) else scaled.multiply(scaled)
        assert squares.sum() / 200 == pytest.approx(9.0, rel=1e-4)


def test_missing_cells_stand_at_the_mean() -> None:
    X = np.array([[1.0], [3.0], [np.nan]], dtype=np.float32)
    assert np.asarray(scale(fit_scaler(X), X))[2, 0] == 0
