"""On real Ray: a driver that is killed between shards, shards that fail, and S3 on both sides."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from fusion_automl.artifact import load
from fusion_automl.batch.run import score
from tests.batch.conftest import table

NUM_SHARDS = 8
ROWS = 3000

KILLED = """
import os, signal, sys, threading, time
from pathlib import Path
from fusion_automl.batch.run import score

def kill_after_the_first_shard():
    while not list(Path(out).glob("*.parquet")):
        time.sleep(0.002)
    os.kill(os.getpid(), signal.SIGKILL)

run, data, out = sys.argv[1:]
threading.Thread(target=kill_after_the_first_shard, daemon=True).start()
score(run, data, out=out, address="local", keep=["id"])
"""


def test_after_a_kill_only_the_rest_is_scored_and_rows_are_those_of_predict(run: Path, tmp_path: Path) -> None:
    shards = [table(ROWS, seed=number) for number in range(NUM_SHARDS)]
    data, out = tmp_path / "data", tmp_path / "out"
    data.mkdir()
    for number, rows in enumerate(shards):
        rows.to_parquet(data / f"part-{number}.parquet")
    words = [sys.executable, "-c", KILLED, str(run), str(data), str(out)]
    killed = subprocess.run(words, capture_output=True, text=True, timeout=200)
    assert killed.returncode == -9, killed.stderr
    done = {path.name: path.stat().st_mtime_ns for path in out.glob("*.parquet")}
    assert 0 < len(done) < NUM_SHARDS
    (out / ".part-7.parquet.0badcafe.partial").write_bytes(b"half")

    told: list[tuple[int, int]] = []
    ended = score(run, str(data), out=str(out), address="local", keep=["id"], on_shard=lambda *a: told.append(a))
    # A worker of the killed driver may still end the shard that it was at.
    assert ended.num_before >= len(done)
    left = NUM_SHARDS - ended.num_before
    assert left > 0
    assert str(ended) == (
        f"{NUM_SHARDS} shards: {left} scored ({left * ROWS:,} rows), {ended.num_before} were done before, 0 failed."
    )
    assert told == [(ROWS, number) for number in reversed(range(left))]
    assert done == {name: (out / name).stat().st_mtime_ns for name in done}
    assert sorted(path.name for path in out.iterdir()) == [
        ".predictions.json", *(f"part-{number}.parquet" for number in range(NUM_SHARDS))
    ]  # fmt: skip
    found, expected = pd.read_parquet(out), load(run).predict_table(pd.concat(shards))
    assert found["id"].tolist() == pd.concat(shards)["id"].tolist()
    pd.testing.assert_frame_equal(found[list(expected)], expected, check_dtype=False)


def test_a_broken_shard_on_s3_is_named_and_the_others_are_written(run: Path, s3: Any) -> None:
    shards = {f"rows/part-{number}.csv": table(50, seed=number) for number in range(4)}
    shards["rows/part-2.csv"] = shards["rows/part-2.csv"].rename(columns={"colour": "color"})
    for name, rows in shards.items():
        s3.put(name, rows.to_csv(index=False).encode())
    data, out = f"s3://{s3.bucket}/rows", f"s3://{s3.bucket}/scores"

    first = score(run, data, out=out, address="local")
    assert not first.our_fault
    assert first.problems["part-2.csv.parquet"].startswith(
        f"{data}/part-2.csv: a column is missing: unknown column 'colour'. Did you mean 'color'?"
    )
    assert str(first) == (
        "4 shards: 3 scored (150 rows), 0 were done before, 1 failed: part-2.csv.parquet. "
        "Start the command again to score only what is not done."
    )
    names = [each["Key"] for each in s3.client.list_objects_v2(Bucket=s3.bucket, Prefix="scores/")["Contents"]]
    assert names == ["scores/.predictions.json", *(f"scores/part-{number}.csv.parquet" for number in (0, 1, 3))]
    expected = load(run).predict_table(shards["rows/part-3.csv"])
    pd.testing.assert_frame_equal(pd.read_parquet(f"{out}/part-3.csv.parquet"), expected, check_dtype=False)


LOST = """
import os, sys, threading
os.environ["RAY_AUTH_MODE"] = "disabled"  # that of the cluster made here
from ray.cluster_utils import Cluster
from fusion_automl.batch.run import score

node = {"num_cpus": 1, "object_store_memory": 100 << 20}
cluster = Cluster(initialize_head=True, head_node_args={**node, "include_dashboard": False})
lost = [cluster.add_node(**node)]

def lose(num_rows, num_left):
    while lost:
        threading.Thread(target=cluster.remove_node, args=[lost.pop()], kwargs={"allow_graceful": False}).start()

run, data, out = sys.argv[1:]
print(score(run, data, out=out, address=cluster.address, on_shard=lose))
cluster.shutdown()
"""


@pytest.mark.slow
def test_a_machine_that_is_lost_costs_no_shard(run: Path, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    for number in range(32):
        table(50_000, seed=1).to_parquet(tmp_path / "data" / f"part-{number:02}.parquet")
    words = [sys.executable, "-c", LOST, str(run), str(tmp_path / "data"), str(tmp_path / "out")]
    done = subprocess.run(words, capture_output=True, text=True, timeout=290)
    assert "32 shards: 32 scored (1,600,000 rows), 0 were done before, 0 failed." in done.stdout, done.stderr


@pytest.mark.parametrize(("words", "message"), [
    (["--out", "p.parquet", "--keep", "id"], "--keep: goes with --address"),
    (["--out", "out", "--address", "127.0.0.1:1"], "no Ray cluster lets this process in at '127.0.0.1:1'"),
    (["--out", "out", "--address", "local", "--keep", "lower"], "--keep: 'lower' is the name of a column of predictions"),
])  # fmt: skip
def test_the_command_line_says_what_is_wrong(words: list[str], message: str, run: Path, tmp_path: Path) -> None:
    table(5).to_csv(tmp_path / "rows.csv", index=False)
    command = [sys.executable, "-m", "fusion_automl.cli", "predict", str(run), "rows.csv", *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200, cwd=tmp_path)
    assert done.returncode == 2 and message in done.stderr and "Traceback" not in done.stderr
