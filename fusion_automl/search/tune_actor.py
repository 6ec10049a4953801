"""One process of the cluster that runs trials, one after another, a fold a step."""

from __future__ import annotations

import json
import logging
import math
import time
from collections.abc import Generator
from contextlib import ExitStack
from typing import Any

from ray import tune

from fusion_automl.backbones.job import trained_by
from fusion_automl.data.images import remember_images
from fusion_automl.deadline import Deadline
from fusion_automl.encoders.ngrams import remember_texts
from fusion_automl.errors import DiskFullError
from fusion_automl.evaluate import FoldResult
from fusion_automl.search.ledger import Report
from fusion_automl.search.order import Order
from fusion_automl.search.problem import pull_problem
from fusion_automl.search.trial import TrialRunner
from fusion_automl.store.mirror import place

TRAINING = "training"
"""The folder of a run in which workers find what to train, and leave their checkpoints."""

LOG_FORMAT = "%(asctime)s %(process)d %(levelname)s %(name)s %(message)s"


class TrialActor(tune.Trainable):
    """Runs the candidate of its config and records it in the ledger; reused, so that data and libraries load once.

    The config holds `run`, a folder that all machines see or a URI, with the `patience` to have with that; `threads`; the
    fields of `Workers`; the `order` as JSON text; and `ends_at`, when the search ends on the wall clock, which all machines
    share. A step yields `score` and `fold`; the last one only says that the report is in the ledger, or
    the `reason` why it is not found there, or that the disk is `full`. Ends this process when a fit overruns its deadline.
    """

    def setup(self, config: dict[str, Any]) -> None:
        import skops.io  # noqa: F401  # brings scikit-learn and torch; seconds that the first trial should not pay

        run, mirror = place(config["run"], patience=config["patience"])
        if mirror is not None:
            pull_problem(mirror)
        logging.basicConfig(filename=run / "worker.log", level=logging.INFO, format=LOG_FORMAT)
        self._runner = TrialRunner(run, threads=config["threads"], mirror=mirror)
        self._folds: Generator[FoldResult, None, Report] | None = None
        self._memory = ExitStack()
        self._memory.enter_context(remember_images())
        self._memory.enter_context(remember_texts())
        if config["workers"][0] > 1:
            from fusion_automl.backbones.distributed import RayTrainer, Workers

            self._memory.enter_context(trained_by(RayTrainer(run / TRAINING, Workers(*config["workers"]))))

    def cleanup(self) -> None:
        self._memory.close()

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self._folds = None
        return True

    def step(self) -> dict[str, Any]:
        if self._folds is None:
            order = Order.from_json(json.loads(self.config["order"]))
            deadline = Deadline.after(self.config["ends_at"] - time.time()).within(order.max_seconds)
            self._folds = self._runner.folds(order, deadline=deadline, may_end_process=True)
        try:
            result = next(self._folds)
        except StopIteration as end:
            score = end.value.score
            return {"score": math.nan if score is None else score, "done": True, "reason": end.value.reason}
        except DiskFullError as error:
            return {"score": math.nan, "done": True, "full": str(error)}
        return {"score": result.score, "fold": result.fold}
