"""A service on a cluster that runs already, deployed and asked by its dashboard."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx

from fusion_automl.serve.rollout import IMPORT_PATH
from tests.head import Head, free_ports

SECRET = "clients-sesame"
START_SECONDS = 120


def dashboard(head: Head, method: str, **options: Any) -> httpx.Response:
    headers = {"Authorization": f"Bearer {head.token}"}
    address = f"{head.address}/api/serve/applications/"
    ends = time.monotonic() + 60
    while True:
        try:
            return httpx.request(method, address, headers=headers, timeout=60, **options).raise_for_status()
        except httpx.TransportError:  # the part of the dashboard that speaks for Serve comes up last
            assert time.monotonic() < ends
            time.sleep(0.5)


def application(head: Head) -> dict[str, Any]:
    """What Ray Serve knows of it."""
    found: dict[str, Any] = dashboard(head, "GET").json()["applications"]["shop"]
    return found


@contextmanager
def deployed(head: Head, *, args: dict[str, Any], deployments: list[dict[str, Any]]) -> Iterator[str]:
    """The address of the service, which answers clients that have SECRET."""
    (port,) = free_ports(1)
    config = {
        "proxy_location": "HeadOnly",
        "http_options": {"host": "127.0.0.1", "port": port, "request_timeout_s": 30},
        "applications": [
            {
                "name": "shop",
                "route_prefix": "/",
                "import_path": IMPORT_PATH,
                "args": args,
                "runtime_env": {"env_vars": {"FUSION_AUTOML_TOKEN": SECRET}},
                "deployments": deployments,
            }
        ],
    }
    dashboard(head, "PUT", json=config)
    try:
        ends = time.monotonic() + START_SECONDS
        while (found := application(head))["status"] != "RUNNING":
            assert found["status"] == "DEPLOYING" and time.monotonic() < ends, found
            time.sleep(0.2)
        yield f"http://127.0.0.1:{port}"
    finally:
        dashboard(head, "DELETE")


def client(url: str) -> httpx.Client:
    return httpx.Client(base_url=url, headers={"Authorization": f"Bearer {SECRET}"}, timeout=30)
