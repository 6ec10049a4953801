"""From the weighted mean of members to what a user reads: calibrated probabilities, labels, intervals.

All of it is learned from out-of-fold rows, and judged on rows that had no part in it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fusion_automl.deadline import Deadline
from fusion_automl.ensemble.calibrate import UNCHANGED, Calibration, calibrate, calibration_error
from fusion_automl.ensemble.decide import MOST_PROBABLE, Decision, decide
from fusion_automl.ensemble.greedy import blend
from fusion_automl.ensemble.honest import CrossChoice
from fusion_automl.ensemble.interval import Interval, fit_interval
from fusion_automl.errors import OutOfTime
from fusion_automl.metrics import Metric
from fusion_automl.task import Task

Floats = npt.NDArray[np.float64]
Targets = npt.NDArray[Any]

MAX_CELLS = 100_000
"""Rows times classes that calibration and decision learn from; 50,000 rows of two classes fix a few numbers well."""


@dataclass(frozen=True, slots=True)
class Readout:
    """How the weighted mean of members, `(rows, outputs)`, is read."""

    calibration: Calibration = UNCHANGED
    decision: Decision = MOST_PROBABLE
    interval: Interval | None = None

    def judged(self, mean: Floats, metric: Metric) -> Floats:
        """What the metric looks at: probabilities, values, or an array whose largest is the label."""
        calibrated = self.calibration.apply(mean)
        return self.decision.apply(calibrated) if metric.of_labels else calibrated

    def to_json(self) -> dict[str, Any]:
        return {
            "calibration": self.calibration.to_json(),
            "decision": self.decision.to_json(),
            "interval": self.interval.to_json() if self.interval else None,
        }

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Readout:
        interval = value["interval"]
        return cls(
            Calibration.from_json(value["calibration"]),
            Decision.from_json(value["decision"]),
            Interval.from_json(interval) if interval else None,
        )


AS_IT_IS = Readout()


@dataclass(frozen=True, slots=True)
class Judged:
    """A readout, and what it is worth on rows that had no part in it: what the metric looks at for each row (`honest`), its
    score, and `facts`."""

    readout: Readout
    honest: Floats
    score: float
    facts: dict[str, Any]


def make_readout(
    oof: Floats, y: Targets, weights: Floats, cross: CrossChoice, task: Task, metric: Metric, *, deadline: Deadline
) -> Judged:
    """Learns the readout of `weights` over out-of-fold predictions `(candidates, rows, outputs)`.

    For the score the readout is learned again without each part of `cross`, from the weights chosen without that part, and
    tried on it: a row's own target has no say in how the row is read. Where the deadline passes, labels are the most
    probable classes, in the score as well.
    """
    means = cross.predict(oof)
    if not task.is_classification:
        interval = fit_interval(means[:, 0], cross.spread(oof), y)
        facts = {
            "level": interval.level,
            "by": interval.by,
            "coverage": interval.coverage,
            "mean_width": interval.width,
        }
        return Judged(Readout(interval=interval), means, metric.score(y, means), {"interval": facts})
    whole = blend(weights, oof)
    others = [blend(without, oof[:, cross.part != index]) for index, without in enumerate(cross.weights)]

    def learn(*, labels: bool) -> tuple[Readout, list[Readout]]:
        parts = [
            _learn(mean, y[cross.part != index], metric, labels=labels, deadline=deadline)
            for index, mean in enumerate(others)
        ]
        return _learn(whole, y, metric, labels=labels, deadline=deadline), parts

    tried = metric.of_labels
    try:
        readout, parts = learn(labels=tried)
    except OutOfTime:
        tried = False
        readout, parts = learn(labels=False)
    calibrated, judged = np.empty_like(means), np.empty_like(means)
    for index, part in enumerate(parts):
        inside = cross.part == index
        calibrated[inside] = part.calibration.apply(means[inside])
        judged[inside] = part.judged(means[inside], metric)
    score = metric.score(y, judged)
    facts = {
        "calibration": {
            **readout.calibration.to_json(),
            "error": calibration_error(calibrated, y),
            "error_before": calibration_error(means, y),
        },
        "decision": {
            "weights": dict(zip(map(str, task.classes), readout.decision.weights, strict=False)),
            "gain": score - metric.score(y, calibrated),
            "tried": tried,
        },
    }
    return Judged(readout, judged, score, facts)


def _learn(mean: Floats, y: Targets, metric: Metric, *, labels: bool, deadline: Deadline) -> Readout:
    step = -(-mean.size // MAX_CELLS)
    mean, codes = mean[::step], y[::step].astype(np.int64)
    calibration = calibrate(mean, codes)
    if not labels:
        return Readout(calibration)
    return Readout(calibration, decide(calibration.apply(mean), codes, metric, deadline=deadline))
