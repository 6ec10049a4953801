from pathlib import Path

import numpy as np
import pytest

from fusion_automl.encoders import sequences
from fusion_automl.encoders.sequences import Sequences, check_size
from fusion_automl.errors import FitError

LENGTHS = np.array([2, 0, 3])


def _filled() -> Sequences:
    found = Sequences.empty(LENGTHS, 2)
    for row, length in enumerate(LENGTHS):
        found.row(row)[:] = 10 * row + np.arange(2 * length).reshape(length, 2)
    return found


def test_each_row_has_its_own_number_of_vectors() -> None:
    found = _filled()
    assert found.shape == (3, 2) and found.values.dtype == np.float16
    assert found.row(0).tolist() == [[0, 1], [2, 3]]
    assert found.row(1).shape == (0, 2)
    assert found.row(2).tolist() == [[20, 21], [22, 23], [24, 25]]


def test_choosing_rows_copies_no_values() -> None:
    found = _filled()
    chosen = found[np.array([2, 0])]
    assert chosen.values is found.values
    assert chosen.lengths.tolist() == [3, 2]
    assert chosen.row(1).tolist() == [[0, 1], [2, 3]]


@pytest.mark.parametrize("largest_in_memory", [0, 1000])
def test_what_was_saved_is_mapped_again(
    largest_in_memory: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sequences, "LARGEST_IN_MEMORY", largest_in_memory)
    found = _filled()
    assert isinstance(found.values, np.memmap) == (largest_in_memory == 0)
    assert not Sequences.lie_in(tmp_path, "states")
    found.save(tmp_path, "states")
    assert Sequences.lie_in(tmp_path, "states")
    loaded = Sequences.load(tmp_path, "states")
    assert isinstance(loaded.values, np.memmap)
    for row in range(3):
        assert loaded.row(row).tolist() == found.row(row).tolist()


def test_no_rows_and_rows_without_vectors_have_one_step_to_point_at(tmp_path: Path) -> None:
    for lengths in (np.zeros(0, np.int64), np.zeros(4, np.int64)):
        found = Sequences.empty(lengths, 5)
        assert found.values.shape == (1, 5) and found.starts.tolist() == [0] * len(lengths)
        found.save(tmp_path, "states")
        assert Sequences.load(tmp_path, "states").shape == (len(lengths), 5)


def test_more_than_the_disk_should_hold_is_refused() -> None:
    check_size(1_000_000, 384)
    with pytest.raises(FitError, match=r"states of 10,000,000 tokens or patches would fill 7\.7 GB, more than 4"):
        check_size(10_000_000, 384)
