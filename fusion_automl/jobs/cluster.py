"""A cluster's job server, spoken to through Ray's own client; whatever goes wrong there is one sentence here."""

from __future__ import annotations

import asyncio
import importlib.metadata
import logging
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import requests

from fusion_automl.errors import FusionError, UserError
from fusion_automl.jobs.auth import auth_headers
from fusion_automl.jobs.job import MARK, Job
from fusion_automl.jobs.submission import Submission

CONNECT_SECONDS = 10.0
RETRY_SECONDS = 2.0
PATIENCE_SECONDS = 60.0
"""So long a cluster that is being followed may be silent: its dashboard is started again, or a tunnel is."""
OVERRIDES = ("RAY_API_SERVER_ADDRESS", "RAY_ADDRESS")
"""Where one of these is set, Ray's client goes there, whatever address it is given."""
STOP_WAIT = "RAY_JOB_STOP_WAIT_TIME_S"
"""How long Ray's supervisor of a job waits between SIGTERM and SIGKILL; 3 s unless the job's environment says otherwise."""


def connect(address: str) -> Cluster:
    """The cluster whose dashboard is at `address`. Raises UserError where none answers, or it refuses the token."""
    address, headers = reach(address)
    from ray.job_submission import JobSubmissionClient

    logging.getLogger("ray.dashboard.modules.job.sdk").setLevel(logging.WARNING)  # it tells of each log that was read
    hidden = {name: os.environ.pop(name) for name in OVERRIDES if name in os.environ}
    try:
        with _explained(address):
            return Cluster(address, JobSubmissionClient(address, headers=dict(headers)))
    finally:
        os.environ.update(hidden)


def reach(address: str) -> tuple[str, dict[str, str]]:
    """The dashboard's address and the headers it wants, once it has answered: before Ray is imported, and with a limit of time,
    which Ray's client has not. Raises UserError."""
    address = address.rstrip("/")
    place = urlsplit(address)
    if place.scheme not in ("http", "https") or not place.hostname:
        raise UserError(f"--address: got '{address}', expected the dashboard of a cluster's head: http://HOST:8265.")
    headers = auth_headers()
    _knock(address, headers)
    return address, headers


def _knock(address: str, headers: Mapping[str, str]) -> None:
    try:
        answer = requests.get(f"{address}/api/version", headers=dict(headers), timeout=CONNECT_SECONDS)
    except requests.RequestException as error:
        raise UserError(
            f"--address: no cluster answers at {address} ({_reason(error)}). Is it up, and is this machine let through to "
            "its dashboard? From outside by `ray dashboard CLUSTER.yaml` or `ssh -L 8265:localhost:8265 HEAD`."
        ) from None
    if answer.status_code == 401:
        raise UserError(
            f"{address}: the cluster asks for a token. Set RAY_AUTH_TOKEN to it, or RAY_AUTH_TOKEN_PATH to a file that "
            "holds it; on the head, `ray get-auth-token` prints it."
        )
    if answer.status_code == 403:
        raise UserError(
            f"{address}: the cluster refuses this token. Check RAY_AUTH_TOKEN and RAY_AUTH_TOKEN_PATH; on the head, "
            "`ray get-auth-token` prints the right one."
        )
    if not answer.ok or "ray_version" not in answer.text:
        raise UserError(
            f"--address: what answers at {address} is not the dashboard of a Ray cluster (HTTP {answer.status_code}). "
            "Expected http://HOST:8265."
        )


class Cluster:
    """Made by `connect`. Methods raise UserError where the cluster knows no such job, FusionError where it fails."""

    def __init__(self, address: str, client: Any) -> None:
        self.address = address
        self._client = client

    def submit(self, submission: Submission) -> None:
        """Sends the job; it then depends on this process for nothing."""
        with _explained(self.address):
            self._client.submit_job(
                entrypoint=submission.entrypoint,
                submission_id=submission.id,
                metadata={
                    MARK: importlib.metadata.version("fusion_automl"),
                    "run": submission.run,
                    "target": submission.target,
                    "budget": submission.budget,
                },
                runtime_env={"env_vars": {STOP_WAIT: str(submission.stop_seconds)}},
            )

    def jobs(self) -> list[Job]:
        """Our jobs, as far back as the cluster remembers, newest first."""
        with _explained(self.address):
            found = [Job.of(details) for details in self._client.list_jobs() if MARK in (details.metadata or {})]
        return sorted(found, key=lambda job: -(job.started or 0.0))

    def job(self, job_id: str) -> Job:
        with _explained(self.address, job_id):
            return Job.of(self._client.get_job_info(job_id))

    def logs(self, job_id: str) -> str:
        with _explained(self.address, job_id):
            logs: str = self._client.get_job_logs(job_id)
        return logs

    def stop(self, job_id: str) -> bool:
        """Asks the job to end with what it has; False where it had ended already."""
        with _explained(self.address, job_id):
            if Job.of(self._client.get_job_info(job_id)).ended:
                return False
            return bool(self._client.stop_job(job_id))

    def wait(self, job_id: str) -> Job:
        """The job once it has ended."""
        return self.follow(job_id, lambda text: None)

    def follow(self, job_id: str, show: Callable[[str], None]) -> Job:
        """Hands the job's log to `show`, piece by piece as it is written, and returns the job once it has ended.

        A connection that breaks is made again, and the log taken up where it was; raises FusionError where the cluster
        stays away.
        """
        shown = 0

        async def tail() -> None:
            nonlocal shown
            skip = shown
            async for text in self._client.tail_job_logs(job_id):
                fresh, skip = text[skip:], max(0, skip - len(text))
                if fresh:
                    show(fresh)
                    shown += len(fresh)

        heard = time.monotonic()
        while True:
            try:
                self.job(job_id)
                heard = time.monotonic()
                with _explained(self.address, job_id):
                    asyncio.run(tail())
                job = self.job(job_id)
                if job.ended:
                    return job
            except FusionError as error:
                if isinstance(error, UserError) or time.monotonic() - heard > PATIENCE_SECONDS:
                    raise
            time.sleep(RETRY_SECONDS)


@contextmanager
def _explained(address: str, job_id: str = "") -> Iterator[None]:
    """Turns what Ray's client raises into sentences."""
    import aiohttp
    from ray.exceptions import AuthenticationError

    try:
        yield
    except AuthenticationError:
        raise UserError(
            f"{address}: the cluster refuses this token. Check RAY_AUTH_TOKEN and RAY_AUTH_TOKEN_PATH."
        ) from None
    except (requests.RequestException, aiohttp.ClientError, OSError) as error:
        raise FusionError(f"{address}: the cluster does not answer any more ({_reason(error)}).") from None
    except RuntimeError as error:
        found = re.search(r"status code (\d+): *(.*)", str(error), flags=re.DOTALL)
        status, text = found.groups() if found else ("", str(error))
        if status == "404" and job_id:
            raise UserError(
                f"{job_id}: the cluster at {address} knows no such job. `fusion-automl jobs list` shows those that it "
                "knows; what a forgotten one did is told by `fusion-automl jobs status RUN`, with its run folder."
            ) from None
        # An error of the server comes as its whole traceback; the last line is the reason.
        reason = text.strip().rstrip(".").rpartition("\n")[2]
        raise (UserError if status.startswith("4") else FusionError)(f"{job_id or address}: {reason}.") from None


def _reason(error: Exception) -> str:
    """The innermost reason in the words of the operating system, such as `Connection refused`."""
    if isinstance(error, requests.Timeout):
        return f"not within {CONNECT_SECONDS:.0f} s"
    return str(error).rpartition("] ")[2].rpartition(": ")[2].strip("')\"") or type(error).__name__
