"""What the machinery costs: the share of wall time that is not model fitting, for the inline and the ray engine.

Both engines search classical models over `german_credit` for the same budget; a plain loop then fits the very models that
the inline engine fitted, one after the other, with nothing around them. Work is counted as one core's worth a reserved
core: an engine that reserves two cores and keeps one busy has an overhead of 50 %. Start-up (loading libraries, starting
Ray, until the first trial begins) is told apart.

    python benchmarks/overhead.py [--budget 120] [--data FOLDER]
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from cases import DATA

from fusion_automl import fit
from fusion_automl.candidate import Candidate
from fusion_automl.deadline import Deadline
from fusion_automl.evaluate import evaluate
from fusion_automl.search.ledger import Ledger, Report
from fusion_automl.search.problem import read_problem
from fusion_automl.store.disk import Store


class Stopwatch:
    """A listener that notes when the first trial began and when the last one ended."""

    def __init__(self) -> None:
        self.first: float | None = None
        self.last = 0.0
        self.turnovers: list[float] = []

    def started(self, candidate: Candidate) -> None:
        now = time.perf_counter()
        if self.first is None:
            self.first = now
        elif self.last:
            self.turnovers.append(now - self.last)

    def fold_done(self, candidate: Candidate, fold: int, score: float) -> None: ...

    def finished(self, candidate: Candidate, report: Report) -> None:
        self.last = time.perf_counter()


def measure(engine: str, budget: float, out: Path, train: Path) -> dict[str, Any]:
    """Runs one engine and counts what its trials spent in fitting and applying models."""
    watch = Stopwatch()
    began = time.perf_counter()
    fit(train, target="class", out=out, budget=budget, space="classical", engine=engine, listener=watch)  # type: ignore[arg-type]
    trials = Ledger(out).trials()
    assert watch.first is not None
    # Inline runs one trial at a time with all cores; ray one trial a core.
    lanes = 1 if engine == "inline" else len(os.sched_getaffinity(0))
    wall = watch.last - watch.first
    fitting = sum(trial.report.fit_seconds for trial in trials)
    return {
        "engine": engine,
        "trials": len(trials),
        "startup": watch.first - began,
        "wall": wall,
        "fitting": fitting / lanes,
        "overhead": 1 - fitting / (lanes * wall),
        "turnover": statistics.median(watch.turnovers) if watch.turnovers else float("nan"),
    }


def plain_loop(run: Path, seconds: float) -> tuple[int, float]:
    """Evaluates the run's own candidates again, in order, into an empty store; candidates and seconds."""
    problem, count = read_problem(run), 0
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder))
        for trial in Ledger(run).trials():
            if time.perf_counter() - began > seconds:
                break
            if trial.report.status == "done":
                list(
                    evaluate(
                        trial.candidate, problem, store, deadline=Deadline.never(), threads=len(os.sched_getaffinity(0))
                    )
                )
                count += 1
    return count, time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--budget", type=float, default=120.0)
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--json", type=Path, help="also write the figures here")
    options = parser.parse_args()
    train = options.data / "german_credit" / "train.parquet"
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for engine in ("inline", "ray"):
            rows.append(measure(engine, options.budget, Path(folder) / engine, train))
        count, seconds = plain_loop(Path(folder) / "inline", options.budget)
        done = [t.report for t in Ledger(Path(folder) / "inline").trials() if t.report.status == "done"][:count]
    print(
        f"{'engine':8}{'trials':>8}{'start-up s':>12}{'search s':>10}{'fitting s':>11}{'overhead':>10}{'turnover ms':>13}"
    )
    for row in rows:
        print(
            f"{row['engine']:8}{row['trials']:8d}{row['startup']:12.1f}{row['wall']:10.1f}{row['fitting']:11.1f}"
            f"{row['overhead']:10.1%}{1000 * row['turnover']:13.1f}"
        )
    ratio = sum(report.seconds for report in done) / seconds
    print(f"plain loop: the inline engine's {count} finished candidates again in {seconds:.1f} s;")
    print(f"inside the engine the same took {sum(r.seconds for r in done):.1f} s, ratio {ratio:.2f}")
    if options.json:
        options.json.write_text(json.dumps({"engines": rows, "plain_ratio": ratio}, indent=1))


if __name__ == "__main__":
    main()
