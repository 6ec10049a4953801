"""Clients that keep a server busy, and the server while it runs: what `serving.py` measures with."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import aiohttp
import numpy as np
import pandas as pd
import psutil
import pyarrow as pa

TOKEN = "a-token-of-the-benchmark"
START_SECONDS = 400.0
JSON, STREAM = "application/json", "application/vnd.apache.arrow.stream"


@dataclass(slots=True)
class Load:
    """What clients saw: seconds of each request that was answered, and how many had which status (0: no answer)."""

    latencies: list[float] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)
    without_retry_after: int = 0
    seconds: float = 0.0

    def quantile(self, share: float) -> float:
        """In milliseconds."""
        return 1000 * float(np.quantile(self.latencies, share)) if self.latencies else float("nan")

    @property
    def errors(self) -> int:
        return self.statuses.total() - self.statuses[200]

    @property
    def requests_per_second(self) -> float:
        return len(self.latencies) / self.seconds

    def add(self, status: int, seconds: float, *, retry_after: bool = True) -> None:
        self.statuses[status] += 1
        if status == 200:
            self.latencies.append(seconds)
        elif status in (429, 503):
            self.without_retry_after += not retry_after


def as_json(rows: pd.DataFrame) -> bytes:
    return json.dumps({"rows": json.loads(rows.to_json(orient="records"))}).encode()


def as_stream(rows: pd.DataFrame) -> bytes:
    table = pa.Table.from_pandas(rows, preserve_index=False)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue().to_pybytes())


def busy(url: str, body: bytes, *, clients: int, seconds: float, kind: str = JSON) -> Load:
    """So many clients, each of which sends its next request when it has the answer; answers in the first tenth do not count."""
    return asyncio.run(_busy(url, body, clients, seconds, kind))


def offered(url: str, body: bytes, *, per_second: float, seconds: float) -> Load:
    """Requests at a steady rate, whatever becomes of those before; `seconds` is how long it took to send them."""
    return asyncio.run(_offered(url, body, per_second, seconds))


async def _busy(url: str, body: bytes, clients: int, seconds: float, kind: str) -> Load:
    load = Load()
    began = time.perf_counter()
    counts, ends = began + seconds / 10, began + seconds

    async def client(session: aiohttp.ClientSession) -> None:
        while (started := time.perf_counter()) < ends:
            status, retry_after = await _post(session, url, body)
            if (ended := time.perf_counter()) >= counts:
                load.add(status, ended - started, retry_after=retry_after)

    async with _session(clients, kind) as session:
        await asyncio.gather(*(client(session) for _ in range(clients)))
    load.seconds = time.perf_counter() - counts
    return load


async def _offered(url: str, body: bytes, per_second: float, seconds: float) -> Load:
    load = Load()

    async def once(session: aiohttp.ClientSession) -> None:
        started = time.perf_counter()
        status, retry_after = await _post(session, url, body)
        load.add(status, time.perf_counter() - started, retry_after=retry_after)

    async with _session(0, JSON) as session:
        began = time.perf_counter()
        sent: list[asyncio.Task[None]] = []
        while (passed := time.perf_counter() - began) < seconds:
            due = int(passed * per_second) - len(sent)
            sent += [asyncio.create_task(once(session)) for _ in range(due)]
            await asyncio.sleep(0.005)
        load.seconds = time.perf_counter() - began
        await asyncio.gather(*sent)
    return load


def _session(limit: int, kind: str) -> aiohttp.ClientSession:
    headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": kind}
    return aiohttp.ClientSession(headers=headers, connector=aiohttp.TCPConnector(limit=limit))


async def _post(session: aiohttp.ClientSession, url: str, body: bytes) -> tuple[int, bool]:
    try:
        async with session.post(url, data=body) as answer:
            await answer.read()
            return answer.status, "Retry-After" in answer.headers
    except aiohttp.ClientError:
        return 0, False


@dataclass(frozen=True, slots=True)
class Server:
    url: str
    process: psutil.Process

    def memory(self) -> float:
        """Megabytes of all its processes, shared pages counted once."""
        total = 0
        for process in (self.process, *self.process.children(recursive=True)):
            try:
                total += process.memory_full_info().pss
            except psutil.NoSuchProcess:
                continue
        return total / 1e6


@contextmanager
def running(words: list[str], port: int, **environment: str) -> Iterator[Server]:
    """A server, once its port answers requests."""
    with tempfile.TemporaryFile("w+") as said:
        process = subprocess.Popen(words, env={**os.environ, **environment}, stdout=subprocess.DEVNULL, stderr=said)
        url = f"http://127.0.0.1:{port}/v1/predict"
        try:
            if not asyncio.run(_is_up(url, process)):
                said.seek(0)
                raise SystemExit(f"{' '.join(words)} did not come up:\n{said.read()}")
            yield Server(url, psutil.Process(process.pid))
        finally:
            process.terminate()
            process.wait(timeout=60)


async def _is_up(url: str, process: subprocess.Popen[bytes]) -> bool:
    ends = time.monotonic() + START_SECONDS
    async with _session(1, JSON) as session:
        while process.poll() is None and time.monotonic() < ends:
            status, _ = await _post(session, url, b'{"rows": []}')
            if status not in (0, 404, 503):
                return True
            await asyncio.sleep(0.3)
    return False


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])
