"""A fitted part of a pipeline as a value: what it is, what feeds it, and which rows it learned from.

Parts form a graph. Encoders and backbones read the frame; the others read outputs of parts before them:

    encoders   frame              -> matrix      (rows, features) float32, dense or CSR
    backbones  frame              -> embedding   (rows, embedding_size) float32,  prediction (rows, outputs) float64
    networks   the same, of several backbones trained as one
    reducers   matrix             -> matrix
    classical  matrices, stacked  -> prediction
    combiners  predictions        -> prediction
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import scipy.sparse

from fusion_automl.backbones import BACKBONES
from fusion_automl.backbones.network import NETWORKS
from fusion_automl.candidate import Spec, digest
from fusion_automl.classical import CLASSICAL
from fusion_automl.component import Table, fitted_class
from fusion_automl.encoders import ENCODERS, Matrix
from fusion_automl.store.combiners import COMBINERS
from fusion_automl.store.reducers import REDUCERS
from fusion_automl.target import FittedTarget

TABLES: dict[str, Table] = {
    "encoders": ENCODERS,
    "backbones": BACKBONES,
    "networks": NETWORKS,
    "classical": CLASSICAL,
    "reducers": REDUCERS,
    "combiners": COMBINERS,
}
Outputs = dict[str, Any]


class Ref(NamedTuple):
    """One output of one node: `matrix`, `embedding` or `prediction`."""

    node: str
    output: str


@dataclass(frozen=True, slots=True)
class Node:
    """A line of a table, fitted. `rows` names the rows it learned from; `learned_from` what a combiner was fitted on;
    `parts` are the backbones inside a network."""

    table: str
    spec: Spec
    rows: str
    inputs: tuple[Ref, ...] = ()
    learned_from: tuple[Ref, ...] = ()
    target: str = "identity"
    parts: tuple[Spec, ...] = ()

    @property
    def key(self) -> str:
        return digest(self.to_json(), length=16)

    def to_json(self) -> dict[str, Any]:
        value = {
            "table": self.table,
            "spec": self.spec.to_json(),
            "rows": self.rows,
            "inputs": [list(ref) for ref in self.inputs],
            "learned_from": [list(ref) for ref in self.learned_from],
            "target": self.target,
        }
        return value | {"parts": [part.to_json() for part in self.parts]} if self.parts else value

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
        )


def stack_columns(matrices: Sequence[Matrix], num_rows: int) -> Matrix:
    """Puts matrices side by side; CSR as soon as one of them is CSR, one column of zeros where there is none."""
    if not matrices:
        return np.zeros((num_rows, 1), dtype=np.float32)
    if len(matrices) == 1:
        return matrices[0]
    if any(scipy.sparse.issparse(matrix) for matrix in matrices):
        return scipy.sparse.hstack([scipy.sparse.csr_matrix(matrix) for matrix in matrices], format="csr")
    return np.hstack(matrices)


def _encode(fitted: Any, inputs: Sequence[Any], frame: pd.DataFrame, target: FittedTarget) -> Outputs:
    return {"matrix": fitted.transform(frame)}


def _run_net(fitted: Any, inputs: Sequence[Any], frame: pd.DataFrame, target: FittedTarget) -> Outputs:
    embedding, prediction = fitted.forward(frame)
    return {"embedding": embedding, "prediction": target.inverse(prediction)}


def _reduce(fitted: Any, inputs: Sequence[Any], frame: pd.DataFrame, target: FittedTarget) -> Outputs:
    return {"matrix": fitted.transform(inputs[0])}


def _predict(fitted: Any, inputs: Sequence[Any], frame: pd.DataFrame, target: FittedTarget) -> Outputs:
    return {"prediction": target.inverse(fitted.predict(stack_columns(inputs, len(frame))))}


def _combine(fitted: Any, inputs: Sequence[Any], frame: pd.DataFrame, target: FittedTarget) -> Outputs:
    return {"prediction": fitted.combine(inputs)}


_APPLY: dict[str, Callable[[Any, Sequence[Any], pd.DataFrame, FittedTarget], Outputs]] = {
    "encoders": _encode,
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
    return Part(node, loads.load(state), target)
