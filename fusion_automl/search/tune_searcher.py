"""What Ray Tune asks and tells: candidates from the proposer that both engines share, reports from the ledger."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import ray
from ray.tune import Callback
from ray.tune.experiment import Trial
from ray.tune.search import Searcher

from fusion_automl.deadline import Deadline
from fusion_automl.search.inline import record_death, used_up
from fusion_automl.search.ledger import Ledger
from fusion_automl.search.plan import Listener, Plan
from fusion_automl.search.propose import BASELINE, Proposal, Proposer

MAX_FAILED_STARTS = 3
"""So many processes in a row that could not be made mean that the fault lies with the cluster, not with chance."""

GRACE_SECONDS = 1.0
"""What fits that watch their deadline get after it to hand in what they have; then their processes are killed."""


@dataclass(slots=True)
class Attempt:
    """A proposal given to Tune; it has a deadline and an actor once its trial has started."""

    proposal: Proposal
    deadline: Deadline | None = None
    actor: Any = None


class JointSearch(Searcher):
    """The proposer as Tune sees it.

    Ray's own OptunaSearch tells pruned trials as complete, with the score of a few folds, and hides failed ones from the
    sampler; its state is a pickle. Here the `Proposer` asks and tells the study, and a resume is made from the ledger.
    """

    def __init__(self, plan: Plan, listener: Listener) -> None:
        super().__init__(metric="score", mode="max")
        self._plan = plan
        self._listener = listener
        self._ledger = Ledger(plan.run)
        self._proposer = Proposer(
            plan.space,
            self._ledger,
            seed=plan.seed,
            num_folds=plan.num_folds,
            max_seconds_per_trial=plan.max_seconds_per_trial,
        )
        self._attempts: dict[str, Attempt] = {}
        self._failed_starts = 0
        self.kill_at = plan.deadline.earlier(-GRACE_SECONDS)

    @property
    def cannot_start(self) -> bool:
        return self._failed_starts >= MAX_FAILED_STARTS

    def set_search_properties(self, *args: Any, **kwargs: Any) -> bool:
        return True  # the space is the proposer's; Tune's config holds constants alone

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        if used_up(self._plan, self._ledger) or self.cannot_start:
            return str(Searcher.FINISHED)
        if self._all_given_out():
            return None  # for now: one of those that run may leave no report
        proposal = self._proposer.ask(self._plan.deadline)
        if proposal is None:
            return str(Searcher.FINISHED)
        self._attempts[trial_id] = Attempt(proposal)
        return {"order": json.dumps(proposal.order.to_json())}

    def _all_given_out(self) -> bool:
        given = {trial.candidate for trial in self._ledger.trials()}
        given |= {attempt.proposal.candidate for attempt in self._attempts.values()}
        return self._plan.max_trials is not None and len(given - {BASELINE}) >= self._plan.max_trials

    def on_trial_start(self, trial: Trial) -> None:
        attempt = self._attempts[trial.trial_id]
        attempt.deadline = self._plan.deadline.within(self._plan.max_seconds_per_trial)
        attempt.actor = trial.temporary_state.ray_actor
        self._listener.started(attempt.proposal.candidate)

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        self._listener.fold_done(self._attempts[trial_id].proposal.candidate, result["fold"], result["score"])

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        attempt = self._attempts.pop(trial_id)
        if error and attempt.deadline is None:
            self._failed_starts += 1
            self._proposer.tell(attempt.proposal.candidate.key, None)
            return
        self._failed_starts = 0
        self._close(attempt, "its process died: killed, perhaps for want of memory, or by a crash in a library")

    def _close(self, attempt: Attempt, reason: str) -> None:
        """Tells the proposer and the listener of a trial that is over; one without a report died of `reason`."""
        candidate = attempt.proposal.candidate
        if self._ledger.get(candidate.key) is None and attempt.deadline is not None:
            record_death(self._ledger, candidate, attempt.deadline, reason)
        trial = self._ledger.get(candidate.key)
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
