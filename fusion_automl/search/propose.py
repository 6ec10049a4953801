"""What to try next: the portfolio in its order, with what its nets make cheap after each of them, then Optuna's TPE over
the joint space. Both engines ask here."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fusion_automl.candidate import Candidate, Spec
from fusion_automl.deadline import Deadline
from fusion_automl.search.cost import CostModel
from fusion_automl.search.follow import Net, follow_ups, nets
from fusion_automl.search.ledger import Ledger, Report, Trial
from fusion_automl.search.portfolio import portfolio
from fusion_automl.search.sample import suggest
from fusion_automl.search.space import LocalSpace

if TYPE_CHECKING:
    import optuna

BASELINE = Candidate(Spec.of("baseline"))
"""Guesses from the target alone; costs nothing, so that every run has something to be better than and to fall back on."""

MAX_REPEATS = 200
"""So many proposals in a row that were already evaluated mean that there is nothing left to try."""
MAX_MISFITS = 20
"""So many proposals in a row that would overrun the deadline; each costs some 10 ms of the little that is left."""
MIN_SECONDS_PER_TRIAL = 0.5
"""With less time than this left no new trial is started."""


@dataclass(frozen=True, slots=True)
class Proposal:
    """A candidate to evaluate, with the Optuna trial at which it was drawn (what stands in a list was not drawn)."""

    candidate: Candidate
    drawn_at: optuna.Trial | None = None


class Proposer:
    """Proposes candidates that the ledger does not have and learns from the reports; deterministic for a seed.

    A search that goes on learns from the ledger what it would know had it not been interrupted.
    """

    def __init__(self, space: LocalSpace, ledger: Ledger, *, seed: int, num_folds: int) -> None:
        from fusion_automl.search.study import Study  # Optuna takes a second to load

        self.study = Study(ledger.run, space, seed=seed)
        self.space = space
        self.ledger = ledger
        self.num_folds = num_folds
        self.pending: dict[str, Proposal] = {}
        self._costs = CostModel()
        self._nets: set[Net] = set()
        self._queue = deque([BASELINE, *portfolio(space)])
        for trial in ledger.trials():
            self._learn(trial)

    def ask(self, deadline: Deadline) -> Proposal | None:
        """The next candidate that is neither finished nor pending nor expected to overrun the deadline.

        None when the space is used up, nothing in it fits, or the deadline is too near to begin anything.
        """
        repeats = misfits = 0
        while repeats < MAX_REPEATS and misfits < MAX_MISFITS:
            proposal = self._next()
            candidate = proposal.candidate
            if candidate != BASELINE and deadline.seconds_left() < MIN_SECONDS_PER_TRIAL:
                return None
            known = self.ledger.get(candidate.key) is not None or candidate.key in self.pending
            if not known and self._costs.seconds(candidate) <= deadline.seconds_left():
                self.pending[candidate.key] = proposal
                return proposal
            if proposal.drawn_at is not None:
                repeats += known
                misfits += not known
                self.study.close(proposal.drawn_at, avoid=True)
        return None

    def _next(self) -> Proposal:
        if self._queue:
            return Proposal(self._queue.popleft())
        trial = self.study.ask()
        return Proposal(suggest(trial, self.space), trial)

    def tell(self, key: str, report: Report | None) -> None:
        """Learns how a pending candidate went; None stands for a trial that was called off and left no report."""
        proposal = self.pending.pop(key)
        if proposal.drawn_at is not None:
            self.study.close(proposal.drawn_at)
        if report is not None:
            self._learn(Trial(proposal.candidate, report))

    def _learn(self, trial: Trial) -> None:
        self._costs.learn(trial.candidate, trial.report, num_folds=self.num_folds)
        self.study.add(trial)
        fresh = [net for net in nets(trial.candidate) if net not in self._nets]
        if trial.report.status == "done" and fresh:
            self._nets.update(fresh)
            self._queue.extendleft(reversed(follow_ups(trial.candidate, fresh, self.ledger.ranked(), self.space)))
