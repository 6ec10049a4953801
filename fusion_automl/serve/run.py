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
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from fusion_automl.artifact.load import find_artifact
from fusion_automl.artifact.manifest import read_manifest
from fusion_automl.errors import FusionError, UserError
from fusion_automl.serve.auth import Tokens, check_token, digest, make_token, read_digests
from fusion_automl.serve.limits import MAX_SECONDS
from fusion_automl.serve.plan import NAME, Plan, Setup
from fusion_automl.serve.rows import MAX_BODY_BYTES
from fusion_automl.serve.tls import TLS, is_loopback, read_tls
from fusion_automl.serve.uris import read_prefixes

PROXY_SECONDS = MAX_SECONDS + 5
"""What the proxy waits for an answer: longer than the application takes to give a request up itself."""
DRAIN_SECONDS = 15.0
RAY_SETTINGS = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_enable_metrics_collection": "0",
    # Ray listens on all addresses of a machine unless it believes that there are no others; this makes it believe so.
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    # Of a message of gRPC, which is in memory before a token is looked at.
    "RAY_SERVE_GRPC_MAX_MESSAGE_SIZE": str(MAX_BODY_BYTES + 2**16),
}
EVERYWHERE = ("0.0.0.0", "::")


@dataclass(frozen=True, slots=True)
class Service:
    """A service that is up. `stop` ends it, and the Ray that was started for it."""

    url: str
    token: str

    def stop(self) -> None:
        """Lets requests in flight end, then ends every process of this Ray."""
        import ray

        # Ray says on standard output that the controller died, which it was asked to.
        with contextlib.redirect_stdout(io.StringIO()):
            if ray.is_initialized():
                # Where the signal went to Ray's processes as well, Serve waits half a minute for the dead.
                drain = threading.Thread(target=_drain, daemon=True)
                drain.start()
                drain.join(DRAIN_SECONDS)
            ray.shutdown()


def _drain() -> None:
    from ray import serve
    from ray.serve.exceptions import RayServeException

    with contextlib.suppress(RayServeException):  # it had not come up
        # A shutdown kills the proxy first, and with it every answer; without the application, it has none to wait for.
        serve.delete(NAME)
    serve.shutdown()


def run(
    *runs: str | Path,
    host: str = "127.0.0.1",
    port: int = 8000,
    token: str | None = None,
    tokens: Path | None = None,
    images: Sequence[str] = (),
    grpc_port: int | None = None,
    tls_cert: Path | None = None,
    tls_key: Path | None = None,
    block: bool = True,
    on_ready: Callable[[str], None] | None = None,
) -> Service:
    """Serves artifacts over HTTP; with `block` until Ctrl-C or SIGTERM. Each of `runs` is a run or artifact folder, or
    NAME=RUN; the first is the one that paths without a name mean.

    With a certificate and its key in PEM files it speaks HTTPS alone; with `grpc_port` gRPC, too. Clients have `token`, or one
    of those in the file `tokens`; where there is neither, one is made. Rows may name images by their address under one of
    `images`, such as https://images.acme.com/shop/. `on_ready` is called once, when requests are answered, with what to tell
    the user: the address, and the token if it was made here. Raises UserError for a path, port, token, certificate or address
    that will not do, and FusionError where no model starts.
    """
    setup = Setup(tuple(_at_hand(plan) for plan in Setup.of_runs(map(str, runs)).models))
    made = not token and not tokens
    token = token or (make_token() if made else "")
    if token:
        check_token(token)
    if tokens:
        read_digests(tokens)
    read_prefixes(images)
    known = Tokens([digest(token)] if token else [], tokens and tokens.resolve())
    tls = read_tls(tls_cert, tls_key)
    _check_port("--port", host, port)
    if grpc_port is not None:
        _check_grpc(host, port, grpc_port, tls)
    service = Service(f"{'https' if tls else 'http'}://{host}:{port}", token)
    try:
        cores = len(os.sched_getaffinity(0))
        # The model has the threads of all cores, the proxy none of its own: with one left to it, of two, 10,000 rows took twice
        # as long, and single ones no shorter.
        _start_ray(cores)
        if block:
            _signals_interrupt()
        _deploy(setup, known, host=host, port=port, grpc_port=grpc_port, tls=tls, cores=cores, images=images)
        if on_ready:
            on_ready(_greeting(service, setup, made=made, in_clear=tls is None and not is_loopback(host)))
    except BaseException:
        service.stop()
        raise
    if block:
        with contextlib.suppress(KeyboardInterrupt):
            threading.Event().wait()
        service.stop()
    return service


def _start_ray(cores: int) -> None:
    """Starts a Ray that nobody else can reach, with processes of so many threads."""
    os.environ.setdefault("OMP_NUM_THREADS", str(cores))  # Ray sets it later, when NumPy has already made its threads
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


def _deploy(
    setup: Setup,
    tokens: Tokens,
    *,
    host: str,
    port: int,
    grpc_port: int | None,
    tls: TLS | None,
    cores: int,
    images: Sequence[str],
) -> None:
    """Returns when requests are answered. Raises FusionError where the model does not start."""
    from ray import serve

    from fusion_automl.serve.deployment import QUIET, bind

    logging.getLogger("ray.serve").setLevel(logging.ERROR)
    serve.start(
        proxy_location="HeadOnly",
        http_options={
            "host": host,
            "port": port,
            "request_timeout_s": PROXY_SECONDS,
            "ssl_certfile": str(tls.certificate) if tls else None,
            "ssl_keyfile": str(tls.key) if tls else None,
        },
        grpc_options=None
        if grpc_port is None
        else {
            "port": grpc_port,
            "grpc_servicer_functions": ["fusion_automl.serve.rpc.predictor.add_predictor"],
            "request_timeout_s": PROXY_SECONDS,
            "enable_reflection": False,
        },
        logging_config=QUIET,
    )
    app = bind(setup, tokens, cpus=cores, images=images)
    try:
        serve.run(app, name=NAME)
    except RuntimeError as error:
        deployment = serve.status().applications[NAME].deployments[NAME]
        reason = deployment.message.strip().splitlines()[-1]
        raise FusionError(f"{_paths(setup)}: no model started ({reason}).") from error


def _check_grpc(host: str, port: int, grpc_port: int, tls: TLS | None) -> None:
    """Raises UserError where gRPC would be open to more than the user said."""
    if host not in EVERYWHERE:
        raise UserError(
            f"--grpc-port: Ray Serve listens for gRPC on all addresses of the machine, and --host is {host}. "
            "Give --host 0.0.0.0 if all of them may be reached, else leave --grpc-port out."
        )
    if tls:
        raise UserError(
            "--grpc-port: Ray Serve speaks gRPC without TLS. Leave out --tls-cert and put a proxy with TLS before both ports."
        )
    if grpc_port == port:
        raise UserError(f"--grpc-port: {port} is the port of HTTP. Choose another.")
    _check_port("--grpc-port", host, grpc_port)


def _check_port(option: str, host: str, port: int) -> None:
    try:
        with socket.create_server((host, port)):
            pass
    except OSError as error:
        reason = str(error.strerror).partition(" (while")[0]
        raise UserError(f"{option}: {host}:{port} cannot be listened on ({reason}). Choose another.") from None


def _at_hand(plan: Plan) -> Plan:
    """With the folder on this machine. Checked here, where the answer is one sentence and comes before Ray starts."""
    folder = find_artifact(plan.path).resolve()
    read_manifest(folder)
    return replace(plan, path=str(folder))


def _paths(setup: Setup) -> str:
    return ", ".join(plan.path for plan in setup.models)


def _greeting(service: Service, setup: Setup, *, made: bool, in_clear: bool) -> str:
    lines = [f"Serving {_paths(setup)} on {service.url} until Ctrl-C."]
    if made:
        lines.append(f"Token, made for this service and shown once: {service.token}")
    if in_clear:
        lines.append("Tokens travel in the clear: give --tls-cert and --tls-key, or put a proxy with TLS before it.")
    token = service.token if made else "$FUSION_AUTOML_TOKEN" if service.token else "TOKEN"
    lines.append(f'Try: curl -H "Authorization: Bearer {token}" {service.url}/v1/schema')
    lines.append(f"What else it answers: {service.url}/docs in a browser, with any name and the token as the password.")
    return "\n".join(lines)
