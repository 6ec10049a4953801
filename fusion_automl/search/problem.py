"""The problem of a run as files in its folder, so that worker processes and a resume need nothing else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from fusion_automl.data.files import read_dataset, write_dataset
from fusion_automl.data.split import folds_from_table, split_table
from fusion_automl.errors import RunError
from fusion_automl.evaluate import Problem
from fusion_automl.metrics import metric_for

SETTINGS = "run.json"


def write_problem(run: Path, problem: Problem, settings: dict[str, Any]) -> None:
    """Writes data/, split.parquet and, last, run.json with the settings of the command."""
    import pyarrow.parquet

    write_dataset(problem.dataset, run / "data")
    pyarrow.parquet.write_table(split_table(problem.folds, len(problem.dataset)), run / "split.parquet")
    partial = run / f"{SETTINGS}.partial"
    metric = {"metric": problem.metric.name, "greater_is_better": problem.metric.greater_is_better}
    partial.write_text(json.dumps({**settings, **metric, "seed": problem.seed}, indent=1, default=str))
    partial.rename(run / SETTINGS)


def read_settings(run: Path) -> dict[str, Any]:
    """The settings of a run. Raises RunError where `run` is not a run folder."""
    path = run / SETTINGS
    if not path.exists():
        raise RunError(f"{run}: not a run folder (it has no {SETTINGS}). Give the folder that `fit --out` wrote.")
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def read_problem(run: Path) -> Problem:
    """The problem that `write_problem` wrote."""
    import pyarrow.parquet

    settings = read_settings(run)
    dataset = read_dataset(run / "data")
    folds = folds_from_table(pyarrow.parquet.read_table(run / "split.parquet"))
    return Problem(dataset, folds, metric_for(dataset.task, settings["metric"]), settings["seed"])
