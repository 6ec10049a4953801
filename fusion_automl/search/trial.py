"""One trial: a candidate evaluated until it is done, hopeless, out of time or broken, and recorded in the ledger."""

from __future__ import annotations

import faulthandler
import logging
import math
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import fmean

from fusion_automl.deadline import Deadline
from fusion_automl.errors import BucketError, FitError, FusionError, OutOfTime
from fusion_automl.evaluate import PREVIEW_SHARE, FoldResult, Problem, evaluate, out_of_fold, preview
from fusion_automl.search.admission import Admission
from fusion_automl.search.ledger import Ledger, Report, Status
from fusion_automl.search.memory import forget_peak, peak_bytes
from fusion_automl.search.order import Order
from fusion_automl.search.problem import read_problem
from fusion_automl.search.prune import hopeless
from fusion_automl.search.room import full_disk_told, is_full
from fusion_automl.store.disk import Store
from fusion_automl.store.mirror import Mirror

logger = logging.getLogger(__name__)
GRACE_SECONDS = 2.0
"""How long a fit that cannot be interrupted may overrun its trial's deadline before the process is ended."""

OnFold = Callable[[int, float], None]


@dataclass(slots=True)
class _SoFar:
    """What a trial has come to."""

    results: list[FoldResult] = field(default_factory=list)
    preview: float | None = None

    @property
    def scores(self) -> tuple[float, ...]:
        return tuple(result.score for result in self.results)


class TrialRunner:
    """Runs trials of one run folder in this process; made once, since reading the data costs more than many trials."""

    def __init__(self, run: Path, *, threads: int, mirror: Mirror | None = None) -> None:
        self.problem: Problem = read_problem(run)
        self.ledger = Ledger(run, mirror)
        self.store = Store(run / "store", mirror)
        self.threads = threads
        self._admission = Admission(run)

    def run(self, order: Order, *, deadline: Deadline, on_fold: OnFold, may_end_process: bool) -> Report:
        """Evaluates and records one candidate at one go; see `folds`."""
        folds = self.folds(order, deadline=deadline, may_end_process=may_end_process)
        while True:
            try:
                result = next(folds)
            except StopIteration as end:
                report: Report = end.value
                return report
            on_fold(result.fold, result.score)

    def folds(self, order: Order, *, deadline: Deadline, may_end_process: bool) -> Generator[FoldResult, None, Report]:
        """Evaluates one candidate, yielding each fold as it is done, then records and returns its report.

        It waits for memory that other trials on this machine hold, and is not begun where there is not enough. Whatever the
        candidate raises becomes a report; a full disk is not its fault and raises DiskFullError. With `may_end_process` a fit
        that overruns the deadline by more than GRACE_SECONDS ends this process with exit code 1, through a timer that needs
        neither the interpreter nor its lock; who waits for the answer records it.
        """
        so_far = _SoFar()
        started, hits, misses, fit = time.perf_counter(), self.store.hits, self.store.misses, self.store.fit_seconds
        if may_end_process and math.isfinite(deadline.at):
            faulthandler.dump_traceback_later(max(0.1, deadline.seconds_left() + GRACE_SECONDS), exit=True)
        forget_peak()
        try:
            with full_disk_told(str(self.ledger.run)), self._admission.admitted(order.needs_bytes, deadline) as free:
                if order.needs_bytes > free:
                    status: Status = "failed"
                    reason = f"would need {order.needs_bytes / 1e9:.1f} GB of the {free / 1e9:.1f} GB free"
                else:
                    status, reason = yield from self._evaluate(order, deadline, so_far)
        finally:
            faulthandler.cancel_dump_traceback_later()
        report = Report(
            key=order.candidate.key,
            status=status,
            score=self._score(status, so_far),
            fold_scores=so_far.scores,
            seconds=time.perf_counter() - started,
            fit_seconds=self.store.fit_seconds - fit,
            hits=self.store.hits - hits,
            misses=self.store.misses - misses,
            reason=reason,
            outputs=tuple(result.output for result in so_far.results),
            nodes=tuple(dict.fromkeys(node for result in so_far.results for node in result.nodes)),
            peak_bytes=peak_bytes(),
            preview=so_far.preview,
        )
        try:
            with full_disk_told(str(self.ledger.run)):
                self.ledger.record(order.candidate, report, [result.predictions for result in so_far.results])
        except BucketError as error:  # it is on this machine; who does not find it is told why
            logger.error("%s stays here: %s", report.key, error)
            report = replace(report, reason=str(error))
        logger.info("%s %s score=%s seconds=%.1f %s", report.key, status, report.score, report.seconds, reason)
        return report

    def _score(self, status: Status, so_far: _SoFar) -> float | None:
        if status == "done":
            return self.problem.metric.score(self.problem.y, out_of_fold(self.problem, so_far.results))
        if status == "pruned":
            return fmean(so_far.scores) if so_far.scores else so_far.preview
        return None

    def _evaluate(
        self, order: Order, deadline: Deadline, so_far: _SoFar
    ) -> Generator[FoldResult, None, tuple[Status, str]]:
        candidate, problem, num_folds = order.candidate, self.problem, len(self.problem.folds)
        try:
            if order.preview:
                so_far.preview = preview(candidate, problem, self.store, deadline=deadline, threads=self.threads)
                self._check(so_far.preview, "the first look")
                if self._hopeless_at_first_sight(so_far.preview):
                    return (
                        "pruned",
                        f"among the worst quarter of first looks at {PREVIEW_SHARE:.0%} of the first fold's rows",
                    )
            for result in evaluate(candidate, problem, self.store, deadline=deadline, threads=self.threads):
                self._check(result.score, f"fold {result.fold}")
                so_far.results.append(result)
                yield result
                if len(so_far.results) < num_folds and self._hopeless(so_far.scores):
                    folds = f"{len(so_far.results)} of {num_folds} folds"
                    return "pruned", f"among the worst quarter of all trials after {folds}"
        except OutOfTime as error:
            return "out_of_time", str(error)
        except FusionError as error:
            return "failed", str(error)
        except MemoryError:
            return "failed", "out of memory"
        except Exception as error:  # a library's own complaint about this candidate; the search goes on
            if is_full(error):
                raise
            logger.exception("%s failed", candidate.key)
            return "failed", f"{type(error).__name__}: {str(error)[:300]}"
        return "done", ""

    def _check(self, score: float, where: str) -> None:
        if not math.isfinite(score):
            raise FitError(f"{where} has no finite {self.problem.metric.name}")

    def _hopeless(self, scores: tuple[float, ...]) -> bool:
        self.ledger.pull_news()
        return hopeless(scores, [trial.report.fold_scores for trial in self.ledger.trials()])

    def _hopeless_at_first_sight(self, score: float) -> bool:
        self.ledger.pull_news()
        seen = [trial.report.preview for trial in self.ledger.trials()]
        return hopeless([score], [[known] for known in seen if known is not None])
