"""The service on Ray Serve: one application, one deployment, since each hop between deployments costs 1 to 2.5 ms; and one more
where nets shall have GPUs.

A Serve config names it as `fusion_automl.serve.deployment:application`, and in the deployment's `user_config` what is served.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from collections.abc import Sequence
from typing import Any

from fastapi import FastAPI
from ray import serve
from ray.serve.schema import LoggingConfig

from fusion_automl.errors import FusionError, UserError
from fusion_automl.serve.app import make_app
from fusion_automl.serve.auth import Tokens, tokens_from
from fusion_automl.serve.limits import MAX_REQUESTS, RETRY_SECONDS
from fusion_automl.serve.model import Model, open_model
from fusion_automl.serve.models import Models
from fusion_automl.serve.nets import NETS, Nets, move_nets
from fusion_automl.serve.notice import notice
from fusion_automl.serve.plan import NAME, Setup
from fusion_automl.serve.rpc.predictor import predict
from fusion_automl.serve.rpc.predictor_pb2 import PredictReply  # type: ignore[attr-defined]  # made by protoc
from fusion_automl.serve.uris import read_prefixes

QUIET = LoggingConfig(log_level="WARNING", enable_access_log=False)
MAX_ONGOING_REQUESTS = MAX_REQUESTS + 64
"""More than the application takes on, so that it is the one to say that it is busy, and probes always reach it."""
SWITCH_SECONDS = 0.0005
"""How long a thread that runs Python keeps others waiting. With Python's own 5 ms an answer that is ready waits for the model's
thread: one client got 1.2 times, eight 1.1 times the answers with this, and 64 the same, at no more CPU."""
logger = logging.getLogger("ray.serve")  # the replica's own log, which the dashboard shows


def application(args: dict[str, Any]) -> Any:
    """The Serve application, its replica on `args["cpus"]` cores (default 1); `user_config` says what it serves. Rows may name
    images by their address under one of the list `args["images"]`, such as https://images.acme.com/shop/. With
    `args["net_gpus"]`, a share of a GPU or some, models' nets have a deployment of their own where that pays.

    The token, or the file of several, is named in the environment of whoever builds the application; replicas get digests. They
    read the artifacts from their paths themselves: these must lie where each of them can read them.
    """
    images = args.get("images", [])
    if not isinstance(images, list) or not all(isinstance(place, str) for place in images):
        raise UserError(f"args: images: expected a list of addresses, found {images!r}.")
    net_gpus = float(args["net_gpus"]) if "net_gpus" in args else None
    return bind(None, tokens_from(os.environ), cpus=int(args.get("cpus", "1")), images=images, net_gpus=net_gpus)


def bind(
    setup: Setup | None, tokens: Tokens, *, cpus: int, images: Sequence[str] = (), net_gpus: float | None = None
) -> Any:
    """One replica; Ray sets OMP_NUM_THREADS in it to `cpus`, and torch and the tree libraries follow that. With `net_gpus` one
    of nets, too, with a core and so many GPUs."""
    read_prefixes(images)  # a replica would tell it later

    def build() -> FastAPI:
        _log_requests()
        sys.setswitchinterval(SWITCH_SECONDS)
        return make_app(Models(open_model if net_gpus is None else _open_without_nets), tokens, images=images)

    @serve.deployment(
        name=NAME,
        ray_actor_options={"num_cpus": cpus},
        user_config=setup.to_json() if setup else None,
        max_ongoing_requests=MAX_ONGOING_REQUESTS,
        max_queued_requests=MAX_REQUESTS,
        backpressure_config={"status_code": 503, "retry_after_s": RETRY_SECONDS},
        max_constructor_retry_count=1,
        max_surge_percent=100,  # else an update of the code stops the only replica before the new one is up
        logging_config=QUIET,
    )
    @serve.ingress(build)
    class Service:
        app: FastAPI  # made by `build` in the replica

        def __init__(self, *nets: Any) -> None:
            """What it is bound with comes up with it; the models find it by its name."""

        async def reconfigure(self, user_config: Any) -> None:
            """Ray Serve calls it before the first request, and when `user_config` changes. It gives a replica no requests until
            this returns, so one that serves returns at once; and it would end one in which this raises."""
            self.taking = asyncio.create_task(self.take(user_config))
            if not self.app.state.models.names:
                await self.taking

        async def take(self, user_config: Any) -> None:
            models: Models = self.app.state.models
            try:
                await models.update(Setup.of(user_config))
            except FusionError as error:
                if not models.names:
                    raise
                models.faults["user_config"] = str(error)
            # As a warning, since a service writes nothing below that.
            logger.warning(notice(user_config, models.faults))

        async def Predict(self, request: bytes, grpc_context: Any) -> PredictReply:
            """What gRPC calls, where the service listens for it."""
            return await predict(self.app, request, grpc_context)

        def check_health(self) -> None:
            models: Models = self.app.state.models
            if not models.names:
                raise UserError("user_config: says nothing. Expected {models: [{name: ..., path: ...}, ...]}.")

    nets = [] if net_gpus is None else [_bind_nets(net_gpus)]
    return Service.bind(*nets)  # type: ignore[attr-defined]  # what Ray makes of it


def _bind_nets(gpus: float) -> Any:
    deployment = serve.deployment(
        name=NETS,
        ray_actor_options={"num_cpus": 1, "num_gpus": gpus},
        max_ongoing_requests=MAX_ONGOING_REQUESTS,
        max_queued_requests=MAX_REQUESTS,
        max_surge_percent=100,
        logging_config=QUIET,
    )(Nets)
    return deployment.bind()


def _open_without_nets(path: str) -> Model:
    return move_nets(open_model(path), path, serve.get_deployment_handle(NETS, serve.get_replica_context().app_name))


def _log_requests() -> None:
    """Lets this process write what it knows of each request to standard error, a line of JSON each, as clusters collect it."""
    lines = logging.getLogger("fusion_automl.serve.trace")
    lines.setLevel(logging.INFO)
    lines.propagate = False
    if not lines.handlers:
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter("%(message)s"))
        lines.addHandler(handler)
