"""A run with a small artifact over a table, and rows for it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from fusion_automl.artifact import save
from fusion_automl.assemble import make_manifest
from fusion_automl.candidate import Candidate, Spec
from fusion_automl.data.prepare import prepare
from fusion_automl.data.split import make_split
from fusion_automl.deadline import Deadline
from fusion_automl.ensemble.build import Ensemble
from fusion_automl.evaluate import Problem, evaluate, out_of_fold
from fusion_automl.metrics import METRICS
from fusion_automl.search.ledger import Report, Trial
from fusion_automl.store.disk import Store

CANDIDATE = Candidate(
    Spec.of("concat"), encoders=(Spec.of("onehot"),), classical=Spec.of("decision_tree", min_samples_leaf=2)
)


def table(rows: int, *, seed: int = 0) -> pd.DataFrame:
    """Numbers with gaps, colours, and whether a thing was sold; `id` counts from 1000 times the seed."""
    rng = np.random.default_rng([seed, rows])
    size = np.where(rng.random(rows) < 0.1, np.nan, rng.normal(size=rows))
    colour = rng.choice(["red", "blue", "green"], rows)
    sold = np.nan_to_num(size) + (colour == "red") + rng.normal(0, 0.5, rows) > 0.4
    return pd.DataFrame(
        {"id": np.arange(rows) + 1000 * seed, "size": size, "colour": colour, "sold": np.where(sold, "yes", "no")}
    )


def make_run(run: Path, *, seed: int = 0) -> Path:
    """A folder with an artifact as a search leaves it; another seed learns from other rows."""
    dataset = prepare(table(120, seed=seed), target="sold", ignore=["id"]).dataset
    problem = Problem(dataset, make_split(dataset, num_folds=2, seed=0), METRICS["roc_auc"], seed=0)
    store = Store(run / "store")
    results = list(evaluate(CANDIDATE, problem, store, deadline=Deadline.never(), threads=1))
    outputs, nodes = tuple(each.output for each in results), tuple(node for each in results for node in each.nodes)
    report = Report(CANDIDATE.key, "done", 0.9, (0.9, 0.9), 1, 1, 0, 0, outputs=outputs, nodes=nodes)
    ensemble = Ensemble(((Trial(CANDIDATE, report), 1.0),), 0.9, out_of_fold(problem, results))
    save(make_manifest(problem, store, ensemble), store, run / "artifact")
    return run


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run(tmp_path_factory.mktemp("batch") / "run")
