"""What Ray Tune asks and tells: candidates from the proposer that both engines share, reports from the ledger."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
from ray.tune import Callback
from ray.tune.experiment import Trial
from ray.tune.search import Searcher

from fusion_automl.deadline import Deadline
from fusion_automl.errors import BucketError, DiskFullError
from fusion_automl.search.inline import overdue, record_death, used_up
from fusion_automl.search.ledger import Ledger
from fusion_automl.search.plan import Listener, Plan
from fusion_automl.search.propose import BASELINE, Proposal, Proposer

MAX_FAILED_STARTS = 3
"""So many processes in a row that could not be made mean that the fault lies with the cluster, not with chance."""

OUT_OF_MEMORY = "OutOfMemoryError"
"""Stands in Ray's errors about processes that its memory monitor killed."""
MACHINE_LOST = ("its node has died", "temporarily unavailable")
"""Either stands in Ray's errors about processes whose machine went away; the second while Ray does not know yet that it did."""

GRACE_SECONDS = 1.0
"""What fits that watch their deadline get after it to hand in what they have; then their processes are killed."""


@dataclass(slots=True)
class Attempt:
    """A proposal given to Tune; the rest is known once its trial has started."""

    proposal: Proposal
    deadline: Deadline | None = None
    trial: Trial | None = None
    actor: Any = None

    def died_of(self, *causes: str) -> bool:
        """Whether Ray's error about the end of its process tells of one of these causes; Tune keeps the error as text."""
        file = self.trial and self.trial.error_file
        if file is None or not Path(file).exists():
            return False
        error = Path(file).read_text()
        return any(cause in error for cause in causes)


class JointSearch(Searcher):
    """The proposer as Tune sees it.

    Ray's own OptunaSearch tells pruned trials as complete, with the score of a few folds, and hides failed ones from the
    sampler; its state is a pickle. Here the `Proposer` asks and tells the study, and a resume is made from the ledger.
    """

    def __init__(self, plan: Plan, listener: Listener) -> None:
        super().__init__(metric="score", mode="max")
        self._plan = plan
        self._listener = listener
        self._ledger = Ledger(plan.run, plan.mirror)
        self._proposer = Proposer(
            plan.space,
            self._ledger,
            seed=plan.seed,
            num_folds=plan.num_folds,
            max_seconds_per_trial=plan.max_seconds_per_trial,
        )
        self._attempts: dict[str, Attempt] = {}
        self._failed_starts = 0
        self._waits = False
        self.kill_at = plan.deadline.earlier(-GRACE_SECONDS)
        self.lost: BucketError | DiskFullError | None = None

    @property
    def cannot_start(self) -> bool:
        return self._failed_starts >= MAX_FAILED_STARTS

    def set_search_properties(self, *args: Any, **kwargs: Any) -> bool:
        return True  # the space is the proposer's; Tune's config holds constants alone

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        if used_up(self._plan, self._ledger) or self.cannot_start:
            return str(Searcher.FINISHED)
        if self._waits:
            return None
        proposal = None if self._all_given_out() else self._proposer.ask(self._plan.deadline)
        if proposal is None:
            self._waits = bool(self._attempts)  # one of those that run may have to be run again
            return None if self._waits else str(Searcher.FINISHED)
        self._attempts[trial_id] = Attempt(proposal)
        return {"order": json.dumps(proposal.order.to_json())}

    def _all_given_out(self) -> bool:
        if self._plan.max_trials is None:
            return False
        given = {trial.candidate for trial in self._ledger.trials()}
        given |= {attempt.proposal.candidate for attempt in self._attempts.values()}
        return len(given - {BASELINE}) >= self._plan.max_trials

    def on_trial_start(self, trial: Trial) -> None:
        attempt = self._attempts[trial.trial_id]
        attempt.deadline = self._plan.deadline.within(attempt.proposal.order.max_seconds)
        attempt.trial, attempt.actor = trial, trial.temporary_state.ray_actor
        self._listener.started(attempt.proposal.candidate)

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        self._listener.fold_done(self._attempts[trial_id].proposal.candidate, result["fold"], result["score"])

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        attempt = self._attempts.pop(trial_id)
        self._waits = False
        if error and attempt.deadline is None:
            self._failed_starts += 1
            key = attempt.proposal.candidate.key
            if not self._proposer.retry(key, machine_lost=True):
                self._proposer.tell(key, None)
            return
        self._failed_starts = 0
        result = result or {}
        if "full" in result:
            self._give_up(DiskFullError(result["full"]))
        elif error and attempt.died_of(OUT_OF_MEMORY):
            self._close(attempt, "its process was killed: the machine's memory ran out")
        elif error and attempt.died_of(*MACHINE_LOST):
            self._close(attempt, "its machines were lost again and again", may_retry=True, machine_lost=True)
        elif error:
            self._close(attempt, "its process died twice: killed, or by a crash in a library", may_retry=True)
        else:
            self._close(attempt, result["reason"])

    def _give_up(self, error: BucketError | DiskFullError) -> None:
        self.lost, self.kill_at = error, Deadline.after(0)

    def _close(self, attempt: Attempt, reason: str, *, may_retry: bool = False, machine_lost: bool = False) -> None:
        """Ends a trial that is over; without the bucket the search is over, too."""
        try:
            if may_retry and self._run_again(attempt, machine_lost):
                return
            self._tell(attempt, reason)
        except BucketError as error:
            self._give_up(error)

    def _run_again(self, attempt: Attempt, machine_lost: bool) -> bool:
        key, deadline = attempt.proposal.candidate.key, attempt.deadline
        silent = deadline is not None and not overdue(deadline) and self._ledger.fetch(key) is None
        return silent and self._proposer.retry(key, machine_lost=machine_lost)

    def _tell(self, attempt: Attempt, reason: str) -> None:
        """Tells the proposer and the listener of a trial that is over; one without a report died of `reason`."""
        candidate = attempt.proposal.candidate
        trial = self._ledger.fetch(candidate.key)
        if trial is None and attempt.deadline is not None:
            record_death(self._ledger, candidate, attempt.deadline, reason)
            trial = self._ledger.fetch(candidate.key)
        self._proposer.tell(candidate.key, trial.report if trial else None)
        if trial:
            self._listener.finished(candidate, trial.report)

    def kill(self) -> None:
        """Ends the processes of all trials that run; they do not wait for a fit in a C library."""
        for attempt in self._attempts.values():
            if attempt.actor is not None:
                ray.kill(attempt.actor)

    def close_overdue(self) -> None:
        """Records the trials that were still running when the search was over."""
        while self._attempts:
            _, attempt = self._attempts.popitem()
            self._close(attempt, "ended from outside: it overran the end of the search")

    def save(self, checkpoint_path: str) -> None:
        pass

    def restore(self, checkpoint_path: str) -> None:
        raise NotImplementedError("a search is resumed from its ledger")


class SearchOver(BaseException):
    """Leaves Tune's loop without its clean-up, which waits up to 10 s for processes that are busy or only starting."""


class Usher(Callback):
    """Tells the searcher what Tune tells only callbacks: which trial runs where, and that time goes by."""

    def __init__(self, search: JointSearch) -> None:
        self._search = search

    def on_trial_start(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        self._search.on_trial_start(trial)

    def on_step_begin(self, iteration: int, trials: list[Trial], **info: Any) -> None:
        if self._search.kill_at.passed():
            raise SearchOver
