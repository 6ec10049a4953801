"""Systems compared over datasets: mean ranks, wins, and the tests that fit (Demšar 2006): Friedman, then Wilcoxon with Holm.

A table here has a row for each dataset and a column for each system and holds losses: lower is better, inf where a system
left no model. Losses of different metrics meet as logarithms of ratios (see `loss`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from jobs import greater_is_better

SIGNIFICANT = 0.05


def loss(metric: str, value: float) -> float:
    """What is missing to a perfect score of 1, or the error itself: halving either is the same progress."""
    return 1.0 - value if greater_is_better(metric) else value


def loss_table(lines: Sequence[dict[str, Any]]) -> pd.DataFrame:
    """Losses by dataset and system in order of appearance, averaged over seeds; inf where any seed left no model."""
    rows = [
        {
            "case": line["case"],
            "system": line["system"],
            "loss": loss(line["metric"], line["scores"][line["metric"]]) if line["scores"] else np.inf,
        }
        for line in lines
    ]
    table = pd.DataFrame(rows).pivot_table(index="case", columns="system", values="loss", aggfunc="mean", sort=False)
    return table.dropna()


def mean_ranks(table: pd.DataFrame) -> pd.Series[float]:
    """1 is best; equal systems share their ranks' mean."""
    return table.rank(axis=1).mean().sort_values()


def record(table: pd.DataFrame, system: str, other: str) -> tuple[int, int, int]:
    """Datasets that `system` wins, draws and loses against `other`."""
    ours, theirs = table[system], table[other]
    return int((ours < theirs).sum()), int((ours == theirs).sum()), int((ours > theirs).sum())


@dataclass(frozen=True, slots=True)
class Comparison:
    """One system against another over datasets; `p_value` is two-sided and after Holm's correction."""

    system: str
    other: str
    record: tuple[int, int, int]
    ratio: float
    p_value: float
    can_tell: bool

    def __str__(self) -> str:
        won, drawn, lost = self.record
        text = f"{self.system} against {self.other}: {won} won, {drawn} drawn, {lost} lost; its loss is {self.ratio:.3f} times"
        if not self.can_tell:
            return f"{text} (median); too few datasets for the test to tell, whatever they say"
        verdict = "a difference" if self.p_value < SIGNIFICANT else "no difference beyond chance"
        return f"{text} (median); p = {self.p_value:.3g}: {verdict}"


def compare(table: pd.DataFrame, system: str) -> list[Comparison]:
    """`system` against each other one by the signed ranks of its datasets' log ratios, Holm's correction over all."""
    others = [name for name in table.columns if name != system]
    found = {other: log_ratios(table, system, other) for other in others}
    raw = [signed_rank(found[other]) for other in others]
    # With n datasets that differ no two-sided p lies below 2 / 2^n, and Holm multiplies the smallest by their number.
    reachable = {other: len(others) * 2.0 / 2 ** int((found[other] != 0).sum()) for other in others}
    return [
        Comparison(
            system,
            other,
            record(table, system, other),
            float(np.exp(np.median(found[other]))),
            p_value,
            reachable[other] < SIGNIFICANT,
        )
        for other, p_value in zip(others, holm(raw), strict=True)
    ]


def log_ratios(table: pd.DataFrame, system: str, other: str) -> np.ndarray:
    """`(datasets,)`, negative where `system` is better; beyond all others where one of the two left no model."""
    ours, theirs = table[system].to_numpy(), table[other].to_numpy()
    ratios = np.zeros(len(table))
    both = np.isfinite(ours) & np.isfinite(theirs)
    tiny = np.finfo(np.float64).tiny
    ratios[both] = np.log(np.maximum(ours[both], tiny) / np.maximum(theirs[both], tiny))
    far = 1.0 + np.abs(ratios).max(initial=0.0)
    ratios[np.isfinite(ours) & ~np.isfinite(theirs)] = -far
    ratios[~np.isfinite(ours) & np.isfinite(theirs)] = far
    return ratios


def signed_rank(differences: np.ndarray) -> float:
    """Two-sided p of Wilcoxon's signed-rank test; 1 where nothing differs."""
    from scipy.stats import wilcoxon

    differences = differences[differences != 0]
    return float(wilcoxon(differences).pvalue) if len(differences) else 1.0


def friedman(table: pd.DataFrame) -> float | None:
    """p of all systems being alike; None for fewer than three systems or three datasets."""
    from scipy.stats import friedmanchisquare

    if min(table.shape) < 3:
        return None
    if (table.nunique(axis=1) == 1).all():
        return 1.0
    return float(friedmanchisquare(*(table[name] for name in table.columns)).pvalue)


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down correction, in the order given."""
    order = np.argsort(p_values, kind="stable")
    steps = np.asarray(p_values)[order] * np.arange(len(p_values), 0, -1)
    corrected = np.empty(len(p_values))
    corrected[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return corrected.tolist()
