"""A change to what a service on a cluster serves: its Serve config is read, changed, put back, and watched until it holds."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import requests

from fusion_automl.errors import FusionError, UserError
from fusion_automl.jobs.cluster import reach
from fusion_automl.serve.notice import read_notice
from fusion_automl.serve.plan import NAME, Plan, Setup

IMPORT_PATH = "fusion_automl.serve.deployment:application"
APPLICATIONS = "/api/serve/applications/"
ANSWER_SECONDS = 30.0
PATIENCE_SECONDS = 30.0
WAIT_SECONDS = 900.0
"""For all replicas to fetch, load and warm a version."""
POLL_SECONDS = 1.0
Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Service:
    """Ours among the applications of a cluster: `details` as Serve tells them, and what is served."""

    app: str
    details: Json
    setup: Setup

    @classmethod
    def of(cls, details: Json, *, model: str) -> Service:
        """The one that has the model. Raises UserError."""
        found = [service for service in _services(details) if any(plan.name == model for plan in service.setup.models)]
        if len(found) == 1:
            return found[0]
        if found:
            raise UserError(f"{model}: several services of the cluster have it: {', '.join(it.app for it in found)}.")
        known = sorted({plan.name for service in _services(details) for plan in service.setup.models})
        if known:
            raise UserError(f"{model}: no service of the cluster has such a model. Models: {', '.join(known)}.")
        raise UserError(
            f"{model}: the cluster runs no service of ours with a user_config. `serve deploy deploy/serve.yaml` starts one."
        )

    def config(self, setup: Setup) -> Json:
        """All that the cluster is to serve, with `setup` in this service; what is left out of it, Serve would end."""
        apps = self.details["applications"].values()
        config: Json = {word: self.details[word] for word in ("proxy_location", "http_options", "grpc_options")}
        config["target_capacity"] = self.details.get("target_capacity")
        config["applications"] = [
            copy.deepcopy(app["deployed_app_config"]) for app in apps if app.get("deployed_app_config")
        ]
        for app in config["applications"]:
            if app["name"] == self.app:
                _deployment(app["deployments"])["user_config"] = setup.to_json()
        return config

    @property
    def deployment(self) -> Json:
        found: Json = self.details["applications"][self.app]["deployments"][NAME]
        return found


def roll_out(address: str, model: str, change: Callable[[Plan], Plan]) -> tuple[Plan, int]:
    """Makes the change in all replicas and returns when it holds: the plan as it is now, and in how many.

    A version that any replica cannot load is taken back in all of them. Raises UserError for that, for a cluster that cannot be
    reached, and for a change that makes no sense there.
    """
    address, headers = reach(address)
    with requests.Session() as session:
        session.headers.update(headers)
        dashboard = _Dashboard(address, session)
        service = Service.of(dashboard.details(), model=model)
        now = service.setup.plan(model)
        plan = change(now)
        if plan == now:
            raise UserError(f"{model}: the service does so already: {plan.to_json()}.")
        told = dashboard.apply(service, service.setup.changed(plan))
        faults = sorted({faults[name] for faults in told for name in (model, "user_config") if name in faults})
        if faults:
            dashboard.apply(service, service.setup)
            raise UserError(f"{model}: the change is taken back, and all is as it was before: {'; '.join(faults)}")
    return plan, len(told)


class _Dashboard:
    def __init__(self, address: str, session: requests.Session) -> None:
        self.address = address
        self._session = session

    def details(self) -> Json:
        found: Json = self._ask("GET", APPLICATIONS).json()
        return found

    def apply(self, service: Service, setup: Setup) -> list[dict[str, str]]:
        """What each replica could not load, once all of them have taken the setup. Raises FusionError where they do not."""
        said = {line for replica in service.deployment["replicas"] for line in self._log(replica)}
        self._ask("PUT", APPLICATIONS, json=service.config(setup))
        ends = time.monotonic() + WAIT_SECONDS
        while time.monotonic() < ends:
            app = self.details()["applications"].get(service.app, {"status": "missing", "message": "It is gone."})
            deployment = app.get("deployments", {}).get(NAME, {})
            if app["status"] in ("DEPLOY_FAILED", "UNHEALTHY", "missing"):
                raise FusionError(f"{service.app}: {app['status']}: {deployment.get('message') or app['message']}")
            if (app["status"], deployment["status"]) == ("RUNNING", "HEALTHY"):
                told = [self._faults(replica, setup, said) for replica in deployment["replicas"]]
                if None not in told:
                    return [faults for faults in told if faults is not None]
            time.sleep(POLL_SECONDS)
        raise FusionError(
            f"{service.app}: not all replicas have said within {WAIT_SECONDS:.0f} s that they took the change; they may still "
            "do so. GET /v1/models and their logs tell."
        )

    def _faults(self, replica: Json, setup: Setup, said: set[str]) -> dict[str, str] | None:
        new = (line for line in reversed(self._log(replica)) if line not in said)
        found = (read_notice(line, setup.to_json()) for line in new)
        return next((faults for faults in found if faults is not None), None)

    def _log(self, replica: Json) -> list[str]:
        """The lines of a replica's log, as far as its node has them."""
        place = {"node_id": replica["node_id"], "filename": str(replica["log_file_path"]).lstrip("/"), "lines": "1000"}
        try:
            return self._ask("GET", "/api/v0/logs/file", params=place).text.splitlines()
        except FusionError:
            return []

    def _ask(self, method: str, path: str, **options: Any) -> requests.Response:
        """Patient with a dashboard that is just started again: all that is asked here may be asked twice."""
        ends = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                answer = self._session.request(method, self.address + path, timeout=ANSWER_SECONDS, **options)
                break
            except requests.RequestException as error:
                if time.monotonic() > ends:
                    reason = type(error).__name__
                    raise FusionError(f"{self.address}: the cluster does not answer any more ({reason}).") from None
                time.sleep(POLL_SECONDS)
        if not answer.ok:
            raise FusionError(f"{self.address}{path}: HTTP {answer.status_code}: {answer.text.strip()[-300:]}")
        return answer


def _services(details: Json) -> Iterator[Service]:
    for name, app in details.get("applications", {}).items():
        config = app.get("deployed_app_config") or {}
        if config.get("import_path") == IMPORT_PATH:
            user_config = _deployment(config.get("deployments", [])).get("user_config")
            if user_config is not None:
                yield Service(name, details, Setup.of(user_config))


def _deployment(deployments: list[Json]) -> Json:
    return next((it for it in deployments if it["name"] == NAME), {})
