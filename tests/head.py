"""A Ray cluster of one machine, as a user has it: its own head with a dashboard, a token, and credentials for a bucket."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest
import requests

if TYPE_CHECKING:
    from tests.conftest import S3

TOKEN = "3f9c2b-not-a-secret-of-anybody"
START_SECONDS = 240.0


@dataclass(frozen=True, slots=True)
class Head:
    """Where the dashboard of a running cluster is, and the folder in which Ray keeps the cluster's logs."""

    address: str
    token: str
    folder: Path


def credentials(s3: S3) -> dict[str, str]:
    """The environment of somebody whom the bucket lets in."""
    return {
        "AWS_ENDPOINT_URL": s3.endpoint,
        "AWS_ACCESS_KEY_ID": s3.key_id,
        "AWS_SECRET_ACCESS_KEY": s3.secret,
        "AWS_DEFAULT_REGION": "us-east-1",
    }


@pytest.fixture(scope="session")
def head(s3_server: S3) -> Iterator[Head]:
    folder = Path(tempfile.mkdtemp(prefix="ray-", dir="/tmp"))  # Ray's sockets need a short path
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    bin_folder = Path(sys.executable).parent
    environment |= {
        **credentials(s3_server),
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": TOKEN,
        "RAY_USAGE_STATS_ENABLED": "0",
        "PATH": f"{bin_folder}{os.pathsep}{environment['PATH']}",
    }
    dashboard, gcs, agent, client = free_ports(4)
    words = [
        *("--head", "--block", "--num-cpus=2", "--object-store-memory=100000000", f"--temp-dir={folder}"),
        *("--node-ip-address=127.0.0.1", "--dashboard-host=127.0.0.1", f"--dashboard-port={dashboard}"),
        *(f"--port={gcs}", f"--dashboard-agent-listen-port={agent}", f"--ray-client-server-port={client}"),
        *("--min-worker-port=0", "--max-worker-port=0", "--disable-usage-stats"),
    ]
    with (folder / "start.log").open("w") as log:
        process = subprocess.Popen([bin_folder / "ray", "start", *words], env=environment, stdout=log, stderr=log)
    try:
        found = Head(f"http://127.0.0.1:{dashboard}", TOKEN, folder)
        _wait_until_ready(found, process)
        yield found
    finally:
        _end(process)
        shutil.rmtree(folder, ignore_errors=True)


def free_ports(number: int) -> list[int]:
    """Of this machine, different from each other."""
    sockets = [socket.socket() for _ in range(number)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def _wait_until_ready(head: Head, process: subprocess.Popen[bytes]) -> None:
    """Until the cluster takes jobs, which is a while after its dashboard answers."""
    ends = time.monotonic() + START_SECONDS
    while time.monotonic() < ends:
        assert process.poll() is None, (head.folder / "start.log").read_text()
        try:
            headers = {"Authorization": f"Bearer {head.token}"}
            if requests.get(f"{head.address}/api/jobs/", headers=headers, timeout=10).ok:
                return
        except requests.RequestException:
            pass
        time.sleep(0.5)
    raise AssertionError((head.folder / "start.log").read_text())


def _end(process: subprocess.Popen[bytes]) -> None:
    """Ends this cluster's processes and no other's, as `ray stop` would."""
    family = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
    process.terminate()
    try:
        process.wait(30)
    except subprocess.TimeoutExpired:
        process.kill()
    _, alive = psutil.wait_procs(family, timeout=10)
    for each in alive:
        each.kill()
    psutil.wait_procs(alive, timeout=10)
