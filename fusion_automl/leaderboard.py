"""Every trial of a run as a line: what it is, what it scores, what it costs, and whether anything beats it in all three."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fusion_automl.data.storage import not_found
from fusion_automl.ensemble.price import Price, Prices
from fusion_automl.evidence.gains import family
from fusion_automl.fusion import level_of
from fusion_automl.search.ledger import Ledger, Trial
from fusion_automl.search.problem import SETTINGS, pull_settings
from fusion_automl.store.disk import Store
from fusion_automl.store.mirror import place

ENSEMBLE = "ensemble.json"


def describe(trial: Trial, weight: float) -> dict[str, Any]:
    """A trial in words and names, with its weight in the ensemble."""
    candidate = trial.candidate
    return {
        "key": trial.report.key,
        "weight": weight,
        "score": trial.report.score,
        "level": level_of(candidate),
        "fusion": candidate.fusion.name,
        "family": family(candidate),
        "backbones": list(candidate.all_backbones()),
        "encoders": list(candidate.all_encoders()),
        "classical": list(candidate.all_classical()),
        "candidate": candidate.describe(),
    }


def at_hand(run: str | Path) -> Path:
    """The folder of a run; of a URI, its working copy with the trials that are finished by now. Raises UserError."""
    folder, mirror = place(run)
    if mirror is not None:
        if not pull_settings(mirror):
            raise not_found(f"{mirror.uri}/{SETTINGS}")
        Ledger(folder, mirror).pull()
        mirror.pull_file(ENSEMBLE)
    return folder


def leaderboard(run: Path) -> list[dict[str, Any]]:
    """Every trial of a run, best first: those that are done, then pruned, then the rest.

    `latency_ms` (one row alone) and `size_mb` are those of all its folds' models together. `pareto` marks the done trials to
    which no other comes up in score, latency and size while it is ahead in one of them.
    """
    order = {"done": 0, "pruned": 1, "out_of_time": 2, "failed": 3}

    def rank(trial: Trial) -> tuple[int, float]:
        score = trial.report.score
        return order[trial.report.status], -score if score is not None else np.inf

    trials = sorted(Ledger(run).trials(), key=rank)
    prices = Prices(Store(run / "store"))
    costs = [prices.of([trial]) if trial.report.outputs else None for trial in trials]
    front = _front(trials, costs)
    weights: dict[str, float] = {}
    if (run / ENSEMBLE).exists():
        weights = {m["key"]: m["weight"] for m in json.loads((run / ENSEMBLE).read_text())["members"]}
    return [
        {
            **describe(trial, weights.get(trial.report.key, 0.0)),
            "status": trial.report.status,
            "folds": len(trial.report.fold_scores),
            "fold_scores": list(trial.report.fold_scores),
            "seconds": trial.report.seconds,
            "latency_ms": price.latency_ms if price else None,
            "size_mb": price.size_mb if price else None,
            "pareto": trial.report.key in front,
            "reason": trial.report.reason,
        }
        for trial, price in zip(trials, costs, strict=True)
    ]


def _front(trials: Sequence[Trial], costs: Sequence[Price | None]) -> set[str]:
    """Keys of the done trials on the Pareto front of score, latency and size."""
    done = [
        (trial.report.key, (trial.report.score, -price.latency_ms, -price.size_mb))
        for trial, price in zip(trials, costs, strict=True)
        if price and trial.report.status == "done" and trial.report.score is not None
    ]
    on_front = pareto(np.array([values for _, values in done], dtype=np.float64).reshape(-1, 3))
    return {key for (key, _), best in zip(done, on_front, strict=True) if best}


def pareto(values: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
    """`(points, goals)`, all to be maximised -> which points no other reaches in every goal and beats in one."""
    others, each = values[None], values[:, None]
    beaten = np.all(others >= each, axis=2) & np.any(others > each, axis=2)
    return ~np.any(beaten, axis=1)
