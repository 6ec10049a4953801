"""The problem of a run as files in its folder, so that worker processes and a resume need nothing else."""

from __future__ import annotations

import json
import shutil
import uuid
from pathlib import Path
from typing import Any

from fusion_automl.data.files import DATASET, read_dataset, write_dataset
from fusion_automl.data.split import folds_from_table, split_table
from fusion_automl.data.storage import not_found
from fusion_automl.errors import RunError
from fusion_automl.evaluate import Problem
from fusion_automl.metrics import metric_for
from fusion_automl.store.mirror import Mirror

SETTINGS = "run.json"
DATA = "data"
SPLIT = "split.parquet"


def write_problem(run: Path, problem: Problem, settings: dict[str, Any]) -> None:
    """Writes data/, split.parquet and, last, run.json: the settings of the command, and an `id` by which a run is told from
    one that had the same place before it."""
    import pyarrow.parquet

    write_dataset(problem.dataset, run / DATA)
    pyarrow.parquet.write_table(split_table(problem.folds, len(problem.dataset)), run / SPLIT)
    partial = run / f"{SETTINGS}.partial"
    metric = {"metric": problem.metric.name, "greater_is_better": problem.metric.greater_is_better}
    partial.write_text(
        json.dumps({**settings, **metric, "seed": problem.seed, "id": uuid.uuid4().hex}, indent=1, default=str)
    )
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
    dataset = read_dataset(run / DATA)
    folds = folds_from_table(pyarrow.parquet.read_table(run / SPLIT))
    return Problem(dataset, folds, metric_for(dataset.task, settings["metric"]), settings["seed"])


def push_problem(mirror: Mirror) -> None:
    """Brings what `write_problem` wrote to the bucket, run.json last. Raises BucketError."""
    mirror.push_files(SPLIT)
    mirror.push_folder(DATA)
    mirror.push_files(SETTINGS)


def pull_settings(mirror: Mirror, *, alone: bool = False) -> bool:
    """Has run.json of the bucket in the working copy, which loses what another run left in it; False where there is none.

    Then the copy is emptied only by a driver, which works in it `alone`: another one may be about to push what it has begun.
    """
    content = mirror.bucket.read(SETTINGS)
    path = mirror.folder / SETTINGS
    if path.exists() and path.read_bytes() != content and (alone or content):
        for other in mirror.folder.iterdir():
            if other.is_dir():
                shutil.rmtree(other)
            elif not other.name.endswith(".lock"):
                other.unlink()
    return content is not None and (path.exists() or mirror.pull_file(SETTINGS))


def pull_problem(mirror: Mirror) -> None:
    """Has what `write_problem` wrote in the working copy; one process of a machine at a time. Raises UserError."""
    from filelock import FileLock

    with FileLock(mirror.folder / "problem.lock"):
        if not pull_settings(mirror):
            raise not_found(f"{mirror.uri}/{SETTINGS}")
        if not (mirror.folder / SPLIT).exists():
            mirror.pull_folder(DATA, only=DATASET)  # who trains a net fetches the shards beside it
            mirror.pull_file(SPLIT)
