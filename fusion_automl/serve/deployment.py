"""The service on Ray Serve: one application, one deployment, since each hop between deployments costs 1 to 2.5 ms.

A Serve config names it as `fusion_automl.serve.deployment:application` with `args: {path: ..., cpus: ...}`.
"""

from __future__ import annotations

import os
from typing import Any

from fastapi import FastAPI
from ray import serve
from ray.serve.schema import LoggingConfig

from fusion_automl.errors import UserError
from fusion_automl.serve.app import make_app
from fusion_automl.serve.auth import check_token, digest
from fusion_automl.serve.model import open_model

NAME = "fusion_automl"
TOKEN_VARIABLE = "FUSION_AUTOML_TOKEN"
QUIET = LoggingConfig(log_level="WARNING", enable_access_log=False)
MAX_ONGOING_REQUESTS = 128
"""Requests at once in a replica, which joins those that wait into its next batch; Ray's default of 5 is too few."""


def application(args: dict[str, str]) -> Any:
    """The Serve application for the artifact at `args["path"]`, its replica on `args["cpus"]` cores (default 1).

    The token is in the environment of whoever builds the application; replicas get its digest. They read the artifact
    from its path themselves: it must lie where each of them can read it.
    """
    path, cpus = args["path"], int(args.get("cpus", "1"))
    token = os.environ.get(TOKEN_VARIABLE)
    if not token:
        raise UserError(f"{TOKEN_VARIABLE}: not set. Set it to the token that clients will send.")
    check_token(token)
    return bind(path, digest(token), cpus=cpus)


def bind(path: str, token_digest: bytes, *, cpus: int) -> Any:
    """One replica; Ray sets OMP_NUM_THREADS in it to `cpus`, and torch and the tree libraries follow that."""

    def build() -> FastAPI:
        return make_app(open_model(path), token_digest)

    deployment = serve.deployment(
        serve.ingress(build)(),
        name=NAME,
        ray_actor_options={"num_cpus": cpus},
        max_ongoing_requests=MAX_ONGOING_REQUESTS,
        max_queued_requests=4 * MAX_ONGOING_REQUESTS,
        max_constructor_retry_count=1,
        max_surge_percent=100,  # else an update stops the only replica before the new one is up
        logging_config=QUIET,
    )
    return deployment.bind()
