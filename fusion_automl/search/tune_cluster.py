"""The Ray cluster that a search runs on: the user's, or a private one on this machine that ends with the search."""

from __future__ import annotations

import logging
import math
import os
import secrets
import signal
import socket
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import ray
from ray.exceptions import RayError

from fusion_automl.errors import UserError
from fusion_automl.search.plan import Plan

OBJECT_STORE_BYTES = 100 * 1024**2
"""Trials read the data from the run folder; only candidates and scores travel through Ray."""

MOST_AT_ONCE = 256
"""The driver needs 31 to 44 ms of processor time a trial (`benchmarks/scaling.py`): so many of 20 s keep half a core busy."""
ENOUGH_AT_ONCE = 16
"""Trials on GPUs; further GPUs make these faster instead of adding more."""
LONG_TRIAL_SECONDS = 300.0
"""A trial of several folds that may take so long has the time for its workers to start, some 12 s for each net."""

CONNECT_SECONDS = 5.0

LOCAL = "local"
"""The address that stands for a private cluster, in Ray's own words."""

QUIET: Mapping[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}


@dataclass(frozen=True, slots=True)
class Slots:
    """How many trials run at once, and the whole CPUs and the share of a GPU that each of them gets.

    Where a trial trains its nets by several `workers`, each of these gets the CPUs and GPUs, and training goes on with `fewest`
    when machines are lost. The trial's own process then reserves `memory` alone: it waits while its workers work, and they
    need the CPUs that it would hold.
    """

    number: int
    cpus: int
    gpus: float = 0.0
    workers: int = 1
    fewest: int = 1
    memory: int = 0

    @property
    def threads(self) -> int:
        """Of a trial's own process."""
        return self.cpus * self.workers

    @property
    def reserved(self) -> dict[str, float]:
        """What Ray has to find for a trial's own process."""
        return {"cpu": self.cpus, "gpu": self.gpus} if self.workers == 1 else {"cpu": 0, "memory": self.memory}


def share_out(nodes: Sequence[Mapping[str, float]], max_concurrent: int | None, workers: int = 1) -> Slots:
    """Divides the nodes' resources: one trial on each CPU up to MOST_AT_ONCE, beyond that more CPUs for each, and at least one
    trial a node; or `max_concurrent` trials with as many CPUs as each can have. Of more trials than there are CPUs the last
    wait for machines to come: what waits makes a cluster grow that does so on demand.

    Where some nodes have GPUs, trials run only there, and those of a node share its GPUs; workers have one each. Raises
    UserError where not even one trial has room for its workers.
    """
    gpu_nodes = [node for node in nodes if node.get("GPU") and node.get("CPU")]
    usable = [node for node in gpu_nodes or nodes if node.get("CPU", 0) >= 1]
    total = sum(int(node["CPU"]) for node in usable)
    if total == 0:
        return Slots(max_concurrent or 1, 1, workers=workers, fewest=workers, memory=int(workers > 1))
    if workers > 1:
        return _share_among_workers(usable, max_concurrent, workers)
    number = max_concurrent or min(total, max(MOST_AT_ONCE, len(usable)))
    cpus = max(1, min(total // number, min(int(node["CPU"]) for node in usable)))
    # Ray counts in ten-thousandths, and three times 0.3334 would not fit on one GPU.
    gpus = min(
        math.floor(1e4 / math.ceil(int(node["CPU"]) // cpus / node["GPU"])) / 1e4 if node.get("GPU") else 0.0
        for node in usable
    )
    return Slots(number, cpus, gpus)


def _share_among_workers(nodes: Sequence[Mapping[str, float]], max_concurrent: int | None, workers: int) -> Slots:
    """No more trials than have room for all their workers at once: one that waited for another's would wait for ever."""
    on_gpus = any(node.get("GPU") for node in nodes)

    def room(cpus: int) -> int:
        """For so many workers of so many CPUs."""
        return sum(min(int(node["CPU"]) // cpus, int(node["GPU"]) if on_gpus else 10**9) for node in nodes)

    if room(1) < workers:
        each = "one CPU and one GPU" if on_gpus else "one CPU"
        raise UserError(
            f"--workers-per-trial: got {workers}, and the cluster has room for {room(1)}, of {each} each. "
            "Ask for no more than that, or add machines."
        )
    number = min(max_concurrent or room(1), room(1) // workers)
    most_cpus = max(int(node["CPU"]) for node in nodes)
    cpus = next(cpus for cpus in range(most_cpus, 0, -1) if room(cpus) >= number * workers)
    # Shares of memory spread the trials' own processes over the machines, as they hold no CPUs that would.
    memory = min(node.get("memory", 1.0) for node in nodes) / math.ceil(number / len(nodes))
    fewest = workers if len(nodes) == 1 else math.ceil(workers / 2)
    return Slots(number, cpus, float(on_gpus), workers, fewest, int(memory))


def choose_workers(nodes: Sequence[Mapping[str, float]], plan: Plan) -> int:
    """By how many workers a trial's nets should be trained: as many as the plan says, else one, unless there are more GPUs than
    trials that may run at once.

    Several trials find more in the same time than one trial on several workers, up to where proposals know too little of
    trials that still run; and processors are used as well by trials of one process.
    """
    if plan.mirror:  # workers find what to train in the run folder, and no two machines share that of a bucket
        return 1
    if plan.workers_per_trial is not None:
        return plan.workers_per_trial
    if plan.max_seconds_per_trial < LONG_TRIAL_SECONDS:
        return 1
    gpus = sum(min(node.get("CPU", 0.0), node.get("GPU", 0.0)) for node in nodes)
    return max(1, int(gpus) // (plan.max_concurrent or ENOUGH_AT_ONCE))


@contextmanager
def joined(address: str | None, *, threads: int) -> Iterator[None]:
    """Connects this process to a cluster for as long as the context lasts.

    Without an address it is the cluster that `RAY_ADDRESS` names, else a private one with `threads` CPUs, as it is for
    "local". Raises UserError where no cluster answers, or this process is connected already.
    """
    if ray.is_initialized():
        raise UserError(
            "This process is connected to Ray already, and here a connection of its own is needed, to be cut at the end. "
            "Call ray.shutdown() first; to use that cluster, give its address, such as 'auto'."
        )
    named = address or os.environ.get("RAY_ADDRESS")
    if named is not None and "://" in named:
        raise UserError(
            f"--address: got '{named}', expected HOST:PORT of the cluster's head, such as 10.0.0.1:6379, or auto."
        )
    try:
        with _signals_kept():
            if named is None or named == LOCAL:
                _start_private(threads)
            else:
                _connect(named)
        yield
    finally:
        ray.shutdown()


def _connect(address: str) -> None:
    host, _, port = address.rpartition(":")
    try:
        if host:  # Ray itself waits for minutes for a port that nobody listens on
            socket.create_connection((host, int(port)), timeout=CONNECT_SECONDS).close()
        ray.init(address=address, **QUIET)
    except (OSError, ValueError, RayError) as error:
        reason = str(error).partition("\n")[0]
        raise UserError(f"--address: no Ray cluster lets this process in at '{address}': {reason}") from None


def _start_private(threads: int) -> None:
    """Starts Ray on this machine alone, open to whoever knows its token: Ray listens on all interfaces."""
    if not any(name.startswith("RAY_AUTH_") for name in os.environ):
        # Ray keeps the first token for the life of the process, so this stays in its environment; without it, Ray
        # writes one into the user's home.
        os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)
    ray.init(
        address="local", num_cpus=threads, include_dashboard=False, object_store_memory=OBJECT_STORE_BYTES, **QUIET
    )


def slots(max_concurrent: int | None, workers: int = 1) -> Slots:
    """What the connected cluster offers. Raises UserError as `share_out` does."""
    return share_out(nodes(), max_concurrent, workers)


def nodes() -> list[Mapping[str, float]]:
    """The resources of each of the connected cluster's machines."""
    return [node["Resources"] for node in ray.nodes() if node["Alive"]]


@contextmanager
def _signals_kept() -> Iterator[None]:
    """Puts the SIGTERM handler back that `ray.init` replaces by one that exits without a word."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
