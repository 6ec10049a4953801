"""A run with a small artifact over columns of every kind, made once."""

from __future__ import annotations

import asyncio
import logging
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from fusion_automl.artifact.manifest import MANIFEST
from fusion_automl.candidate import Candidate, Spec
from fusion_automl.data.split import make_split
from fusion_automl.deadline import Deadline
from fusion_automl.evaluate import Problem
from fusion_automl.finish import finish
from fusion_automl.metrics import DEFAULTS, METRICS
from fusion_automl.search.order import Order
from fusion_automl.search.problem import write_problem
from fusion_automl.search.trial import TrialRunner
from fusion_automl.serve.model import Model, open_model
from fusion_automl.serve.models import Models
from fusion_automl.serve.plan import Plan, Setup
from fusion_automl.task import TaskKind
from tests.contracts.rows import mixed_dataset

CANDIDATES = (
    Candidate(
        fusion=Spec.of("concat"),
        encoders=(Spec.of("onehot"), Spec.of("pixels", components=0, size=8), Spec.of("series_stats")),
        classical=Spec.of("logistic"),
    ),
    Candidate(fusion=Spec.of("concat"), encoders=(Spec.of("ordinal"),), classical=Spec.of("random_forest")),
)
REGRESSION = (Candidate(fusion=Spec.of("concat"), encoders=(Spec.of("onehot"),), classical=Spec.of("ridge")),)

Listen = Callable[[str], pytest.LogCaptureFixture]


def make_run(run: Path, kind: TaskKind, candidates: tuple[Candidate, ...]) -> Path:
    """A run folder with an artifact, as `fit` leaves it, without a search."""
    dataset = mixed_dataset(kind)
    problem = Problem(dataset, make_split(dataset, num_folds=3, seed=0), METRICS[DEFAULTS[dataset.task.kind]], 0)
    write_problem(run, problem, {"budget": 60.0, "space": "default", "notes": []})
    runner = TrialRunner(run, threads=1)
    for candidate in candidates:
        order = Order(candidate)
        report = runner.run(order, deadline=Deadline.never(), on_fold=lambda *_: None, may_end_process=False)
        assert report.status == "done", report.reason
    deadline = Deadline.after(30)
    started = time.monotonic()
    finish(
        runner.ledger, problem, deadline=deadline, budget=60, started=started, test=None, notes=[], interrupted=False
    )
    return run


@pytest.fixture
def listen(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> Listen:
    """Has what a logger says in `caplog`, and there alone. Other tests run whole commands in this process, and libraries that
    these bring change what is logged where, or silence the loggers that they find."""

    def to(name: str) -> pytest.LogCaptureFixture:
        logger = logging.getLogger(name)
        for setting, value in (("disabled", False), ("handlers", [caplog.handler]), ("propagate", False)):
            monkeypatch.setattr(logger, setting, value)
        caplog.set_level(logging.INFO, logger=name)
        return caplog

    return to


@pytest.fixture(scope="session")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run(tmp_path_factory.mktemp("serve") / "shirts", "binary", CANDIDATES)


@pytest.fixture(scope="session")
def model(run_folder: Path) -> Model:
    return open_model(run_folder)


@pytest.fixture(scope="session")
def regression_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run(tmp_path_factory.mktemp("serve") / "prices", "regression", REGRESSION)


def serving(**models: Model) -> Models:
    """The models of a replica that has just come up, each under its name."""
    found = Models(load=lambda path: models[path])
    asyncio.run(found.update(Setup(tuple(Plan(name, path=name) for name in models))))
    return found


def next_version(run: Path, folder: Path) -> Path:
    """A copy of the run that is another version of the same model."""
    shutil.copytree(run / "artifact", folder / "artifact")
    with (folder / "artifact" / MANIFEST).open("a") as file:
        file.write("\n")
    return folder


def tampered(run: Path, folder: Path) -> Path:
    """A copy of the run with one byte changed."""
    next_version(run, folder)
    file = max(
        (path for path in (folder / "artifact" / "nodes").rglob("*") if path.is_file()),
        key=lambda it: it.stat().st_size,
    )
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    return folder
