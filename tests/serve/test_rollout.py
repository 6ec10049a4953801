"""Versions rolled out in a service on a cluster, by its dashboard: under load, tried, taken back, and broken."""

from __future__ import annotations

import io
import json
import os
import re
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import httpx
import pytest

from fusion_automl.cli import main
from fusion_automl.errors import UserError
from fusion_automl.serve.model import open_model
from fusion_automl.serve.plan import NAME, Plan, Setup
from fusion_automl.serve.rollout import IMPORT_PATH, Service
from tests.head import Head
from tests.serve.conftest import next_version, tampered
from tests.serve.deployed import SECRET, application, client, dashboard, deployed


class Done(NamedTuple):
    returncode: int
    stdout: str
    stderr: str


@dataclass(frozen=True, slots=True)
class Deployed:
    """A service of two models on a cluster."""

    head: Head
    url: str
    paths: dict[str, str]

    def rollout(self, *words: str) -> Done:
        """The command, in this process: it needs no Ray."""
        environment = {"RAY_AUTH_TOKEN": self.head.token, "RAY_API_SERVER_ADDRESS": self.head.address}
        out, err, code = io.StringIO(), io.StringIO(), 0
        with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
            for name in [name for name in os.environ if name.startswith("RAY_")]:
                patch.delenv(name)
            for name, value in environment.items():
                patch.setenv(name, value)
            patch.setattr(sys, "argv", ["fusion-automl", "rollout", *words])
            try:
                main()
            except SystemExit as end:
                code = int(end.code or 0)
        return Done(code, out.getvalue(), err.getvalue())

    def client(self) -> httpx.Client:
        return client(self.url)

    def plan(self) -> Plan:
        return Service.of(dashboard(self.head, "GET").json(), model="shirts").setup.plan("shirts")


@pytest.fixture(scope="module")
def service(
    head: Head, run_folder: Path, regression_run: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Deployed]:
    folder = tmp_path_factory.mktemp("versions")
    paths = {
        "1": str(run_folder),
        "2": str(next_version(run_folder, folder / "2")),
        "3": str(regression_run),
        "tampered": str(tampered(run_folder, folder / "tampered")),
        "nowhere": str(folder / "nowhere"),
    }
    setup = Setup((Plan("shirts", paths["1"]), Plan("prices", paths["3"])))
    deployments = [{"name": NAME, "num_replicas": 2, "user_config": setup.to_json()}]
    with deployed(head, args={"cpus": "1"}, deployments=deployments) as url:
        yield Deployed(head, url, paths)


@dataclass(slots=True)
class Load:
    """Clients that ask without a pause, from `with` until its end."""

    service: Deployed
    statuses: Counter[int] = field(default_factory=Counter)
    versions: Counter[str] = field(default_factory=Counter)
    last: str = ""
    _done: threading.Event = field(default_factory=threading.Event)
    _threads: list[threading.Thread] = field(default_factory=list)

    def _ask(self) -> None:
        body = {"rows": [open_model(self.service.paths["1"]).artifact.manifest.example]}
        with self.service.client() as client:
            while not self._done.is_set():
                try:
                    answer = client.post("/v1/models/shirts/predict", json=body)
                except httpx.HTTPError:
                    self.statuses[0] += 1
                    continue
                self.statuses[answer.status_code] += 1
                if answer.is_success:
                    self.last = answer.json()["version"]
                    self.versions[self.last] += 1

    def __enter__(self) -> Load:
        self._threads = [threading.Thread(target=self._ask) for _ in range(4)]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        for thread in self._threads:
            thread.join()


def test_a_version_is_swapped_under_load_without_a_failure(service: Deployed) -> None:
    old, new = (open_model(service.paths[version]).version for version in "12")
    with Load(service) as load:
        done = service.rollout("shirts", service.paths["2"], "--json")
        time.sleep(0.5)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    assert told == {"name": "shirts", "path": service.paths["2"], "before": service.paths["1"], "replicas": 2}
    assert set(load.statuses) == {200} and load.last == new
    assert set(load.versions) == {old, new}
    back = service.rollout("shirts", "--back")
    assert back.returncode == 0 and f"shirts: {service.paths['1']} answers in 2 replicas." in back.stderr
    with service.client() as client:
        assert client.get("/v1/models/shirts/model").json()["version"] == old
        assert client.get("/v1/models/prices/schema").json()["task"] == "regression"


@pytest.mark.parametrize(("kind", "reason"), [("tampered", "checksum|SHA-256|changed"), ("nowhere", "neither a run")])
def test_a_broken_version_leaves_the_old_one_and_is_told(service: Deployed, kind: str, reason: str) -> None:
    before = service.plan()
    with Load(service) as load:
        done = service.rollout("shirts", service.paths[kind])
    assert done.returncode == 2 and done.stdout == ""
    assert "shirts: the change is taken back, and all is as it was before: " in done.stderr
    assert service.paths[kind] in done.stderr and re.search(reason, done.stderr), done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert set(load.statuses) == {200} and set(load.versions) == {open_model(service.paths["1"]).version}
    assert service.plan() == before


def test_a_canary_is_promoted_and_a_shadow_dropped(service: Deployed) -> None:
    first = service.plan().path
    other = service.paths["2" if first == service.paths["1"] else "1"]
    assert service.rollout("shirts", other, "--canary", "0.5").returncode == 0
    with Load(service) as load:
        time.sleep(1)
    assert len(load.versions) == 2 and set(load.statuses) == {200}
    assert service.rollout("shirts", "--promote").returncode == 0
    assert service.plan() == Plan("shirts", other, before=first)
    shadow = service.rollout("shirts", first, "--shadow")
    again = service.rollout("shirts", first, "--shadow")
    assert again.returncode == 2 and "shirts: the service does so already: " in again.stderr
    assert f"On trial: {first} gets a copy of the requests. Then: rollout shirts --promote, or --back" in shadow.stderr
    assert service.rollout("shirts", "--back").returncode == 0
    assert service.plan() == Plan("shirts", other, before=first)
    assert service.rollout("shirts", "--back").returncode == 0
    assert service.plan().path == first


def test_mistakes_are_one_sentence(service: Deployed) -> None:
    for words, sentence in (
        (("trousers", "--back"), "trousers: no service of the cluster has such a model. Models: prices, shirts."),
        (("prices", "--back"), f"prices: there is no version before {service.paths['3']} to go back to."),
        (("shirts",), "rollout: expected one of RUN, --promote and --back."),
        (("shirts", "x", "--canary", "2"), "--canary: got 2, expected a share of the requests between 0 and 1"),
        (("prices", service.paths["3"]), f"prices: {service.paths['3']} answers its requests already."),
    ):
        done = service.rollout(*words)
        assert done.returncode == 2 and sentence in done.stderr and len(done.stderr.splitlines()) == 1, done.stderr


def test_clients_tokens_are_not_in_what_serve_keeps_of_the_models(service: Deployed) -> None:
    deployment = application(service.head)["deployments"][NAME]
    assert SECRET not in json.dumps(deployment["deployment_config"]["user_config"])


def test_all_that_else_runs_on_the_cluster_stays_in_the_config() -> None:
    setup = Setup((Plan("shirts", "1"),))
    ours = {"name": "shop", "import_path": IMPORT_PATH, "deployments": [{"name": NAME, "user_config": setup.to_json()}]}
    other = {"name": "other", "import_path": "theirs:app", "deployments": [{"name": NAME, "user_config": {"a": 1}}]}
    details = {
        "proxy_location": "EveryNode",
        "http_options": {"port": 8000},
        "grpc_options": {"port": 9000},
        "target_capacity": 50.0,
        "applications": {
            "shop": {"deployed_app_config": ours},
            "other": {"deployed_app_config": other},
            "by_hand": {"deployed_app_config": None},
        },
    }
    service = Service.of(details, model="shirts")
    changed = setup.changed(setup.plan("shirts").to("2"))
    config = service.config(changed)
    assert config["applications"][1] == other and len(config["applications"]) == 2
    assert Setup.of(config["applications"][0]["deployments"][0]["user_config"]) == changed
    assert (config["proxy_location"], config["target_capacity"]) == ("EveryNode", 50.0)
    assert ours["deployments"] == [{"name": NAME, "user_config": setup.to_json()}]  # it is a copy that changes
    with pytest.raises(UserError, match=r"^x: the cluster runs no service of ours with a user_config\."):
        Service.of({"applications": {}}, model="x")
