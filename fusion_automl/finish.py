"""What is made of a search once it is over: ensemble, evidence, artifact, test scores, and the summary of it all."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from fusion_automl.artifact import load, save
from fusion_automl.artifact.artifact import Artifact
from fusion_automl.artifact.manifest import Manifest, Member
from fusion_automl.data.plain import to_plain
from fusion_automl.deadline import Deadline
from fusion_automl.ensemble.build import Ensemble, build_ensemble
from fusion_automl.ensemble.field import Field, make_field
from fusion_automl.errors import RunError
from fusion_automl.evaluate import Problem
from fusion_automl.evidence.gains import Evidence, family, is_classical, is_deep
from fusion_automl.fusion import level_of
from fusion_automl.metrics import all_values
from fusion_automl.search.ledger import Ledger, Trial
from fusion_automl.search.propose import BASELINE
from fusion_automl.store.disk import Store

TestRows = tuple[pd.DataFrame, npt.NDArray[Any] | None]


@dataclass(frozen=True, slots=True)
class Result:
    """A finished run: its folder and the summary that `fit --json` prints."""

    run: Path
    summary: dict[str, Any]

    def load(self) -> Artifact:
        return load(self.run)


def finish(
    run: Path,
    problem: Problem,
    *,
    deadline: Deadline,
    budget: float,
    started: float,
    test: TestRows | None,
    notes: Sequence[str],
    interrupted: bool,
) -> Result:
    """Builds and writes everything that follows from the ledger. Raises RunError where no trial is done."""
    ledger, store = Ledger(run), Store(run / "store")
    trials = ledger.trials()
    field = make_field(problem, ledger)
    if not field.trials:
        reasons = "; ".join(dict.fromkeys(trial.report.reason for trial in trials if trial.report.reason))
        raise RunError(
            f"{run}: no candidate was evaluated ({reasons or 'the search was ended before the first'}). "
            "Go on with --resume and a larger --budget."
        )
    search_seconds = time.monotonic() - started
    left = max(1.0, deadline.seconds_left())
    # Of what is left, a quarter goes to the choice, up to 40 % to the test rows, and most of the rest to comparisons.
    affordable = 0.4 * left / max(1, len(test[0])) if test else math.inf
    ensemble = build_ensemble(field, store, max_row_seconds=affordable, seconds=0.25 * left)
    manifest = make_manifest(problem, store, ensemble)
    save(manifest, store, run / "artifact")
    test_scores = _test_scores(run, problem, test)
    evidence = Evidence(field, seconds=max(1.0, 0.6 * deadline.seconds_left()))
    summary = {
        **_what(run, problem),
        "score": ensemble.score,
        "test": test_scores,
        **_evidence(evidence, ensemble),
        "notes": [*notes, *_notes(problem, field)],
        "interrupted": interrupted,
        **_counts(ledger, trials, search_seconds),
        "budget_seconds": budget,
        "members": [_member(trial, weight) for trial, weight in ensemble.members],
    }
    (run / "ensemble.json").write_text(json.dumps({k: summary[k] for k in ("score", "members")}, indent=1))
    (run / "evidence.json").write_text(json.dumps(_evidence_part(summary), indent=1))
    summary["seconds"] = time.monotonic() - started
    (run / "summary.json").write_text(json.dumps(summary, indent=1))
    ledger.event("finished", score=ensemble.score, seconds=summary["seconds"])
    return Result(run, summary)


def make_manifest(problem: Problem, store: Store, ensemble: Ensemble) -> Manifest:
    """The manifest of an artifact that predicts as `ensemble` does."""
    dataset = problem.dataset
    members = tuple(
        Member(trial.candidate, weight, trial.report.score or 0.0, trial.report.outputs)
        for trial, weight in ensemble.members
    )
    nodes = store.ancestry([ref.node for member in members for ref in member.outputs])
    return Manifest(
        task=dataset.task,
        schema=dataset.schema,
        metric=problem.metric.name,
        score=ensemble.score,
        members=members,
        nodes=tuple(nodes),
        version=version("fusion_automl"),
        example=to_plain(dataset.frame.iloc[:1], dataset.schema)[0],
    )


def _what(run: Path, problem: Problem) -> dict[str, Any]:
    dataset = problem.dataset
    return {
        "run": str(run),
        "task": dataset.task.kind,
        "target": dataset.task.target,
        "metric": problem.metric.name,
        "rows": len(dataset),
        "folds": len(problem.folds),
        "modalities": list(dataset.schema.modalities),
    }


def _notes(problem: Problem, field: Field) -> list[str]:
    used, wanted = len(field.problem.folds), len(problem.folds)
    if used == wanted:
        return []
    return [
        f"In this budget hardly any candidate finished all {wanted} folds; the first {used} decide, with "
        f"{len(field.problem.covered)} rows. A larger --budget or fewer --folds would judge better."
    ]


def _test_scores(run: Path, problem: Problem, test: TestRows | None) -> dict[str, float] | None:
    """Scores of the artifact as a user would load it, not of what is in memory."""
    if test is None or test[1] is None:
        return None
    return all_values(problem.dataset.task, test[1], load(run).run(test[0]))


def _evidence(evidence: Evidence, ensemble: Ensemble) -> dict[str, Any]:
    fusion, ensembling = evidence.fusion_gain(), evidence.ensemble_gain(ensemble)
    return {
        "best_single": evidence.best(lambda candidate: True),
        "best_deep": evidence.best(is_deep),
        "best_classical": evidence.best(is_classical),
        "fusion_gain": fusion.to_json() if fusion else None,
        "ensemble_gain": ensembling.to_json() if ensembling else None,
        "modality_gains": {
            modality: gain.to_json() if gain else None for modality, gain in evidence.modality_gains().items()
        },
    }


def _evidence_part(summary: dict[str, Any]) -> dict[str, Any]:
    names = ("best_single", "best_deep", "best_classical", "fusion_gain", "ensemble_gain", "modality_gains")
    return {name: summary[name] for name in names}


def _counts(ledger: Ledger, trials: list[Trial], search_seconds: float) -> dict[str, Any]:
    searched = [trial.report for trial in trials if trial.candidate != BASELINE]
    fit_seconds = sum(trial.report.fit_seconds for trial in trials)
    return {
        "num_trials": len(searched),
        "num_failed": sum(report.status in ("failed", "out_of_time") for report in searched),
        "num_pruned": sum(report.status == "pruned" for report in searched),
        "failures": sorted({report.reason for report in searched if report.status in ("failed", "out_of_time")}),
        "overhead_fraction": max(0.0, 1 - fit_seconds / max(search_seconds, 1e-9)),
        "store": {
            "hits": sum(trial.report.hits for trial in trials),
            "misses": sum(trial.report.misses for trial in trials),
        },
    }


def _member(trial: Trial, weight: float) -> dict[str, Any]:
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


def leaderboard(run: Path) -> list[dict[str, Any]]:
    """Every trial of a run, best first: those that are done, then pruned, then the rest."""
    order = {"done": 0, "pruned": 1, "out_of_time": 2, "failed": 3}
    ledger = Ledger(run)
    weights: dict[str, float] = {}
    if (run / "ensemble.json").exists():
        weights = {m["key"]: m["weight"] for m in json.loads((run / "ensemble.json").read_text())["members"]}

    def rank(trial: Trial) -> tuple[int, float]:
        score = trial.report.score
        return order[trial.report.status], -score if score is not None else np.inf

    return [
        {
            **_member(trial, weights.get(trial.report.key, 0.0)),
            "status": trial.report.status,
            "folds": len(trial.report.fold_scores),
            "fold_scores": list(trial.report.fold_scores),
            "seconds": trial.report.seconds,
            "reason": trial.report.reason,
        }
        for trial in sorted(ledger.trials(), key=rank)
    ]
