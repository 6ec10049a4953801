"""What to try next: the portfolio in its order, then Optuna's TPE over the joint space. Both engines ask here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fusion_automl.candidate import Candidate, Spec
from fusion_automl.deadline import Deadline
from fusion_automl.search.cost import CostModel
from fusion_automl.search.ledger import Ledger, Report
from fusion_automl.search.portfolio import portfolio
from fusion_automl.search.sample import params_of, suggest
from fusion_automl.search.space import LocalSpace

if TYPE_CHECKING:
    import optuna

BASELINE = Candidate(Spec.of("baseline"))
"""Guesses from the target alone; costs nothing, so that every run has something to be better than and to fall back on."""

MAX_REPEATS = 200
"""So many proposals in a row that were already evaluated mean that there is nothing left to try."""
MAX_MISFITS = 20
"""So many proposals in a row that would overrun the deadline; each costs some 50 ms of the little that is left."""
MIN_SECONDS_PER_TRIAL = 0.5
"""With less time than this left no new trial is started."""


@dataclass(frozen=True, slots=True)
class Proposal:
    """A candidate to evaluate, with the Optuna trial that wants to hear how it went (the baseline has none)."""

    candidate: Candidate
    trial: optuna.Trial | None


class Proposer:
    """Proposes candidates that the ledger does not have and learns from the reports; deterministic for a seed.

    Pruned trials are told as pruned with the score they had, and failed ones as pruned without a score, which TPE ranks
    below all others: it neither takes a score on few folds for a full one nor comes back to what fails.
    """

    def __init__(self, space: LocalSpace, ledger: Ledger, *, seed: int, num_folds: int) -> None:
        import warnings

        import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        with warnings.catch_warnings():
            # `group` has been marked experimental since Optuna 2.8; conditional spaces need it.
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            sampler = optuna.samplers.TPESampler(seed=seed, multivariate=True, group=True, n_startup_trials=10)
        self.study = optuna.create_study(direction="maximize", sampler=sampler)
        self.space = space
        self.ledger = ledger
        self.num_folds = num_folds
        self.pending: dict[str, Proposal] = {}
        self._costs = CostModel()
        self._baseline_asked = False
        self._remember([trial for trial in ledger.trials() if trial.candidate != BASELINE])
        for candidate in portfolio(space):
            params = params_of(candidate, space)
            assert params is not None, f"portfolio entry {candidate.describe()} lies outside its own space"
            self.study.enqueue_trial(params)

    def ask(self, deadline: Deadline) -> Proposal | None:
        """The next candidate that is neither finished nor pending nor expected to overrun the deadline.

        None when the space is used up, nothing in it fits, or the deadline is too near to begin anything.
        """
        if not self._baseline_asked:
            self._baseline_asked = True
            if self.ledger.get(BASELINE.key) is None:
                return self._pend(Proposal(BASELINE, None))
        misfits = 0
        for _ in range(MAX_REPEATS):
            if deadline.seconds_left() < MIN_SECONDS_PER_TRIAL or misfits == MAX_MISFITS:
                return None
            trial = self.study.ask()
            proposal = Proposal(suggest(trial, self.space), trial)
            finished = self.ledger.get(proposal.candidate.key)
            if finished:
                self._tell(proposal, finished.report)
            elif proposal.candidate.key in self.pending:
                self.study.tell(trial, state=_pruned())
            elif self._costs.seconds(proposal.candidate) > deadline.seconds_left():
                misfits += 1
                self.study.tell(trial, state=_pruned())
            else:
                return self._pend(proposal)
        return None

    def tell(self, key: str, report: Report | None) -> None:
        """Learns how a pending candidate went; None stands for a trial that was called off and left no report."""
        proposal = self.pending.pop(key)
        if report is not None:
            self._costs.learn(proposal.candidate, report, num_folds=self.num_folds)
            self._tell(proposal, report)
        elif proposal.trial is not None:
            self.study.tell(proposal.trial, state=_pruned())

    def _pend(self, proposal: Proposal) -> Proposal:
        self.pending[proposal.candidate.key] = proposal
        return proposal

    def _tell(self, proposal: Proposal, report: Report) -> None:
        if proposal.trial is None:
            return
        if report.status == "done":
            self.study.tell(proposal.trial, report.score)
            return
        if report.status == "pruned" and report.score is not None:
            proposal.trial.report(report.score, step=len(report.fold_scores))
        self.study.tell(proposal.trial, state=_pruned())

    def _remember(self, trials: Sequence[Any]) -> None:
        """Tells the study of an earlier session's trials, in the order in which they finished."""
        import optuna

        for trial in trials:
            self._costs.learn(trial.candidate, trial.report, num_folds=self.num_folds)
            params = params_of(trial.candidate, self.space)
            if params is None or trial.report.status != "done":
                continue
            fixed = optuna.trial.FixedTrial(params)
            suggest(fixed, self.space)
            self.study.add_trial(
                optuna.trial.create_trial(params=params, distributions=fixed.distributions, value=trial.report.score)
            )


def _pruned() -> Any:
    import optuna

    return optuna.trial.TrialState.PRUNED
