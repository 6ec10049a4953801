"""The `serve` command: a Ray of its own on this machine, Serve on it, until Ctrl-C."""

from __future__ import annotations

import contextlib
import io
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
DRAIN_SECONDS = 15.0
RAY_SETTINGS = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_enable_metrics_collection": "0",
    # Ray listens on all addresses of a machine unless it believes that there are no others; this makes it believe so.
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
}


@dataclass(frozen=True, slots=True)
class Service:
    """A service that is up. `stop` ends it, and the Ray that was started for it."""

    url: str
    token: str

    def stop(self) -> None:
        """Lets requests in flight end, then ends every process of this Ray."""
        import ray
        from ray import serve

        # Ray says on standard output that the controller died, which it was asked to.
        with contextlib.redirect_stdout(io.StringIO()):
            if ray.is_initialized():
                # Where the signal went to Ray's processes as well, Serve waits half a minute for the dead.
                drain = threading.Thread(target=serve.shutdown, daemon=True)
                drain.start()
                drain.join(DRAIN_SECONDS)
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
    """Serves the artifact at `path`, a run or artifact folder, over HTTP; with `block` until Ctrl-C or SIGTERM.

    Without a `token` one is made. `on_ready` is called once, when requests are answered, with what to tell the user:
    the address, and the token if it was made here. Raises UserError for a path, port or token that will not do, and
    FusionError where the model does not start.
    """
    folder = find_artifact(path).resolve()
    read_manifest(folder)  # checked here, where the answer is one sentence and comes before Ray starts
    made = not token
    token = token or make_token()
    check_token(token)
    _check_port(host, port)
    service = Service(f"http://{host}:{port}", token)
    try:
        cores = len(os.sched_getaffinity(0))
        # The proxy that takes the requests has no reserved core, so it is left one where there are two.
        model_cores = max(1, cores - 1)
        _start_ray(cores, threads=model_cores)
        if block:
            _signals_interrupt()
        _deploy(folder, digest(token), host=host, port=port, cores=model_cores)
        if on_ready:
            on_ready(_greeting(service, folder, made=made))
    except BaseException:
        service.stop()
        raise
    if block:
        with contextlib.suppress(KeyboardInterrupt):
            threading.Event().wait()
        service.stop()
    return service


def _start_ray(cores: int, *, threads: int) -> None:
    """Starts a Ray that nobody else can reach, with processes of so many threads."""
    os.environ.setdefault("OMP_NUM_THREADS", str(threads))  # Ray sets it later, when NumPy has already made its threads
    for name, value in RAY_SETTINGS.items():
        os.environ.setdefault(name, value)
    if "RAY_AUTH_MODE" not in os.environ:
        # A token that only this process and its children know: no other user of the machine can talk to this Ray.
        os.environ.update(RAY_AUTH_MODE="token", RAY_AUTH_TOKEN=secrets.token_hex(32))
    import ray

    ray.init(
        address="local",
        num_cpus=cores,
        num_gpus=0,
        include_dashboard=False,
        log_to_driver=False,
        logging_level=logging.ERROR,
    )


def _signals_interrupt() -> None:
    """Lets SIGTERM, as schedulers and containers send it, end the service as Ctrl-C does; after `ray.init` sets its own.

    SIGINT as well, since a shell starts what it puts in the background deaf to it.
    """
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.default_int_handler)


def _deploy(folder: Path, token_digest: bytes, *, host: str, port: int, cores: int) -> None:
    """Returns when requests are answered. Raises FusionError where the model does not start."""
    from ray import serve

    from fusion_automl.serve.deployment import NAME, QUIET, bind

    logging.getLogger("ray.serve").setLevel(logging.ERROR)
    serve.start(
        proxy_location="HeadOnly",
        http_options={"host": host, "port": port, "request_timeout_s": REQUEST_TIMEOUT_SECONDS},
        logging_config=QUIET,
    )
    app = bind(str(folder), token_digest, cpus=cores)
    try:
        serve.run(app, name=NAME)
    except RuntimeError as error:
        deployment = serve.status().applications[NAME].deployments[NAME]
        reason = deployment.message.strip().splitlines()[-1]
        raise FusionError(f"{folder}: the model did not start ({reason}).") from error


def _check_port(host: str, port: int) -> None:
    try:
        with socket.create_server((host, port)):
            pass
    except OSError as error:
        reason = str(error.strerror).partition(" (while")[0]
        raise UserError(f"--port: {host}:{port} cannot be listened on ({reason}). Choose another.") from None


def _greeting(service: Service, folder: Path, *, made: bool) -> str:
    lines = [f"Serving {folder} on {service.url} until Ctrl-C."]
    if made:
        lines.append(f"Token, made for this service and shown once: {service.token}")
    token = service.token if made else "$FUSION_AUTOML_TOKEN"
    lines.append(f'Try: curl -H "Authorization: Bearer {token}" {service.url}/v1/schema')
    return "\n".join(lines)
