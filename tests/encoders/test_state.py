from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fusion_automl.encoders.state import load_state, save_state


def test_words_and_arrays_come_back(tmp_path: Path) -> None:
    save_state(tmp_path, {"name": "café ☃", "sizes": [1, 2]}, {"x": np.arange(3, dtype=np.float32)})
    values, arrays = load_state(tmp_path)
    assert values == {"name": "café ☃", "sizes": [1, 2]}
    assert arrays["x"].dtype == np.float32 and arrays["x"].tolist() == [0, 1, 2]


def test_arrays_of_objects_are_neither_written_nor_read(tmp_path: Path) -> None:
    objects = np.array([object()], dtype=object)
    with pytest.raises(ValueError, match="allow_pickle=False"):
        save_state(tmp_path, {}, {"x": objects})
    np.savez(tmp_path / "arrays.npz", x=np.array([{"any": "object"}], dtype=object))
    with pytest.raises(ValueError, match="allow_pickle=False"):
        load_state(tmp_path)
