"""Reading a table: rows a second and peak memory, from ten thousand rows to ten million.

python scaling_ingest.py FILE MAX_ROWS SECONDS      what one measurement runs: reads, infers, conforms, and writes the problem;
                                                    where SECONDS are given, with shards of other rows
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

ROWS_A_GROUP = 100_000
SAMPLE = 200_000
"""Rows of the sample that is measured beside reading everything."""
SHARDS_SECONDS = 180.0
"""For the second pass over the table: 5 % of an hour."""


def write_table(path: Path, rows: int) -> None:
    """Eight columns of numbers, two of categories, and a target of two classes, in row groups."""
    rng = np.random.default_rng(0)
    words = np.array([f"shop {i}" for i in range(50)])
    writer = None
    for first in range(0, rows, ROWS_A_GROUP):
        count = min(ROWS_A_GROUP, rows - first)
        columns: dict[str, Any] = {f"x{i}": rng.normal(size=count) for i in range(8)}
        columns |= {f"c{i}": words[rng.integers(50, size=count)] for i in range(2)}
        columns["y"] = np.where(columns["x0"] + rng.normal(size=count) > 0, "yes", "no")
        table = pa.table(columns)
        writer = writer or pq.ParquetWriter(path, table.schema)
        writer.write_table(table)
    assert writer is not None
    writer.close()


def measure(rows: int, folder: Path) -> list[dict[str, Any]]:
    """What it costs to use all rows of a table of so many, and to use a sample of them, without and with shards of others."""
    path = folder / f"{rows}.parquet"
    write_table(path, rows)
    cases = [(rows, 0.0), *([(SAMPLE, 0.0), (SAMPLE, SHARDS_SECONDS)] if rows > SAMPLE else [])]
    found = [_measure(path, rows, *case) for case in cases]
    path.unlink()
    return found


def _measure(path: Path, rows: int, max_rows: int, shards_seconds: float) -> dict[str, Any]:
    words = [sys.executable, __file__, str(path), str(max_rows), str(shards_seconds)]
    printed = json.loads(subprocess.run(words, stdout=subprocess.PIPE, text=True, check=True, timeout=1200).stdout)
    return {
        "rows": rows,
        "used": min(rows, max_rows),
        **printed,
        "rows_per_second": rows / printed["seconds"],
        "file_mb": path.stat().st_size / 1e6,
    }


def ingest(path: Path, max_rows: int, shards_seconds: float) -> dict[str, float]:
    """Seconds and peak memory of this process, from the file to the problem on disk; what its libraries take is left out."""
    from fusion_automl.data.beyond import with_shards
    from fusion_automl.data.prepare import prepare
    from fusion_automl.data.sample import Bound
    from fusion_automl.data.shards import SHARDS
    from fusion_automl.data.split import make_split
    from fusion_automl.evaluate import Problem
    from fusion_automl.metrics import METRICS
    from fusion_automl.search.memory import peak_bytes
    from fusion_automl.search.problem import write_problem

    libraries, began = peak_bytes(), time.perf_counter()
    run = path.with_suffix("")
    prepared = prepare(path, target="y", bound=Bound(max_rows))
    dataset, shards = prepared.dataset, run / "data" / SHARDS
    if prepared.left_out and shards_seconds:
        dataset, _ = with_shards(dataset, prepared.left_out, shards, seconds=shards_seconds, max_bytes=1e12)
    problem = Problem(dataset, make_split(dataset, num_folds=1, seed=0), METRICS["roc_auc"], 0)
    write_problem(run, problem, {})
    seconds = time.perf_counter() - began
    shards_mb = sum(path.stat().st_size for path in shards.glob("*")) / 1e6
    shutil.rmtree(run)
    return {
        "seconds": seconds,
        "put_by": sum(dataset.beyond.num_rows) if dataset.beyond else 0,
        "shards_mb": shards_mb,
        "peak_mb": (peak_bytes() - libraries) / 1e6,
        "libraries_mb": libraries / 1e6,
    }


if __name__ == "__main__":
    print(json.dumps(ingest(Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]))))
