from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import scipy.sparse

from fusion_automl.store.reducers.pca import PCA
from fusion_automl.store.reducers.select import Select, Selected
from fusion_automl.task import Task

TWO = Task("binary", "y", ("a", "b"))
VALUES = Task("regression", "y")
Y = np.arange(600) % 2


def _select(features: float, matrices: list, y: npt.NDArray = Y, categorical: tuple[int, ...] = ()) -> Selected:
    task = TWO if y.dtype == np.int64 else VALUES
    return Select(features).fit(matrices, y, task=task, categorical=categorical, seed=0)


def _noise(columns: int, seed: int = 0) -> npt.NDArray[np.float32]:
    return np.random.default_rng(seed).normal(size=(600, columns)).astype(np.float32)


def test_what_tells_of_the_target_is_kept_whatever_the_shape() -> None:
    """A shift, a spread that no mean shows, cells that are missing for one class only, and codes without an order."""
    table = _noise(20)
    table[:, 3] += 0.8 * Y
    table[:, 7] *= 1 + 2 * Y
    table[(Y == 1) & (table[:, 0] > 0), 11] = np.nan
    table[:, 15] = np.random.default_rng(1).integers(0, 4, 600) * 2 + Y
    selected = _select(4, [table], categorical=(15,))
    assert selected.kept == ((3, 7, 11, 15),)
    assert selected.categorical == (3,)
    np.testing.assert_array_equal(selected.transform([table]), table[:, [3, 7, 11, 15]])


def test_a_code_with_many_levels_is_not_taken_for_knowledge() -> None:
    """By plain mutual information, 90 random codes tell more than a weak but real shift."""
    table = _noise(2)
    table[:, 0] += 0.5 * Y
    table[:, 1] = np.random.default_rng(3).integers(0, 90, 600)
    assert _select(0.5, [table], categorical=(1,)).kept == ((0,),)


def test_words_and_numbers_are_chosen_from_together() -> None:
    words = scipy.sparse.random(600, 30, 0.2, format="csr", dtype=np.float32, random_state=0).tolil()
    words[:, 4] = (Y * np.linspace(0.1, 1, 600)).reshape(-1, 1)
    table = _noise(3)
    table[:, 2] += Y
    selected = _select(2, [table, words.tocsr()])
    assert selected.kept == ((2,), (4,))
    chosen = selected.transform([table, words.tocsr()])
    assert scipy.sparse.issparse(chosen) and chosen.shape == (600, 2)
    assert selected.transform([table[:0], words.tocsr()[:0]]).shape == (0, 2)


def test_values_are_told_by_a_column_that_no_line_shows() -> None:
    table = _noise(10)
    assert _select(0.1, [table], np.asarray(table[:, 6], np.float64) ** 2).kept == ((6,),)


@pytest.mark.parametrize(("features", "expected"), [(0.01, 1), (0.3, 3), (1.0, 10), (4, 4), (99, 10)])
def test_a_share_or_a_number_of_columns_is_kept(features: float, expected: int) -> None:
    assert len(_select(features, [_noise(10)]).kept[0]) == expected


def test_a_selection_survives_its_file(tmp_path: Path) -> None:
    selected = _select(5, [_noise(10), _noise(4, seed=1)], categorical=(2, 11))
    selected.save(tmp_path)
    assert Selected.load(tmp_path) == selected


def _pca(X: object, components: int) -> npt.NDArray[np.float32]:
    fitted = PCA(components).fit([X], Y, task=TWO, categorical=(), seed=0)  # type: ignore[list-item]  # any matrix
    return fitted.transform([X])  # type: ignore[list-item]


def test_components_of_words_are_those_of_the_same_matrix_made_dense() -> None:
    words = scipy.sparse.random(200, 50, 0.1, format="csr", dtype=np.float32, random_state=0)
    words = words @ scipy.sparse.diags(0.7 ** np.arange(50, dtype=np.float32), format="csr")
    left, singular, _ = np.linalg.svd(words.toarray(), full_matrices=False)
    np.testing.assert_allclose(np.abs(_pca(words, 3)), np.abs(left[:, :3] * singular[:3]), atol=1e-3)


def test_missing_numbers_stand_at_the_mean_and_empty_columns_at_0() -> None:
    table = _noise(6)
    table[3] = np.nan
    table[:, 5] = np.nan
    reduced = _pca(table, 4)
    np.testing.assert_allclose(reduced[3], 0, atol=1e-6)
    assert reduced.shape == (600, 4) and np.isfinite(reduced).all()
