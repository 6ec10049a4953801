"""A space with every structure in it, and small pieces to break."""

from __future__ import annotations

from pathlib import Path

from fusion_automl.search.read import read_space
from fusion_automl.search.space import Space

SMALL = """
name = "small"
description = "Every structure, few components."

[classical.lightgbm]
num_leaves = {int = [4, 64], log = true}
learning_rate = {float = [0.01, 0.3], log = true}
extra_trees = {choice = [false, true]}
n_estimators = 100

[classical.logistic]
C = {float = [0.001, 100.0], log = true}

[classical.ridge]
alpha = {float = [0.01, 1000], log = true}

[encoder.ordinal]
min_frequency = {int = [1, 10]}

[encoder.onehot]
scale = {choice = ["standard", "quantile"]}

[encoder.pixels]
components = {choice = [20, 50]}

[encoder.series_stats]

[encoder.minirocket]
kernels = {choice = [500, 2000]}

[backbone.text_cnn]
dropout = {float = [0, 0.6]}

[backbone.text_rnn]
cell = {choice = ["lstm", "gru"]}

[backbone.image_cnn]
dropout = {float = [0, 0.5]}

[fusion.backbone]

[fusion.concat]

[fusion.gated_net]
size = {choice = [32, 64]}

[fusion.hybrid]
net = {choice = ["gated", "sum"]}

[fusion.deep_features]
components = {int = [5, 60], log = true}

[fusion.average]

[fusion.stack]
C = {float = [0.01, 1.0], log = true}

[[portfolio]]
fusion = "concat"
encoders = {tabular = "ordinal", image = {name = "pixels", components = 50}, series = ["series_stats", "minirocket"]}
classical = {name = "lightgbm", num_leaves = 31}

[[portfolio]]
fusion = "concat"
encoders = {tabular = "ordinal"}
classical = {name = "lightgbm", num_leaves = 31}

[[portfolio]]
fusion = "concat"
encoders = {tabular = "ordinal"}
classical = {name = "lightgbm", num_leaves = 31}
target = "log"

[[portfolio]]
fusion = "backbone"
backbones = {text = {name = "text_cnn", dropout = 0.4}}

[[portfolio]]
fusion = {name = "deep_features", components = 10}
backbones = {text = "text_rnn"}
encoders = {tabular = "onehot", series = "minirocket"}
classical = "logistic"
tasks = ["binary", "multiclass"]

[[portfolio]]
fusion = "stack"
members = [
    {fusion = "concat", encoders = {tabular = "ordinal", image = {name="pixels", components=20}}, classical = "ridge"},
    {fusion = "concat", encoders = {series = "minirocket"}, classical = "lightgbm"},
    {fusion = "backbone", backbones = {text = "text_cnn"}},
]

[[portfolio]]
fusion = "concat"
encoders = {tabular = "onehot"}
classical = "ridge"
modalities = ["tabular", "image"]
max_rows = 5000

[[portfolio]]
fusion = "gated_net"
backbones = {text = "text_rnn", image = "image_cnn"}

[[portfolio]]
fusion = {name = "hybrid", net = "sum"}
backbones = {text = "text_cnn", image = "image_cnn"}
encoders = {image = {name = "pixels", components = 20}}
classical = "lightgbm"
balance = "oversample"
tasks = ["binary", "multiclass"]
mix = ["image", "text"]

[[portfolio]]
fusion = "stack"
encoders = {series = ["series_stats", "minirocket"]}
classical = "ridge"
members = [
    {fusion = "concat", encoders = {series = "minirocket"}, classical = "lightgbm"},
    {fusion = "backbone", backbones = {text = "text_cnn"}},
]
modalities = ["text", "series"]
tasks = ["regression"]
"""


def write(folder: Path, text: str = SMALL, *, replace: tuple[str, str] | None = None) -> Path:
    """A file with `text`, in which the first occurrence of one piece may be replaced by another."""
    if replace is not None:
        assert replace[0] in text
        text = text.replace(*replace, 1)
    path = folder / "mine.toml"
    path.write_text(text, encoding="utf-8")
    return path


def small_space(folder: Path) -> Space:
    return read_space(write(folder))
