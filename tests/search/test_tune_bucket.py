"""The Ray engine over machines that share nothing but a bucket: two nodes and a driver, each with a cache of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from fusion_automl.search.ledger import Ledger, read_events
from tests.tables import SPACE, table

RUN = "s3://fusion/runs/cluster"
SCRIPT = """
import json, os, sys
from ray.cluster_utils import Cluster
from fusion_automl import fit

place = sys.argv[1]
cluster = Cluster()
for number in range(2):
    os.environ["FUSION_AUTOML_CACHE"] = f"{place}/node{number}"  # what a node inherits, its trials do
    cluster.add_node(num_cpus=1, object_store_memory=80_000_000, include_dashboard=False)
os.environ["FUSION_AUTOML_CACHE"] = f"{place}/driver"
result = fit(f"{place}/train.csv", target="bought", out=sys.argv[2], space=f"{place}/tiny.toml", folds=2, budget="200s",
             max_trials=8, engine="ray", address=cluster.address)
print(json.dumps([str(result.run), result.summary, len(result.load().predict(f"{place}/train.csv"))]))
cluster.shutdown()
"""


def test_machines_that_share_nothing_but_a_bucket_search_together(s3: Any, tmp_path: Path) -> None:
    table(160).to_csv(tmp_path / "train.csv", index=False)
    (tmp_path / "tiny.toml").write_text(SPACE)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tmp_path), RUN],
        env={**environment, "RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0"},
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert done.returncode == 0, done.stderr
    folder, summary, num_predictions = json.loads(done.stdout.strip().splitlines()[-1])
    assert summary["num_trials"] == 8 and summary["num_failed"] == 0 and num_predictions == 160

    (driver,) = (tmp_path / "driver" / "runs").iterdir()
    assert Path(folder) == driver and not (driver / "worker.log").exists()
    keys = {trial.report.key for trial in Ledger(driver).trials()}
    # Tune hands the next trial to whichever process is free, so on a busy computer one node may start too late for any.
    logs = [path.read_text() for path in tmp_path.glob("node*/runs/*/worker.log")]
    fitted = [key for key in keys for log in logs if f" {key} done" in log or f" {key} pruned" in log]
    assert sorted(fitted) == sorted(keys), "each on one of the nodes, and known to the driver through the bucket alone"
    events = read_events((driver / "events.jsonl").read_text())
    assert sorted(event["key"] for event in events if event["event"] == "trial") == sorted(keys)
