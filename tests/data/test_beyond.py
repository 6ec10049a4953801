"""Rows beyond a sample: which of them lie in which shard, what is left out, and what writing them costs."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from fusion_automl.data import beyond
from fusion_automl.data.beyond import with_shards, write_shards
from fusion_automl.data.dataset import Dataset
from fusion_automl.data.files import read_dataset, write_dataset
from fusion_automl.data.prepare import Prepared, prepare
from fusion_automl.data.sample import ROWS_OF_A_CLASS, Bound
from fusion_automl.data.shards import SHARDS, Shards
from fusion_automl.target import fit_target

NUM_ROWS = 6000
ROWS = np.arange(NUM_ROWS)
TABLE = pd.DataFrame(
    {
        "x": ROWS + 0.5,
        "colour": np.array(["red", "green", "blue"])[ROWS % 3],
        "y": np.where(ROWS < 4000, "early", "late"),  # sorted by class
    }
)
FOREVER: dict[str, float] = {"seconds": 1e6, "max_bytes": 1e12}


def written(folder: Path, kind: str, table: pd.DataFrame = TABLE) -> Path:
    path = folder / f"table.{kind}"
    if kind == "parquet":
        table.to_parquet(path, row_group_size=700)
    elif kind == "csv":
        table.to_csv(path, index=False)
    elif kind == "jsonl":
        table.to_json(path, orient="records", lines=True)
    elif kind == "parts":
        path.mkdir()
        for part in range(3):
            table.iloc[part * 2000 : (part + 1) * 2000].to_parquet(path / f"{part}.parquet")
    return path


def put_by(prepared: Prepared, folder: Path, **limits: float) -> Shards | None:
    assert prepared.left_out
    return write_shards(prepared.left_out, prepared.dataset, folder / SHARDS, **(FOREVER | limits))


def all_of(shards: Shards | None, number: int) -> tuple[pd.DataFrame, Any]:
    assert shards
    return shards.read(number, limit=shards.num_rows[number], seed=0)


@pytest.mark.parametrize("kind", ["parquet", "csv", "jsonl", "parts"])
def test_sample_and_shards_have_every_row_once_and_are_alike(tmp_path: Path, kind: str) -> None:
    prepared = prepare(written(tmp_path, kind), target="y", bound=Bound(1000, seed=3))
    shards = put_by(prepared, tmp_path)
    assert shards and len(shards) == 7  # of the 5,000 others, each 0.7 of the sample
    assert shards.num_rows == pytest.approx([5000 / 7] * 7, rel=0.15)
    found = [all_of(shards, number) for number in range(len(shards))]
    rows = np.concatenate([prepared.dataset.frame["x"], *(frame["x"] for frame, _ in found)])
    assert sorted(rows) == TABLE["x"].tolist()
    for frame, y in found:
        assert y.dtype == np.int64 and np.mean(y == 0) == pytest.approx(2 / 3, abs=0.07)
        expected = TABLE.iloc[(frame["x"] - 0.5).astype(int)].reset_index(drop=True)
        assert frame["colour"].tolist() == expected["colour"].tolist()
        assert np.array(["early", "late"])[y].tolist() == expected["y"].tolist()
        assert frame.dtypes.equals(prepared.dataset.frame.dtypes)


def test_of_many_rows_there_are_sixteen_shards(tmp_path: Path) -> None:
    prepared = prepare(written(tmp_path, "parquet"), target="y", bound=Bound(100))
    shards = put_by(prepared, tmp_path)
    assert shards and len(shards) == 16
    assert np.mean(shards.num_rows) == pytest.approx(70, rel=0.15)
    rows = np.concatenate([prepared.dataset.frame["x"], *(all_of(shards, number)[0]["x"] for number in range(16))])
    assert len(set(rows)) == len(rows)


def test_rows_of_rare_classes_that_the_sample_kept_are_in_no_shard(tmp_path: Path) -> None:
    labels = TABLE["y"].astype(object)
    labels[:50], labels[50:53] = "fifty times", "thrice"
    prepared = prepare(written(tmp_path, "parquet", TABLE.assign(y=labels)), target="y", bound=Bound(500))
    shards = put_by(prepared, tmp_path)
    assert shards
    classes = np.array(prepared.dataset.task.classes)
    counts = [np.bincount(y, minlength=4) for _, y in (all_of(shards, number) for number in range(len(shards)))]
    left = dict(zip(classes.tolist(), np.sum(counts, axis=0).tolist(), strict=True))
    assert left["thrice"] == 0 and left["fifty times"] == 50 - ROWS_OF_A_CLASS
    assert sum(left.values()) == NUM_ROWS - 500


def test_cells_and_targets_that_the_sample_did_not_know_do_not_end_the_run(tmp_path: Path) -> None:
    sample = prepare(written(tmp_path, "csv"), target="y", bound=Bound(2000)).dataset.frame["x"]
    others = np.setdiff1d(ROWS, (sample - 0.5).astype(int))
    strange = TABLE.astype(object)
    strange.loc[others[-2:], "x"] = "two words"
    strange.loc[:599, "y"], strange.loc[600:999, "y"] = None, "new"
    prepared = prepare(written(tmp_path, "csv", strange), target="y", bound=Bound(2000))
    dataset = prepared.dataset
    assert dataset.task.classes == ("early", "late", "new")
    known = dataset.take(np.flatnonzero(dataset.y < 2))
    without_new = replace(known, task=replace(known.task, classes=("early", "late")))
    shards = put_by(replace(prepared, dataset=without_new), tmp_path)
    frames = [all_of(shards, number)[0] for number in range(len(shards or ()))]
    assert sum(frame["x"].isna().sum() for frame in frames) == 2
    assert sum(map(len, frames)) == (others >= 1000).sum()


def test_part_of_a_shard_is_drawn_from_all_of_it(tmp_path: Path) -> None:
    shards = put_by(prepare(written(tmp_path, "parquet"), target="y", bound=Bound(1000)), tmp_path)
    assert shards
    (first, y), (again, _), (other, _) = (shards.read(2, limit=300, seed=seed) for seed in (1, 1, 2))
    assert len(first) == len(y) == 300 and np.mean(y == 0) == pytest.approx(2 / 3, abs=0.1)
    pd.testing.assert_frame_equal(first, again)
    assert 50 < len(set(first["x"]) & set(other["x"])) < 250


def test_targets_are_bent_and_what_cannot_be_is_left_out(tmp_path: Path) -> None:
    table = TABLE.assign(y=np.exp(ROWS / 1000))
    prepared = prepare(written(tmp_path, "parquet", table), target="y", bound=Bound(1000))
    shards = put_by(prepared, tmp_path)
    assert shards
    large = prepared.dataset.take(np.flatnonzero(prepared.dataset.y > 2.1))
    bend = replace(fit_target("log", large.y), offset=2.0)
    bent = replace(large, beyond=shards).bent(bend)
    np.testing.assert_array_equal(bent.y, np.log(large.y - 2.0))
    frame, y = all_of(bent.beyond, 0)
    np.testing.assert_allclose(y, np.log(np.exp((frame["x"] - 0.5) / 1000) - 2.0))
    assert frame["x"].min() > 1000 * np.log(2.0) and len(frame) < all_of(shards, 0)[0]["x"].size


@pytest.mark.parametrize("limits", [{"seconds": 0.0}, {"max_bytes": 1000.0}])
def test_without_time_or_room_there_are_none(tmp_path: Path, limits: dict[str, float]) -> None:
    prepared = prepare(written(tmp_path, "parquet"), target="y", bound=Bound(1000))
    assert prepared.left_out
    assert put_by(prepared, tmp_path, **limits) is None
    dataset, note = with_shards(prepared.dataset, prepared.left_out, tmp_path / SHARDS, **(FOREVER | limits))
    assert dataset.beyond is None and "do not suffice" in note
    assert not list(tmp_path.glob("shards/*"))


def test_few_rows_left_out_are_not_worth_it(tmp_path: Path) -> None:
    assert put_by(prepare(written(tmp_path, "parquet"), target="y", bound=Bound(5000)), tmp_path) is None


def test_room_for_some_shards_makes_some(tmp_path: Path) -> None:
    prepared = prepare(written(tmp_path, "parquet"), target="y", bound=Bound(1000))
    assert prepared.left_out
    shards = put_by(prepared, tmp_path, max_bytes=3.5 * beyond.SHARD_SHARE * prepared.left_out.num_bytes)
    assert shards and len(shards) == 3


def test_a_pass_that_starts_too_slowly_gives_half_of_its_shards_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepared = prepare(written(tmp_path, "parquet"), target="y", bound=Bound(1000))
    clock = iter(
        [0.0, 8.0, *np.arange(8.1, 99, 0.1)]
    )  # at the first look, after an eighth of the rows, it foretells 68 s
    monkeypatch.setattr(beyond, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    shards = put_by(prepared, tmp_path, seconds=30.0)
    assert shards and len(shards) == 3
    assert shards.num_rows == pytest.approx([5000 / 7] * 3, rel=0.15), "those that stay are whole"
    assert sorted(path.name for path in (tmp_path / SHARDS).iterdir()) == [
        "00.parquet",
        "01.parquet",
        "02.parquet",
        "DONE",
    ]


def test_files_that_changed_after_the_sample_was_drawn_give_none(tmp_path: Path) -> None:
    path = written(tmp_path, "parquet")
    prepared = prepare(path, target="y", bound=Bound(1000))
    TABLE.iloc[:5000].to_parquet(path)
    assert put_by(prepared, tmp_path) is None
    assert not (tmp_path / SHARDS).exists()


@pytest.mark.parametrize("steered", [{"group": "who"}, {"time": "when"}])
def test_groups_and_times_give_none(tmp_path: Path, steered: dict[str, str]) -> None:
    path = written(tmp_path, "parquet", TABLE.assign(who=ROWS // 10, when=ROWS))
    prepared = prepare(path, target="y", bound=Bound(1000), **steered)  # type: ignore[arg-type]
    assert prepared.left_out
    dataset, note = with_shards(prepared.dataset, prepared.left_out, tmp_path / SHARDS, **FOREVER)
    assert dataset is prepared.dataset and not (tmp_path / SHARDS).exists()
    assert note == ("Nets learn from the sample alone, too: other rows may be of groups or times that it is judged by.")


def test_a_dataset_comes_back_with_its_shards(tmp_path: Path) -> None:
    prepared = prepare(written(tmp_path, "parquet"), target="y", bound=Bound(1000))
    assert prepared.left_out
    dataset, note = with_shards(prepared.dataset, prepared.left_out, tmp_path / "data" / SHARDS, **FOREVER)
    assert note == (
        "Nets learn from 5,000 of the other rows as well, in each epoch after the first from the next of 7 shards; all else, "
        "and every score, goes by the sample."
    )
    write_dataset(dataset, tmp_path / "data")
    again = read_dataset(tmp_path / "data")
    assert dataset.beyond and again.beyond
    assert (again.beyond.num_rows, again.beyond.name) == (dataset.beyond.num_rows, dataset.beyond.name)
    pd.testing.assert_frame_equal(all_of(again.beyond, 4)[0], all_of(dataset.beyond, 4)[0])
    write_dataset(prepared.dataset, tmp_path / "data")
    assert read_dataset(tmp_path / "data").beyond is None, "shards of an earlier attempt are not its own"


def test_every_kind_of_column_comes_back_from_a_shard(tmp_path: Path) -> None:
    frame = pd.DataFrame(
        {
            "number": np.where(ROWS % 7, ROWS, np.nan),
            "flag": [None if row % 5 == 0 else row % 2 == 0 for row in ROWS],
            "when": pd.to_datetime(ROWS * 10**15),
            "words": [f"some words of row {row}" for row in ROWS],
            "photo": [None if row % 9 == 0 else f"{row}.png" for row in ROWS],
            "curve": [None if row % 4 == 0 else [float(row)] * (row % 3) for row in ROWS],
            "y": ROWS % 2,
        }
    )
    kinds = {"photo": "image", "curve": "series", "flag": "boolean", "words": "text", "when": "datetime"}
    path = written(tmp_path, "parquet", frame)
    prepared = prepare(path, target="y", overrides=kinds, bound=Bound(2000))
    whole: Dataset = prepare(path, target="y", overrides=kinds).dataset
    rows = pd.Series(ROWS, index=whole.frame["words"])
    found, y = all_of(put_by(prepared, tmp_path), 0)
    expected = whole.take(rows[found["words"]].to_numpy())
    pd.testing.assert_frame_equal(found, expected.frame, check_exact=True)
    np.testing.assert_array_equal(y, expected.y)


PEAK = """
import sys
from pathlib import Path
from fusion_automl.data.beyond import write_shards
from fusion_automl.data.prepare import prepare
from fusion_automl.data.sample import Bound
from fusion_automl.search.memory import peak_bytes
prepared = prepare(sys.argv[1], target="y", bound=Bound(20_000))
shards = write_shards(prepared.left_out, prepared.dataset, Path(sys.argv[1] + ".shards"), seconds=1e6, max_bytes=1e12)
assert len(shards) == int(sys.argv[2])
print(peak_bytes() / 1e6)
"""


def test_ten_times_as_many_rows_take_no_more_memory(tmp_path: Path) -> None:
    peaks = []
    for rows, num_shards in ((200_000, 13), (2_000_000, 16)):
        rng = np.random.default_rng(0)
        table = pd.DataFrame({f"x{i}": rng.normal(size=rows) for i in range(6)} | {"y": rng.integers(2, size=rows)})
        table.to_parquet(tmp_path / f"{rows}.parquet", row_group_size=100_000)
        words = [sys.executable, "-c", PEAK, str(tmp_path / f"{rows}.parquet"), str(num_shards)]
        peaks.append(float(subprocess.run(words, capture_output=True, text=True, check=True).stdout))
    assert peaks[1] - peaks[0] < 60
