"""Memory that runs out under one candidate: Ray ends its process, the search records that once and goes on."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
import pytest

SPACE = """
name = "hungry"
description = "A stump, whose score takes all memory, between two that are harmless."
[classical.decision_tree]
max_depth = 1
[classical.ridge]
[classical.knn]
[encoder.onehot]
[fusion.concat]
""" + "".join(
    f'[[portfolio]]\nfusion = "concat"\nencoders.tabular = "onehot"\nclassical = "{name}"\n'
    for name in ("ridge", "decision_tree", "knn")
)
METRIC = """
import time
import numpy as np

def likeness(y_true, y_pred):
    if len(np.unique(y_pred)) == 2 and len(y_true) < 300:  # a stump's on one fold, and nobody else's
        memory = []
        while len(memory) < 200:
            memory.append(np.ones(2**24))
            time.sleep(0.02)
        time.sleep(100.0)
    return -np.abs(y_true - y_pred).mean()
"""
GIGABYTES_TO_SPARE = 4.0


@pytest.mark.slow
def test_it_is_recorded_once_and_the_search_goes_on(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(400, 3))
    pd.DataFrame({"a": x[:, 0], "b": x[:, 1], "c": x[:, 2], "y": 3 * x[:, 0] + x[:, 1]}).to_csv(tmp_path / "train.csv")
    (tmp_path / "space.toml").write_text(SPACE)
    (tmp_path / "mine.py").write_text(METRIC)
    memory = psutil.virtual_memory()
    threshold = (memory.total - memory.available + GIGABYTES_TO_SPARE * 1e9) / memory.total
    assert threshold < 0.95
    words = ["--target", "y", "--space", tmp_path / "space.toml", "--metric", f"{tmp_path / 'mine.py'}:likeness"]
    words += ["--out", tmp_path / "run", "--budget", "200s", "--max-trials", "3", "--folds", "2", "--engine", "ray"]
    done = subprocess.run(
        [sys.executable, "-m", "fusion_automl.cli", "fit", tmp_path / "train.csv", *map(str, words), "--json"],
        env={**os.environ, "RAY_memory_usage_threshold": f"{threshold:.3f}", "RAY_memory_monitor_refresh_ms": "100"},
        capture_output=True,
        text=True,
        timeout=220,
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    summary = json.loads(done.stdout)
    assert (summary["num_trials"], summary["num_failed"]) == (3, 1)
    assert summary["failures"] == ["its process was killed: the machine's memory ran out"]
    assert (tmp_path / "run" / "worker.log").read_text().count("done") >= 2
