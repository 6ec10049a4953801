"""Nets in a deployment of their own: when they move, that answers stay the same, and that a dead process costs none."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import psutil
import pytest

from fusion_automl.artifact.manifest import write_manifest
from fusion_automl.candidate import Candidate, Spec
from fusion_automl.data.plain import to_plain
from fusion_automl.errors import ArtifactError
from fusion_automl.serve.model import open_model
from fusion_automl.serve.nets import HOP_SECONDS, NETS, Nets, is_net, nets_to_move
from fusion_automl.serve.plan import NAME, Plan, Setup
from tests.contracts.rows import SCHEMA, mixed_dataset
from tests.head import Head
from tests.serve.conftest import make_run
from tests.serve.deployed import application, client, deployed

FRAME = mixed_dataset("binary", rows=24, seed=7).frame


def runs_as(run: Path, seconds: float) -> Path:
    """The run, as if each of its nets took so long for a row."""
    folder = run / "artifact"
    model = open_model(run)
    for key in model.artifact.manifest.nodes:
        if is_net(model.artifact.parts[key]):
            path = folder / "nodes" / key / "stats.json"
            path.write_text(json.dumps(json.loads(path.read_text()) | {"apply_seconds_one_row": seconds}))
    write_manifest(folder, model.artifact.manifest)
    return run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, checkpoints: dict[str, str]) -> Path:
    """Of a trained net, a frozen one, and encoders and models of other kinds."""
    words = Spec.of("text_embedding", checkpoint=checkpoints["text"])
    whole = Candidate(
        Spec.of("deep_features", components=4),
        encoders=(Spec.of("onehot"), words),
        backbones=(Spec.of("text_cnn", epochs=2),),
        classical=Spec.of("logistic"),
    )
    return runs_as(make_run(tmp_path_factory.mktemp("nets") / "shirts", "binary", (whole,)), 0.01)


def test_nets_move_where_a_row_costs_more_in_them_than_two_hops(run: Path) -> None:
    artifact = open_model(run).artifact
    nets = {key for key, part in artifact.parts.items() if is_net(part)}
    assert {artifact.parts[key].node.spec.name for key in nets} == {"text_embedding", "text_cnn"}
    for hops, moved in ((1.9, set()), (2.1, nets)):
        runs_as(run, hops * HOP_SECONDS / len(nets))
        assert set(nets_to_move(artifact, str(run))) == moved


def test_nets_of_another_version_than_the_one_asked_for_do_not_answer(run: Path) -> None:
    with pytest.raises(ArtifactError, match="and 0123456789ab is served from there"):
        asyncio.run(Nets().outputs(str(run), "0123456789ab", (), (), FRAME))


@pytest.fixture(scope="module")
def url(head: Head, run: Path) -> Iterator[str]:
    setup = Setup((Plan("shirts", str(run)),))
    deployments = [{"name": NAME, "user_config": setup.to_json()}, {"name": NETS, "num_replicas": 1}]
    with deployed(head, args={"cpus": "1", "net_gpus": "0"}, deployments=deployments) as found:
        yield found


def test_answers_are_those_of_one_process(head: Head, url: str, run: Path) -> None:
    assert set(application(head)["deployments"]) == {NAME, NETS}
    expected = open_model(run).artifact.predict_proba(FRAME).to_numpy()
    with client(url) as asking:
        for rows in (slice(0, 1), slice(0, None)):
            answer = asking.post("/v1/predict", json={"rows": to_plain(FRAME[rows], SCHEMA)}).json()
            found = [list(one["probabilities"].values()) for one in answer["predictions"]]
            np.testing.assert_allclose(found, expected[rows], atol=1e-6)


def test_nets_that_die_cost_no_answer(url: str, run: Path) -> None:
    body = {"rows": to_plain(FRAME, SCHEMA) * 40}  # of which nets take most of the time
    done = threading.Event()

    def ask() -> list[int]:
        found = []
        with client(url) as asking:
            while not done.is_set():
                found.append(asking.post("/v1/predict", json=body).status_code)
        return found

    with ThreadPoolExecutor(3) as pool:
        clients = [pool.submit(ask) for _ in range(3)]
        try:
            with client(url) as asking:
                (victim,) = replicas_of_nets()
                while victim.cpu_percent(0.1) < 50:  # until it is at work
                    pass
                victim.kill()
                for _ in range(3):  # whoever asks after that waits for the next one
                    assert asking.post("/v1/predict", json=body).status_code == 200
        finally:
            done.set()
        statuses = [status for each in clients for status in each.result()]
    assert len(statuses) > 3 and set(statuses) == {200}


def replicas_of_nets() -> list[psutil.Process]:
    return [
        process
        for process in psutil.process_iter(["cmdline"])
        if process.info["cmdline"] and NETS in process.info["cmdline"][0]
    ]
