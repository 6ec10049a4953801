"""One trial: a candidate evaluated until it is done, hopeless, out of time or broken, and recorded in the ledger."""

from __future__ import annotations

import faulthandler
import logging
import math
import time
from collections.abc import Callable, Generator
from pathlib import Path

from fusion_automl.candidate import Candidate
from fusion_automl.deadline import Deadline
from fusion_automl.errors import FitError, FusionError, OutOfTime
from fusion_automl.evaluate import FoldResult, Problem, evaluate, out_of_fold
from fusion_automl.search.ledger import Ledger, Report, Status
from fusion_automl.search.memory import available_bytes, forget_peak, peak_bytes
from fusion_automl.search.problem import read_problem
from fusion_automl.search.prune import hopeless
from fusion_automl.store.disk import Store

logger = logging.getLogger(__name__)
GRACE_SECONDS = 2.0
"""How long a fit that cannot be interrupted may overrun its trial's deadline before the process is ended."""

OnFold = Callable[[int, float], None]


class TrialRunner:
    """Runs trials of one run folder in this process; made once, since reading the data costs more than many trials."""

    def __init__(self, run: Path, *, threads: int) -> None:
        self.problem: Problem = read_problem(run)
        self.ledger = Ledger(run)
        self.store = Store(run / "store")
        self.threads = threads

    def run(
        self, candidate: Candidate, *, deadline: Deadline, needs_bytes: float, on_fold: OnFold, may_end_process: bool
    ) -> Report:
        """Evaluates and records one candidate at one go; see `folds`."""
        folds = self.folds(candidate, deadline=deadline, needs_bytes=needs_bytes, may_end_process=may_end_process)
        while True:
            try:
                result = next(folds)
            except StopIteration as end:
                report: Report = end.value
                return report
            on_fold(result.fold, result.score)

    def folds(
        self, candidate: Candidate, *, deadline: Deadline, needs_bytes: float, may_end_process: bool
    ) -> Generator[FoldResult, None, Report]:
        """Evaluates one candidate, yielding each fold as it is done, then records and returns its report.

        It is not begun where it `needs_bytes` beyond what this process uses and the machine does not have them. Whatever
        the candidate raises becomes a report. With `may_end_process` a fit that overruns the deadline by more than
        GRACE_SECONDS ends this process with exit code 1, through a timer that needs neither the interpreter nor its lock;
        who waits for the answer records it.
        """
        results: list[FoldResult] = []
        started, hits, misses, fit = time.perf_counter(), self.store.hits, self.store.misses, self.store.fit_seconds
        if may_end_process and math.isfinite(deadline.at):
            faulthandler.dump_traceback_later(max(0.1, deadline.seconds_left() + GRACE_SECONDS), exit=True)
        forget_peak()
        try:
            status, reason = yield from self._evaluate(candidate, deadline, needs_bytes, results)
        finally:
            faulthandler.cancel_dump_traceback_later()
        done = status == "done"
        score = self.problem.metric.score(self.problem.y, out_of_fold(self.problem, results)) if done else None
        if status == "pruned":
            score = sum(result.score for result in results) / len(results)
        report = Report(
            key=candidate.key,
            status=status,
            score=score,
            fold_scores=tuple(result.score for result in results),
            seconds=time.perf_counter() - started,
            fit_seconds=self.store.fit_seconds - fit,
            hits=self.store.hits - hits,
            misses=self.store.misses - misses,
            reason=reason,
            outputs=tuple(result.output for result in results),
            nodes=tuple(dict.fromkeys(node for result in results for node in result.nodes)),
            peak_bytes=peak_bytes(),
        )
        self.ledger.record(candidate, report, [result.predictions for result in results])
        logger.info("%s %s score=%s seconds=%.1f %s", report.key, status, score, report.seconds, reason)
        return report

    def _evaluate(
        self, candidate: Candidate, deadline: Deadline, needs_bytes: float, results: list[FoldResult]
    ) -> Generator[FoldResult, None, tuple[Status, str]]:
        num_folds = len(self.problem.folds)
        free = available_bytes()
        if needs_bytes > free:
            return "failed", f"would need {needs_bytes / 1e9:.1f} GB of the {free / 1e9:.1f} GB free"
        try:
            for result in evaluate(candidate, self.problem, self.store, deadline=deadline, threads=self.threads):
                if not math.isfinite(result.score):
                    raise FitError(f"fold {result.fold} has no finite {self.problem.metric.name}")
                results.append(result)
                yield result
                if len(results) < num_folds and self._hopeless(results):
                    return "pruned", f"below the median of finished trials after {len(results)} of {num_folds} folds"
        except OutOfTime as error:
            return "out_of_time", str(error)
        except FusionError as error:
            return "failed", str(error)
        except MemoryError:
            return "failed", "out of memory"
        except Exception as error:  # a library's own complaint about this candidate; the search goes on
            logger.exception("%s failed", candidate.key)
            return "failed", f"{type(error).__name__}: {str(error)[:300]}"
        return "done", ""

    def _hopeless(self, results: list[FoldResult]) -> bool:
        finished = [trial.report.fold_scores for trial in self.ledger.ranked()]
        return hopeless([result.score for result in results], finished)
