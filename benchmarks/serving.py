"""The service under load, beside what it could be measured against: one run, one machine, the same rows.

    python benchmarks/serving.py compare [--autogluon] [--price 0.10]
    python benchmarks/serving.py optimized
    python benchmarks/serving.py steady [--minutes 8]
    python benchmarks/serving.py overload

Each fits a model first, unless `--folder` has one, and takes 3 to 10 minutes. A client sends its next request when it has
the answer.

`compare`: a Serve deployment that does nothing (`no-op`), `fusion-automl serve`, the artifact in this process without HTTP,
and with `--autogluon` AutoGluon's predictor (`best_quality`, the same budget) behind FastAPI and uvicorn. Bulk is 10,000 rows
a request, ours as an Arrow stream, AutoGluon's as JSON. The goals stand below the figures, and the cost of a million
predictions for a machine of `--price` an hour.

`optimized`: the same with Ray Serve's throughput settings and with HAProxy in place of its own proxy.

`steady`: eight clients for so many minutes; no request may fail, and memory has to stay.

`overload`: five times the requests that the service can answer; all others have to be turned away cleanly, and the service has
to be itself again in seconds.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import requests
from cases import CASES, DATA
from load import JSON, STREAM, TOKEN, Load, Server, as_json, as_stream, busy, free_port, offered, running
from systems import PEERS, SYSTEMS, VENVS

BULK_ROWS = 10_000
OVERLOAD = 5
HEADERS = {"Content-Type": JSON}
CLEAN = {200, 429, 503}
MAX_GROWTH = 0.05
OPTIMIZED = {"RAY_SERVE_THROUGHPUT_OPTIMIZED": "1"}
SETTINGS: dict[str, dict[str, str]] = {
    "default": {},
    "optimized": OPTIMIZED,
    "HAProxy": {**OPTIMIZED, "RAY_SERVE_ENABLE_HA_PROXY": "1"},
}


class Bench:
    """The model and the rows of all parts."""

    def __init__(self, options: argparse.Namespace) -> None:
        (self.case,) = [case for case in CASES if case.name == options.dataset]
        self.options = options
        self.train = options.data / self.case.dataset / "train.parquet"
        self.test = pd.read_parquet(options.data / self.case.dataset / "test.parquet")
        self.rows = self.test.drop(columns=[self.case.target, *self.case.ignore])[:1000]
        self.run = options.folder / f"{self.case.name}-{options.fit:g}s"
        if not self.run.exists():
            from fusion_automl import fit

            fit(self.train, target=self.case.target, ignore=self.case.ignore, out=self.run, budget=options.fit)

    @property
    def row(self) -> bytes:
        return as_json(self.rows[:1])

    @property
    def bulk(self) -> pd.DataFrame:
        return pd.concat([self.rows] * (BULK_ROWS // len(self.rows) + 1), ignore_index=True)[:BULK_ROWS]

    def ours(self, port: int) -> list[str]:
        return [sys.executable, "-m", "fusion_automl.cli", "serve", str(self.run), "--port", str(port)]

    def nothing(self, port: int) -> list[str]:
        return [sys.executable, str(PEERS / "noop_app.py"), str(port)]

    def autogluon(self, port: int) -> list[str]:
        (system,) = [system for system in SYSTEMS if system.name == "autogluon_tabular"]
        system.set_up(self.options.venvs)
        python = system.python(self.options.venvs)
        subprocess.run([python, "-m", "pip", "install", "--quiet", "fastapi", "uvicorn"], check=True)
        train = self.options.folder / f"{self.case.name}.parquet"
        pd.read_parquet(self.train).drop(columns=list(self.case.ignore)).to_parquet(train)
        folder = self.options.folder / f"{self.run.name}-autogluon"
        app = PEERS / "autogluon_app.py"
        asked = (app, train, self.case.target, self.case.metric, self.options.fit, folder, port)
        return [str(python), *map(str, asked)]

    def serving(self, words: Callable[[int], list[str]], **environment: str) -> Any:
        port = free_port()
        return running(words(port), port, FUSION_AUTOML_TOKEN=TOKEN, **environment)

    def measure(self, name: str, server: Server) -> dict[int, Load]:
        """By the number of clients."""
        found = {}
        for clients in self.options.clients:
            found[clients] = busy(server.url, self.row, clients=clients, seconds=self.options.seconds)
            print(f"{name:>20}  {clients:3d} clients  {told(found[clients])}", flush=True)
        return found

    def bulk_rate(self, name: str, server: Server, *, arrow: bool) -> float:
        """Rows a second."""
        body, kind = (as_stream(self.bulk), STREAM) if arrow else (as_json(self.bulk), JSON)
        load = busy(server.url, body, clients=1, seconds=self.options.seconds, kind=kind)
        rate = 1000 * BULK_ROWS / load.quantile(0.5)
        print(f"{name:>20}  bulk         {rate:,.0f} rows/s  {load.errors} errors", flush=True)
        return rate


def told(load: Load) -> str:
    return (
        f"p50 {load.quantile(0.5):8.2f} ms  p99 {load.quantile(0.99):8.2f} ms  "
        f"{load.requests_per_second:8.1f} requests/s  {load.errors} errors"
    )


def verdict(what: str, found: float, *, at_most: float = np.inf, at_least: float = -np.inf) -> None:
    goal = f"at most {at_most:g}" if at_most < np.inf else f"at least {at_least:g}"
    print(f"{what}: {found:.2f} (goal {goal}): {'met' if at_least <= found <= at_most else 'not met'}", flush=True)


def compare(bench: Bench) -> None:
    from fusion_automl import load

    artifact = load(bench.run)
    alone = 1000 * median_seconds(lambda place: artifact.predict_table(bench.rows.iloc[[place]]), 200)
    bulk = BULK_ROWS / median_seconds(lambda _: artifact.predict_table(bench.bulk), 7)
    print(f"{'in process':>20}  a row {alone:.2f} ms, bulk {bulk:,.0f} rows/s", flush=True)
    with bench.serving(bench.nothing) as server:
        nothing = bench.measure("no-op", server)
        bench.bulk_rate("no-op", server, arrow=True)
    with bench.serving(bench.ours) as server:
        ours = bench.measure("ours", server)
        our_bulk = bench.bulk_rate("ours", server, arrow=True)
    few, many = min(ours), max(ours)
    print()
    goal = nothing[few].quantile(0.5) + 1.3 * alone
    verdict("a row's p50 over no-op + 1.3 x in process", ours[few].quantile(0.5) / goal, at_most=1)
    verdict("bulk over in process", our_bulk / bulk, at_least=0.8)
    for what, rate in ((f"a row each, {many} clients", ours[many].requests_per_second), ("in bulk", our_bulk)):
        cost = 1e6 / rate / 3600 * bench.options.price
        print(f"a million predictions, {what}: {cost:.4f} at {bench.options.price:g} an hour")
    if bench.options.autogluon:
        with bench.serving(bench.autogluon) as server:
            theirs = bench.measure("AutoGluon", server)
            bench.bulk_rate("AutoGluon", server, arrow=False)
            score = score_of(bench, server)
        ratio = ours[many].requests_per_second / theirs[many].requests_per_second
        verdict(f"requests/s at {many} clients over AutoGluon's", ratio, at_least=3)
        own = artifact.evaluate(bench.test)[bench.case.metric]
        print(f"{bench.case.metric} on the test rows: ours {own:.4f}, AutoGluon {score:.4f}")


def median_seconds(call: Callable[[int], Any], times: int) -> float:
    seconds = []
    for place in range(times):
        began = time.perf_counter()
        call(place)
        seconds.append(time.perf_counter() - began)
    return statistics.median(seconds)


def score_of(bench: Bench, server: Server) -> float:
    """What the probabilities that AutoGluon's server answers are worth on the test rows."""
    from fusion_automl.metrics import METRICS

    rows = bench.test.drop(columns=bench.case.target)
    found: list[dict[str, float]] = []
    for start in range(0, len(rows), BULK_ROWS):
        answer = requests.post(server.url, as_json(rows[start : start + BULK_ROWS]), timeout=300, headers=HEADERS)
        found += answer.json()["predictions"]
    classes = sorted(found[0])
    y = np.searchsorted(classes, bench.test[bench.case.target].astype(str))
    return METRICS[bench.case.metric].score(y, np.array([[row[name] for name in classes] for row in found]))


def optimized(bench: Bench) -> None:
    for name, environment in SETTINGS.items():
        with bench.serving(bench.nothing, **environment) as server:
            bench.measure(f"no-op, {name}", server)
        with bench.serving(bench.ours, **environment) as server:
            bench.measure(f"ours, {name}", server)
            bench.bulk_rate(f"ours, {name}", server, arrow=True)


def steady(bench: Bench) -> None:
    memory: list[float] = []
    ended = threading.Event()
    with bench.serving(bench.ours) as server:

        def watch() -> None:
            while not ended.wait(2):
                memory.append(server.memory())

        watcher = threading.Thread(target=watch)
        watcher.start()
        load = busy(server.url, bench.row, clients=8, seconds=60 * bench.options.minutes)
        ended.set()
        watcher.join()
    third = max(1, len(memory) // 3)
    before, after = statistics.median(memory[third : 2 * third]), statistics.median(memory[-third:])
    print(f"8 clients, {bench.options.minutes:g} minutes: {told(load)}")
    print(f"memory of all processes: {before:,.0f} MB in the second third, {after:,.0f} MB in the last")
    verdict("requests that failed", load.errors, at_most=0)
    verdict("growth of memory", after / before - 1, at_most=MAX_GROWTH)


def overload(bench: Bench) -> None:
    with bench.serving(bench.ours) as server:
        calm = busy(server.url, bench.row, clients=1, seconds=bench.options.seconds)
        full = busy(server.url, bench.row, clients=64, seconds=bench.options.seconds)
        rate = OVERLOAD * full.requests_per_second
        load = offered(server.url, bench.row, per_second=rate, seconds=bench.options.seconds)
        answered = time.perf_counter()
        while busy(server.url, bench.row, clients=1, seconds=1).quantile(0.5) > 1.5 * calm.quantile(0.5):
            pass
        recovered = time.perf_counter() - answered
    sent = load.statuses.total()
    print(f"one client: {told(calm)}\n64 clients: {told(full)}")
    print(
        f"{sent / load.seconds:,.0f} requests/s for {load.seconds:.0f} s: status {dict(sorted(load.statuses.items()))}"
    )
    print(f"those that were answered: p50 {load.quantile(0.5):,.0f} ms, p99 {load.quantile(0.99):,.0f} ms")
    verdict("of what can be answered", sent / load.seconds / full.requests_per_second, at_least=0.9 * OVERLOAD)
    verdict("answers other than 200, 429 and 503", sent - sum(load.statuses[it] for it in CLEAN), at_most=0)
    verdict("429 and 503 without Retry-After", load.without_retry_after, at_most=0)
    verdict("seconds until one client's p50 was below 1.5 times its own", recovered, at_most=10)


PARTS = {part.__name__: part for part in (compare, optimized, steady, overload)}


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=PARTS)
    parser.add_argument("--dataset", default="adult", help="a case of cases.py")
    parser.add_argument("--folder", type=Path, default=Path("runs/serving"), help="where models are kept")
    parser.add_argument("--fit", type=float, default=90.0, help="seconds")
    parser.add_argument("--seconds", type=float, default=10.0, help="of each load")
    parser.add_argument("--clients", type=lambda text: [int(part) for part in text.split(",")], default=[1, 8, 64])
    parser.add_argument("--minutes", type=float, default=8.0)
    parser.add_argument("--price", type=float, default=0.10, help="of the machine, an hour")
    parser.add_argument("--autogluon", action="store_true")
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--venvs", type=Path, default=VENVS)
    options = parser.parse_args(words)
    options.folder.mkdir(parents=True, exist_ok=True)
    PARTS[options.part](Bench(options))


if __name__ == "__main__":
    main()
