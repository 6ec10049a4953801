"""How the work scales with machines, workers and rows.

    python benchmarks/scaling.py trials [--nodes 1,2,4,8] [--cpus 4] [--sleep 2] [--seconds 60]
    python benchmarks/scaling.py training
    python benchmarks/scaling.py ingest [--rows 10000,100000,1000000,10000000]

`trials`: a Ray cluster of so many raylets on this machine, with trials that sleep. `of ideal` is the share of the trials that
the CPUs could have slept through; `driver ms` the driver's own processor time for a trial, and `late ms` that in the last
quarter; `ask ms` the median time in which a candidate is proposed. Below stands what follows for up to a thousand nodes: the
driver is one process, so it is full at `1000 / driver ms` trials a second.

`training`: one net by one process and by two workers, a thread each. `ingest`: from a Parquet file to a run folder, with
all rows and with a sample of 200,000, without and with rows beyond it that are `put by` in shards for nets; `rows/s` counts the
rows that the table has, and `peak MB` leaves out what the libraries take.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cases import DATA

CPUS_A_NODE = 16
NODES = (1, 10, 100, 1000)
TRIAL_SECONDS = (10, 60, 300)


def table(names: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Prints columns as wide as their widest cell."""
    widths = [max(len(line[i]) for line in (names, *rows)) for i in range(len(names))]
    for line in (names, *rows):
        print("  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)), flush=True)


def trials(options: argparse.Namespace) -> list[dict[str, Any]]:
    from scaling_trials import measure

    os.environ.setdefault("RAY_AUTH_MODE", "disabled")  # a cluster on loopback that lives for a minute
    train = options.data / "german_credit" / "train.parquet"
    found = [measure(nodes, options.cpus, options.sleep, options.seconds, train) for nodes in options.nodes]
    names = ("nodes", "CPUs", "trials", "trials/s", "of ideal", "driver ms", "late ms", "ask ms", "load")
    lines = [
        (
            *(str(row[name]) for name in ("nodes", "lanes", "trials")),
            f"{row['trials_per_second']:.2f}",
            f"{row['of_ideal']:.0%}",
            *(f"{row[name]:.1f}" for name in ("driver_ms", "late_ms", "ask_ms")),
            f"{row['driver_load']:.0%}",
        )
        for row in found
    ]
    table(names, lines)
    worst = max(row["driver_ms"] for row in found) / 1000
    print(f"\nLoad of the driver at {1000 * worst:.1f} ms a trial, nodes of {CPUS_A_NODE} CPUs, one trial on each:")
    loads = [
        (f"{nodes:,}", *(f"{nodes * CPUS_A_NODE / seconds * worst:.1%}" for seconds in TRIAL_SECONDS))
        for nodes in NODES
    ]
    table(("nodes", *(f"{seconds} s a trial" for seconds in TRIAL_SECONDS)), loads)
    return found


def training(options: argparse.Namespace) -> list[dict[str, Any]]:
    from scaling_training import measure

    os.environ.setdefault("RAY_AUTH_MODE", "disabled")  # else Ray leaves a token in the user's home
    found = [measure(width, batch, 20_000, 4) for width, batch in ((256, 512), (1024, 512), (1024, 2048))]
    lines = [
        (
            *(str(row[name]) for name in ("width", "batch")),
            f"{row['megabytes']:.1f}",
            f"{row['one']:.2f}",
            f"{row['two']:.2f}",
            f"{row['speed_up']:.2f}",
            f"{row['loss_apart']:.0e}",
        )
        for row in found
    ]
    table(("width", "batch", "MB of weights", "s/epoch, 1", "s/epoch, 2", "speed-up", "losses apart"), lines)
    return found


def ingest(options: argparse.Namespace) -> list[dict[str, Any]]:
    from scaling_ingest import measure

    with tempfile.TemporaryDirectory() as folder:
        found = [case for rows in options.rows for case in measure(rows, Path(folder))]
    lines = [
        (
            *(f"{row[name]:,}" for name in ("rows", "used", "put_by")),
            f"{row['seconds']:.1f}",
            f"{row['rows_per_second']:,.0f}",
            *(f"{row[name]:,.0f}" for name in ("peak_mb", "libraries_mb", "file_mb", "shards_mb")),
        )
        for row in found
    ]
    table(("rows", "used", "put by", "seconds", "rows/s", "peak MB", "libraries MB", "file MB", "shards MB"), lines)
    return found


def numbers(text: str) -> list[int]:
    return [int(part) for part in text.split(",")]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=["trials", "training", "ingest"])
    parser.add_argument("--nodes", type=numbers, default=[1, 2, 4, 8])
    parser.add_argument("--cpus", type=int, default=4)
    parser.add_argument("--sleep", type=float, default=2.0)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--rows", type=numbers, default=[10_000, 100_000, 1_000_000, 10_000_000])
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--json", type=Path, help="also write the figures here")
    options = parser.parse_args()
    found = {"trials": trials, "training": training, "ingest": ingest}[options.part](options)
    if options.json:
        options.json.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
