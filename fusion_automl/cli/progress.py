"""A search as it goes: a live table in a terminal, plain lines elsewhere."""

from __future__ import annotations

import math
import time
from datetime import datetime, timedelta
from types import TracebackType
from typing import Self

from rich.console import Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from fusion_automl.candidate import Candidate
from fusion_automl.cli.show import console, line
from fusion_automl.search.clock import DEFAULT_BUDGET, parse_budget
from fusion_automl.search.ledger import Report

NUM_LEADERS = 8


class Progress:
    """Shows leaders, counts, and the time left; a listener of the search. To be used as a context manager."""

    def __init__(self, *, budget: str | None, started: float) -> None:
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
            best = self._leaders[0][0] if self._leaders else math.nan
            score = f"{report.score:.4f}" if report.score is not None else "-"
            why = f"  ({report.reason})" if report.status in ("failed", "out_of_time") else ""
            line(
                f"{report.key} {report.status:8} score={score} best={best:.4f} seconds={report.seconds:.1f}"
                f" left={self._seconds_left():.0f}s  {candidate.describe()}{why}"
            )

    def _seconds_left(self) -> float:
        return max(0.0, self._ends - time.monotonic())

    def _render(self) -> Group:
        table = Table(box=None, pad_edge=False)
        for heading in ("#", "score (higher is better)", "candidate"):
            table.add_column(heading)
        for rank, (score, candidate) in enumerate(self._leaders[:NUM_LEADERS], start=1):
            table.add_row(str(rank), f"{score:.4f}", candidate.describe())
        now = time.monotonic()
        running = [
            Text(
                f"  trying {candidate.describe()}  {now - since:.0f} s, folds {' '.join(f'{s:.4f}' for s in folds) or '-'}"
            )
            for candidate, since, folds in list(self._running.values())
        ]
        left = self._seconds_left()
        end = datetime.now() + timedelta(seconds=left)
        failed = self._counts["failed"] + self._counts["out_of_time"]
        counts = (
            f"{self._counts['done']} done, {self._counts['pruned']} pruned, {failed} failed;"
            f" {left:.0f} s left, ends about {end:%H:%M:%S}"
        )
        return Group(table, *running, Text(counts))
