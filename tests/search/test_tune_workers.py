"""Trials that train their nets by several workers: how a cluster is shared, and a whole search on a cluster of two CPUs."""

from __future__ import annotations

import os
import re
import signal
import threading
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fusion_automl.errors import UserError
from fusion_automl.fitting import fit
from fusion_automl.search import tune
from fusion_automl.search.ledger import Ledger, Trial
from fusion_automl.search.propose import BASELINE
from tests.actors import actors_of
from tests.search.test_tune import Diary, plan

NETS = """
name = "nets"
description = "Nets alone, of which each is trained by two workers."

[backbone.tabm]
epochs = 2
num_members = {int = [2, 16]}

[fusion.backbone]

[[portfolio]]
fusion = "backbone"
backbones.tabular = "tabm"
"""

GB = 1e9
CPU, BIG = {"CPU": 2.0, "memory": 8 * GB}, {"CPU": 16.0, "memory": 64 * GB}
GPUS = {"CPU": 48.0, "GPU": 8.0, "memory": 96 * GB}


@pytest.mark.parametrize(
    ("nodes", "max_concurrent", "workers", "number", "cpus", "gpus", "fewest", "memory"),
    [
        ([CPU], None, 2, 1, 1, 0.0, 2, 8 * GB),
        ([BIG], None, 2, 8, 1, 0.0, 2, 8 * GB),
        ([BIG], 2, 2, 2, 4, 0.0, 2, 32 * GB),
        ([CPU, CPU, CPU], None, 4, 1, 1, 0.0, 2, 8 * GB),
        ([{"CPU": 3.0, "memory": GB}] * 2, 1, 3, 1, 1, 0.0, 2, GB),  # three of two CPUs each would not fit
        ([GPUS, CPU], None, 4, 2, 6, 1.0, 4, 48 * GB),  # on the machine with GPUs alone
        ([GPUS] * 4, None, 2, 16, 6, 1.0, 1, 24 * GB),
    ],
)
def test_a_trial_gets_room_for_all_its_workers(
    nodes: list[dict[str, float]],
    max_concurrent: int | None,
    workers: int,
    number: int,
    cpus: int,
    gpus: float,
    fewest: int,
    memory: float,
) -> None:
    from fusion_automl.search.tune_cluster import Slots, share_out

    assert share_out(nodes, max_concurrent, workers) == Slots(number, cpus, gpus, workers, fewest, int(memory))


@pytest.mark.parametrize(
    ("nodes", "said", "workers"),
    [
        ([BIG] * 8, {}, 1),
        ([GPUS], {}, 1),
        ([GPUS] * 2, {}, 1),
        ([GPUS] * 8, {}, 4),
        ([GPUS], {"max_concurrent": 2}, 4),
        ([GPUS] * 8, {"max_seconds_per_trial": 200.0}, 1),  # workers would hardly have started
        ([GPUS] * 8, {"workers_per_trial": 2}, 2),
        ([BIG], {"workers_per_trial": 2}, 2),
    ],
)
def test_gpus_that_no_further_trial_would_use_well_make_trials_faster(
    tmp_path: Path, nodes: list[dict[str, float]], said: dict[str, Any], workers: int
) -> None:
    from fusion_automl.search.tune_cluster import choose_workers

    assert choose_workers(nodes, replace(plan(tmp_path), **({"max_seconds_per_trial": 900.0} | said))) == workers


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"workers_per_trial": 0}, "--workers-per-trial: got 0, expected 1 or more"),
        ({"workers_per_trial": 2}, "--workers-per-trial: got 2 with the engine 'inline'. Add --engine ray"),
        (
            {"workers_per_trial": 2, "engine": "ray", "out": "s3://bucket/run"},
            "--workers-per-trial: workers find their rows in the run folder, and no two machines share s3://bucket/run",
        ),
    ],
)
def test_workers_that_nobody_can_give_are_told_at_once(tmp_path: Path, asked: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=re.escape(message)):
        fit("rows.parquet", target="y", **({"out": tmp_path} | asked))


def test_a_cluster_too_small_says_so_at_once(tmp_path: Path) -> None:
    asked = replace(plan(tmp_path), threads=2, workers_per_trial=3)
    with pytest.raises(
        UserError,
        match=r"^--workers-per-trial: got 3, and the cluster has room for 2, of one CPU each\. "
        r"Ask for no more than that, or add machines\.$",
    ):
        tune.search(asked, Diary())
    assert not Ledger(tmp_path).trials()


def searched(run: Path, diary: Diary) -> list[Trial]:
    """Two trials of two folds, on a cluster of two CPUs which each net wants both of."""
    asked: dict[str, Any] = {"threads": 2, "max_trials": 2, "max_seconds_per_trial": 200.0, "workers_per_trial": 2}
    tune.search(replace(plan(run, NETS, rows=900, seconds=420.0), **asked), diary)
    assert not (run / "training").exists()
    return [trial for trial in Ledger(run).trials() if trial.candidate != BASELINE]


@pytest.mark.slow
def test_a_search_on_two_cpus_ends_though_each_net_wants_both(tmp_path: Path) -> None:
    found = searched(tmp_path, Diary())
    assert [(trial.report.status, len(trial.report.fold_scores)) for trial in found] == [("done", 2)] * 2
    assert (tmp_path / "worker.log").read_text().count("workers=2 epochs=2") == 4  # two nets on two folds


@pytest.mark.slow
def test_what_a_killed_trial_leaves_is_no_hindrance(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FUSION_AUTOML_TEST", str(tmp_path))

    def kill_in_training() -> None:
        while len(actors_of(str(tmp_path), ("RayTrainWorker",))) < 2:
            time.sleep(0.1)
        (pid,) = actors_of(str(tmp_path), ("TrialActor",))
        os.kill(pid, signal.SIGKILL)

    diary = Diary(at=2, action=threading.Thread(target=kill_in_training, daemon=True).start)
    found = searched(tmp_path, diary)
    assert [trial.report.status for trial in found] == ["done", "done"]
    assert sorted(Counter(diary.started_keys).values())[-1] == 2  # the one that was killed was begun again
