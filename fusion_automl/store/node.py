"""A fitted part of a pipeline as a value: what it is, what feeds it, and which rows it learned from.

Parts form a graph. Encoders and backbones read the frame; the others read outputs of parts before them:

    encoders   frame              -> matrix      (rows, features) float32, dense or CSR
    states     frame              -> states      (rows, size), for each row as many vectors as it has tokens or patches
    backbones  frame (and states) -> embedding   (rows, embedding_size) float32,  prediction (rows, outputs) float64
    networks   the same, of several backbones trained as one
    reducers   matrices           -> matrix (of members' predictions too)
    classical  matrices, stacked  -> prediction
    combiners  predictions        -> prediction, and for values of some combiners their deviation (rows, 1)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from fusion_automl.backbones import BACKBONES
from fusion_automl.backbones.network import NETWORKS
from fusion_automl.candidate import Spec, digest
from fusion_automl.classical import CLASSICAL
from fusion_automl.component import Table, fitted_class
from fusion_automl.encoders import ENCODERS, STATES
from fusion_automl.store.columns import stack_columns
from fusion_automl.store.combiners import COMBINERS
from fusion_automl.store.reducers import REDUCERS
from fusion_automl.target import FittedTarget

TABLES: dict[str, Table] = {
    "encoders": ENCODERS,
    "states": STATES,
    "backbones": BACKBONES,
    "networks": NETWORKS,
    "classical": CLASSICAL,
    "reducers": REDUCERS,
    "combiners": COMBINERS,
}
Outputs = dict[str, Any]


class Ref(NamedTuple):
    """One output of one node: `matrix`, `states`, `embedding` or `prediction`."""

    node: str
    output: str


@dataclass(frozen=True, slots=True)
class Node:
    """A line of a table, fitted. `rows` names the rows it learned from; `learned_from` what a combiner was fitted on;
    `parts` are the backbones inside a network, `balance` how rows of rare classes were made to count."""

    table: str
    spec: Spec
    rows: str
    inputs: tuple[Ref, ...] = ()
    learned_from: tuple[Ref, ...] = ()
    target: str = "identity"
    parts: tuple[Spec, ...] = ()
    balance: str = "none"

    @property
    def key(self) -> str:
        return digest(self.to_json(), length=16)

    def to_json(self) -> dict[str, Any]:
        value: dict[str, Any] = {
            "table": self.table,
            "spec": self.spec.to_json(),
            "rows": self.rows,
            "inputs": [list(ref) for ref in self.inputs],
            "learned_from": [list(ref) for ref in self.learned_from],
            "target": self.target,
        }
        # What most nodes do not have stands in the JSON of those that have it, so that the keys of the others stay.
        value |= {"parts": [part.to_json() for part in self.parts]} if self.parts else {}
        return value | ({"balance": self.balance} if self.balance != "none" else {})

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Node:
        return cls(
            table=value["table"],
            spec=Spec.from_json(value["spec"]),
            rows=value["rows"],
            inputs=tuple(Ref(*ref) for ref in value["inputs"]),
            learned_from=tuple(Ref(*ref) for ref in value["learned_from"]),
            target=value["target"],
            parts=tuple(Spec.from_json(part) for part in value.get("parts", [])),
            balance=value.get("balance", "none"),
        )


def _encode(fitted: Any, inputs: Sequence[Any], frame: pd.DataFrame, target: FittedTarget) -> Outputs:
    return {"matrix": fitted.transform(frame)}


def _freeze(fitted: Any, inputs: Sequence[Any], frame: pd.DataFrame, target: FittedTarget) -> Outputs:
    return {"states": fitted.transform(frame)}


def _run_net(fitted: Any, inputs: Sequence[Any], frame: pd.DataFrame, target: FittedTarget) -> Outputs:
    embedding, prediction = fitted.forward(frame, *inputs)
    return {"embedding": embedding, "prediction": target.inverse(prediction)}


def _reduce(fitted: Any, inputs: Sequence[Any], frame: pd.DataFrame, target: FittedTarget) -> Outputs:
    return {"matrix": fitted.transform(inputs)}


def _predict(fitted: Any, inputs: Sequence[Any], frame: pd.DataFrame, target: FittedTarget) -> Outputs:
    return {"prediction": target.inverse(fitted.predict(stack_columns(inputs, len(frame))))}


def _combine(fitted: Any, inputs: Sequence[Any], frame: pd.DataFrame, target: FittedTarget) -> Outputs:
    return dict(fitted.outputs(inputs))


_APPLY: dict[str, Callable[[Any, Sequence[Any], pd.DataFrame, FittedTarget], Outputs]] = {
    "encoders": _encode,
    "states": _freeze,
    "backbones": _run_net,
    "networks": _run_net,
    "reducers": _reduce,
    "classical": _predict,
    "combiners": _combine,
}


@dataclass(frozen=True, slots=True)
class Part:
    """A node with its fitted state, ready to run."""

    node: Node
    fitted: Any
    target: FittedTarget

    def apply(self, inputs: Sequence[Any], frame: pd.DataFrame) -> Outputs:
        """All outputs for the rows of `frame`; `inputs` are the arrays of `node.inputs`, in order."""
        return _APPLY[self.node.table](self.fitted, inputs, frame, self.target)


def load_part(node: Node, state: Path, target: FittedTarget) -> Part:
    """Loads the fitted state in `state`; the class is the one that the table's component says its `fit` returns."""
    loads = fitted_class(TABLES[node.table], node.spec.name, where=node.table)
    # What was trained on a frozen net's states holds what it changed; the rest lies beside it, once for all folds.
    frozen = [state.parents[1] / ref.node / "state" for ref in node.inputs if ref.output == "states"]
    return Part(node, loads.load(state, *frozen), target)
