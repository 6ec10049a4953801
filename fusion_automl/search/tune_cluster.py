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

OBJECT_STORE_BYTES = 100 * 1024**2
"""Trials read the data from the run folder; only candidates and scores travel through Ray."""

CONNECT_SECONDS = 5.0

QUIET: Mapping[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}


@dataclass(frozen=True, slots=True)
class Slots:
    """How many trials run at once, and the whole CPUs and the share of a GPU that each of them gets."""

    number: int
    cpus: int
    gpus: float = 0.0


def share_out(nodes: Sequence[Mapping[str, float]], max_concurrent: int | None) -> Slots:
    """Divides the nodes' resources: one trial on each CPU, or with `max_concurrent` as many CPUs as each can have.

    Where some nodes have GPUs, trials run only there, and those of a node share its GPUs.
    """
    gpu_nodes = [node for node in nodes if node.get("GPU") and node.get("CPU")]
    usable = [(int(node["CPU"]), node.get("GPU", 0.0)) for node in gpu_nodes or nodes if node.get("CPU", 0) >= 1]
    total = sum(cpus for cpus, _ in usable)
    if total == 0:  # a cluster that grows on demand; the first pending trials make it grow
        return Slots(max_concurrent or 1, 1)
    number = min(max_concurrent or total, total)
    cpus = min(total // number, min(cpus for cpus, _ in usable))
    # Ray counts in ten-thousandths, and three times 0.3334 would not fit on one GPU.
    gpus = min(
        math.floor(1e4 / math.ceil((node_cpus // cpus) / node_gpus)) / 1e4 if node_gpus else 0.0
        for node_cpus, node_gpus in usable
    )
    return Slots(number, cpus, gpus)


@contextmanager
def joined(address: str | None, *, threads: int) -> Iterator[None]:
    """Connects this process to a cluster for as long as the context lasts.

    Without an address it is the cluster that `RAY_ADDRESS` names, else a private one with `threads` CPUs. Raises
    UserError where no cluster answers, or this process is connected already.
    """
    if ray.is_initialized():
        raise UserError(
            "fit: this process is connected to Ray already, and a search needs a connection of its own, to be cut at the "
            "deadline. Call ray.shutdown() first; to search on that cluster, give its address, such as 'auto'."
        )
    named = address or os.environ.get("RAY_ADDRESS")
    if named is not None and "://" in named:
        raise UserError(
            f"--address: got '{named}', expected HOST:PORT of the cluster's head, such as 10.0.0.1:6379, or auto."
        )
    try:
        with _signals_kept():
            if named is None:
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


def slots(max_concurrent: int | None) -> Slots:
    """What the connected cluster offers."""
    return share_out([node["Resources"] for node in ray.nodes() if node["Alive"]], max_concurrent)


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
