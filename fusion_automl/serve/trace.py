"""What is known of a request afterwards: an id that its answer and its line in the log carry, and figures for Prometheus."""

from __future__ import annotations

import json
import logging
import re
import time
import uuid
from collections.abc import Collection
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from starlette.datastructures import Headers, MutableHeaders
from starlette.routing import compile_path
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fusion_automl.serve.auth import OPEN_PATHS

logger = logging.getLogger(__name__)
GIVEN_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
"""An id of the client's own is taken over if it can harm no log."""
ID_HEADER = "X-Request-ID"
SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30)
ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 4096, 16384, 65536)


class Metrics:
    """What one replica counts, by model and version; `registry` has it for `/metrics`."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        own: Any = {"registry": self.registry, "namespace": "fusion_automl"}
        labels = ("model", "version")
        self.requests = Counter("requests", "Requests answered.", (*labels, "path", "status"), **own)
        self.seconds = Histogram(
            "request_seconds", "From request to answer.", (*labels, "path"), buckets=SECONDS, **own
        )
        self.rows = Counter("rows", "Rows predicted.", labels, **own)
        self.refused = Counter("refused_rows", "Rows that did not fit.", labels, **own)
        self.batch_rows = Histogram("batch_rows", "Rows in a call of the model.", labels, buckets=ROWS, **own)
        self.waiting = Gauge("waiting_requests", "Requests that wait for a call of the model.", labels, **own)
        self.loaded = Gauge("loaded", "Whether a version is in memory.", labels, **own)
        self.trial_failures = Counter("trial_failures", "Requests that a version on trial failed on.", labels, **own)
        self.shadow_rows = Counter("shadow_rows", "Rows copied to a version on trial.", (*labels, "outcome"), **own)
        self.shadow_seconds = Histogram(
            "shadow_seconds", "From copy to what would be the answer.", labels, buckets=SECONDS, **own
        )
        self.load_failures = Counter("load_failures", "Versions that did not load.", ("model",), **own)

    def answered(self, figures: Figures | None, path: str, status: int, seconds: float) -> None:
        """Counts a request: for the version that answered, or for none."""
        names = figures.names if figures else ("", "")
        self.requests.labels(*names, path, str(status)).inc()
        self.seconds.labels(*names, path).observe(seconds)


class Figures:
    """Those of one version of a model."""

    def __init__(self, metrics: Metrics, model: str, version: str) -> None:
        self.names = (model, version)
        self.rows = metrics.rows.labels(*self.names)
        self.refused = metrics.refused.labels(*self.names)
        self.batch_rows = metrics.batch_rows.labels(*self.names)
        self.waiting = metrics.waiting.labels(*self.names)
        self.loaded = metrics.loaded.labels(*self.names)
        self.trial_failures = metrics.trial_failures.labels(*self.names)


class Trace:
    """ASGI middleware around all others. A request is counted for the version that answers it, which leaves its `figures` in
    the request's state; one that comes to no model is counted without a name."""

    def __init__(self, app: ASGIApp, metrics: Metrics, paths: Collection[str]) -> None:
        self.app = app
        self.metrics = metrics
        self.patterns = [(path, compile_path(path)[0]) for path in paths]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        began = time.perf_counter()
        given = Headers(scope=scope).get(ID_HEADER, "")
        request_id = given if GIVEN_ID.fullmatch(given) else uuid.uuid4().hex
        scope.setdefault("state", {})["request_id"] = request_id
        status = 499  # the client went away before there was an answer

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)[ID_HEADER] = request_id
            await send(message)

        try:
            await self.app(scope, receive, answer)
        finally:
            seconds = time.perf_counter() - began
            path = self._pattern_of(scope["path"].removeprefix(scope.get("root_path", "")))
            self.metrics.answered(scope["state"].get("figures"), path, status, seconds)
            logger.log(
                logging.DEBUG if path in OPEN_PATHS else logging.INFO,
                json.dumps(
                    {
                        "request_id": request_id,
                        "method": scope["method"],
                        "path": path,
                        "status": status,
                        "ms": round(1000 * seconds, 2),
                    }
                ),
            )

    def _pattern_of(self, asked: str) -> str:
        """The path as the application knows it; a stranger's paths, and names, would be labels without end."""
        return next((path for path, pattern in self.patterns if pattern.match(asked)), "other")
