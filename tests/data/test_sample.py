"""More rows than are wanted, or than memory holds: which ones stay, and what it costs to read past the others."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest

from fusion_automl.data.prepare import prepare
from fusion_automl.data.read import read_rows, read_table
from fusion_automl.data.sample import ROWS_OF_A_CLASS, Bound, Sample, sample_frame

NUM_ROWS = 6000
TABLE = pa.table({"row": np.arange(NUM_ROWS), "y": np.where(np.arange(NUM_ROWS) % 2, "odd", "even")})


def kept(table: pa.Table, bound: Bound, *, batch: int = 700, target: str | None = None) -> list[int]:
    sample = Sample(bound, None if target is None else lambda rows: rows.column(target).cast(pa.string()))
    for start in range(0, len(table), batch):
        sample.add(0, table.slice(start, batch))
    sample.close()
    assert sample.num_seen == len(table)
    return sample.take(0).column("row").to_pylist()


def test_each_row_is_as_likely_as_any_other() -> None:
    small = TABLE.slice(0, 1000)
    counts = np.zeros(1000)
    for seed in range(200):
        rows = kept(small, Bound(100, seed=seed), batch=90)
        assert len(rows) == 100 and rows == sorted(rows)
        counts[rows] += 1
    # Each is drawn 20 times of 200, give or take 4.24; over 1,000 rows the variance itself varies by 4.5 %.
    assert counts.var() == pytest.approx(200 * 0.1 * 0.9, rel=0.2)
    halves = counts[:500].mean(), counts[500:].mean()
    assert halves == pytest.approx((20, 20), abs=0.6)


def test_the_sample_depends_on_the_seed_and_not_on_the_batches() -> None:
    assert kept(TABLE, Bound(500, seed=1)) == kept(TABLE, Bound(500, seed=1), batch=13)
    assert kept(TABLE, Bound(500, seed=1)) != kept(TABLE, Bound(500, seed=2))


def test_a_bound_of_bytes_is_kept_and_used() -> None:
    wide = pa.table({"row": np.arange(NUM_ROWS), "text": ["x" * (row % 100) for row in range(NUM_ROWS)]})
    rows = kept(wide, Bound(max_bytes=wide.nbytes / 10))
    assert wide.take(rows).nbytes == pytest.approx(wide.nbytes / 10, rel=0.05)
    assert np.mean(rows) == pytest.approx(NUM_ROWS / 2, abs=300)
    assert kept(wide, Bound(max_bytes=wide.nbytes)) == list(range(NUM_ROWS))


@pytest.mark.parametrize("first", [0, NUM_ROWS - 60], ids=["at the start", "at the end"])
def test_rare_classes_do_not_vanish(first: int) -> None:
    labels = np.where(np.arange(NUM_ROWS) % 3, "often", "seldom").astype(object)
    labels[first : first + 3] = "thrice"
    labels[first + 3 : first + 53] = "fifty times"
    labels[first + 53] = None
    table = TABLE.set_column(1, "y", pa.array(labels, pa.string()))
    rows = kept(table, Bound(300), target="y")
    found = pd.Series(labels[rows]).value_counts()
    assert len(rows) == 300 and found["thrice"] == 3 and found["fifty times"] == ROWS_OF_A_CLASS
    assert found["often"] / found["seldom"] == pytest.approx(2, rel=0.3)
    assert len(kept(table, Bound(4), target="y")) == 4


@pytest.mark.parametrize("num_labels", [50, 3000])
def test_quantities_and_texts_are_no_classes(num_labels: int) -> None:
    numbers = np.arange(NUM_ROWS) * num_labels // NUM_ROWS
    values = [f"{number}" if num_labels == 50 else f"w{number}" for number in numbers]
    table = TABLE.set_column(1, "y", pa.array(values))
    assert kept(table, Bound(300), target="y") == kept(TABLE, Bound(300))


def written(folder: Path, kind: str) -> str:
    path = folder / f"table.{kind}"
    if kind == "parquet":
        pyarrow.parquet.write_table(TABLE, path, row_group_size=900)
    elif kind == "csv":
        pyarrow.csv.write_csv(TABLE, path)
    elif kind == "jsonl":
        TABLE.to_pandas().to_json(path, orient="records", lines=True)
    elif kind == "json":
        TABLE.to_pandas().to_json(path, orient="records")
    elif kind == "feather":
        with pa.ipc.new_file(path, TABLE.schema) as writer:
            writer.write_table(TABLE, max_chunksize=800)
    elif kind == "parts":
        path.mkdir()
        for part in range(3):
            pyarrow.parquet.write_table(TABLE.slice(part * 2000, 2000), path / f"{part}.parquet")
    return str(path)


@pytest.mark.parametrize("kind", ["parquet", "csv", "jsonl", "json", "feather", "parts"])
def test_every_format_gives_the_same_sample(tmp_path: Path, kind: str) -> None:
    source = written(tmp_path, kind)
    frame, num_rows, _ = read_rows(source, Bound(400, seed=7), target="y")
    assert num_rows == NUM_ROWS and frame.index.tolist() == list(range(400))
    assert frame["row"].tolist() == kept(TABLE, Bound(400, seed=7))
    assert (frame["y"] == np.where(frame["row"] % 2, "odd", "even")).all()
    pd.testing.assert_frame_equal(read_rows(source, Bound(NUM_ROWS)).frame, read_table(source))


def test_a_table_in_memory_gives_the_same_sample() -> None:
    frame = sample_frame(TABLE.to_pandas(), Bound(400, seed=7), "y")
    assert frame["row"].tolist() == kept(TABLE, Bound(400, seed=7))
    assert sample_frame(frame, Bound(400), "y") is frame


def test_a_folder_in_a_bucket_is_sampled(s3: Any) -> None:
    for part in range(3):
        content = io.BytesIO()
        pyarrow.parquet.write_table(TABLE.slice(part * 2000, 2000), content)
        s3.put(f"many/{part}.parquet", content.getvalue())
    frame, num_rows, _ = read_rows(f"s3://{s3.bucket}/many", Bound(400, seed=7))
    assert num_rows == NUM_ROWS and frame["row"].tolist() == kept(TABLE, Bound(400, seed=7))


def test_a_row_that_is_longer_than_a_block_of_csv_is_read(tmp_path: Path) -> None:
    path = tmp_path / "long.csv"
    lines = [f"{row},{'x' * (3_000_000 if row == 300_000 else 2)}" for row in range(400_000)]
    path.write_text("row,text\n" + "\n".join(lines))
    frame, num_rows, _ = read_rows(path, Bound(1000))
    assert num_rows == 400_000 and frame["row"].is_unique and frame["row"].max() > 390_000
    assert read_table(path)["row"].tolist() == list(range(400_000))


def test_what_was_left_out_is_told(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    pyarrow.parquet.write_table(
        TABLE.append_column("x", pa.array(np.random.default_rng(0).normal(size=NUM_ROWS))), path
    )
    by_hand = prepare(path, target="y", bound=Bound(300))
    assert len(by_hand.dataset) == 300
    assert by_hand.notes[0] == (
        "A random sample of 300 of the 6,000 rows is used, as --max-rows asks; a larger number uses more of them."
    )
    of_memory = prepare(path, target="y", bound=Bound(max_bytes=64_000))
    assert 2000 < len(of_memory.dataset) < 4000
    assert of_memory.notes[0] == (
        f"A random sample of {len(of_memory.dataset):,} of the 6,000 rows is used, because all would fill more than the 0 MB "
        "that a table may take of the free memory; a machine with more memory, or a number given by --max-rows, uses more "
        "of them."
    )
    everything = prepare(path, target="y", bound=Bound(6000, max_bytes=1e9))
    assert not any("sample" in note for note in everything.notes)
    assert everything.dataset.fingerprint == prepare(path, target="y").dataset.fingerprint


def test_times_and_groups_go_with_their_rows() -> None:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"x": rng.normal(size=900), "when": np.arange(900), "who": np.arange(900) // 3})
    frame["y"] = np.where(frame["x"] > 0, "yes", "no")
    dataset = prepare(frame, target="y", time="when", group="who", bound=Bound(200)).dataset
    assert dataset.times is not None and dataset.groups is not None
    rows = dataset.times.astype(int)
    np.testing.assert_array_equal(dataset.frame["x"], frame["x"][rows])
    np.testing.assert_array_equal(pd.factorize(rows // 3)[0], dataset.groups)


PEAK = """
import sys
from fusion_automl.data.read import read_rows
from fusion_automl.data.sample import Bound
from fusion_automl.search.memory import peak_bytes
frame, num_rows, _ = read_rows(sys.argv[1], Bound(int(sys.argv[2])))
assert len(frame) == min(num_rows, int(sys.argv[2]))
print(peak_bytes() / 1e6)
"""


def peak_mb(path: Path, max_rows: int) -> float:
    """Of a process of its own, as the kernel counts it since its start: `ru_maxrss` would begin at the peak of this one."""
    words = [sys.executable, "-c", PEAK, str(path), str(max_rows)]
    return float(subprocess.run(words, capture_output=True, text=True, check=True).stdout)


def numbers_in(path: Path, rows: int) -> Path:
    rng = np.random.default_rng(0)
    table = pa.table({f"x{i}": rng.integers(0, 10**9, rows) for i in range(10)})
    if path.suffix == ".csv":
        pyarrow.csv.write_csv(table, path)
    else:
        pyarrow.parquet.write_table(table, path, row_group_size=100_000)
    return path


@pytest.mark.parametrize(("kind", "more_mb"), [("parquet", 60), ("csv", 60)])
def test_reading_ten_times_as_many_rows_takes_no_more_memory(tmp_path: Path, kind: str, more_mb: int) -> None:
    small, large = (numbers_in(tmp_path / f"{rows}.{kind}", rows) for rows in (200_000, 2_000_000))
    sampled = peak_mb(large, 20_000)
    assert sampled - peak_mb(small, 20_000) < more_mb
    if kind == "parquet":  # what this measure says of a table that is read whole: it has 160 MB in memory
        assert peak_mb(large, 2_000_000) - sampled > 100
