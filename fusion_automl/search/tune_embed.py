"""Frozen nets over large data before the trials begin: the whole cluster embeds what one trial would embed for all others.

Before, because trials hold all CPUs until the search ends, and Ray Data starts its processes outside of their placement groups:
a pool that a trial had started would wait for the end of the trials, and the trial for the pool. A share of the CPUs for pools
alone would lie idle for the rest of the search.
"""

from __future__ import annotations

import logging
import tempfile
import time
from collections.abc import Generator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fusion_automl.candidate import Spec
from fusion_automl.component import component_class
from fusion_automl.data.dataset import Dataset
from fusion_automl.data.files import read_rows
from fusion_automl.deadline import Deadline
from fusion_automl.encoders import ENCODERS
from fusion_automl.encoders.frozen_embedding import whole
from fusion_automl.errors import FitError, FusionError, OutOfTime
from fusion_automl.fusion.bench import Bench
from fusion_automl.search.plan import Plan
from fusion_automl.search.portfolio import portfolio
from fusion_automl.search.problem import pull_problem, read_problem
from fusion_automl.search.space import LocalSpace
from fusion_automl.search.tune_cluster import Slots
from fusion_automl.search.tune_pool import Files, PoolError, Work, each, read_files, write_files
from fusion_automl.store.disk import Store
from fusion_automl.store.mirror import place
from fusion_automl.store.node import Node, Outputs, Part, load_part
from fusion_automl.store.parts import Parts
from fusion_automl.target import FittedTarget

logger = logging.getLogger(__name__)

MIN_ROWS = 5_000
"""With fewer rows no net is loaded to see how long it would take; the fastest need some 2 ms for a row."""
POOL_SECONDS = 15.0
"""What a pool costs before its first answer, mostly the import of torch in each process: it must save more."""
PATIENCE_SECONDS = 120.0
"""Without news for so long, the trials begin: others may hold the CPUs of the cluster."""
SAMPLE_ROWS = 256
STEP = 1024
"""Rows of a piece of work: from a second to half a minute."""


class NotWorthIt(FusionError):
    """One process embeds these rows as soon as many."""


def embed_ahead(plan: Plan, slots: Slots) -> None:
    """Puts the embeddings that the portfolio asks for into the run's store, where that is worth while and there is time.

    Each takes no longer than a trial may; what is not done then, or fails, is left to the trials.
    """
    specs = frozen_specs(plan.space) if plan.space.rows >= MIN_ROWS and slots.number > 1 else []
    if not specs:
        return
    problem = read_problem(plan.run)
    store = Store(plan.run / "store", plan.mirror)
    for spec in specs:
        deadline = plan.deadline.within(plan.max_seconds_per_trial)
        crew = _Crew(plan, slots, problem.dataset, store.folder, deadline)
        fold = problem.folds[0]
        bench = Bench(problem.dataset, fold, store, problem.seed, deadline, deadline, slots.cpus, crew.apply)
        try:
            bench.encode(spec)
        except Exception as error:  # a trial will meet it again, and record it
            logger.info("%s is left to the trials: %s", spec.name, error)


def frozen_specs(space: LocalSpace) -> list[Spec]:
    """The encoders of the portfolio that learn nothing, each once, in its order."""
    found = []
    for candidate in portfolio(space):
        for part in (candidate, *candidate.members):
            for spec in part.encoders:
                if not getattr(component_class(ENCODERS, spec.name, where="encoder"), "learns", True):
                    found.append(whole(spec))
    return list(dict.fromkeys(found))


@dataclass(frozen=True, slots=True)
class _Crew:
    """The processes of the cluster, for one embedding."""

    plan: Plan
    slots: Slots
    dataset: Dataset
    store: Path
    deadline: Deadline

    def apply(self, part: Part) -> tuple[Outputs, float]:
        """The embedding of all rows, and the seconds that all processes together took for it. Raises FusionError."""
        num_rows = len(self.dataset)
        seconds = _expected_seconds(part, self.dataset)
        if seconds * (1 - 1 / self.slots.number) < POOL_SECONDS:
            raise NotWorthIt(f"{num_rows} rows take one process {seconds:.0f} s")
        # Beside the store's folder for this node, so that a search that goes on finds what an earlier one has made.
        parts = Parts.begin(
            self.store / f".{part.node.key}.parts", rows=num_rows, size=len(part.fitted.names), step=STEP
        )
        rows_left = sum(map(len, parts.missing()))
        rows_done, seconds_spent, began = 0, 0.0, time.monotonic()
        with closing(self._answers(part, parts)) as answers:  # so that the CPUs are free before the trials want them
            for answer in answers:
                if answer["problem"]:
                    raise (OutOfTime if answer["late"] else FitError)(answer["problem"])
                parts.put(answer["start"], answer["vectors"])
                rows_done += answer["stop"] - answer["start"]
                seconds_spent += answer["seconds"]
                rows_left -= answer["stop"] - answer["start"]
                expected, left = (time.monotonic() - began) / rows_done * rows_left, self.deadline.seconds_left()
                if rows_done > 2 * STEP * self.slots.number and expected > 1.25 * left:
                    raise OutOfTime(f"{rows_left} rows to embed, {left:.0f} s left, {expected:.0f} s needed")
        if missing := parts.missing():
            raise PoolError(f"the processes that embedded rows {missing[0].start} to {missing[0].stop} died")
        logger.info("%s embedded rows=%d seconds=%.1f", part.node.key, rows_done, seconds_spent)
        return {"matrix": parts}, seconds_spent / max(rows_done, 1) * num_rows

    def _answers(self, part: Part, parts: Parts) -> Generator[dict[str, Any], None, None]:
        with tempfile.TemporaryDirectory() as folder:
            part.fitted.save(Path(folder))
            files = read_files(Path(folder))
        mirror = self.plan.mirror
        return each(
            [{"start": rows.start, "stop": rows.stop} for rows in parts.missing()],
            start,
            files=files,
            slots=self.slots,
            patience=max(1.0, min(PATIENCE_SECONDS, self.deadline.seconds_left())),
            run=mirror.uri if mirror else str(self.plan.run.resolve()),
            bucket_patience=mirror.bucket.patience if mirror else 0.0,
            node=part.node,
            ends_at=time.time() + self.deadline.seconds_left(),
        )


def start(files: Files, *, run: str, bucket_patience: float, node: Node, ends_at: float) -> Work:
    """In a process of the cluster: the function that embeds rows of the run's data. Both clocks show the same time."""
    folder, mirror = place(run, patience=bucket_patience)
    if mirror is not None:
        pull_problem(mirror)
    with tempfile.TemporaryDirectory() as state:
        write_files(files, Path(state))
        fitted = load_part(node, Path(state), FittedTarget()).fitted

    def work(piece: Mapping[str, Any]) -> dict[str, Any]:
        began = time.perf_counter()
        fitted.deadline = Deadline.after(ends_at - time.time())
        answer = {**piece, "vectors": b"", "problem": "", "late": False}
        try:
            vectors = fitted.transform(read_rows(folder / "data", fitted.columns, piece["start"], piece["stop"]))
        except FusionError as error:
            answer["problem"] = f"rows {piece['start']} to {piece['stop'] - 1}: {error}"
            answer["late"] = isinstance(error, OutOfTime)
        else:
            answer["vectors"] = vectors.tobytes()
        return {**answer, "seconds": time.perf_counter() - began}

    return work


def _expected_seconds(part: Part, dataset: Dataset) -> float:
    """What one process would take for all rows, from some of them."""
    rows = np.linspace(0, len(dataset) - 1, min(SAMPLE_ROWS, len(dataset))).astype(np.int64)
    sample = dataset.frame.iloc[rows]
    part.fitted.transform(sample.iloc[:16])  # pays for what is loaded late
    began = time.perf_counter()
    part.fitted.transform(sample)
    return (time.perf_counter() - began) / len(rows) * len(dataset)
