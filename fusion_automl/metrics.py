"""The table of metrics: each has its usual name and sign; only `Metric.score` is turned so that higher is better.

A metric of one's own is named by where it lies, `package.module:function` or `path/to/file.py:function`:

    def cost(y_true, y_pred):           # labels (classes) or values, one a row
        return float(np.where(y_true == "bad", 5.0, 1.0)[y_true != y_pred].sum() / len(y_true))

    cost.greater_is_better = False      # True unless said
    cost.needs_probabilities = False    # False unless said; then y_pred is (rows, classes), classes in sorted order

Every process of a search imports it by that name, so on a cluster it must lie where each machine finds it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fusion_automl import measures
from fusion_automl.component import unknown
from fusion_automl.custom import full_name, load_function
from fusion_automl.errors import UserError
from fusion_automl.task import Task, TaskKind

Floats = npt.NDArray[np.float64]
Targets = npt.NDArray[Any]

CLASSES: tuple[TaskKind, ...] = ("binary", "multiclass")
VALUES: tuple[TaskKind, ...] = ("regression",)


@dataclass(frozen=True, slots=True)
class Metric:
    """A named measure; `value` has the usual sign and unit, `score` is always maximised.

    A measure `of_labels` looks at which class has the largest prediction and at nothing else.
    """

    name: str
    tasks: tuple[TaskKind, ...]
    greater_is_better: bool
    measure: Callable[[Targets, Floats], float]
    of_labels: bool = False

    def value(self, y: Targets, predictions: Floats) -> float:
        """The measure in its usual sign for targets `(rows,)` and predictions `(rows, outputs)`."""
        return float(self.measure(y, predictions))

    def score(self, y: Targets, predictions: Floats) -> float:
        value = self.value(y, predictions)
        return value if self.greater_is_better else -value


METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric("roc_auc", CLASSES, True, measures.roc_auc),
        Metric("average_precision", CLASSES, True, measures.average_precision),
        Metric("accuracy", CLASSES, True, measures.accuracy, of_labels=True),
        Metric("balanced_accuracy", CLASSES, True, measures.balanced_accuracy, of_labels=True),
        Metric("f1", ("binary",), True, measures.f1, of_labels=True),
        Metric("f1_macro", CLASSES, True, measures.f1_macro, of_labels=True),
        Metric("mcc", CLASSES, True, measures.mcc, of_labels=True),
        Metric("quadratic_kappa", CLASSES, True, measures.quadratic_kappa, of_labels=True),
        Metric("log_loss", CLASSES, False, measures.log_loss),
        Metric("brier", CLASSES, False, measures.brier),
        Metric("rmse", VALUES, False, measures.rmse),
        Metric("mae", VALUES, False, measures.mae),
        Metric("mse", VALUES, False, measures.mse),
        Metric("rmsle", VALUES, False, measures.rmsle),
        Metric("median_ae", VALUES, False, measures.median_ae),
        Metric("mape", VALUES, False, measures.mape),
        Metric("r2", VALUES, True, measures.r2),
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
    """The metric called `name`, or the function that it leads to. Raises UserError where name and task do not fit."""
    if ":" in name:
        return _custom(task, name)
    fitting = [metric.name for metric in METRICS.values() if task.kind in metric.tasks]
    if name not in METRICS:
        raise UserError(
            f"--metric: {unknown('metric', name, fitting)} A function of yours is named package.module:function or "
            "path/to/file.py:function."
        )
    if name not in fitting:
        raise UserError(f"--metric: '{name}' does not fit a {task.kind} target. Choose one of {', '.join(fitting)}.")
    return METRICS[name]


def check_metric(metric: Metric, task: Task, y: Targets) -> None:
    """Tries a metric on these targets with a poor prediction. Raises UserError where it gives no finite number."""
    other = np.roll(y, 1)
    poor = other[:, None].astype(np.float64)
    if task.is_classification:
        poor = 0.5 / task.num_outputs + 0.5 * np.eye(task.num_outputs)[other]
    value = metric.value(y, poor)
    if not np.isfinite(value):
        raise UserError(
            f"--metric: '{metric.name}' is {value} for predictions of '{task.target}'; expected a finite number. "
            "Choose another metric."
        )


def all_values(
    task: Task, y: Targets, predictions: Floats, decided: Floats, *, extra: Metric | None = None
) -> dict[str, float]:
    """Every metric of the task, and `extra`, by its usual name and sign.

    Metrics of labels look at the largest of `decided`, the others at `predictions`, both `(rows, outputs)`.
    """
    wanted = {metric.name: metric for metric in METRICS.values() if task.kind in metric.tasks}
    if extra:
        wanted[extra.name] = extra
    return {name: m.value(y, decided if m.of_labels else predictions) for name, m in wanted.items()}


def _custom(task: Task, name: str) -> Metric:
    """The user's function as a metric of the task."""
    function = load_function(name, where="--metric")
    classes = np.array(task.classes)
    of_labels = task.is_classification and not getattr(function, "needs_probabilities", False)

    def measure(y: Targets, predictions: Floats) -> float:
        true = classes[y.astype(np.int64)] if task.is_classification else y
        found = predictions if task.is_classification else predictions[:, 0]
        try:
            return float(function(true, classes[predictions.argmax(axis=1)] if of_labels else found))
        except Exception as error:  # whatever the user's own code raises, or a value that is no number
            raise UserError(
                f"--metric: {name} failed on {len(y)} rows with {type(error).__name__}: {error}. Expected a number for "
                f"the true {'labels' if task.is_classification else 'values'} and what is predicted for them."
            ) from error

    return Metric(full_name(name), (task.kind,), bool(getattr(function, "greater_is_better", True)), measure, of_labels)
