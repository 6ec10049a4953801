"""Finished trials as Optuna's, for the sampler and for Optuna's dashboard: `optuna-dashboard RUN/study.log`.

The ledger is the truth. Its trials are told to a study in memory, from which the sampler learns, and written to a journal in
the run folder, which nothing reads back: asking a study that lies in a file would write a line for each question.
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from statistics import fmean

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState

from fusion_automl.candidate import Param
from fusion_automl.evaluate import PREVIEW_SHARE
from fusion_automl.fusion import level_of
from fusion_automl.search.ledger import Report, Trial
from fusion_automl.search.sample import params_of, suggest
from fusion_automl.search.sampler import JointSampler
from fusion_automl.search.space import LocalSpace

STUDY = "study.log"

optuna.logging.set_verbosity(optuna.logging.WARNING)


class Study:
    """What the sampler knows, and what the dashboard shows; both are filled by `add` alone, by one process alone."""

    def __init__(self, run: Path, space: LocalSpace, *, seed: int, num_folds: int) -> None:
        self._space = space
        self._num_folds = num_folds
        self.sampled = optuna.create_study(direction="maximize", sampler=JointSampler(seed=seed))
        run.mkdir(parents=True, exist_ok=True)
        (run / STUDY).unlink(missing_ok=True)
        storage = JournalStorage(JournalFileBackend(str(run / STUDY)))
        self._shown = optuna.create_study(study_name=run.resolve().name, storage=storage, direction="maximize")

    def ask(self) -> optuna.Trial:
        """A point to draw a candidate at. It counts as running, and so as one to keep away from, until it is `close`d."""
        return self.sampled.ask()

    def close(self, trial: optuna.Trial, *, avoid: bool = False) -> None:
        """Ends an asked trial without a score; with `avoid` the sampler takes it for one of the worst."""
        self.sampled.tell(trial, state=TrialState.PRUNED if avoid else TrialState.FAIL)

    def add(self, trial: Trial) -> None:
        """Takes a finished trial of the ledger.

        The sampler hears a pruned trial as pruned with the scores it had, each at its fidelity, and a failed one as pruned
        without a score, which TPE ranks below all others: it neither takes a score on few rows for a full one nor comes
        back to what fails.
        """
        params = params_of(trial.candidate, self._space)
        finished = _finished(trial, params or {}, self._space, self._num_folds)
        self._shown.add_trial(finished)
        if params is not None:
            if finished.state == TrialState.FAIL:
                finished.state = TrialState.PRUNED
            self.sampled.add_trial(finished)


def _steps(report: Report, num_folds: int) -> dict[int, float]:
    """Mean scores by fidelity: the percentage of the full work, which is all folds with all their train rows."""
    scores = report.fold_scores
    steps = {round(100 * folds / num_folds): fmean(scores[:folds]) for folds in range(1, len(scores) + 1)}
    return steps if report.preview is None else {round(100 * PREVIEW_SHARE / num_folds): report.preview} | steps


def _finished(trial: Trial, params: dict[str, Param], space: LocalSpace, num_folds: int) -> FrozenTrial:
    report = trial.report
    asked = optuna.trial.FixedTrial(params)
    if params:
        suggest(asked, space)
    states = {"done": TrialState.COMPLETE, "pruned": TrialState.PRUNED}
    finished = optuna.trial.create_trial(
        state=states.get(report.status, TrialState.FAIL),
        value=report.score if report.status == "done" else None,
        params=params,
        distributions=asked.distributions,
        intermediate_values=_steps(report, num_folds),
        user_attrs={
            "key": report.key,
            "candidate": trial.candidate.describe(),
            "level": level_of(trial.candidate),
            "status": report.status,
            "seconds": report.seconds,
            "reason": report.reason,
        },
    )
    finished.datetime_complete = datetime.fromtimestamp(report.finished_at)
    finished.datetime_start = datetime.fromtimestamp(report.finished_at - report.seconds)
    return finished
