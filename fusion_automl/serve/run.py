"""The `serve` command: a Ray of its own on this machine, Serve on it, until Ctrl-C."""

from __future__ import annotations

import logging
import os
import secrets
import signal
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from fusion_automl.artifact.load import find_artifact
from fusion_automl.artifact.manifest import read_manifest
from fusion_automl.errors import FusionError, UserError
from fusion_automl.serve.auth import check_token, digest, make_token

REQUEST_TIMEOUT_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Service:
    """A service that is up. `stop` ends it, and the Ray that was started for it."""

    url: str
    token: str

    def stop(self) -> None:
        import ray
        from ray import serve

        serve.shutdown()
        ray.shutdown()


def run(
    path: str | Path,
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    token: str | None = None,
    block: bool = True,
    on_ready: Callable[[str], None] | None = None,
) -> Service:
    """Serves the artifact at `path`, a run folder or an artifact folder, over HTTP; with `block` until Ctrl-C or SIGTERM.

    Without a `token` one is made. `on_ready` is called once, when requests are answered, with what to tell the user: the
    address, and the token if it was made here. Raises UserError for a path, port or token that will not do.
    """
    folder = find_artifact(path).resolve()
    read_manifest(folder)  # checked here, where the answer is one sentence and comes before Ray starts
    made = not token
    token = token or make_token()
    check_token(token)
    _check_port(host, port)
    service = Service(f"http://{host}:{port}", token)
    try:
        _start(folder, digest(token), host=host, port=port)
        if on_ready:
            on_ready(_greeting(service, folder, made=made))
        if block:
            _wait_for_signal()
    except BaseException:
        service.stop()
        raise
    if block:
        service.stop()
    return service


def _start(folder: Path, token_digest: bytes, *, host: str, port: int) -> None:
    if "RAY_AUTH_MODE" not in os.environ:
        # A token that only this process and its children know: no other user of the machine can talk to this Ray.
        os.environ.update(RAY_AUTH_MODE="token", RAY_AUTH_TOKEN=secrets.token_hex(32))
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    import ray
    from ray import serve

    from fusion_automl.serve.deployment import NAME, QUIET, bind

    cores = len(os.sched_getaffinity(0))
    ray.init(
        address="local",
        num_cpus=cores,
        num_gpus=0,
        include_dashboard=False,
        log_to_driver=False,
        logging_level=logging.ERROR,
    )
    logging.getLogger("ray.serve").setLevel(logging.ERROR)
    serve.start(
        proxy_location="HeadOnly",
        http_options={"host": host, "port": port, "request_timeout_s": REQUEST_TIMEOUT_SECONDS},
        logging_config=QUIET,
    )
    # The proxy that takes the requests has no reserved core, so it is left one where there are two.
    app = bind(str(folder), token_digest, cpus=max(1, cores - 1))
    try:
        serve.run(app, name=NAME)
    except RuntimeError as error:
        status = serve.status().applications.get(NAME)
        reason = status.message if status else str(error)
        raise FusionError(f"the service did not start: {reason.strip().splitlines()[-1]}") from error


def _check_port(host: str, port: int) -> None:
    try:
        with socket.create_server((host, port)):
            pass
    except OSError as error:
        raise UserError(f"--port: {host}:{port} cannot be listened on ({error.strerror}). Choose another.") from None


def _greeting(service: Service, folder: Path, *, made: bool) -> str:
    lines = [f"Serving {folder} on {service.url} until Ctrl-C. Columns: {service.url}/v1/schema"]
    if made:
        lines.append(f"Token, made for this service and shown once: {service.token}")
    token = service.token if made else "$FUSION_AUTOML_TOKEN"
    lines.append(f"Try: curl -H 'Authorization: Bearer {token}' {service.url}/v1/model".replace("'", '"'))
    return "\n".join(lines)


def _wait_for_signal() -> None:
    """Returns at Ctrl-C or SIGTERM."""
    stopped = threading.Event()
    before = {number: signal.signal(number, lambda *_: stopped.set()) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        stopped.wait()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
