"""The bench on which a fusion builds a candidate: one fold of one dataset, with the store beside it.

What is learned from where, so that validation rows stay unseen and nothing is fitted twice:

    encoders, reducers   the fold's train rows, never the target
    backbones, networks  its `fit` rows; early stopping on its `holdout` rows (both parts of train)
    classical            its train rows; once more on `fit` rows when a combiner has to learn how far to trust it
    combiners            the members' predictions for `holdout` rows, which none of them learned from
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

import numpy as np

from fusion_automl.backbones import BACKBONES
from fusion_automl.backbones.network import NETWORKS
from fusion_automl.candidate import Spec, digest
from fusion_automl.classical import CLASSICAL
from fusion_automl.component import build
from fusion_automl.data.dataset import Dataset
from fusion_automl.data.split import Fold
from fusion_automl.deadline import Deadline
from fusion_automl.encoders import ENCODERS
from fusion_automl.errors import FitError, OutOfTime
from fusion_automl.store.combiners import COMBINERS
from fusion_automl.store.disk import Made, Rows, Store
from fusion_automl.store.node import Node, Part, Ref, stack_columns
from fusion_automl.store.reducers import PCA
from fusion_automl.target import FittedTarget, fit_target

LearnFrom = Literal["train", "fit"]


@dataclass(slots=True)
class Bench:
    """Fits parts on one fold and hands out references to their outputs. `used` collects the nodes of the candidate.

    Nothing is begun after `deadline`. `share` is the moment by which this fold should be over: what is fitted in rounds
    or epochs stops there with the best so far, so that later folds have their time.
    """

    dataset: Dataset
    fold: Fold
    store: Store
    seed: int
    deadline: Deadline
    share: Deadline
    threads: int
    used: dict[str, None] = field(default_factory=dict)

    def encode(self, spec: Spec) -> Ref:
        """The matrix of an encoder for all rows."""
        node = Node("encoders", spec, self._rows_id(self.fold.train))

        def make() -> Made:
            encoder = build(ENCODERS, spec, where="encoder")
            data = self.dataset.take(self.fold.train)
            started = time.perf_counter()
            fitted = encoder.fit(data, seed=self._seed(node), deadline=self.deadline, threads=self.threads)
            return self._made(node, fitted, FittedTarget(), [], None, started)

        return Ref(self._obtain(node, make), "matrix")

    def train(self, spec: Spec, target: str) -> tuple[Ref, Ref]:
        """The embedding and the prediction of a backbone for all rows."""
        node = Node("backbones", spec, self._rows_id(self.fold.fit), target=target)
        return self._train(node, build(BACKBONES, spec, where="backbone").fit)

    def network(self, spec: Spec, parts: tuple[Spec, ...], target: str) -> tuple[Ref, Ref]:
        """The same of a network that trains these backbones as one."""
        node = Node("networks", spec, self._rows_id(self.fold.fit), target=target, parts=parts)
        return self._train(node, partial(build(NETWORKS, spec, where="network").fit, parts))

    def _train(self, node: Node, fit: Callable[..., Any]) -> tuple[Ref, Ref]:
        def make() -> Made:
            bend = fit_target(node.target, self.dataset.y[self.fold.train])
            bent = self.dataset.with_targets(bend.forward(self.dataset.y))
            data, holdout = bent.take(self.fold.fit), bent.take(self.fold.holdout)
            started = time.perf_counter()
            fitted = fit(data, holdout, seed=self._seed(node), deadline=self._stop_by(), threads=self.threads)
            return self._made(node, fitted, bend, [], None, started)

        key = self._obtain(node, make)
        return Ref(key, "embedding"), Ref(key, "prediction")

    def reduce(self, matrix: Ref, components: int) -> Ref:
        """Principal components of a matrix, for all rows."""
        spec = Spec.of("pca", components=components)
        node = Node("reducers", spec, self._rows_id(self.fold.train), inputs=(matrix,))

        def make() -> Made:
            wide = self.store.read(matrix, self._all_rows())
            started = time.perf_counter()
            fitted = PCA(components).fit(wide[self.fold.train], seed=self._seed(node))
            return self._made(node, fitted, FittedTarget(), [wide], None, started)

        return Ref(self._obtain(node, make), "matrix")

    def head(self, spec: Spec, inputs: Sequence[Ref], target: str, *, learn_from: LearnFrom) -> Ref:
        """A classical model's prediction: for validation rows when it learned from train, else for holdout rows."""
        rows, unseen = self._learn_and_unseen(learn_from)
        node = Node("classical", spec, self._rows_id(rows), inputs=tuple(inputs), target=target)

        def make() -> Made:
            model = build(CLASSICAL, spec, where="classical")
            bend = fit_target(target, self.dataset.y[rows])
            X = stack_columns([self.store.read(ref, rows) for ref in inputs], len(rows))
            started = time.perf_counter()
            fitted = model.fit(
                X,
                bend.forward(self.dataset.y[rows]),
                task=self.dataset.task,
                categorical=self._categorical(inputs),
                seed=self._seed(node),
                deadline=self._stop_by(),
                threads=self.threads,
            )
            return self._made(node, fitted, bend, [self.store.read(ref, unseen) for ref in inputs], unseen, started)

        return Ref(self._obtain(node, make), "prediction")

    def combine(self, spec: Spec, on_holdout: Sequence[Ref], on_valid: Sequence[Ref]) -> Ref:
        """A combiner's prediction for validation rows, learned from the members' predictions for holdout rows (if any)."""
        holdout, valid = self.fold.holdout, self.fold.valid
        node = Node("combiners", spec, self._rows_id(holdout), tuple(on_valid), tuple(on_holdout))

        def make() -> Made:
            combiner = build(COMBINERS, spec, where="fusion")
            started = time.perf_counter()
            fitted = combiner.fit(
                [self.store.read(ref, holdout) for ref in on_holdout], self.dataset.y[holdout], task=self.dataset.task
            )
            return self._made(
                node, fitted, FittedTarget(), [self.store.read(ref, valid) for ref in on_valid], valid, started
            )

        return Ref(self._obtain(node, make), "prediction")

    def _made(
        self, node: Node, fitted: Any, target: FittedTarget, inputs: Sequence[Any], rows: Rows | None, started: float
    ) -> Made:
        fit_seconds = time.perf_counter() - started
        part = Part(node, fitted, target)
        frame = self.dataset.frame if rows is None else self.dataset.frame.iloc[rows]
        started = time.perf_counter()
        outputs = part.apply(inputs, frame)
        for name, output in outputs.items():
            values = output.data if hasattr(output, "indptr") else output
            # Ordinal codes keep missing numbers as nan; whatever else is not finite is a model gone astray.
            if name != "matrix" and not np.isfinite(values).all():
                raise FitError(f"{node.spec.name} gave a non-finite {name}")
        return Made(part, outputs, rows, fit_seconds, time.perf_counter() - started)

    def _stop_by(self) -> Deadline:
        """When a fit in rounds should stop: at the fold's share, but where that is nearly used up (the first fold pays for
        encoders that the others find in the store) after a quarter of what the trial has left."""
        return max(self.share, self.deadline.within(0.25 * self.deadline.seconds_left()), key=lambda moment: moment.at)

    def _obtain(self, node: Node, make: Any) -> str:
        if self.deadline.passed():
            raise OutOfTime(f"no time left to fit {node.spec.name}")
        key = self.store.obtain(node, make, deadline=self.deadline)
        self.used[key] = None
        return key

    def _learn_and_unseen(self, learn_from: LearnFrom) -> tuple[Rows, Rows]:
        if learn_from == "train":
            return self.fold.train, self.fold.valid
        return self.fold.fit, self.fold.holdout

    def _categorical(self, inputs: Sequence[Ref]) -> tuple[int, ...]:
        """Where the category codes lie after the inputs are put side by side."""
        columns: list[int] = []
        offset = 0
        for ref in inputs:
            stats = self.store.stats(ref.node)
            columns += [offset + column for column in stats["categorical"]]
            offset += stats["widths"][ref.output]
        return tuple(columns)

    def _all_rows(self) -> Rows:
        return np.arange(len(self.dataset), dtype=np.int64)

    def _rows_id(self, rows: Rows) -> str:
        """Names the content of these rows, and the run's seed, which every part fitted on them depends on."""
        content = hashlib.sha256(np.ascontiguousarray(rows, dtype=np.int64).tobytes()).hexdigest()[:16]
        return digest([self.dataset.fingerprint, content, self.seed], length=16)

    def _seed(self, node: Node) -> int:
        """From the node's content alone, so that the order of trials does not matter."""
        return int(node.key[:7], 16)
