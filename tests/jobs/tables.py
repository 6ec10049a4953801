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
[encoder.onehot]
[fusion.concat]
[[portfolio]]
fusion = "concat"
encoders = {tabular = "onehot"}
classical = "logistic"
"""


def table(rows: int) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    x = rng.normal(size=rows)
    color = rng.choice(["red", "green", "blue"], rows)
    bought = x + (color == "red") + rng.normal(0, 0.7, rows) > 0.3
    return pd.DataFrame({"x": x, "color": color, "bought": np.where(bought, "yes", "no")})
