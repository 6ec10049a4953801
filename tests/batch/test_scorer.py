"""One process: the predictions of a shard are those of `predict`, whole or not there, and what is wrong is told."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from pyarrow import parquet

from fusion_automl.artifact import load
from fusion_automl.batch import scorer, stream
from fusion_automl.batch.scorer import Scorer, rows_within
from fusion_automl.batch.shards import find_inputs
from fusion_automl.errors import DataError
from tests.batch.conftest import table

WRITE: dict[str, Callable[[pd.DataFrame, Path], object]] = {
    "rows.parquet": lambda frame, path: frame.to_parquet(path, row_group_size=70),
    "rows.csv": lambda frame, path: frame.to_csv(path, index=False),
    "rows.jsonl": lambda frame, path: frame.to_json(path, orient="records", lines=True),
}


@pytest.mark.parametrize("name", list(WRITE))
def test_the_rows_are_those_of_predict_in_parts_of_any_size(
    name: str, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scorer, "FIRST_ROWS", 20)
    monkeypatch.setattr(stream, "STEP", 16)
    rows = table(200, seed=3)
    (tmp_path / "data").mkdir()
    WRITE[name](rows, tmp_path / "data" / name)
    (shard,) = [shard for each in find_inputs(str(tmp_path / "data")) for shard in each.shards]

    assert Scorer(load(run), str(tmp_path / "out"), ["colour", "id"]).score(shard) == 200
    found = pd.read_parquet(tmp_path / "out" / shard.output)
    expected = load(run).predict_table(rows)
    assert list(found) == ["colour", "id", "prediction", "probability_no", "probability_yes"]
    assert found["id"].tolist() == rows["id"].tolist() and found["colour"].tolist() == rows["colour"].tolist()
    pd.testing.assert_frame_equal(found[list(expected)], expected, check_dtype=False)


def test_a_large_parquet_file_is_cut_between_row_groups_and_its_rows_stay_in_order(run: Path, tmp_path: Path) -> None:
    rows = table(200, seed=3)
    path = tmp_path / "rows.parquet"
    rows.to_parquet(path, row_group_size=30)
    (large,) = find_inputs(str(path), largest_whole=1000, piece=1)
    assert [shard.output for shard in large.shards] == [f"rows.{number:05}.parquet" for number in range(7)]
    first = parquet.ParquetFile(path).metadata.row_group(0)
    num_bytes = sum(first.column(i).total_compressed_size for i in range(first.num_columns))
    (pairs,) = find_inputs(str(path), largest_whole=1000, piece=num_bytes * 3 // 2)
    assert [(shard.first_group, shard.end_group) for shard in pairs.shards] == [(0, 2), (2, 4), (4, 6), (6, 7)]

    worker = Scorer(load(run), str(tmp_path / "out"), ["id"])
    assert [worker.score(shard) for shard in pairs.shards] == [60, 60, 60, 20]
    assert pd.read_parquet(tmp_path / "out")["id"].tolist() == rows["id"].tolist()


def test_a_file_without_rows_gives_one_without_rows_and_the_same_columns(run: Path, tmp_path: Path) -> None:
    table(3).head(0).to_parquet(tmp_path / "none.parquet")
    table(3).to_parquet(tmp_path / "some.parquet")
    worker = Scorer(load(run), str(tmp_path / "out"), ["id"])
    none, some = (each.shards[0] for each in find_inputs(str(tmp_path)))
    assert (worker.score(none), worker.score(some)) == (0, 3)
    assert pd.read_parquet(tmp_path / "out" / "none.parquet").dtypes.equals(
        pd.read_parquet(tmp_path / "out" / "some.parquet").dtypes
    )


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (table(5).drop(columns="colour"), r"bad\.parquet: a column is missing: unknown column 'colour'"),
        (table(5).drop(columns="id"), r"bad\.parquet: --keep: unknown column 'id'"),
        (
            table(3000).astype({"size": object}).replace({"size": {table(3000)["size"][2500]: "big"}}).astype(str),
            r"bad\.parquet, counted from row 2048: column 'size', row 452 .* expected a number, found 'big'",
        ),
    ],
)
def test_what_is_wrong_is_told_with_the_file_and_leaves_nothing(
    rows: pd.DataFrame, message: str, run: Path, tmp_path: Path
) -> None:
    rows.to_parquet(tmp_path / "bad.parquet")
    (shard,) = find_inputs(str(tmp_path))[0].shards
    with pytest.raises(DataError, match=message):
        Scorer(load(run), str(tmp_path / "out"), ["id"]).score(shard)
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize("content", [b"", b"PAR1 cut off", b"PAR1" + bytes(200) + b"PAR1"])
def test_a_broken_file_is_named(content: bytes, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scorer, "PAUSES", (1e6,))  # trying again would be in vain
    (tmp_path / "bad.parquet").write_bytes(content)
    (shard,) = find_inputs(str(tmp_path), largest_whole=0)[0].shards
    with pytest.raises(DataError, match=r"bad\.parquet"):
        Scorer(load(run), str(tmp_path / "out"), []).score(shard)


def test_parts_grow_to_what_the_memory_holds(run: Path, tmp_path: Path) -> None:
    table(5000).to_parquet(tmp_path / "rows.parquet")
    (shard,) = find_inputs(str(tmp_path))[0].shards
    worker = Scorer(load(run), str(tmp_path / "out"), [])
    worker.score(shard)
    assert worker.num_rows > scorer.FIRST_ROWS
    assert rows_within(1 << 20, grown=1 << 20, num_rows=1024) == 1024
    assert rows_within(1 << 20, grown=1 << 30, num_rows=1024) == scorer.SMALLEST_PART
    assert rows_within(1 << 30, grown=0, num_rows=1024) == scorer.LARGEST_PART
