"""The table of metrics: each has its usual name and sign; only `Metric.score` is turned so that higher is better."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fusion_automl.component import unknown
from fusion_automl.errors import UserError
from fusion_automl.task import Task, TaskKind

Floats = npt.NDArray[np.float64]
Targets = npt.NDArray[Any]

CLASSES: tuple[TaskKind, ...] = ("binary", "multiclass")
VALUES: tuple[TaskKind, ...] = ("regression",)


@dataclass(frozen=True, slots=True)
class Metric:
    """A named measure; `value` has the usual sign and unit, `score` is always maximised."""

    name: str
    tasks: tuple[TaskKind, ...]
    greater_is_better: bool
    measure: Callable[[Targets, Floats], float]

    def value(self, y: Targets, predictions: Floats) -> float:
        """The measure in its usual sign for targets `(rows,)` and predictions `(rows, outputs)`."""
        return float(self.measure(y, predictions))

    def score(self, y: Targets, predictions: Floats) -> float:
        value = self.value(y, predictions)
        return value if self.greater_is_better else -value


def _auc(positive: npt.NDArray[np.bool_], scores: Floats) -> float:
    """Area under the ROC curve from mid-ranks (Mann-Whitney U); nan where only one class is present."""
    num_positive = int(positive.sum())
    num_negative = len(positive) - num_positive
    if num_positive == 0 or num_negative == 0:
        return float("nan")
    order = np.argsort(scores, kind="stable")
    ordered = scores[order]
    starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])
    counts = np.diff(np.r_[starts, len(ordered)])
    ranks = np.repeat(starts + (counts + 1) / 2, counts)
    rank_sum = float(ranks[positive[order]].sum())
    return (rank_sum - num_positive * (num_positive + 1) / 2) / (num_positive * num_negative)


def roc_auc(y: Targets, p: Floats) -> float:
    """Binary: class 1 against class 0. Multiclass: one against the rest, unweighted mean over the classes present."""
    if p.shape[1] == 2:
        return _auc(y == 1, p[:, 1])
    return float(np.nanmean([_auc(y == code, p[:, code]) for code in range(p.shape[1])]))


def log_loss(y: Targets, p: Floats) -> float:
    chosen = np.clip(p[np.arange(len(y)), y.astype(np.int64)], 1e-15, 1.0)
    return float(-np.log(chosen).mean())


def accuracy(y: Targets, p: Floats) -> float:
    return float((p.argmax(axis=1) == y).mean())


def balanced_accuracy(y: Targets, p: Floats) -> float:
    hit = p.argmax(axis=1) == y
    return float(np.mean([hit[y == code].mean() for code in np.unique(y)]))


def _f1(y: Targets, p: Floats, codes: range) -> float:
    """Mean F1 over `codes`; classes that are neither present nor predicted are left out, as in scikit-learn."""
    chosen = p.argmax(axis=1)
    scores = []
    for code in codes:
        both = float(((chosen == code) & (y == code)).sum())
        total = float((chosen == code).sum() + (y == code).sum())
        if total:
            scores.append(2 * both / total)
    return float(np.mean(scores)) if scores else 0.0


def f1(y: Targets, p: Floats) -> float:
    """F1 of class 1 (the second of `Task.classes`)."""
    return _f1(y, p, range(1, 2))


def f1_macro(y: Targets, p: Floats) -> float:
    return _f1(y, p, range(p.shape[1]))


def brier(y: Targets, p: Floats) -> float:
    """Mean squared distance of the probability vector to the one-hot truth, halved so that binary reads as usual."""
    return float(((p - np.eye(p.shape[1])[y.astype(np.int64)]) ** 2).sum(axis=1).mean() / 2)


def mae(y: Targets, p: Floats) -> float:
    return float(np.abs(y - p[:, 0]).mean())


def mse(y: Targets, p: Floats) -> float:
    return float(((y - p[:, 0]) ** 2).mean())


def rmse(y: Targets, p: Floats) -> float:
    return float(np.sqrt(mse(y, p)))


def r2(y: Targets, p: Floats) -> float:
    spread = float(((y - y.mean()) ** 2).sum())
    return 1.0 - float(((y - p[:, 0]) ** 2).sum()) / spread if spread else float("nan")


def mape(y: Targets, p: Floats) -> float:
    """Mean absolute error as a share of the true value (0.1 is 10 %)."""
    return float((np.abs(y - p[:, 0]) / np.maximum(np.abs(y), np.finfo(np.float64).eps)).mean())


def median_ae(y: Targets, p: Floats) -> float:
    return float(np.median(np.abs(y - p[:, 0])))


METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric("roc_auc", CLASSES, True, roc_auc),
        Metric("accuracy", CLASSES, True, accuracy),
        Metric("balanced_accuracy", CLASSES, True, balanced_accuracy),
        Metric("f1", ("binary",), True, f1),
        Metric("f1_macro", CLASSES, True, f1_macro),
        Metric("log_loss", CLASSES, False, log_loss),
        Metric("brier", CLASSES, False, brier),
        Metric("rmse", VALUES, False, rmse),
        Metric("mae", VALUES, False, mae),
        Metric("mse", VALUES, False, mse),
        Metric("median_ae", VALUES, False, median_ae),
        Metric("mape", VALUES, False, mape),
        Metric("r2", VALUES, True, r2),
    )
}
DEFAULTS: dict[TaskKind, str] = {"binary": "roc_auc", "multiclass": "accuracy", "regression": "rmse"}
HEAVY_TAIL = 0.25


def default_metric(task: Task, y: Targets) -> tuple[str, str]:
    """The metric to optimise where the user named none, and a sentence on why where it is not the usual one.

    A regression is judged by mae when the hundredth of the rows that lie furthest from the median hold a quarter of all
    squared deviations (a normal target: a tenth): rmse would rank models by those few rows.
    """
    if task.kind == "regression":
        squares = np.sort((y - np.median(y)) ** 2)[::-1]
        share = float(squares[: max(1, len(y) // 100)].sum() / max(squares.sum(), np.finfo(np.float64).tiny))
        if share >= HEAVY_TAIL:
            return "mae", (
                f"The metric is mae: 1 % of the rows hold {share:.0%} of the target's squared deviations and would decide "
                "an rmse. Choose another with --metric."
            )
    return DEFAULTS[task.kind], ""


def metric_for(task: Task, name: str) -> Metric:
    """The metric called `name`. Raises UserError where name and task do not go together."""
    fitting = [metric.name for metric in METRICS.values() if task.kind in metric.tasks]
    if name not in METRICS:
        raise UserError(f"--metric: {unknown('metric', name, fitting)}")
    if name not in fitting:
        raise UserError(f"--metric: '{name}' does not fit a {task.kind} target. Choose one of {', '.join(fitting)}.")
    return METRICS[name]


def all_values(task: Task, y: Targets, predictions: Floats) -> dict[str, float]:
    """Every metric of the task by its usual name and sign."""
    return {m.name: m.value(y, predictions) for m in METRICS.values() if task.kind in m.tasks}
