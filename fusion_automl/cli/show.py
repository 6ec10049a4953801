"""What people read: tables and sentences on standard error; and the one JSON line on standard output for programs."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from rich.console import Console
from rich.table import Table

console = Console(stderr=True, highlight=False, soft_wrap=True)


def line(text: str) -> None:
    console.print(text, markup=False)


def json_line(value: Mapping[str, Any], wanted: bool) -> None:
    """Prints `value` as one line of strict JSON: numbers that are not finite become null."""
    if wanted:
        print(json.dumps(_finite(value), ensure_ascii=False), flush=True)


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _finite(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def metric_label(name: str) -> str:
    """A metric's name; of a function of the user's own without the folder that it lies in."""
    return name.rpartition("/")[2]


@dataclass(frozen=True, slots=True)
class Scale:
    """How the scores of a run (higher is better) are read: an error of 3 is shown as 3, not -3."""

    metric: str
    is_error: bool

    @classmethod
    def of(cls, facts: Mapping[str, Any]) -> Self:
        """From a run's settings or its summary, which know the direction of the user's own metric, too."""
        return cls(metric_label(facts["metric"]), not facts["greater_is_better"])

    @property
    def direction(self) -> str:
        return "lower is better" if self.is_error else "higher is better"

    def show(self, score: float | None) -> str:
        if score is None:
            return "-"
        value = -score if self.is_error else score
        return f"{value:.4f}" if abs(value) < 1000 else f"{value:,.0f}"


def _plain(value: float | None) -> str:
    """Two digits that matter and no exponent."""
    if value is None:
        return "-"
    return f"{value:.0f}" if value >= 10 else f"{value:.1f}" if value >= 1 else f"{value:.2g}"


def scores(values: Mapping[str, float]) -> None:
    labelled = {metric_label(name): value for name, value in values.items()}
    width = max(map(len, labelled))
    for name, value in labelled.items():
        line(f"  {name:{width}}  {value:.4f}" if abs(value) < 1000 else f"  {name:{width}}  {value:,.0f}")


def leaderboard(rows: Sequence[Mapping[str, Any]], *, scale: Scale, total: int) -> None:
    """A table of trials, best first; a star marks the Pareto front of score, latency and size."""
    title = f"{total} candidates by {scale.metric} ({scale.direction}); * nothing is better, faster and smaller at once"
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    for heading, justify in (
        ("#", "right"),
        (scale.metric, "right"),
        ("", "left"),
        ("weight", "right"),
        ("level", "left"),
    ):
        table.add_column(heading, justify=justify)  # type: ignore[arg-type]  # rich wants a literal
    table.add_column("candidate", overflow="fold", ratio=1)
    for heading in ("ms/row", "MB", "status", "folds", "seconds", "key"):
        table.add_column(heading, justify="right")
    for rank, row in enumerate(rows, start=1):
        score = scale.show(row["score"]) if row["status"] == "done" else f"({scale.show(row['score'])})"
        weight = f"{row['weight']:.2f}" if row["weight"] else ""
        table.add_row(
            str(rank), score, "*" if row["pareto"] else "", weight, row["level"], row["candidate"],
            _plain(row["latency_ms"]), _plain(row["size_mb"]), row["status"], str(row["folds"]),
            f"{row['seconds']:.1f}", row["key"],
        )  # fmt: skip
    # Without a terminal the table is as wide as it needs to be.
    (console if console.is_terminal else Console(stderr=True, width=170, highlight=False)).print(table)


def summary(result: Mapping[str, Any]) -> None:
    """The end of a fit: what was found, what it is worth, and what was not worth it."""
    scale = Scale.of(result)
    for note in result["notes"]:
        line(f"note: {note}")
    if result["interrupted"]:
        line("The search was interrupted; this is what had been found. Go on with --resume.")
    line(
        f"\n{result['num_trials']} candidates in {result['seconds']:.0f} s of {result['budget_seconds']:.0f} s"
        f" ({result['num_pruned']} pruned, {result['num_failed']} failed);"
        f" {result['store']['hits']} fitted parts reused, {result['store']['misses']} fitted."
    )
    if result["backbones"]["trained"]:
        line(
            f"{result['backbones']['candidates']} of them hold one of the {result['backbones']['trained']} nets trained."
        )
    for reason in result["failures"]:
        line(f"failed: {reason}")
    what = "ensemble" if result["preset"] == "best-quality" else "one candidate"
    line(
        f"\n{what:16} {scale.metric} {scale.show(result['score'])}  (on rows that did not choose it; {scale.direction});"
        f" {_plain(result['latency_ms'])} ms for one row, {_plain(result['size_mb'])} MB"
    )
    for name in ("best_single", "best_deep", "best_classical"):
        if result[name]:
            best = result[name]
            line(f"{name.replace('_', ' '):16} {scale.metric} {scale.show(best['score'])}  {best['candidate']}")
    _readout(result["readout"], scale)
    line("members:")
    for member in result["members"]:
        line(f"  {member['weight']:.2f}  {scale.show(member['score'])}  {member['candidate']}")
    if result["fusion_gain"]:
        line(f"fusing: {_verdict(result['fusion_gain'], scale, 'the best fused candidate against the best unfused')}")
    if result["ensemble_gain"]:
        line(
            f"ensembling: {_verdict(result['ensemble_gain'], scale, 'the ensemble against the best single candidate')}"
        )
    for modality, gain in result["modality_gains"].items():
        if gain:
            line(f"{modality}: {_verdict(gain, scale, f'the best candidate with {modality} against the best without')}")
    if result["test"]:
        line("test scores:")
        scores(result["test"])
    line(f"\nrun folder: {result['run']}")


def _readout(facts: Mapping[str, Any], scale: Scale) -> None:
    """How predictions are read, and what that is worth on rows it was not learned from."""
    if "interval" in facts:
        interval = facts["interval"]
        line(f"interval: {interval['coverage']:.1%} of targets inside, mean width {interval['mean_width']:.4g}")
        return
    calibration, decision = facts["calibration"], facts["decision"]
    line(
        f"probabilities: calibration {calibration['name']}, mean error {calibration['error']:.3f}"
        f" (before: {calibration['error_before']:.3f})"
    )
    if decision["weights"]:
        weights = ", ".join(f"{label} {weight:.2f}" for label, weight in decision["weights"].items())
        line(f"labels: the largest probability x weight ({weights}); {decision['gain']:+.4f} {scale.metric}")


def _verdict(gain: Mapping[str, Any], scale: Scale, what: str) -> str:
    values = [gain["value"], *gain["ci95"]]
    if scale.is_error:  # a gain in score is a smaller error
        values = [-gain["value"], *(-bound for bound in reversed(gain["ci95"]))]
    value, low, high = values
    if gain["p_value"] is None or gain["p_value"] > 0.05:
        word = "no difference that can be told from noise"
    else:
        word = "helped" if gain["value"] > 0 else "hurt"
    return f"{word}: {value:+.4g} {scale.metric} [{low:+.4g}, {high:+.4g}], p = {gain['p_value']:.3g} ({what})"
