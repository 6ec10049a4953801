"""A small artifact, made the way a search makes one."""

from pathlib import Path

import pytest

from fusion_automl.artifact import save
from fusion_automl.assemble import make_manifest
from fusion_automl.candidate import Candidate, Spec
from fusion_automl.data.split import make_split
from fusion_automl.deadline import Deadline
from fusion_automl.ensemble.build import Ensemble
from fusion_automl.evaluate import Problem, evaluate, out_of_fold
from fusion_automl.metrics import DEFAULTS, METRICS
from fusion_automl.search.ledger import Report, Trial
from fusion_automl.store.disk import Store
from tests.contracts.rows import mixed_dataset

CANDIDATE = Candidate(
    Spec.of("concat"),
    encoders=(Spec.of("ordinal"), Spec.of("tfidf")),
    classical=Spec.of("decision_tree", min_samples_leaf=2),
)


@pytest.fixture
def artifact_folder(tmp_path: Path) -> Path:
    dataset = mixed_dataset("binary", rows=40)
    problem = Problem(dataset, make_split(dataset, num_folds=2, seed=0), METRICS[DEFAULTS[dataset.task.kind]], seed=0)
    store = Store(tmp_path / "store")
    results = list(evaluate(CANDIDATE, problem, store, deadline=Deadline.never(), threads=1))
    nodes = tuple(node for result in results for node in result.nodes)
    report = Report(
        CANDIDATE.key, "done", 0.9, (0.9, 0.9), 1, 1, 0, 0, outputs=tuple(r.output for r in results), nodes=nodes
    )
    ensemble = Ensemble(((Trial(CANDIDATE, report), 1.0),), 0.9, out_of_fold(problem, results))
    save(make_manifest(problem, store, ensemble), store, tmp_path / "run" / "artifact")
    return tmp_path / "run" / "artifact"
