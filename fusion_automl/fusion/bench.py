"""The bench on which a fusion builds a candidate: one fold of one dataset, with the store beside it.

What is learned from where, so that validation rows stay unseen and nothing is fitted twice:

    states               nothing: frozen layers, and encoders that do not learn, are the same in every fold
    encoders, reducers   the fold's train rows, never the target; a reducer that learns the target: what its head learns from
    backbones, networks  its `fit` rows, and rows beyond the dataset where it is a sample (but not on stored states); early
                         stopping on its `holdout` rows (both parts of train)
    classical            its train rows; once more on `fit` rows when a combiner has to learn how far to trust it
    combiners, metas     the members' predictions for `holdout` rows, which none of them learned from
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Literal

import numpy as np
import pandas as pd

from fusion_automl.backbones import BACKBONES, Below
from fusion_automl.backbones.network import NETWORKS
from fusion_automl.candidate import Spec, digest
from fusion_automl.classical import CLASSICAL
from fusion_automl.classical.balance import Balanced, balance
from fusion_automl.classical.rounds import settled
from fusion_automl.component import Table, build, component_class
from fusion_automl.data.dataset import Dataset
from fusion_automl.data.images import remember_images
from fusion_automl.data.split import Fold
from fusion_automl.deadline import Deadline
from fusion_automl.encoders import ENCODERS, STATES
from fusion_automl.encoders.frozen_embedding import whole
from fusion_automl.encoders.ngrams import remember_texts
from fusion_automl.errors import FitError, OutOfTime
from fusion_automl.store.columns import stack_columns
from fusion_automl.store.combiners import COMBINERS
from fusion_automl.store.disk import Made, Rows, Store
from fusion_automl.store.node import Node, Outputs, Part, Ref
from fusion_automl.store.reducers import REDUCERS
from fusion_automl.target import FittedTarget, fit_target

LearnFrom = Literal["train", "fit"]
STATES_SHARE = 0.4
"""The most of the time left that the states of frozen layers may take, which are worth nothing until others learn on them: 42 s
of 150 went to those of 18,788 reviews, and none were left for training."""
Apply = Callable[[Part], tuple[Outputs, float]]


@dataclass(slots=True)
class Bench:
    """Fits parts on one fold and hands out references to their outputs. `used` collects the nodes of the candidate,
    `once_seconds` what it took to make those that are the same in every fold.

    Nothing is begun after `deadline`. `share` is the moment by which this fold, of `folds_left` with it, should be over: what
    is fitted in rounds or epochs stops there with the best so far, so that later folds have their time. `apply_all`, where
    many machines do what this process does otherwise, gives a part's outputs for all rows and the seconds of processors that
    these took. `rounds` has, by `Store.shape`, how long models are to learn that else hold rows out to know when to stop.
    """

    dataset: Dataset
    fold: Fold
    store: Store
    seed: int
    deadline: Deadline
    share: Deadline
    threads: int
    apply_all: Apply | None = None
    folds_left: int = 1
    rounds: Mapping[str, int] = field(default_factory=dict)
    used: dict[str, None] = field(default_factory=dict)
    once_seconds: float = 0.0

    def encode(self, spec: Spec) -> Ref:
        """The matrix of an encoder for all rows."""
        encoder = build(ENCODERS, spec, where="encoder")
        if getattr(encoder, "learns", True):
            return Ref(self._encode("encoders", ENCODERS, spec, self.fold.train, self.deadline), "matrix")
        matrix = Ref(self._encode_once("encoders", ENCODERS, whole(spec), self.deadline), "matrix")
        if not encoder.components:
            return matrix
        return self.reduce(Spec.of("pca", components=encoder.components), [matrix], learn_from="train")

    def _encode_once(self, name: str, table: Table, spec: Spec, deadline: Deadline) -> str:
        started = time.perf_counter()
        key = self._encode(name, table, spec, self._all_rows(), deadline)
        self.once_seconds += time.perf_counter() - started
        return key

    def _encode(self, name: str, table: Table, spec: Spec, rows: Rows, deadline: Deadline) -> str:
        node = Node(name, spec, self._rows_id(rows))

        def make() -> Made:
            encoder = build(table, spec, where="encoder")
            data = self.dataset.take(rows)
            started = time.perf_counter()
            fitted = encoder.fit(data, seed=self._seed(node), deadline=deadline, threads=self.threads)
            return self._made(node, fitted, FittedTarget(), [], None, started)

        return self._obtain(node, make)

    def train(self, spec: Spec, target: str) -> tuple[Ref, Ref]:
        """The embedding and the prediction of a backbone for all rows."""
        backbone = build(BACKBONES, spec, where="backbone")
        if not hasattr(backbone, "below"):
            return self._train(Node("backbones", spec, self._net_rows_id(), target=target), backbone.fit)
        # Layers that learn nothing run once for all folds and for every way to train those above them.
        soon = self.deadline.within(STATES_SHARE * self.deadline.seconds_left())
        ref = Ref(self._encode_once("states", STATES, backbone.below(), soon), "states")
        states = self.store.read(ref, self._all_rows())
        below = Below(states[self.fold.fit], states[self.fold.holdout], self.store.state(ref.node))
        node = Node("backbones", spec, self._rows_id(self.fold.fit), inputs=(ref,), target=target)
        return self._train(node, partial(backbone.fit, below=below))

    def network(self, spec: Spec, parts: tuple[Spec, ...], target: str) -> tuple[Ref, Ref]:
        """The same of a network that trains these backbones as one."""
        node = Node("networks", spec, self._net_rows_id(), target=target, parts=parts)
        return self._train(node, partial(build(NETWORKS, spec, where="network").fit, parts))

    def _train(self, node: Node, fit: Callable[..., Any]) -> tuple[Ref, Ref]:
        def make() -> Made:
            bend = fit_target(node.target, self.dataset.y[self.fold.train])
            if self.dataset.beyond and not node.inputs:
                self.store.bring_shards(self.dataset.beyond, deadline=self.deadline)
            bent = self.dataset.bent(bend)
            data, holdout = bent.take(self.fold.fit), bent.take(self.fold.holdout)
            started = time.perf_counter()
            fitted = fit(data, holdout, seed=self._seed(node), deadline=self._stop_by(), threads=self.threads)
            states = [self.store.read(ref, self._all_rows()) for ref in node.inputs]
            return self._made(node, fitted, bend, states, None, started)

        key = self._obtain(node, make)
        return Ref(key, "embedding"), Ref(key, "prediction")

    def reduce(self, spec: Spec, inputs: Sequence[Ref], *, learn_from: LearnFrom) -> Ref:
        """Matrices made into one by a reducer, for all rows."""
        learns_target: bool = component_class(REDUCERS, spec.name, where="fusion").learns_target
        rows = self.fold.fit if learns_target and learn_from == "fit" else self.fold.train
        return self._reduce(Node("reducers", spec, self._rows_id(rows), tuple(inputs)), rows, None)

    def _reduce(self, node: Node, rows: Rows, unseen: Rows | None) -> Ref:
        def make() -> Made:
            reducer = build(REDUCERS, node.spec, where="fusion")
            inputs = [self.store.read(ref, self._all_rows() if unseen is None else unseen) for ref in node.inputs]
            learned = inputs if unseen is not None else [matrix[rows] for matrix in inputs]
            started = time.perf_counter()
            fitted = reducer.fit(
                learned,
                self.dataset.y[rows],
                task=self.dataset.task,
                categorical=self._categorical(node.inputs),
                seed=self._seed(node),
            )
            return self._made(node, fitted, FittedTarget(), inputs, unseen, started)

        return Ref(self._obtain(node, make), "matrix")

    def head(
        self, spec: Spec, inputs: Sequence[Ref], target: str, *, learn_from: LearnFrom, balance: str = "none"
    ) -> Ref:
        """A classical model's prediction: for validation rows when it learned from train, else for holdout rows."""
        rows, unseen = self._learn_and_unseen(learn_from)
        node = Node("classical", spec, self._rows_id(rows), tuple(inputs), target=target, balance=balance)
        return self._learn(node, node.inputs, rows, unseen)

    def meta(
        self,
        spec: Spec,
        on_holdout: Sequence[Ref],
        on_valid: Sequence[Ref],
        beside: Sequence[Ref],
        target: str,
        *,
        balance: str,
    ) -> Ref:
        """The prediction of a classical model over members for validation rows, learned from their predictions for holdout
        rows; `beside` are matrices that it sees too."""
        holdout, valid = self.fold.holdout, self.fold.valid
        learned = (self._scores(on_holdout, holdout), *beside)
        inputs = (self._scores(on_valid, valid), *beside)
        node = Node("classical", spec, self._rows_id(holdout), inputs, learned, target, balance=balance)
        return self._learn(node, learned, holdout, valid)

    def _scores(self, members: Sequence[Ref], rows: Rows) -> Ref:
        node = Node("reducers", Spec.of("member_scores"), self._rows_id(rows), tuple(members))
        return self._reduce(node, rows, rows)

    def _learn(self, node: Node, learned: Sequence[Ref], rows: Rows, unseen: Rows) -> Ref:
        rounds = self.rounds.get(self.store.shape(node)) if self.rounds else None
        if rounds:
            node = replace(node, spec=settled(node.spec, rounds))

        def make() -> Made:
            model = build(CLASSICAL, node.spec, where="classical")
            bend = fit_target(node.target, self.dataset.y[rows])
            X = stack_columns([self.store.read(ref, rows) for ref in learned], len(rows))
            known = Balanced(X, bend.forward(self.dataset.y[rows]), None, bend)
            task, categorical, seed = self.dataset.task, self._categorical(learned), self._seed(node)
            started = time.perf_counter()
            if node.balance != "none":
                known = balance(node.balance, X, known.y, task=task, categorical=categorical, seed=seed)
            fitted = model.fit(
                known.X,
                known.y,
                task=task,
                categorical=categorical,
                seed=seed,
                deadline=self.deadline if rounds else self._stop_by(),
                threads=self.threads,
                sample_weight=known.sample_weight,
            )
            inputs = [self.store.read(ref, unseen) for ref in node.inputs]
            return self._made(node, fitted, known.target, inputs, unseen, started)

        return Ref(self._obtain(node, make), "prediction")

    def combine(self, spec: Spec, on_holdout: Sequence[Ref], on_valid: Sequence[Ref]) -> Ref:
        """A combiner's prediction for validation rows, learned from the members' predictions for holdout rows (if any)."""
        holdout, valid = self.fold.holdout, self.fold.valid
        node = Node("combiners", spec, self._rows_id(holdout), tuple(on_valid), tuple(on_holdout))

        def make() -> Made:
            combiner = build(COMBINERS, spec, where="fusion")
            started = time.perf_counter()
            fitted = combiner.fit(
                [self.store.read(ref, holdout) for ref in on_holdout],
                self.dataset.y[holdout],
                task=self.dataset.task,
                seed=self._seed(node),
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
        outputs, apply_seconds = self.apply_all(part) if self.apply_all else _timed(part, inputs, frame)
        for name, output in outputs.items():
            values = output.data if hasattr(output, "indptr") else output
            # Ordinal codes keep missing numbers as nan; whatever else is not finite is a model gone astray.
            if name not in ("matrix", "states") and not np.isfinite(values).all():
                raise FitError(f"{node.spec.name} gave a non-finite {name}")
        one_row_seconds = min(_one_row_seconds(part, inputs, frame) for _ in range(2))
        return Made(part, outputs, rows, fit_seconds, apply_seconds, one_row_seconds)

    def _stop_by(self) -> Deadline:
        """When a fit in rounds should stop: at the fold's share, to which what is made once for all folds counts by its part
        only, but not before half of what a fold has of the time that is left. With more than that, a net in the first of five
        folds fills it, and four like it do not fit any more."""
        share = min(
            self.deadline, self.share.earlier(-self.once_seconds * (1 - 1 / self.folds_left)), key=lambda m: m.at
        )
        least = self.deadline.within(0.5 * self.deadline.seconds_left() / self.folds_left)
        return max(share, least, key=lambda m: m.at)

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
        return rows_id(self.dataset, rows, seed=self.seed)

    def _net_rows_id(self) -> str:
        """Of the rows that a net learns from; what learns on stored states of frozen layers has those of the fold alone."""
        rows, beyond = self._rows_id(self.fold.fit), self.dataset.beyond
        return digest([rows, beyond.name], length=16) if beyond else rows

    def _seed(self, node: Node) -> int:
        """From the node's content alone, so that the order of trials does not matter."""
        return int(node.key[:7], 16)


def rows_id(dataset: Dataset, rows: Rows, *, seed: int) -> str:
    """Names the content of these rows, and the run's seed, which every part fitted on them depends on."""
    content = hashlib.sha256(np.ascontiguousarray(rows, dtype=np.int64).tobytes()).hexdigest()[:16]
    return digest([dataset.fingerprint, content, seed], length=16)


def _timed(part: Part, inputs: Sequence[Any], frame: pd.DataFrame) -> tuple[Outputs, float]:
    started = time.perf_counter()
    return part.apply(inputs, frame), time.perf_counter() - started


def _one_row_seconds(part: Part, inputs: Sequence[Any], frame: pd.DataFrame) -> float:
    """What a single row costs, as a service asks for it: mostly the price of the call, which a batch hides.

    A service remembers no rows from before: with all texts of a run in memory one row took 44 ms where it takes 0.6.
    """
    first, row = [values[:1] for values in inputs], frame.iloc[:1]
    with remember_images(), remember_texts():
        started = time.perf_counter()
        part.apply(first, row)
        return time.perf_counter() - started
