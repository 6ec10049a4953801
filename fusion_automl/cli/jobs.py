"""`fusion-automl submit` and `fusion-automl jobs`: a fit on a cluster, from a machine that is not part of it."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fusion_automl.cli import show, show_jobs
from fusion_automl.cli.options import Json
from fusion_automl.errors import UserError

if TYPE_CHECKING:
    from fusion_automl.jobs.cluster import Cluster
    from fusion_automl.jobs.job import Job
    from fusion_automl.jobs.progress import Progress

Address = Annotated[
    str, typer.Option(envvar="RAY_API_SERVER_ADDRESS", help="The dashboard of the cluster's head: http://HOST:8265.")
]
JobId = Annotated[str, typer.Argument(metavar="ID", help="The job's id, as submit printed it.")]

jobs = typer.Typer(
    help="Follow and stop the fits that run on a cluster.\n\nExample: fusion-automl jobs list --address http://HOST:8265",
    no_args_is_help=True,
)

NAMED = ("data", "target", "budget", "resume")
"""Options of `fit` which `submit` looks at; any other goes into the job as it was given."""
UNSHARED = ("engine",)
"""The option of `fit` that makes no sense for a job: it runs on its cluster."""


def submit_like(fit: Callable[..., None]) -> Callable[..., None]:
    """The command `submit`, with all options of `fit` that make sense on a cluster: they are told once, in `fit`."""

    def submit(
        context: typer.Context,
        address: Address,
        out: Annotated[str | None, typer.Option(help="The run folder; by default one beside the data.")] = None,
        wait: Annotated[bool, typer.Option("--wait", help="Follow the log, and end as the fit ends.")] = False,
        json_output: Json = False,
        **options: Any,
    ) -> None:
        """Run a fit on a Ray cluster: its machines search, this one may be switched off.

        The cluster's machines must have fusion_automl, and see DATA and the run folder: under s3://, or on a shared disk.
        A cluster's token is taken from RAY_AUTH_TOKEN or RAY_AUTH_TOKEN_PATH.

        Example: fusion-automl submit s3://bucket/houses.parquet --target price --budget 1h --address http://HOST:8265
        """
        from fusion_automl.jobs.cluster import connect
        from fusion_automl.jobs.submission import prepare

        named = {name: options.pop(name) for name in NAMED}
        submission = prepare(out=out, **named, options=_given(context, options))
        cluster = connect(address)
        cluster.submit(submission)
        show_jobs.submitted(submission, address)
        facts = {"id": submission.id, "run": submission.run, "address": address}
        if not wait:
            show.json_line(facts, json_output)
            return
        show.json_line({**facts, "result": _end_of(cluster, submission.id)}, json_output)

    own = dict(inspect.signature(submit, eval_str=True).parameters)
    del own["options"]
    shared = {name: it for name, it in inspect.signature(fit, eval_str=True).parameters.items() if name not in UNSHARED}
    both = [it.replace(kind=it.KEYWORD_ONLY) for it in {**shared, **own}.values()]
    submit.__signature__ = inspect.Signature(both)  # type: ignore[attr-defined]  # inspect documents it, mypy has it not
    return submit


def _given(context: typer.Context, options: Mapping[str, Any]) -> dict[str, str | None]:
    """Flags and values of those options that stand on the command line; None for a flag that takes no value."""
    found: dict[str, str | None] = {}
    for parameter in context.command.params:
        source = context.get_parameter_source(parameter.name or "")
        if parameter.name in options and source is not None and source.name == "COMMANDLINE":
            value = options[parameter.name]
            flags = parameter.secondary_opts if value is False else parameter.opts
            found[flags[0]] = None if isinstance(value, bool) else str(value)
    return found


def _end_of(cluster: Cluster, job_id: str) -> dict[str, Any]:
    """The summary of a job's fit, once its log went by on the terminal."""
    from fusion_automl.jobs.outcome import Transcript, result

    transcript = Transcript(show.line)
    try:
        job = cluster.follow(job_id, transcript.add)
    except KeyboardInterrupt:
        show.line(f"The job goes on. To end it: fusion-automl jobs stop {job_id} --address {cluster.address}")
        raise
    transcript.close()
    return result(job, transcript)


@jobs.command("list")
def list_jobs(address: Address, json_output: Json = False) -> None:
    """List the fits that the cluster knows, newest first, and how far each of them is.

    Example: fusion-automl jobs list --address http://HOST:8265
    """
    from fusion_automl.jobs.cluster import connect

    found = [(job, _progress(job)) for job in connect(address).jobs()]
    show_jobs.jobs(found)
    show.json_line({"address": address, "jobs": [_facts(job, progress) for job, progress in found]}, json_output)


@jobs.command()
def status(
    job_id: Annotated[str, typer.Argument(metavar="ID", help="A job's id, or the run folder of one, past or present.")],
    address: Annotated[
        str | None,
        typer.Option(envvar="RAY_API_SERVER_ADDRESS", help="The dashboard of the cluster's head, for an id."),
    ] = None,
    json_output: Json = False,
) -> None:
    """Show how far a job is: trials, the best score so far, and the time used, from its run folder.

    Given the run folder it asks no cluster, so it also tells what a job did whose cluster is gone.

    Example: fusion-automl jobs status houses-price-20261125-101500-1f2e --address http://HOST:8265
    """
    from fusion_automl.jobs.cluster import connect
    from fusion_automl.jobs.progress import read_progress

    if "/" in job_id or Path(job_id).is_dir():
        progress = read_progress(job_id)
        if progress is None:
            raise UserError(f"{job_id}: holds no run. Expected the id of a job, or the folder that its --out named.")
        show_jobs.progress(progress)
        show.json_line({"run": job_id, "progress": asdict(progress)}, json_output)
        return
    if address is None:
        raise UserError("jobs status: needs --address for the id of a job; the run folder of a job does without.")
    job = connect(address).job(job_id)
    show_jobs.job(job)
    found = _progress(job)
    if found:
        show_jobs.progress(found)
    else:
        show.line(f"{job.run}: nothing in it yet, as seen from this machine.")
    show.json_line(_facts(job, found), json_output)


@jobs.command()
def logs(
    job_id: JobId,
    address: Address,
    follow: Annotated[bool, typer.Option("--follow", help="Until the job ends.")] = False,
    json_output: Json = False,
) -> None:
    """Print what a job has written so far.

    Example: fusion-automl jobs logs houses-price-20261125-101500-1f2e --address http://HOST:8265 --follow
    """
    from fusion_automl.jobs.cluster import connect

    cluster = connect(address)
    stream = sys.stderr if json_output else sys.stdout
    pieces: list[str] = []

    def write(text: str) -> None:
        pieces.append(text)
        stream.write(text)
        stream.flush()

    if follow:
        cluster.follow(job_id, write)
    else:
        write(cluster.logs(job_id))
    show.json_line({"id": job_id, "logs": "".join(pieces)}, json_output)


@jobs.command()
def stop(
    job_id: JobId,
    address: Address,
    wait: Annotated[bool, typer.Option("--wait", help="Until the job has ended.")] = False,
    json_output: Json = False,
) -> None:
    """End a job early; its fit makes an artifact of what it found, and can be gone on with by submit --resume.

    Example: fusion-automl jobs stop houses-price-20261125-101500-1f2e --address http://HOST:8265 --wait
    """
    from fusion_automl.jobs.cluster import connect

    cluster = connect(address)
    stopped = cluster.stop(job_id)
    job = cluster.wait(job_id) if wait else cluster.job(job_id)
    if not stopped:
        show.line(f"{job_id}: had ended already ({job.status}).")
    elif job.ended:
        show.line(f"{job_id}: ended. Run folder: {job.run}")
    else:
        show.line(f"{job_id}: is ending with what it found; its artifact will be in {job.run}/artifact.")
    show.json_line({"id": job_id, "stopped": stopped, "status": job.status, "run": job.run}, json_output)


def _progress(job: Job) -> Progress | None:
    """None where the run folder is empty, or cannot be seen from this machine."""
    from fusion_automl.jobs.progress import read_progress

    try:
        return read_progress(job.run, running=job.status == "RUNNING") if job.run else None
    except UserError as error:
        show.line(f"note: {error}")
        return None


def _facts(job: Job, progress: Progress | None) -> dict[str, Any]:
    started = datetime.fromtimestamp(job.started).astimezone().isoformat(timespec="seconds") if job.started else None
    return {**asdict(job), "started": started, "progress": asdict(progress) if progress else None}
