"""`fusion-automl rollout`: another version of a model in a service that runs on a cluster."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer

from fusion_automl.cli import show
from fusion_automl.cli.jobs import Address
from fusion_automl.cli.options import Json
from fusion_automl.errors import UserError

if TYPE_CHECKING:
    from fusion_automl.serve.plan import Plan


def rollout(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="The model's name in the service.")],
    address: Address,
    path: Annotated[
        str | None,
        typer.Argument(metavar="[RUN]", help="The new version, where every machine of the cluster can read it."),
    ] = None,
    canary: Annotated[
        float | None, typer.Option(metavar="SHARE", help="Let it answer this share of the requests only, such as 0.1.")
    ] = None,
    shadow: Annotated[
        bool, typer.Option("--shadow", help="Send it copies of the requests, and let nobody see what it answers.")
    ] = False,
    promote: Annotated[bool, typer.Option("--promote", help="Let the canary or shadow answer all requests.")] = False,
    back: Annotated[
        bool, typer.Option("--back", help="Drop the canary or shadow; without one, back to the version before.")
    ] = False,
    json_output: Json = False,
) -> None:
    """Swap the version of a model in a running service, or try one out: loaded and warm first, and no request is dropped.

    A version that does not load is told of, and the one before serves on. A cluster's token is taken from RAY_AUTH_TOKEN or
    RAY_AUTH_TOKEN_PATH.

    Example: fusion-automl rollout houses s3://acme-ml/runs/houses-2 --canary 0.1 --address http://HOST:8265

    Example: fusion-automl rollout houses --promote --address http://HOST:8265
    """
    from fusion_automl.serve.rollout import roll_out

    plan, replicas = roll_out(address, model, _change(path, canary=canary, shadow=shadow, promote=promote, back=back))
    show.line(f"{plan.name}: {plan.path} answers in {replicas} replica{'s' if replicas != 1 else ''}.")
    if plan.tried:
        part = f"answers {plan.share:.0%} of the requests" if plan.share else "gets a copy of the requests"
        show.line(f"On trial: {plan.tried} {part}. Then: rollout {plan.name} --promote, or --back")
    elif plan.before:
        show.line(f"Before: {plan.before}. To return to it: rollout {plan.name} --back")
    show.json_line({**plan.to_json(), "replicas": replicas}, json_output)


def _change(
    path: str | None, *, canary: float | None, shadow: bool, promote: bool, back: bool
) -> Callable[[Plan], Plan]:
    if (path is not None) + promote + back != 1:
        raise UserError("rollout: expected one of RUN, --promote and --back.")
    if (canary is not None or shadow) and path is None:
        raise UserError("rollout: --canary and --shadow go with the RUN that is to be tried.")
    if canary is not None and (shadow or not 0 < canary < 1):
        raise UserError(
            f"--canary: got {canary:g}{' and --shadow' if shadow else ''}, expected a share of the requests between 0 and 1, "
            "such as 0.1, and no --shadow."
        )
    if path is None:
        return lambda plan: plan.promoted() if promote else plan.back()
    if canary is None and not shadow:
        return lambda plan: plan.to(path)
    return lambda plan: plan.trying(path, share=canary or 0.0)
