"""The inline engine: Optuna alone, one trial at a time, in one worker process on this machine."""

from __future__ import annotations

from fusion_automl.candidate import Candidate
from fusion_automl.deadline import Deadline
from fusion_automl.search.ledger import Ledger, Report, Status
from fusion_automl.search.plan import Listener, Plan
from fusion_automl.search.propose import BASELINE, Proposer
from fusion_automl.search.worker import Worker, WorkerDied

MIN_SECONDS_PER_TRIAL = 0.5
"""With less time than this left no new trial is started."""


def search(plan: Plan, listener: Listener) -> None:
    """Runs trials until the deadline, `max_trials`, or the end of the space. The results are in the ledger."""
    ledger = Ledger(plan.run)
    worker = Worker(plan.run, plan.threads)
    try:
        proposer = Proposer(plan.space, ledger, seed=plan.seed, num_folds=plan.num_folds)
        while plan.deadline.seconds_left() > MIN_SECONDS_PER_TRIAL and not used_up(plan, ledger):
            proposal = proposer.ask(seconds_left=plan.deadline.seconds_left())
            if proposal is None:
                break
            candidate = proposal.candidate
            listener.started(candidate)
            deadline = plan.deadline.within(plan.max_seconds_per_trial)
            try:
                worker.run(candidate, deadline, lambda fold, score: listener.fold_done(candidate, fold, score))  # noqa: B023
            except WorkerDied as error:
                worker.end()
                record_death(ledger, candidate, deadline, str(error))
                worker = Worker(plan.run, plan.threads)
            trial = ledger.get(candidate.key)
            assert trial is not None, "a worker answers only after it recorded the trial"
            proposer.tell(candidate.key, trial.report)
            listener.finished(candidate, trial.report)
    finally:
        worker.end()


def used_up(plan: Plan, ledger: Ledger) -> bool:
    """Whether the run has as many trials as it may have."""
    finished = [trial for trial in ledger.trials() if trial.candidate != BASELINE]
    return plan.max_trials is not None and len(finished) >= plan.max_trials


def record_death(ledger: Ledger, candidate: Candidate, deadline: Deadline, reason: str) -> None:
    """Records a trial whose process ended without a report: out of time after its deadline, else a failure."""
    status: Status = "out_of_time" if deadline.seconds_left() < 0.5 else "failed"
    ledger.record(candidate, Report(candidate.key, status, None, (), 0.0, 0.0, 0, 0, reason))
