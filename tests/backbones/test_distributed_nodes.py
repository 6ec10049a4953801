"""Training by workers on several machines, one of which is lost."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import numpy as np
import pytest

from fusion_automl.deadline import Deadline
from fusion_automl.search.tune import quiet_ray
from tests.backbones.jobs import job


@pytest.mark.slow
def test_training_goes_on_with_the_machine_that_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")  # a cluster of several raylets on one machine knows no token
    with quiet_ray():
        import ray
        from ray.cluster_utils import Cluster

        from fusion_automl.backbones.distributed import RayTrainer, Workers

        cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "object_store_memory": 80 * 1024**2})
        other = cluster.add_node(num_cpus=1, object_store_memory=80 * 1024**2)
        ray.init(address=cluster.address, log_to_driver=False)
        lost: list[float] = []

        def lose() -> None:
            while not list(tmp_path.glob("*/checkpoint_*/progress.json")):
                time.sleep(0.1)
            lost.append(time.monotonic())
            cluster.remove_node(other, allow_graceful=False)

        thread = threading.Thread(target=lose, daemon=True)
        thread.start()
        try:
            trainer = RayTrainer(tmp_path, Workers(2, fewest=1), checkpoint_seconds=0.0)
            _, training = trainer.train(job(seconds=0.3), deadline=Deadline.after(280.0), threads=1)
        finally:
            thread.join(5.0)
            ray.shutdown()
            cluster.shutdown()
    assert lost
    assert len(training.epochs) == 4
    assert np.isfinite([epoch.loss for epoch in training.epochs]).all()
