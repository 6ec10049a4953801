"""What to try next: the portfolio in its order, with what its nets make cheap after each of them, then Optuna's TPE over
the joint space. Both engines ask here."""

from __future__ import annotations

import math
from collections import Counter, deque
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from fusion_automl.candidate import Candidate, Spec
from fusion_automl.deadline import Deadline
from fusion_automl.evaluate import SHRINKABLE
from fusion_automl.search.cost import CostModel
from fusion_automl.search.failures import Failures
from fusion_automl.search.follow import Net, follow_ups, nets
from fusion_automl.search.ledger import Ledger, Report, Trial
from fusion_automl.search.order import Order
from fusion_automl.search.portfolio import portfolio
from fusion_automl.search.promise import Promise
from fusion_automl.search.sample import suggest
from fusion_automl.search.space import LocalSpace
from fusion_automl.store.disk import Store

if TYPE_CHECKING:
    import optuna

BASELINE = Candidate(Spec.of("baseline"))
"""Guesses from the target alone; costs nothing, so that every run has something to be better than and to fall back on."""

MAX_REPEATS = 200
"""So many draws in a row that were already evaluated, or that would fail, mean that there is nothing left to try."""
MAX_MISFITS = 20
"""So many proposals in a row that would overrun the deadline; each costs some 15 ms of the little that is left."""
MIN_SECONDS_PER_TRIAL = 0.5
"""With less time than this left no new trial is started."""
FEW_TRIALS = 2
"""With time for no more trials than this, the next one is chosen among NUM_CHOICES instead of taken as it comes."""
NUM_CHOICES = 8
SHARED = 1.5
"""Times a trial's time for one that begins with what many after it share, the embedding of a frozen net. With 42 s for one
that took 49, 150 s of 18,788 reviews ended at R2 0.737 instead of 0.748."""
MAX_LOST_MACHINES = 5
"""Beyond that a candidate is held to be what takes its machines along."""

PREVIEW_ROWS = 20_000
"""From so many rows on, a candidate of a single fold is first looked at on a part of it: at 40,000 rows boosting and forests
need 15 to 40 % of the fold's time for that. Where there are several folds, the first one tells more for its cost: replayed
over 45 candidates of `credit_default` (3 folds), looks on fewer rows let 12 instead of 13 finish in the same time."""
NUM_TRUSTED = 6
"""So many entries of the portfolio are evaluated without that: what they were chosen for is known."""


@dataclass(frozen=True, slots=True)
class Proposal:
    """A candidate to evaluate, with the Optuna trial at which it was drawn (what stands in a list was not drawn)."""

    order: Order
    drawn_at: optuna.Trial | None = None

    @property
    def candidate(self) -> Candidate:
        return self.order.candidate


class Proposer:
    """Proposes candidates that the ledger does not have and learns from the reports; deterministic for a seed as long as
    everything fits in the time that is left.

    A search that goes on learns from the ledger what it would know had it not been interrupted.
    """

    def __init__(
        self, space: LocalSpace, ledger: Ledger, *, seed: int, num_folds: int, max_seconds_per_trial: float = math.inf
    ) -> None:
        from fusion_automl.search.study import Study  # Optuna takes a second to load

        self.study = Study(ledger.run, space, seed=seed, num_folds=num_folds)
        self.space = space
        self.ledger = ledger
        self._num_folds = num_folds
        self.max_seconds_per_trial = max_seconds_per_trial
        self.pending: dict[str, Proposal] = {}
        self._deaths: Counter[tuple[str, bool]] = Counter()
        self._costs = CostModel(Store(ledger.run / "store", ledger.mirror), rows=space.rows, num_folds=num_folds)
        self._failures = Failures()
        self._promise = Promise()
        self._nets: set[Net] = set()
        first = portfolio(space)
        self._trusted = {BASELINE, *first[:NUM_TRUSTED]}
        self._too_long: list[Proposal] = []
        self._queue = deque(Proposal(Order(candidate)) for candidate in (BASELINE, *first))
        for trial in ledger.trials():
            self._learn(trial)

    def ask(self, deadline: Deadline) -> Proposal | None:
        """The next candidate that is neither finished nor pending nor expected to overrun the deadline or to fail.

        When little time is left it is the one of several that promises most for a second. Where nothing is as short as a
        trial should be, one of the portfolio may take all the time that is left. None when the space is used up, nothing in it
        fits, or the deadline is too near to begin anything.
        """
        seconds_left = deadline.seconds_left()
        short = seconds_left < FEW_TRIALS * self._costs.typical_seconds()
        choices = self._choices(seconds_left, NUM_CHOICES if short else 1)
        may_be_long = not choices
        if may_be_long:
            still_open = (proposal for proposal in self._too_long if self._open(proposal.candidate))
            choices = [proposal for proposal in still_open if self._fits(proposal.candidate, seconds_left)][:1]
        if not choices:
            return None
        best = max(choices, key=self._promise_per_second) if short else choices[0]
        self._queue.extendleft(choice for choice in reversed(choices) if choice is not best)
        order = Order(
            best.candidate,
            self._costs.bytes(best.candidate),
            self._worth_a_preview(best.candidate),
            math.inf if may_be_long else self._most_seconds(best.candidate),
        )
        best = replace(best, order=order)
        self.pending[best.candidate.key] = best
        return best

    def _most_seconds(self, candidate: Candidate) -> float:
        return self.max_seconds_per_trial * (SHARED if self._costs.embeds(candidate) else 1.0)

    def _choices(self, seconds_left: float, wanted: int) -> list[Proposal]:
        """The next `wanted` proposals that are open and take no longer than a trial may, or fewer where those run out."""
        found: dict[str, Proposal] = {}
        repeats = misfits = 0
        while len(found) < wanted and repeats < MAX_REPEATS and misfits < MAX_MISFITS:
            proposal = self._next()
            candidate = proposal.candidate
            if candidate == BASELINE and self._open(candidate):
                return [proposal]  # however late it is, so that there is a result
            if min(seconds_left, self.max_seconds_per_trial) < MIN_SECONDS_PER_TRIAL:
                break
            closed = candidate.key in found or not self._open(candidate)
            if not closed and self._fits(candidate, min(seconds_left, self._most_seconds(candidate))):
                found[candidate.key] = proposal
            elif proposal.drawn_at is None:
                self._too_long += [] if closed else [proposal]
            else:
                repeats += closed
                misfits += not closed
                self.study.close(proposal.drawn_at, avoid=True)
        return list(found.values())

    def _fits(self, candidate: Candidate, seconds: float) -> bool:
        return max(SHRINKABLE * self._costs.seconds(candidate), MIN_SECONDS_PER_TRIAL) <= seconds

    def _open(self, candidate: Candidate) -> bool:
        known = self.ledger.get(candidate.key) is not None or candidate.key in self.pending
        return not known and not self._failures.condemned(candidate)

    def _worth_a_preview(self, candidate: Candidate) -> bool:
        """Not where a net or a member is in the store already: on fewer rows it would have to be fitted again."""
        if self._num_folds > 1 or self.space.rows < PREVIEW_ROWS or candidate in self._trusted or candidate.members:
            return False
        return not any(net in self._nets for net in nets(candidate))

    def _next(self) -> Proposal:
        if self._queue:
            return self._queue.popleft()
        trial = self.study.ask()
        return Proposal(Order(suggest(trial, self.space)), trial)

    def _promise_per_second(self, proposal: Proposal) -> float:
        seconds = self._costs.seconds(proposal.candidate) + MIN_SECONDS_PER_TRIAL
        return self._promise.of(proposal.candidate) / seconds

    def tell(self, key: str, report: Report | None) -> None:
        """Learns how a pending candidate went; None stands for a trial that was called off and left no report."""
        proposal = self.pending.pop(key)
        if proposal.drawn_at is not None:
            self.study.close(proposal.drawn_at)
        if report is not None:
            self._learn(Trial(proposal.candidate, report))

    def retry(self, key: str, *, machine_lost: bool = False) -> bool:
        """Puts a pending candidate whose process ended without a report in front. False where that has happened too often:
        twice to a process, for who takes two along is to blame; but cheap machines are taken away all day."""
        self._deaths[key, machine_lost] += 1
        if self._deaths[key, machine_lost] > (MAX_LOST_MACHINES if machine_lost else 1):
            return False
        self._queue.appendleft(self.pending.pop(key))
        return True

    def _learn(self, trial: Trial) -> None:
        self._costs.learn(trial)
        self._failures.learn(trial)
        self._promise.learn(trial)
        self.study.add(trial)
        fresh = [net for net in nets(trial.candidate) if net not in self._nets]
        if trial.report.status == "done" and fresh:
            self._nets.update(fresh)
            found = follow_ups(trial.candidate, fresh, self.ledger.ranked(), self.space)
            self._queue.extendleft(Proposal(Order(candidate)) for candidate in reversed(found))
