"""From a ledger to the ensemble: who is in, with what weight, and what that is worth on rows that did not choose it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fusion_automl.deadline import Deadline
from fusion_automl.ensemble.field import Field
from fusion_automl.ensemble.greedy import select
from fusion_automl.search.ledger import Trial
from fusion_automl.search.propose import BASELINE
from fusion_automl.store.disk import Store

Floats = npt.NDArray[np.float64]

POOL = 30
"""How many of the best trials the ensemble chooses from; more cost time and hardly ever get in."""
SIZE = 25
"""Rounds of greedy selection (no gain above 25 over 200 datasets in TabRepo, Salinas and Erickson 2024)."""


@dataclass(frozen=True, slots=True)
class Ensemble:
    """Trials with weights, heaviest first; `honest` are predictions for the covered rows by weights chosen without them."""

    members: tuple[tuple[Trial, float], ...]
    score: float
    honest: Floats


def build_ensemble(field: Field, store: Store, *, max_row_seconds: float, seconds: float) -> Ensemble:
    """Chooses the ensemble among the best trials, in about `seconds`.

    Members that would make a prediction cost more than `max_row_seconds` a row are left out, lightest first; one always
    stays.
    """
    metric = field.problem.metric
    # A constant does no harm to a rank metric, so greedy selection would take the baseline for a filler.
    pool = [trial for trial in field.trials if trial is field.trials[0] or trial.candidate != BASELINE][:POOL]
    # One selection on all rows and five for the honest score.
    each = seconds / 6

    def choose(oof: Floats, y: npt.NDArray[Any]) -> Floats:
        weights = select(oof, y, metric, size=SIZE, deadline=Deadline.after(each))
        return _affordable(weights, pool, store, max_row_seconds)

    weights = choose(field.oof(pool), field.problem.y)
    honest = field.honest(pool, choose)
    order = [index for index in np.argsort(-weights, kind="stable") if weights[index] > 0]
    members = tuple((pool[index], float(weights[index])) for index in order)
    return Ensemble(members, metric.score(field.problem.y, honest), honest)


def row_seconds(trials: Sequence[Trial], store: Store) -> float:
    """Measured seconds that one row costs when these trials predict together, shared parts counted once."""
    nodes = {node for trial in trials for node in trial.report.nodes}
    return float(sum(store.stats(node)["apply_seconds_per_row"] for node in nodes))


def _affordable(weights: Floats, trials: list[Trial], store: Store, max_row_seconds: float) -> Floats:
    weights = weights.copy()
    while True:
        inside = np.flatnonzero(weights)
        if len(inside) == 1 or row_seconds([trials[index] for index in inside], store) <= max_row_seconds:
            return weights / weights.sum()
        weights[inside[np.argmin(weights[inside])]] = 0.0
