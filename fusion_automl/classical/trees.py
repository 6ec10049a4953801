"""Scikit-learn's trees in one file of plain arrays.

Skops writes each array of each tree as a file of its own: 0.3 s for 300 trees, as long as growing them on 800 rows took.
Here the nodes of all trees lie one behind the other, which takes a hundredth of that.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fusion_automl.errors import ArtifactError

_FIELDS = {
    "left_child": np.int32,
    "right_child": np.int32,
    "feature": np.int32,
    "threshold": np.float64,
    "missing_go_to_left": np.uint8,
}
"""What predicting needs of a node; how many rows it saw in training is left out."""


def save_trees(trees: Sequence[Any], path: Path) -> None:
    """Writes `sklearn.tree._tree.Tree`s of one output each."""
    states = [tree.__getstate__() for tree in trees]
    nodes = np.concatenate([state["nodes"] for state in states])
    arrays: dict[str, Any] = {name: nodes[name].astype(kind) for name, kind in _FIELDS.items()}
    np.savez(
        path,
        sizes=np.array([state["node_count"] for state in states]),
        depths=np.array([state["max_depth"] for state in states]),
        values=np.concatenate([state["values"] for state in states]),
        num_features=trees[0].n_features,
        **arrays,
    )


def load_trees(path: Path) -> list[Any]:
    """Reads what `save_trees` wrote. Raises ArtifactError where a node points outside its tree or its row."""
    from sklearn.tree._tree import Tree

    with np.load(path, allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files}
    num_features, values = int(arrays["num_features"]), arrays["values"]
    num_classes = np.array([values.shape[2]], dtype=np.intp)
    template = Tree(num_features, num_classes, 1).__getstate__()["nodes"].dtype
    trees = []
    for end, size, depth in zip(arrays["sizes"].cumsum(), arrays["sizes"], arrays["depths"], strict=True):
        span = slice(end - size, end)
        nodes = np.zeros(size, dtype=template)
        for name in _FIELDS:
            nodes[name] = arrays[name][span]
        _check(nodes, num_features, path)
        tree = Tree(num_features, num_classes, 1)
        tree.__setstate__(
            {
                "max_depth": int(depth),
                "node_count": int(size),
                "nodes": nodes,
                "values": np.ascontiguousarray(values[span]),
            }
        )
        trees.append(tree)
    return trees


def _check(nodes: Any, num_features: int, path: Path) -> None:
    """Children come after their parent in the tree, so that walking it ends; the walk itself, in C, checks nothing."""
    inner = nodes["left_child"] >= 0
    place = np.arange(len(nodes))[inner]
    for side in ("left_child", "right_child"):
        child = nodes[side][inner]
        if not ((child > place) & (child < len(nodes))).all():
            raise ArtifactError(f"{path}: a node of a tree points outside it. Copy the artifact again.")
    feature = nodes["feature"][inner]
    if not ((feature >= 0) & (feature < num_features)).all():
        raise ArtifactError(f"{path}: a node of a tree asks for a feature that there is not. Copy the artifact again.")
