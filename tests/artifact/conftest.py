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


def make_artifact(folder: Path, candidates: tuple[Candidate, ...]) -> Path:
    """The artifact of a run at `folder` whose ensemble is these, each with the same weight."""
    dataset = mixed_dataset("binary", rows=40)
    problem = Problem(dataset, make_split(dataset, num_folds=2, seed=0), METRICS[DEFAULTS[dataset.task.kind]], seed=0)
    store = Store(folder / "store")
    members = []
    for candidate in candidates:
        results = list(evaluate(candidate, problem, store, deadline=Deadline.never(), threads=1))
        nodes = tuple(node for result in results for node in result.nodes)
        outputs = tuple(result.output for result in results)
        report = Report(candidate.key, "done", 0.9, (0.9, 0.9), 1, 1, 0, 0, outputs=outputs, nodes=nodes)
        members.append((Trial(candidate, report), 1 / len(candidates)))
    ensemble = Ensemble(tuple(members), 0.9, out_of_fold(problem, results))
    save(make_manifest(problem, store, ensemble), store, folder / "run" / "artifact")
    return folder / "run" / "artifact"


@pytest.fixture
def artifact_folder(tmp_path: Path) -> Path:
    return make_artifact(tmp_path, (CANDIDATE,))
