"""What every peer's script has in common: reads a job, fits or predicts, prints one JSON line.

    VENV/bin/python benchmarks/peers/NAME.py fit|predict JOB.json

Runs in each peer's own environment, so it imports nothing but NumPy and pandas, and these only when needed. `fit` learns
from the train rows and leaves a model under the job's `out`; `predict`, a process of its own, loads that model, predicts
the test rows twice, and leaves `out/predictions.npz`: `predictions` `(rows, outputs)` and `classes`, the labels of the
columns as text (empty for values).
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd


@dataclass(frozen=True)
class Job:
    """What to fit on what: `task` is binary, multiclass or regression; `budget` seconds; `out` the job's own folder."""

    train: str
    test: str
    target: str
    ignore: Sequence[str]
    images: Sequence[str]
    image_size: int
    task: str
    metric: str
    budget: float
    seed: int
    out: str
    space: str
    preset: str

    @property
    def folder(self) -> Path:
        return Path(self.out)

    @property
    def model(self) -> Path:
        return self.folder / "model"

    @property
    def is_classification(self) -> bool:
        return self.task != "regression"

    def train_rows(self) -> pd.DataFrame:
        import pandas as pd

        return pd.read_parquet(self.train).drop(columns=list(self.ignore))

    def test_rows(self) -> pd.DataFrame:
        """Without the target: no system is to have it at hand."""
        import pandas as pd

        return pd.read_parquet(self.test).drop(columns=[*self.ignore, self.target])


@dataclass(frozen=True)
class Loaded:
    """A model in memory: predictions `(rows, outputs)` for a frame, the labels of the outputs, and where its files lie."""

    predict: Callable[[pd.DataFrame], np.ndarray]
    classes: Sequence[Any]
    files: Path


class Peer(Protocol):
    """A system: fits a job, and loads what it has fitted."""

    def fit(self, job: Job) -> None: ...

    def load(self, job: Job) -> Loaded: ...


def run(peer: Peer) -> None:
    """Does what the command line says and prints its figures as the last line."""
    stage, path = sys.argv[1], Path(sys.argv[2])
    values = json.loads(path.read_text())
    job = Job(**{field.name: values[field.name] for field in fields(Job)})
    print(json.dumps({"fit": _fit, "predict": _predict}[stage](peer, job)))


def _fit(peer: Peer, job: Job) -> dict[str, float]:
    began = time.perf_counter()
    peer.fit(job)
    return {"seconds": time.perf_counter() - began}


def _predict(peer: Peer, job: Job) -> dict[str, float]:
    import numpy as np

    loaded, rows = peer.load(job), job.test_rows()
    loaded.predict(rows.copy())
    began = time.perf_counter()
    predictions = loaded.predict(rows)
    seconds = time.perf_counter() - began
    classes = np.array([str(label) for label in loaded.classes])
    np.savez(job.folder / "predictions.npz", predictions=np.asarray(predictions, dtype=np.float64), classes=classes)
    size = sum(file.stat().st_size for file in loaded.files.rglob("*") if file.is_file())
    return {"rows_per_second": len(rows) / seconds, "artifact_bytes": size}
