"""The inline engine: Optuna alone, one trial at a time, in one worker process on this machine."""

from __future__ import annotations

from functools import partial

from fusion_automl.candidate import Candidate
from fusion_automl.deadline import Deadline
from fusion_automl.search.ledger import Ledger, Report, Status
from fusion_automl.search.plan import Listener, Plan
from fusion_automl.search.propose import BASELINE, Proposer
from fusion_automl.search.worker import Worker, WorkerDied

OVERRAN = "a fit that cannot be interrupted overran its time and was ended with its process"
BASELINE_SECONDS = 10.0
"""Far more than a constant takes; a bound all the same."""


def search(plan: Plan, listener: Listener) -> None:
    """Runs trials until the deadline, `max_trials`, or the end of the space. The results are in the ledger.

    The baseline is always evaluated, however late it is, so that there is a result. Raises FusionError where a worker
    process cannot be started.
    """
    ledger = Ledger(plan.run, plan.mirror)
    worker = Worker(plan.run, plan.threads, plan.mirror)
    try:
        proposer = Proposer(
            plan.space,
            ledger,
            seed=plan.seed,
            num_folds=plan.num_folds,
            max_seconds_per_trial=plan.max_seconds_per_trial,
        )
        start_seconds = worker.wait_ready()
        while proposal := proposer.ask(plan.deadline):
            candidate = proposal.candidate
            deadline = plan.deadline.within(proposal.order.max_seconds)
            if candidate == BASELINE:
                deadline = Deadline.after(BASELINE_SECONDS)
            elif used_up(plan, ledger) or not worker.alive:
                break
            listener.started(candidate)
            try:
                worker.run(proposal.order, deadline, partial(listener.fold_done, candidate))
            except WorkerDied as error:
                worker.end()
                silent = ledger.get(candidate.key) is None
                again = silent and not overdue(deadline) and proposer.retry(candidate.key)
                if silent and not again:
                    record_death(ledger, candidate, deadline, OVERRAN if deadline.passed() else str(error))
                if plan.deadline.seconds_left() > 2 * start_seconds:
                    worker = Worker(plan.run, plan.threads, plan.mirror)
                    worker.wait_ready()
                if again:
                    continue
            trial = ledger.fetch(candidate.key)
            assert trial is not None, "a worker answers only after it recorded the trial"
            proposer.tell(candidate.key, trial.report)
            listener.finished(candidate, trial.report)
    finally:
        worker.end()


def used_up(plan: Plan, ledger: Ledger) -> bool:
    """Whether the run has as many trials as it may have."""
    if plan.max_trials is None:  # of ten thousand trials the list alone takes longer than a proposal
        return False
    return len([trial for trial in ledger.trials() if trial.candidate != BASELINE]) >= plan.max_trials


def overdue(deadline: Deadline) -> bool:
    """Whether a process that ended now was ended for its time."""
    return deadline.seconds_left() < 0.5


def record_death(ledger: Ledger, candidate: Candidate, deadline: Deadline, reason: str) -> None:
    """Records a trial whose process ended without a report: out of time after its deadline, else a failure."""
    status: Status = "out_of_time" if overdue(deadline) else "failed"
    ledger.record(candidate, Report(candidate.key, status, None, (), 0.0, 0.0, 0, 0, reason))
