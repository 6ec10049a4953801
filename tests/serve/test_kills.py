"""The local service while its processes are killed under load: clients with retries see nothing of it."""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest

from fusion_automl.client import Client, ServiceError
from tests.contracts.rows import mixed_dataset
from tests.serve.command import Running, started

pytestmark = pytest.mark.slow
NAMES = {"replica": "ray::ServeReplica", "proxy": "ray::ProxyActor", "controller": "ray::ServeController"}
NUM_CLIENTS = 4
"""Of each kind."""
SECONDS_AFTER = 5.0
RECOVERY_SECONDS = 120.0


@pytest.fixture(scope="module")
def running(run_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with started([run_folder], tmp_path_factory.mktemp("kills")) as service:
        yield service


@dataclass
class Load:
    """Clients that ask for predictions until they are told to stop; what they saw."""

    running: Running
    options: dict[str, int]
    stop: threading.Event
    num_answers: int = 0
    failures: list[str] = field(default_factory=list)
    longest_seconds: float = 0.0

    def run(self) -> None:
        rows = mixed_dataset("binary", rows=2, seed=5).frame
        with Client(self.running.url, self.running.token, **self.options) as client:
            while not self.stop.is_set():
                began = time.monotonic()
                try:
                    assert len(client.predict(rows)) == 2
                    self.num_answers += 1
                except ServiceError as error:
                    self.failures.append(str(error))
                    time.sleep(0.05)
                self.longest_seconds = max(self.longest_seconds, time.monotonic() - began)


@pytest.mark.timeout(240)
@pytest.mark.parametrize("name", NAMES)
def test_clients_with_retries_see_nothing_of_a_kill(running: Running, name: str) -> None:
    stop = threading.Event()
    patient = [Load(running, {}, stop) for _ in range(NUM_CLIENTS)]
    impatient = [Load(running, {"retries": 0}, stop) for _ in range(NUM_CLIENTS)]
    threads = [threading.Thread(target=load.run, daemon=True) for load in (*patient, *impatient)]
    for thread in threads:
        thread.start()
    try:
        kill_and_wait(running, name, patient)
    finally:
        stop.set()
        for thread in threads:
            thread.join(90)
    for kind, loads in (("with retries", patient), ("without", impatient)):
        failures = [failure for load in loads for failure in load.failures]
        num_answers = sum(load.num_answers for load in loads)
        longest = max(load.longest_seconds for load in loads)
        print(f"{name} killed, {kind}: {num_answers} answers, {len(failures)} failures, longest {longest:.1f} s")
        print(*sorted(set(failures))[:3], sep="\n")
    assert [failure for load in patient for failure in load.failures] == []
    assert sum(load.num_answers for load in patient) > 2 * NUM_CLIENTS


def kill_and_wait(running: Running, name: str, patient: list[Load]) -> None:
    """Kills it when all have answers, and returns when another one is there and all have answers again, for a while."""
    assert any(all_answered(patient) for _ in range(20))
    before = process_of(running.process, NAMES[name])
    before.kill()
    killed = time.monotonic()
    while (now := process_of(running.process, NAMES[name])) in (None, before) or not all_answered(patient):
        assert time.monotonic() < killed + RECOVERY_SECONDS, f"{name}: {now} after {before}, {patient}"
    print(f"\n{name} killed: answers to all after {time.monotonic() - killed:.1f} s")
    time.sleep(SECONDS_AFTER)


def all_answered(loads: list[Load]) -> bool:
    """Whether each got an answer in the last second."""
    before = [load.num_answers for load in loads]
    time.sleep(1)
    return all(load.num_answers > count for load, count in zip(loads, before, strict=True))


def process_of(command: subprocess.Popen[bytes], name: str) -> psutil.Process | None:
    for process in psutil.Process(command.pid).children(recursive=True):
        try:
            if process.cmdline() and process.cmdline()[0].startswith(name):
                return process
        except psutil.NoSuchProcess:
            continue
    return None
