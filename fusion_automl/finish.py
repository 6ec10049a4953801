"""What is made of a search once it is over: ensemble, evidence, artifact, test scores, and the summary of it all."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy.typing as npt
import pandas as pd

from fusion_automl.artifact import load
from fusion_automl.artifact.artifact import Artifact
from fusion_automl.artifact.manifest import MANIFEST
from fusion_automl.assemble import Preset, assemble
from fusion_automl.deadline import Deadline
from fusion_automl.ensemble.build import Ensemble
from fusion_automl.ensemble.field import Field, make_field
from fusion_automl.ensemble.price import Limits
from fusion_automl.errors import BucketError, RunError
from fusion_automl.evaluate import Problem
from fusion_automl.evidence.gains import Evidence, is_classical, is_deep
from fusion_automl.leaderboard import ENSEMBLE, describe
from fusion_automl.search.follow import candidates_per_backbone
from fusion_automl.search.ledger import EVENTS, Ledger, Trial
from fusion_automl.search.propose import BASELINE
from fusion_automl.store.disk import Store
from fusion_automl.store.mirror import Mirror

TestRows = tuple[pd.DataFrame, npt.NDArray[Any] | None]


@dataclass(frozen=True, slots=True)
class Result:
    """A finished run: its folder on this machine and the summary that `fit --json` prints."""

    run: Path
    summary: dict[str, Any]

    def load(self) -> Artifact:
        return load(self.run)


def finish(
    ledger: Ledger,
    problem: Problem,
    *,
    deadline: Deadline,
    budget: float,
    started: float,
    test: TestRows | None,
    notes: Sequence[str],
    interrupted: bool,
    preset: Preset = "best-quality",
    limits: Limits | None = None,
    threads: int = 1,
) -> Result:
    """Builds and writes everything that follows from the ledger. Raises RunError where no trial is done."""
    run, store = ledger.run, Store(ledger.run / "store", ledger.mirror)
    where = ledger.mirror.uri if ledger.mirror else str(run)
    trials = ledger.trials()
    field = make_field(problem, ledger)
    if not field.trials:
        reasons = "; ".join(dict.fromkeys(trial.report.reason for trial in trials if trial.report.reason))
        raise RunError(
            f"{where}: no candidate was evaluated ({reasons or 'the search was ended before the first'}). "
            "Go on with --resume and a larger --budget."
        )
    search_seconds = time.monotonic() - started
    left = max(1.0, deadline.seconds_left())
    # Choosing and refitting take up to four fifths of what is left, the test rows up to 30 % (far less where members were
    # refitted), and comparisons most of the rest.
    num_test = len(test[0]) if test else 0
    affordable = 0.3 * left / num_test if num_test else math.inf
    make = partial(
        assemble,
        run / "artifact",
        problem,
        store=store,
        preset=preset,
        limits=replace(limits or Limits(), row_seconds=affordable),
        num_test=num_test,
        deadline=deadline,
        threads=threads,
    )
    try:
        winner = make(field)
    except BucketError:  # parts that other machines fitted are out of reach
        winner = make(_within_reach(field, store, where=where))
    ensemble = winner.ensemble
    test_scores = _test_scores(winner.artifact, problem, test)
    evidence = Evidence(field, seconds=max(1.0, 0.6 * deadline.seconds_left()))
    summary = {
        **_what(where, problem),
        "score": ensemble.score,
        "test": test_scores,
        "readout": ensemble.facts,
        **_evidence(evidence, ensemble, preset),
        "preset": preset,
        "latency_ms": winner.price.latency_ms,
        "size_mb": winner.price.size_mb,
        "notes": [*notes, *_notes(problem, field), *winner.notes],
        "interrupted": interrupted,
        **_counts(ledger, trials, search_seconds),
        "budget_seconds": budget,
        "members": [describe(trial, weight) for trial, weight in ensemble.members],
    }
    (run / ENSEMBLE).write_text(json.dumps({k: summary[k] for k in ("score", "members")}, indent=1))
    (run / "evidence.json").write_text(json.dumps(_evidence_part(summary), indent=1))
    summary["seconds"] = time.monotonic() - started
    (run / "summary.json").write_text(json.dumps(summary, indent=1))
    ledger.event("finished", score=ensemble.score, seconds=summary["seconds"])
    return Result(run, summary)


def publish(ledger: Ledger, mirror: Mirror) -> None:
    """Brings what `finish` wrote to the bucket, and trials that are not there yet. Raises BucketError."""
    from fusion_automl.search.study import STUDY

    try:
        for trial in ledger.trials():
            ledger.push(trial.report.key)
        mirror.remove("artifact", first=MANIFEST)
        mirror.push_folder("artifact", last=MANIFEST)
        files = (ENSEMBLE, "evidence.json", "summary.json", STUDY, EVENTS)
        mirror.push_files(*(name for name in files if (mirror.folder / name).exists()))
    except BucketError as error:
        raise BucketError(
            f"{error} What was found is on this machine, whole and usable as a run: {mirror.folder}. "
            "When the bucket answers again, --resume on this machine brings it there and goes on."
        ) from error


def _within_reach(field: Field, store: Store, *, where: str) -> Field:
    """The trials whose fitted parts are on this machine. Raises RunError where there are none."""
    kept = [
        (trial, score) for trial, score in zip(field.trials, field.scores, strict=True) if store.has(trial.report.nodes)
    ]
    if not kept:
        raise RunError(
            f"{where}: no trial was fitted on this machine, and the bucket with what others fitted is lost. "
            "Go on with --resume when it answers again."
        )
    trials, scores = zip(*kept, strict=True)
    return replace(field, trials=trials, scores=scores)


def _what(run: str, problem: Problem) -> dict[str, Any]:
    dataset = problem.dataset
    return {
        "run": run,
        "task": dataset.task.kind,
        "target": dataset.task.target,
        "metric": problem.metric.name,
        "greater_is_better": problem.metric.greater_is_better,
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


def _test_scores(artifact: Artifact, problem: Problem, test: TestRows | None) -> dict[str, float] | None:
    """Scores of the artifact as a user would load it, not of what is in memory."""
    if test is None or test[1] is None:
        return None
    return artifact.scores(test[0], test[1], metric=problem.metric)


def _evidence(evidence: Evidence, ensemble: Ensemble, preset: Preset) -> dict[str, Any]:
    fusion = evidence.fusion_gain()
    ensembling = evidence.ensemble_gain(ensemble) if preset == "best-quality" else None
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
        "backbones": dict(zip(("trained", "candidates"), candidates_per_backbone(ledger), strict=True)),
        "overhead_fraction": max(0.0, 1 - fit_seconds / max(search_seconds, 1e-9)),
        "store": {
            "hits": sum(trial.report.hits for trial in trials),
            "misses": sum(trial.report.misses for trial in trials),
        },
    }
