"""A search of five fixed candidates by the real command, what it finds undisturbed, and a cluster of three machines for it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from fusion_automl.search.ledger import Ledger

SPACE = """
name = "five"
description = "Five candidates, most of them busy for some seconds."
[classical.random_forest]
n_estimators = 250
[classical.extra_trees]
n_estimators = 250
[classical.logistic]
[encoder.onehot]
[encoder.ordinal]
[fusion.concat]
""" + "".join(
    f'[[portfolio]]\nfusion = "concat"\nencoders.tabular = "{encoder}"\nclassical = "{classical}"\n'
    for encoder in ("ordinal", "onehot")
    for classical in ("random_forest", "extra_trees", "logistic")
    if (encoder, classical) != ("onehot", "logistic")
)
NUM_CANDIDATES = 5
"""Too few for the last to be pruned: which of them is the last, chance decides where processes die."""
MARK = "FUSION_AUTOML_TEST"
"""An environment variable by which processes of one test are known."""
PATIENCE_SECONDS = 240.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a search comes to: the score of each candidate, the ensemble, and what it predicts."""

    scores: dict[str, float]
    weights: dict[str, float]
    score: float
    predictions: list[float]

    def must_be(self, other: Outcome) -> None:
        assert self.scores == pytest.approx(other.scores, rel=1e-9)
        assert self.weights == pytest.approx(other.weights, rel=1e-9)
        assert self.score == pytest.approx(other.score, rel=1e-9)
        assert self.predictions == pytest.approx(other.predictions, rel=1e-5, abs=1e-8)


@dataclass(frozen=True, slots=True)
class Search:
    """The command and its data. Each run writes what it says on standard error to `OUT.txt`."""

    folder: Path
    environment: dict[str, str] = field(default_factory=dict)

    def words(self, out: str | Path, *more: str) -> list[str]:
        data = [
            str(self.folder / "train.csv"),
            "--target",
            "y",
            "--space",
            str(self.folder / "five.toml"),
            "--folds",
            "2",
        ]
        asked = [] if "--resume" in more else data
        return ["fit", *asked, "--out", str(out), "--budget", "400s", "--max-trials", str(NUM_CANDIDATES), *more]

    def start(self, out: str | Path, *more: str, **environment: str) -> subprocess.Popen[str]:
        said = (self.folder / f"{Path(str(out)).name}.txt").open("a")
        with said:
            return subprocess.Popen(
                [sys.executable, "-m", "fusion_automl.cli", *self.words(out, *more), "--json"],
                env={**os.environ, "RAY_AUTH_MODE": "disabled", **self.environment, **environment},
                stdout=subprocess.PIPE,
                stderr=said,
                text=True,
            )

    def said(self, out: str | Path) -> str:
        return (self.folder / f"{Path(str(out)).name}.txt").read_text()

    def outcome(self, process: subprocess.Popen[str], out: str | Path) -> Outcome:
        """Of a search that ends well, checked for one result a candidate and nothing else."""
        printed, _ = process.communicate(timeout=PATIENCE_SECONDS)
        assert process.returncode == 0, self.said(out)
        assert "Traceback" not in self.said(out)
        summary: dict[str, Any] = json.loads(printed.splitlines()[-1])  # Ray tells of lost machines before it
        predicted = self.folder / "predicted.parquet"
        words = ["predict", str(out), str(self.folder / "new.csv"), "--out", str(predicted)]
        subprocess.run(
            [sys.executable, "-m", "fusion_automl.cli", *words],
            env={**os.environ, **self.environment},
            check=True,
            capture_output=True,
        )
        listed = subprocess.run(
            [sys.executable, "-m", "fusion_automl.cli", "leaderboard", str(out), "--json"],
            env={**os.environ, **self.environment},
            check=True,
            capture_output=True,
            text=True,
        )
        trials = [trial for trial in json.loads(listed.stdout)["trials"] if trial["fusion"] != "baseline"]
        assert [trial["status"] for trial in trials] == ["done"] * NUM_CANDIDATES
        assert (summary["num_trials"], summary["num_failed"]) == (NUM_CANDIDATES, 0)
        return Outcome(
            {trial["key"]: trial["score"] for trial in trials},
            {member["key"]: member["weight"] for member in summary["members"]},
            summary["score"],
            pd.read_parquet(predicted).filter(like="proba").iloc[:, 0].tolist(),
        )


@pytest.fixture(scope="session")
def search(tmp_path_factory: pytest.TempPathFactory) -> Search:
    folder = tmp_path_factory.mktemp("faults")
    rng = np.random.default_rng(0)
    for name, rows in (("train.csv", 3000), ("new.csv", 200)):
        x = rng.normal(size=(rows, 12))
        frame = pd.DataFrame(x, columns=[f"x{i}" for i in range(12)])
        frame["color"] = rng.choice(["red", "green", "blue"], rows)
        frame["y"] = np.where(
            x[:, 0] * x[:, 1] + x[:, 2] + (frame.color == "red") + rng.normal(0, 0.7, rows) > 0.3, "a", "b"
        )
        frame.to_csv(folder / name, index=False)
    (folder / "five.toml").write_text(SPACE)
    return Search(folder)


@pytest.fixture(scope="session")
def undisturbed(search: Search) -> Outcome:
    """What the same candidates come to in one process that nothing happens to."""
    out = search.folder / "undisturbed"
    return search.outcome(search.start(out), out)


def when(happens: Callable[[], Any], process: subprocess.Popen[str]) -> Any:
    """Waits for something that a running search will make true, and returns it."""
    ends = time.monotonic() + PATIENCE_SECONDS
    while not (found := happens()):
        assert process.poll() is None and time.monotonic() < ends, "it ended before that"
        time.sleep(0.05)
    return found


def finished(run: Path) -> dict[str, float]:
    """When each candidate of a run was finished, by key."""
    return {trial.report.key: trial.report.finished_at for trial in Ledger(run).trials()}


@dataclass
class Machines:
    """A Ray cluster: a head, and machines with one CPU each."""

    cluster: Any

    @property
    def address(self) -> str:
        return str(self.cluster.address)

    def add(self) -> Any:
        return self.cluster.add_node(num_cpus=1, object_store_memory=80_000_000, include_dashboard=False)

    def lose(self, machine: Any) -> None:
        """Its raylet is killed, and with it all that ran there."""
        self.cluster.remove_node(machine, allow_graceful=False)


@pytest.fixture
def machines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Machines]:
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")  # a cluster of several raylets on one machine knows no token
    monkeypatch.setenv(MARK, str(tmp_path))
    from ray.cluster_utils import Cluster

    head = {"num_cpus": 0, "object_store_memory": 80_000_000, "include_dashboard": False}
    found = Machines(Cluster(initialize_head=True, head_node_args=head))
    try:
        yield found
    finally:
        found.cluster.shutdown()


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
