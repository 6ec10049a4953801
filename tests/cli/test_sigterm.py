"""SIGTERM, as a scheduler or Ray's job supervisor sends it, while the result is already being made."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

from tests.tables import SPACE, table


def test_sigterm_while_the_artifact_is_made_does_not_undo_it(tmp_path: Path) -> None:
    table(160).to_csv(tmp_path / "train.csv", index=False)
    (tmp_path / "tiny.toml").write_text(SPACE)
    run = tmp_path / "run"
    words = ["fit", "train.csv", "--target", "bought", "--space", "tiny.toml", "--folds", "2", "--max-trials", "2"]
    process = subprocess.Popen(
        [sys.executable, "-m", "fusion_automl.cli", *words, "--out", str(run), "--json"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    while not list(run.glob("*artifact*")) and process.poll() is None:
        time.sleep(0.002)
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=240)
    assert process.returncode == 0, err.decode()
    assert json.loads(out)["interrupted"] is False and (run / "summary.json").exists()
