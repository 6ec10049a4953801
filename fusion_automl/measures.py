"""What the metrics measure: each a function of targets `(rows,)` and predictions `(rows, outputs)`, in its usual sign."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Targets = npt.NDArray[Any]


def _auc(positive: npt.NDArray[np.bool_], scores: Floats) -> float:
    """Area under the ROC curve (Mann-Whitney U, ties count half); nan where only one class is present.

    Sorting the classes apart and looking one up in the other takes a third of the time of ranking all rows.
    """
    above, below = np.sort(scores[positive]), np.sort(scores[~positive])
    if not len(above) or not len(below):
        return float("nan")
    wins = np.searchsorted(below, above, "left").sum() + np.searchsorted(below, above, "right").sum()
    return float(wins / 2 / (len(above) * len(below)))


def roc_auc(y: Targets, p: Floats) -> float:
    """Binary: class 1 against class 0. Multiclass: one against the rest, unweighted mean over the classes present."""
    if p.shape[1] == 2:
        return _auc(y == 1, p[:, 1])
    return float(np.nanmean([_auc(y == code, p[:, code]) for code in range(p.shape[1])]))


def mcc(y: Targets, p: Floats) -> float:
    """Matthews' correlation of labels and truth for any number of classes (Gorodkin 2004); 0 where one is constant."""
    classes = np.arange(p.shape[1])
    chosen = p.argmax(axis=1)
    said, true = (np.array([(codes == code).mean() for code in classes]) for codes in (chosen, y))
    spread = (1 - (said**2).sum()) * (1 - (true**2).sum())
    return float(((chosen == y).mean() - (said * true).sum()) / np.sqrt(spread)) if spread > 0 else 0.0


def quadratic_kappa(y: Targets, p: Floats) -> float:
    """Cohen's kappa with squared distances between class codes: for classes whose order means something."""
    chosen = p.argmax(axis=1)
    by_chance = np.var(chosen) + np.var(y) + (chosen.mean() - y.mean()) ** 2
    return float(1 - ((chosen - y) ** 2).mean() / by_chance) if by_chance > 0 else 1.0


def average_precision(y: Targets, p: Floats) -> float:
    """Area under the steps of precision over recall. Multiclass: one against the rest, mean over the classes present."""
    if p.shape[1] == 2:
        return _average_precision(y == 1, p[:, 1])
    return float(np.mean([_average_precision(y == code, p[:, code]) for code in np.unique(y).astype(np.int64)]))


def _average_precision(positive: npt.NDArray[np.bool_], scores: Floats) -> float:
    order = np.argsort(-scores)
    ordered = scores[order]
    last = np.flatnonzero(np.r_[ordered[1:] != ordered[:-1], True])  # of rows with the same score
    hits = np.cumsum(positive[order])[last]
    if not hits[-1]:
        return float("nan")
    return float((np.diff(hits, prepend=0) / hits[-1] * (hits / (last + 1))).sum())


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


def rmsle(y: Targets, p: Floats) -> float:
    """Root mean squared error of log(1 + value), predictions cut off at 0; nan where a target is negative."""
    if y.min() < 0:
        return float("nan")
    return float(np.sqrt(((np.log1p(y) - np.log1p(np.maximum(p[:, 0], 0))) ** 2).mean()))


def r2(y: Targets, p: Floats) -> float:
    spread = float(((y - y.mean()) ** 2).sum())
    return 1.0 - float(((y - p[:, 0]) ** 2).sum()) / spread if spread else float("nan")


def mape(y: Targets, p: Floats) -> float:
    """Mean absolute error as a share of the true value (0.1 is 10 %)."""
    return float((np.abs(y - p[:, 0]) / np.maximum(np.abs(y), np.finfo(np.float64).eps)).mean())


def median_ae(y: Targets, p: Floats) -> float:
    return float(np.median(np.abs(y - p[:, 0])))
