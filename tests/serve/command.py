"""The `serve` command as users run it: a process with Ray Serve in it."""

from __future__ import annotations

import os
import re
import signal
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pyarrow as pa
import trustme
from prometheus_client.parser import text_string_to_metric_families

from fusion_automl.serve.arrow import CONTENT_TYPE, MAX_ARROW_ROWS
from tests.contracts.rows import mixed_dataset
from tests.head import free_ports

COMMAND = [sys.executable, "-c", "from fusion_automl.cli import main; main()", "serve"]
ENVIRONMENT = {
    name: value for name, value in os.environ.items() if not name.startswith("RAY_") and name != "FUSION_AUTOML_TOKEN"
}
START_SECONDS = 120


@dataclass(frozen=True, slots=True)
class Running:
    url: str
    token: str
    log: Path
    process: subprocess.Popen[bytes]
    trust: ssl.SSLContext

    def client(self) -> httpx.Client:
        headers = {"Authorization": f"Bearer {self.token}"}
        return httpx.Client(base_url=self.url, headers=headers, timeout=60, verify=self.trust)

    def num_rows_in_batches(self) -> float:
        """How many rows the replica has begun to predict."""
        with self.client() as client:
            families = text_string_to_metric_families(client.get("/metrics").text)
        samples = [sample for family in families for sample in family.samples]
        return sum(sample.value for sample in samples if sample.name == "fusion_automl_batch_rows_sum")

    @contextmanager
    def busy(self) -> Iterator[Future[httpx.Response]]:
        """While a request keeps the model busy for a second or more."""
        with self.client() as client, ThreadPoolExecutor(1) as pool:
            before = self.num_rows_in_batches()
            headers = {"Content-Type": CONTENT_TYPE}
            answer = pool.submit(client.post, "/v1/predict", content=many_rows(), headers=headers)
            while self.num_rows_in_batches() < before + MAX_ARROW_ROWS:
                assert not answer.done(), answer.result().text
            yield answer


def many_rows() -> bytes:
    """As many as one request may have, in a few MiB."""
    empty = dict.fromkeys(("photo", "left", "right", "review"))
    table = pa.Table.from_pandas(mixed_dataset("binary", rows=100, seed=5).frame.assign(**empty), preserve_index=False)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        for _ in range(MAX_ARROW_ROWS // 100):
            writer.write_table(table)
    return bytes(sink.getvalue().to_pybytes())


@contextmanager
def started(
    runs: Sequence[str | Path], folder: Path, *, tls: bool = False, options: Sequence[str] = ()
) -> Iterator[Running]:
    """The command over `runs`, once it says that it is ready, with a token that it made; what it needs and says in `folder`."""
    (port,) = free_ports(1)
    log = folder / "log"
    trust = ssl.create_default_context()
    options = ["--port", str(port), *options]
    if tls:
        authority = trustme.CA()
        authority.configure_trust(trust)
        options += write_certificate(authority, folder)
    with log.open("wb") as file:
        process = subprocess.Popen([*COMMAND, *map(str, runs), *options], stdout=file, stderr=file, env=ENVIRONMENT)
    try:
        ends = time.monotonic() + START_SECONDS
        while "Try: curl" not in log.read_text():
            assert process.poll() is None and time.monotonic() < ends, log.read_text()
            time.sleep(0.1)
        (token,) = re.findall(r"shown once: (\S+)", log.read_text())
        yield Running(f"{'https' if tls else 'http'}://127.0.0.1:{port}", token, log, process, trust)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


def write_certificate(authority: trustme.CA, folder: Path) -> list[str]:
    """The options of the command that name a certificate for loopback, made for this."""
    made = authority.issue_cert("127.0.0.1")
    made.cert_chain_pems[0].write_to_path(folder / "cert.pem")
    made.private_key_pem.write_to_path(folder / "key.pem")
    return ["--tls-cert", str(folder / "cert.pem"), "--tls-key", str(folder / "key.pem")]
