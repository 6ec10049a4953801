"""What the comparison was to show, judged from the lines of one budget: each goal with what was found, in plain words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from cases import CASES
from jobs import greater_is_better
from ranks import loss_table, mean_ranks

OURS = "fusion"
FAST = "fusion_fast"
"""Ours with `--preset fast-inference`: judged by its speed alone, where it is as good as the peer."""
SPEED_PEER = "autogluon_tabular"
SPEED = 3.0
OVERRUN = 1.05
MARKS = {"womens_recommended": 0.97, "rotten_tomatoes": 0.90}
MARKS_BUDGET = 600.0
"""Seconds in which the marks are to be reached; other budgets are not judged by them."""
CASE = {case.name: case for case in CASES}

Lines = Sequence[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Verdict:
    """A goal, whether it is met (None: these lines cannot tell), and why."""

    goal: str
    met: bool | None
    found: str

    def __str__(self) -> str:
        return f"{'not told' if self.met is None else 'met' if self.met else 'NOT MET'}: {self.goal}. {self.found}"


def summarize(lines: Lines) -> pd.DataFrame:
    """A row for each case and system, in order of appearance: mean and spread over seeds, the worst seconds and memory.

    `score` has the metric's usual sign and is nan where a seed left no model; `spread` is the standard deviation between
    seeds, nan for one seed.
    """
    rows = []
    for line in lines:
        score = line["scores"][line["metric"]] if line["scores"] else np.nan
        rows.append({**line, "score": score, "failed": not line["scores"]})
    frame = pd.DataFrame(rows)
    for name in ("rows_per_second", "artifact_bytes"):
        frame[name] = frame[name] if name in frame else np.nan
    groups = frame.groupby(["case", "system"], sort=False)
    table = groups.agg(
        metric=("metric", "first"),
        score=("score", lambda scores: scores.mean(skipna=False)),
        spread=("score", "std"),
        seeds=("seed", "count"),
        failed=("failed", "sum"),
        overrun=("seconds", "max"),
        rows_per_second=("rows_per_second", "mean"),
        artifact_bytes=("artifact_bytes", "mean"),
        peak_bytes=("peak_bytes", "max"),
    )
    table["overrun"] /= lines[0]["budget"]
    return table


def judge(lines: Lines) -> list[Verdict]:
    """All goals for lines of one budget that hold our system and at least one peer; none where they do not."""
    table = summarize(lines)
    systems = list(dict.fromkeys(line["system"] for line in lines))
    peers = [name for name in systems if name not in (OURS, FAST)]
    if OURS not in systems or not peers:
        return []
    verdicts = [_ranks(ranked(lines)), _rich_wins(table, peers), *_tables(table, peers), _speed(table), _budget(table)]
    if lines[0]["budget"] == MARKS_BUDGET:
        verdicts[2:2] = [_mark(table, case, mark) for case, mark in MARKS.items()]
    return verdicts + [_memory(table, peer) for peer in peers]


def ranked(lines: Lines) -> Lines:
    """Without those of our system in its second form, which would count twice."""
    return [line for line in lines if line["system"] != FAST]


def lead(table: pd.DataFrame, case: str, peer: str, ours: str = OURS) -> float:
    """By how much we are ahead of a peer in the metric's unit, negative where behind; inf where it left no model."""
    mine, theirs = table.score.get((case, ours), np.nan), table.score.get((case, peer), np.nan)
    if np.isnan(mine):
        return 0.0 if np.isnan(theirs) else -np.inf
    if np.isnan(theirs):
        return np.inf
    return float(mine - theirs if greater_is_better(table.metric[case, ours]) else theirs - mine)


def _met_by(table: pd.DataFrame, *names: str) -> list[str]:
    """The cases for which all these systems have a line."""
    cases = list(dict.fromkeys(case for case, _ in table.index))
    return [case for case in cases if all((case, name) in table.index for name in names)]


def _ranks(lines: Lines) -> Verdict:
    table = loss_table(lines)
    ranks = mean_ranks(table)
    found = ", ".join(f"{name} {rank:.2f}" for name, rank in ranks.items())
    best = ranks.drop(OURS).min() if len(table) else np.nan
    met = bool(ranks[OURS] < best) if len(table) else None
    return Verdict("better mean rank than every peer", met, f"Mean ranks over {len(table)} cases: {found}")


def _rich_wins(table: pd.DataFrame, peers: Sequence[str]) -> Verdict:
    goal = "a win on every case with text, image or both"
    rich = [case for case in _met_by(table, OURS, *peers) if not CASE[case].is_table]
    lost = [(case, peer) for case in rich for peer in peers if lead(table, case, peer) <= 0]
    if not rich:
        return Verdict(goal, None, "No such case was run with all systems")
    found = "; ".join(f"{case} not won against {peer} ({lead(table, case, peer):+.4g})" for case, peer in lost)
    return Verdict(goal, not lost, found or f"All {len(rich)} won against every peer")


def _mark(table: pd.DataFrame, case: str, mark: float) -> Verdict:
    goal = f"{case}: {CASE[case].metric} of at least {mark}"
    if (case, OURS) not in table.index:
        return Verdict(goal, None, "Not run")
    score = table.score[case, OURS]
    return Verdict(goal, bool(score >= mark), f"{score:.4f}")


def _tables(table: pd.DataFrame, peers: Sequence[str]) -> list[Verdict]:
    """One verdict for each pure table: behind by more than two standard errors of the difference between seeds is lost."""
    verdicts = []
    for case in (case for case in _met_by(table, OURS, *peers) if CASE[case].is_table):
        peer = min(peers, key=lambda name: lead(table, case, name))
        ahead = lead(table, case, peer)
        rows = table.loc[[(case, OURS), (case, peer)]]
        noise = 2 * float(np.sqrt((rows.spread**2 / rows.seeds).sum(skipna=False)))
        told = f"{ahead:+.4g} against the best peer, {peer}"
        goal = f"{case}: no loss beyond the noise between seeds"
        if np.isnan(noise):
            verdicts.append(Verdict(goal, True if ahead >= 0 else None, f"{told}; one seed tells no noise"))
        else:
            verdicts.append(Verdict(goal, ahead >= -noise, f"{told}; noise {noise:.4g}"))
    return verdicts


def _speed(table: pd.DataFrame) -> Verdict:
    goal = f"at the same score or better, prediction at least {SPEED:g} times faster than {SPEED_PEER}"
    speed = table.rows_per_second
    ratios: dict[str, dict[str, float]] = {}
    for ours in (OURS, FAST):
        for case in _met_by(table, ours, SPEED_PEER):
            if 0 <= lead(table, case, SPEED_PEER, ours) < np.inf:
                ratios.setdefault(case, {})[ours] = float(speed[case, ours] / speed[case, SPEED_PEER])
    if not ratios:
        return Verdict(goal, None, "No case in which both predict and ours is as good")
    found = ", ".join(
        f"{case} {' or '.join(f'{ratio:.1f}' + (' (fast-inference)' if name == FAST else '') for name, ratio in of.items())}"
        for case, of in ratios.items()
    )
    return Verdict(goal, min(max(of.values()) for of in ratios.values()) >= SPEED, f"Times faster: {found}")


def _budget(table: pd.DataFrame) -> Verdict:
    used = table.overrun.xs(OURS, level="system")
    found = f"At most {used.max():.1%} of the budget used ({used.idxmax()})"
    over = ", ".join(
        f"{name} {table.overrun.xs(name, level='system').max():.1%}"
        for name in dict.fromkeys(table.index.get_level_values("system"))
        if name not in (OURS, FAST)
    )
    return Verdict(
        f"budget overrun under {OVERRUN - 1:.0%} everywhere", bool(used.max() < OVERRUN), f"{found}; peers: {over}"
    )


def _memory(table: pd.DataFrame, peer: str) -> Verdict:
    goal = f"peak memory no higher than {peer}'s"
    peak = table.peak_bytes
    ratios = {case: float(peak[case, OURS] / peak[case, peer]) for case in _met_by(table, OURS, peer)}
    if not ratios:
        return Verdict(goal, None, "No case was run with both")
    over = {case: ratio for case, ratio in ratios.items() if ratio > 1}
    found = ", ".join(f"{case} {ratio:.2f}" for case, ratio in over.items())
    return Verdict(goal, not over, f"Higher, times: {found}" if over else f"At most {max(ratios.values()):.2f} times")
