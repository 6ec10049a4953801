"""A small table, and a space of quick models for it."""

from __future__ import annotations

import numpy as np
import pandas as pd

SPACE = """
name = "tiny"
description = "Two quick models."
[classical.decision_tree]
max_depth = {int = [1, 12]}
min_samples_leaf = {int = [1, 20]}
[classical.logistic]
C = {float = [0.001, 1000.0], log = true}
[encoder.ordinal]
[encoder.onehot]
[fusion.concat]
[fusion.average]
[[portfolio]]
fusion = "concat"
encoders = {tabular = "onehot"}
classical = "logistic"
[[portfolio]]
fusion = "concat"
encoders = {tabular = "ordinal"}
classical = {name = "decision_tree", min_samples_leaf = 5}
"""


def table(rows: int, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(rows, 2))
    color = rng.choice(["red", "green", "blue"], rows)
    bought = x[:, 0] + (color == "red") + rng.normal(0, 0.7, rows) > 0.3
    return pd.DataFrame({"x": x[:, 0], "z": x[:, 1], "color": color, "bought": np.where(bought, "yes", "no")})
