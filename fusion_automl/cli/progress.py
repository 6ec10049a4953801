"""A search as it goes: a live table in a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from datetime import datetime, timedelta
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Self

from rich.console import Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from fusion_automl.candidate import Candidate
from fusion_automl.cli.show import Scale, console, line
from fusion_automl.search.clock import DEFAULT_BUDGET, parse_budget
from fusion_automl.search.ledger import Report
from fusion_automl.search.problem import read_settings

NUM_LEADERS = 8


class Progress:
    """Shows leaders, counts, and the time left; a listener of the search in `run`. To be used as a context manager."""

    def __init__(self, run: Path, *, budget: str | None, started: float) -> None:
        self._run = run
        self._ends = started + parse_budget(budget or DEFAULT_BUDGET)
        self._leaders: list[tuple[float, Candidate]] = []
        self._counts = {"done": 0, "pruned": 0, "failed": 0, "out_of_time": 0}
        self._running: dict[str, tuple[Candidate, float, list[float]]] = {}
        self._live = Live(get_renderable=self._render, console=console, refresh_per_second=2, transient=True)

    def __enter__(self) -> Self:
        if console.is_terminal:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    @cached_property
    def _scale(self) -> Scale:
        """Known as soon as the search begins, when the run folder says it."""
        return Scale.of(read_settings(self._run))

    def started(self, candidate: Candidate) -> None:
        self._running[candidate.key] = (candidate, time.monotonic(), [])

    def fold_done(self, candidate: Candidate, fold: int, score: float) -> None:
        self._running[candidate.key][2].append(score)

    def finished(self, candidate: Candidate, report: Report) -> None:
        self._running.pop(candidate.key, None)
        self._counts[report.status] += 1
        if report.status == "done" and report.score is not None:
            self._leaders.append((report.score, candidate))
            self._leaders.sort(key=lambda leader: -leader[0])
        if not console.is_terminal:
            best = self._leaders[0][0] if self._leaders else None
            why = f"  ({report.reason})" if report.status in ("failed", "out_of_time") else ""
            line(
                f"{report.key} {report.status:8} {self._scale.metric}={self._scale.show(report.score)}"
                f" best={self._scale.show(best)} seconds={report.seconds:.1f} left={self._seconds_left():.0f}s"
                f"  {candidate.describe()}{why}"
            )

    def _seconds_left(self) -> float:
        return max(0.0, self._ends - time.monotonic())

    def _render(self) -> Group:
        table = Table(box=None, pad_edge=False)
        for rank, (score, candidate) in enumerate(self._leaders[:NUM_LEADERS], start=1):
            if rank == 1:  # before the first trial the metric is not known
                for heading in ("#", f"{self._scale.metric} ({self._scale.direction})", "candidate"):
                    table.add_column(heading)
            table.add_row(str(rank), self._scale.show(score), candidate.describe())
        now = time.monotonic()
        running = []
        for candidate, since, folds in list(self._running.values()):
            scores = " ".join(self._scale.show(score) for score in folds) or "-"
            running.append(Text(f"  trying {candidate.describe()}  {now - since:.0f} s, folds {scores}"))
        left = self._seconds_left()
        end = datetime.now() + timedelta(seconds=left)
        failed = self._counts["failed"] + self._counts["out_of_time"]
        counts = (
            f"{self._counts['done']} done, {self._counts['pruned']} pruned, {failed} failed;"
            f" {left:.0f} s left, ends about {end:%H:%M:%S}"
        )
        return Group(table, *running, Text(counts))
