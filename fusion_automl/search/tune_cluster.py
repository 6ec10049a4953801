"""The Ray cluster that a search runs on: the user's, or a private one on this machine that ends with the search."""

from __future__ import annotations

import logging
import math
import os
import signal
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import ray

from fusion_automl.errors import UserError

OBJECT_STORE_BYTES = 100 * 1024**2
"""Trials read the data from the run folder; only candidates and scores travel through Ray."""


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

    Without an address it is the cluster that this process or `RAY_ADDRESS` already names, else a private one with
    `threads` CPUs. Raises UserError where no cluster answers.
    """
    if ray.is_initialized():
        yield
        return
    if address is not None and "://" in address:
        raise UserError(
            f"--address: got '{address}', expected HOST:PORT of the cluster's head, such as 10.0.0.1:6379, or auto."
        )
    private = address is None and "RAY_ADDRESS" not in os.environ
    settings: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if private:
        settings |= {
            "address": "local",
            "num_cpus": threads,
            "include_dashboard": False,
            "object_store_memory": OBJECT_STORE_BYTES,
            "_node_ip_address": "127.0.0.1",
        }
    try:
        with _signals_kept():
            ray.init(**({"address": address} | settings))
    except ConnectionError as error:
        raise UserError(
            f"--address: no Ray cluster answers at '{address or os.environ['RAY_ADDRESS']}' ({error})."
        ) from None
    try:
        yield
    finally:
        ray.shutdown()


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
