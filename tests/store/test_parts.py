"""A matrix in files of a few rows: read in any order, and made again only where it is not there."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fusion_automl.store.parts import Parts

MATRIX = np.random.default_rng(0).normal(size=(23, 5)).astype(np.float32)


def fill(parts: Parts) -> None:
    for rows in parts.missing():
        parts.put(rows.start, MATRIX[rows.start : rows.stop].tobytes())


def test_any_rows_come_in_the_order_asked_for(tmp_path: Path) -> None:
    fill(Parts.begin(tmp_path / "new", rows=23, size=5, step=6))
    (tmp_path / "node").mkdir()
    assert not Parts.lie_in(tmp_path / "node", "matrix")
    Parts.begin(tmp_path / "new", rows=23, size=5, step=6).save(tmp_path / "node", "matrix")
    assert Parts.lie_in(tmp_path / "node", "matrix") and not (tmp_path / "new").exists()

    parts = Parts.load(tmp_path / "node", "matrix")
    assert parts.shape == (23, 5)
    for rows in ([], [22], [3, 3, 17, 0, 22, 5], range(23)):
        np.testing.assert_array_equal(parts[np.array(rows, np.int64)], MATRIX[np.array(rows, np.int64)])
    with pytest.raises(FileNotFoundError):
        parts[np.array([24])]


def test_what_is_there_is_taken_up_unless_it_is_cut_otherwise(tmp_path: Path) -> None:
    parts = Parts.begin(tmp_path / "new", rows=23, size=5, step=6)
    assert parts.missing() == [range(0, 6), range(6, 12), range(12, 18), range(18, 23)]
    parts.put(6, MATRIX[6:12].tobytes())
    assert Parts.begin(tmp_path / "new", rows=23, size=5, step=6).missing() == [
        range(0, 6),
        range(12, 18),
        range(18, 23),
    ]
    assert len(Parts.begin(tmp_path / "new", rows=23, size=5, step=8).missing()) == 3
