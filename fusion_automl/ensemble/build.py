"""Who of a field predicts, with what weight: an ensemble or one trial, and its worth on rows that did not choose it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fusion_automl.deadline import Deadline
from fusion_automl.ensemble.field import Field
from fusion_automl.ensemble.greedy import blend, select
from fusion_automl.ensemble.honest import Choose, best_cheap
from fusion_automl.ensemble.price import Limits, Price
from fusion_automl.ensemble.readout import AS_IT_IS, Readout
from fusion_automl.search.ledger import Trial
from fusion_automl.search.propose import BASELINE

Floats = npt.NDArray[np.float64]
PriceOf = Callable[[Sequence[Trial]], Price]

POOL = 30
"""How many of the best trials the ensemble chooses from; more cost time and hardly ever get in."""
SIZE = 25
"""Rounds of greedy selection (no gain above 25 over 200 datasets in TabRepo, Salinas and Erickson 2024)."""


@dataclass(frozen=True, slots=True)
class Ensemble:
    """Trials with weights, heaviest first, and how their weighted mean is read.

    `honest` are predictions for the covered rows, by weights and a readout that were found without them, `score` is their
    score, and `facts` say what the readout is worth.
    """

    members: tuple[tuple[Trial, float], ...]
    score: float
    honest: Floats
    readout: Readout = AS_IT_IS
    facts: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def trials(self) -> tuple[Trial, ...]:
        return tuple(trial for trial, _ in self.members)


def build_ensemble(field: Field, price: PriceOf, limits: Limits, *, seconds: float) -> Ensemble:
    """Chooses the ensemble among the best trials within `limits`, in about `seconds`; `price` is what some cost together.

    Where no trial keeps the limits by itself, the one that comes nearest is all of it.
    """
    metric = field.problem.metric
    pool = _allowed(contenders(field), price, limits)
    loads = np.array([limits.load(price([trial])) for trial in pool])
    deadline = Deadline.after(seconds)
    # One selection on all rows and five for the honest score; the readout gets as long as one, and what they leave.
    each = seconds / 7

    def keeps(chosen: npt.NDArray[np.int64]) -> bool:
        return len(chosen) == 1 or limits.keep(price([pool[index] for index in chosen]))

    def choose(oof: Floats, y: npt.NDArray[Any]) -> Floats:
        until = Deadline.after(each)
        found: list[tuple[float, Floats]] = []
        for inside in _ever_cheaper(loads):
            weights = np.zeros(len(pool))
            weights[inside] = select(oof[inside], y, metric, size=SIZE, deadline=until)
            chosen = np.flatnonzero(weights)
            whole = keeps(chosen)
            if not whole:
                while not keeps(chosen):
                    chosen = np.delete(chosen, np.argmin(weights[chosen]))
                weights = np.zeros(len(pool))
                weights[chosen] = select(oof[chosen], y, metric, size=SIZE, deadline=until)
            found.append((metric.score(y, blend(weights, oof)), weights))
            if whole:
                break
        return max(found, key=lambda pair: pair[0])[1]

    return _chosen(field, pool, choose, deadline=deadline)


def build_single(field: Field, trials: Sequence[Trial], price: PriceOf, limits: Limits, *, seconds: float) -> Ensemble:
    """Chooses one of `trials` within `limits`: of those that score alike but for noise, the best among the cheapest.

    `trials` stand best first; `price` is what one of them, in a list, will cost when it predicts. It takes about `seconds`.
    """
    pool = _allowed(trials, price, limits)
    costs = np.array([price([trial]).latency_ms for trial in pool])
    return _chosen(field, pool, best_cheap(field.problem.metric, costs), deadline=Deadline.after(seconds))


def contenders(field: Field) -> list[Trial]:
    """The trials of a field without the baseline, unless nothing is better: a constant does no harm to a rank metric, so
    greedy selection would take it for a filler."""
    return [trial for trial in field.trials if trial is field.trials[0] or trial.candidate != BASELINE]


def _allowed(trials: Sequence[Trial], price: PriceOf, limits: Limits) -> list[Trial]:
    """The first trials that keep the limits alone, or the one trial that comes nearest to that."""
    kept = [trial for trial in trials if limits.keep(price([trial]))]
    return kept[:POOL] or [min(trials, key=lambda trial: limits.load(price([trial])))]


def _ever_cheaper(loads: Floats) -> Iterator[npt.NDArray[np.int64]]:
    """All of a pool, then its cheaper half, the cheaper half of that, and so on to one; each in the pool's order."""
    cheapest_first = np.argsort(loads, kind="stable")
    size = len(loads)
    while True:
        yield np.sort(cheapest_first[:size])
        if size == 1:
            return
        size = (size + 1) // 2


def _chosen(field: Field, pool: Sequence[Trial], choose: Choose, *, deadline: Deadline) -> Ensemble:
    weights, judged = field.read(pool, choose, deadline=deadline)
    order = [index for index in np.argsort(-weights, kind="stable") if weights[index] > 0]
    members = tuple((pool[index], float(weights[index])) for index in order)
    return Ensemble(members, judged.score, judged.honest, judged.readout, judged.facts)
