"""The Ray engine: Ray Tune and Optuna over the processes of a cluster; one at a time, the trials of the inline engine."""

from __future__ import annotations

import logging
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from fusion_automl.errors import RunError
from fusion_automl.search.plan import Listener, Plan

if TYPE_CHECKING:
    from fusion_automl.search.tune_cluster import Slots

SETTINGS = {
    "RAY_DEDUP_LOGS_SKIP_REGEX": "worker died or was killed|killed due to memory pressure",  # else Ray prints them
    "RAY_AIR_NEW_OUTPUT": "0",  # the new output prints even with verbose=0
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # the ledger is the log
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # Tune's handler would swallow the first Ctrl-C, and `fit` waits for it
    "TUNE_GLOBAL_CHECKPOINT_S": "1000000",  # a search is resumed from its ledger, so Tune need not save its state
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",  # a failed trial has its reason in the ledger
}
"""Environment variables of Ray for the time of a search; what the user has set stays."""

ENDING_SECONDS = 1.0
"""Ray takes 1.1 to 1.4 s to end its processes."""


def search(plan: Plan, listener: Listener) -> None:
    """Runs trials until the deadline, `max_trials`, or the end of the space. The results are in the ledger.

    All machines of a cluster must see the run folder under the same path. Raises UserError where no cluster answers or
    its machines cannot run trials.
    """
    with _quiet_ray():
        # Ray reads some of its settings while it is imported.
        from fusion_automl.search.tune_cluster import joined, slots

        with joined(plan.address, threads=plan.threads):
            in_time = replace(plan, deadline=plan.deadline.earlier(ENDING_SECONDS))
            _tune(in_time, listener, slots(plan.max_concurrent))


def _tune(plan: Plan, listener: Listener, slots: Slots) -> None:
    from ray import tune

    from fusion_automl.search.tune_actor import TrialActor
    from fusion_automl.search.tune_searcher import JointSearch, SearchOver, Usher

    run = plan.run.resolve()
    searcher = JointSearch(plan, listener)
    storage = run / "tune"
    try:
        tune.run(
            TrialActor,
            name=time.strftime("%Y%m%d-%H%M%S"),
            config={
                "run": str(run),
                "threads": slots.cpus,
                "ends_at": time.time() + plan.deadline.seconds_left(),
                "max_seconds_per_trial": plan.max_seconds_per_trial,
            },
            search_alg=searcher,
            metric="score",
            mode="max",
            num_samples=-1,
            max_concurrent_trials=slots.number,
            resources_per_trial={"cpu": slots.cpus, "gpu": slots.gpus},
            reuse_actors=True,
            callbacks=[Usher(searcher)],
            storage_path=str(storage),
            trial_dirname_creator=lambda trial: trial.trial_id,
            raise_on_failed_trial=False,
            verbose=0,
        )
    except SearchOver:
        pass
    finally:
        searcher.kill()
        shutil.rmtree(storage, ignore_errors=True)
    searcher.close_overdue()
    if searcher.cannot_start:
        raise RunError(
            f"{run}: the cluster's machines cannot run trials. All of them must have fusion_automl installed "
            "and see the run folder under this path; name a shared folder with --out."
        )


@contextmanager
def _quiet_ray() -> Iterator[None]:
    """Sets the environment for Ray and keeps its errors about single trials off the terminal."""
    added = [name for name in SETTINGS if name not in os.environ]
    logger = logging.getLogger("ray.tune")
    level = logger.level
    os.environ |= {name: SETTINGS[name] for name in added}
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)
        for name in added:
            os.environ.pop(name, None)
