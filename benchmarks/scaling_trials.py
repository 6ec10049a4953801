"""Trials a second and what the driver does for each, on a Ray cluster of several raylets on one machine.

CPUs exist on paper only: trials sleep instead of computing, so what is measured is asking, starting, recording and telling, as
a search does them. Counted is from the moment at which as many trials have ended as run at once.
"""

from __future__ import annotations

import json
import shutil
import statistics
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from fusion_automl.candidate import Candidate
from fusion_automl.data.prepare import prepare
from fusion_automl.data.split import make_split
from fusion_automl.deadline import Deadline
from fusion_automl.evaluate import Problem
from fusion_automl.metrics import METRICS
from fusion_automl.search.ledger import Ledger, Report
from fusion_automl.search.plan import Plan
from fusion_automl.search.problem import write_problem
from fusion_automl.search.propose import Proposer
from fusion_automl.search.read import read_space

NUM_FOLDS = 1
SECONDS_TO_START = 45.0
"""For processes to come up before anything is counted; with 32 of them on two cores that takes a minute."""


@dataclass(slots=True)
class Watch:
    """A listener that notes for each trial that ends the time, and the processor time that this process has used."""

    ends: list[tuple[float, float]] = field(default_factory=list)

    def started(self, candidate: Candidate) -> None: ...

    def fold_done(self, candidate: Candidate, fold: int, score: float) -> None: ...

    def finished(self, candidate: Candidate, report: Report) -> None:
        self.ends.append((time.perf_counter(), time.process_time()))


def make_sleeper(sleep: float) -> type:
    """The search's own trial process, but for the trial: it sleeps, and records a score drawn from the candidate's key."""
    from fusion_automl.search.tune_actor import TrialActor

    class Sleeper(TrialActor):
        def setup(self, config: dict[str, Any]) -> None:
            self._ledger = Ledger(Path(config["run"]))

        def cleanup(self) -> None: ...

        def reset_config(self, new_config: dict[str, Any]) -> bool:
            self._recorded = False
            return True

        def step(self) -> dict[str, Any]:
            if getattr(self, "_recorded", False):
                return {"score": self._score, "done": True, "reason": ""}
            candidate = Candidate.from_json(json.loads(self.config["order"])["candidate"])
            time.sleep(sleep)
            self._score = int(candidate.key, 16) / 16**12
            report = Report(candidate.key, "done", self._score, (self._score,), sleep, sleep, 0, 1)
            self._ledger.record(candidate, report, [np.zeros((200, 2))])
            self._recorded = True
            return {"score": self._score, "fold": 0}

    return Sleeper


def measure(nodes: int, cpus: int, sleep: float, seconds: float, train: Path) -> dict[str, Any]:
    """One search on a cluster of so many raylets."""
    import ray
    from ray.cluster_utils import Cluster

    from fusion_automl.search import tune, tune_actor

    run = Path(tempfile.mkdtemp(prefix="scaling"))
    dataset = prepare(train, target="class").dataset
    problem = Problem(dataset, make_split(dataset, num_folds=NUM_FOLDS, seed=0), METRICS["roc_auc"], 0)
    write_problem(run, problem, {"budget": seconds, "space": "classical", "notes": []})
    space = read_space("classical").restrict(dataset.schema, dataset.task, len(dataset))
    watch, asks = Watch(), []
    ask = Proposer.ask

    def timed(self: Proposer, deadline: Deadline) -> Any:
        began = time.perf_counter()
        found = ask(self, deadline)
        asks.append(time.perf_counter() - began)
        return found

    actor, Proposer.ask = tune_actor.TrialActor, timed  # type: ignore[method-assign]
    tune_actor.TrialActor = make_sleeper(sleep)  # type: ignore[misc]
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": cpus, "include_dashboard": False})
    try:
        for _ in range(nodes - 1):
            cluster.add_node(num_cpus=cpus)
        plan = Plan(
            run=run,
            space=space,
            seed=0,
            num_folds=NUM_FOLDS,
            deadline=Deadline.after(SECONDS_TO_START + seconds),
            max_seconds_per_trial=10 * sleep,
            max_trials=None,
            threads=cpus,
            address=cluster.address,
        )
        tune.search(plan, watch)
    finally:
        tune_actor.TrialActor, Proposer.ask = actor, ask  # type: ignore[misc, method-assign]
        ray.shutdown()
        cluster.shutdown()
        shutil.rmtree(run, ignore_errors=True)
    lanes = nodes * cpus
    if len(watch.ends) < 2 * lanes:
        raise SystemExit(f"{nodes} nodes: {len(watch.ends)} trials ended in {seconds:g} s, too few. Raise --seconds.")
    (began, cpu_began), (ended, cpu_ended) = watch.ends[lanes - 1], watch.ends[-1]
    trials = len(watch.ends) - lanes
    driver = (cpu_ended - cpu_began) / trials
    quarter = watch.ends[-1 - trials // 4]
    late = (cpu_ended - quarter[1]) / (trials // 4)
    return {
        "nodes": nodes,
        "lanes": lanes,
        "trials": trials,
        "trials_per_second": trials / (ended - began),
        "of_ideal": trials / (ended - began) * sleep / lanes,
        "driver_ms": 1000 * driver,
        "driver_load": (cpu_ended - cpu_began) / (ended - began),
        "ask_ms": 1000 * statistics.median(asks),
        "late_ms": 1000 * late,
    }
