"""A dataset comes back from its folder as it went in."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from fusion_automl.data.dataset import Dataset
from fusion_automl.data.files import read_dataset, read_rows, write_dataset
from fusion_automl.data.fingerprint import fingerprint
from fusion_automl.data.prepare import prepare
from fusion_automl.errors import RunError

ROWS = 6
FRAME = pd.DataFrame(
    {
        "y": [0.5, 1.5, 2.5, 3.5, 4.5, 5.5],  # a feature may bear the name of anything
        "number": [1.0, np.nan, 3.5, -0.0, 5e300, 6],
        "flag": [True, None, False, True, True, False],
        "colour": ["ä", None, "", "b", "b", "b"],
        "when": pd.to_datetime([1_704_103_200_000_000_001, None, *[1e18] * 4]),
        "words": [f"some words {i}" for i in range(ROWS)],
        "photo": pd.Series([b"\x00\xff", "dir/ä.png", None, b"", "a.png", b"1"], dtype=object),
        "curve": pd.Series([[1, 2], None, [], [np.nan, 3.5], [4], [5]], dtype=object),
        "who": list("aabbcc"),
        "target": ["no", "yes"] * 3,
    }
)
KINDS = {
    "photo": "image",
    "curve": "series",
    "flag": "boolean",
    "words": "text",
    "when": "datetime",
    "colour": "category",
}


@pytest.fixture
def dataset() -> Dataset:
    return prepare(FRAME, target="target", group="who", overrides=KINDS).dataset


def test_every_kind_comes_back_exactly(dataset: Dataset, tmp_path: Path) -> None:
    write_dataset(dataset, tmp_path / "new" / "folder")
    again = read_dataset(tmp_path / "new" / "folder")
    assert (again.schema, again.task, again.fingerprint) == (dataset.schema, dataset.task, dataset.fingerprint)
    assert fingerprint(again.frame, again.schema, again.y) == dataset.fingerprint  # bit for bit
    pd.testing.assert_frame_equal(again.frame, dataset.frame, check_exact=True)
    assert [type(cell) for cell in again.frame["photo"]] == [type(cell) for cell in dataset.frame["photo"]]
    np.testing.assert_array_equal(again.y, dataset.y)
    np.testing.assert_array_equal(again.groups, dataset.groups)
    assert again.times is None and again.y.dtype == np.int64
    assert again.frame["curve"].iloc[0].flags.writeable and again.frame["number"].to_numpy(copy=True).flags.writeable


def test_some_rows_of_some_columns_are_those_of_the_whole(dataset: Dataset, tmp_path: Path) -> None:
    write_dataset(dataset, tmp_path)
    names = [name for name in reversed(dataset.frame.columns)]
    found = read_rows(tmp_path, names, 2, 5)
    pd.testing.assert_frame_equal(found, dataset.frame[names].iloc[2:5].reset_index(drop=True), check_exact=True)
    assert list(read_rows(tmp_path, ["photo"], 0, 0)) == ["photo"]


def test_no_rows_come_back_as_no_rows(dataset: Dataset, tmp_path: Path) -> None:
    write_dataset(dataset.take(np.array([], dtype=np.int64)), tmp_path)
    again = read_dataset(tmp_path)
    assert len(again) == 0 and again.frame.dtypes.equals(dataset.frame.dtypes)


def test_a_folder_without_a_dataset_is_told(dataset: Dataset, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="expected a dataset written by this program"):
        read_dataset(tmp_path)
    write_dataset(dataset, tmp_path)
    (tmp_path / "rows.arrow").write_bytes(b"broken")
    with pytest.raises(RunError, match="expected a dataset written by this program"):
        read_dataset(tmp_path)
    write_dataset(dataset, tmp_path)
    about = tmp_path / "dataset.json"
    about.write_text(about.read_text().replace('"format": 1', '"format": 9'))
    with pytest.raises(RunError, match="dataset format 9 is unknown; this version reads format 1"):
        read_dataset(tmp_path)
