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
    # Else Ray prints, on standard output, what the ledger, or the answer to a piece of work, tells.
    "RAY_DEDUP_LOGS_SKIP_REGEX": "|".join(
        ("worker died or was killed", "killed due to memory pressure", "task will be retried", "Raylet is terminated")
    ),
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

    All machines of a cluster must see the run folder under the same path, or the bucket of `plan.mirror`. Raises UserError
    where no cluster answers or its machines cannot run trials, and BucketError where the bucket is lost.
    """
    with quiet_ray():
        # Ray reads some of its settings while it is imported.
        from fusion_automl.search.tune_cluster import choose_workers, joined, nodes, slots
        from fusion_automl.search.tune_embed import embed_ahead

        with joined(plan.address, threads=plan.threads):
            in_time = replace(plan, deadline=plan.deadline.earlier(ENDING_SECONDS))
            found = slots(plan.max_concurrent, choose_workers(nodes(), plan))
            embed_ahead(in_time, slots(plan.max_concurrent))
            _tune(in_time, listener, found)


def _tune(plan: Plan, listener: Listener, slots: Slots) -> None:
    from ray import tune

    from fusion_automl.search.tune_actor import TRAINING, TrialActor
    from fusion_automl.search.tune_deaths import told_as_deaths
    from fusion_automl.search.tune_searcher import JointSearch, SearchOver, Usher

    run = plan.run.resolve()
    place = plan.mirror.uri if plan.mirror else str(run)
    searcher = JointSearch(plan, listener)
    storage = run / "tune"
    try:
        with told_as_deaths():
            tune.run(
                TrialActor,
                name=time.strftime("%Y%m%d-%H%M%S"),
                config={
                    "run": place,
                    "patience": plan.mirror.bucket.patience if plan.mirror else 0.0,
                    "threads": slots.threads,
                    "workers": [slots.workers, slots.fewest, slots.cpus, int(slots.gpus)],
                    "ends_at": time.time() + plan.deadline.seconds_left(),
                },
                search_alg=searcher,
                metric="score",
                mode="max",
                num_samples=-1,
                max_concurrent_trials=slots.number,
                resources_per_trial=slots.reserved,
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
        for leftovers in (storage, run / TRAINING):
            shutil.rmtree(leftovers, ignore_errors=True)
    searcher.close_overdue()
    if searcher.lost:
        raise searcher.lost
    if searcher.cannot_start:
        see = (
            "be let into this bucket by their own environment (AWS_ACCESS_KEY_ID or a role, AWS_ENDPOINT_URL)."
            if plan.mirror
            else "see the run folder under this path; name a shared folder, or a bucket, with --out."
        )
        raise RunError(
            f"{place}: the cluster's machines cannot run trials. All of them must have fusion_automl installed and {see}"
        )


@contextmanager
def quiet_ray() -> Iterator[None]:
    """Sets the environment for Ray and keeps its errors about single trials and pieces of work off the terminal."""
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
