"""The commands, each a thin layer over a function of the package."""

from __future__ import annotations

import time
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from fusion_automl.cli import show
from fusion_automl.cli.jobs import jobs, submit_like
from fusion_automl.cli.options import Data, Json, Run
from fusion_automl.cli.rollout import rollout

STARTED = time.monotonic()
"""The budget counts from here: loading the program is part of the command."""

app = typer.Typer(
    name="fusion-automl",
    help="Searches deep backbone x classical model x fusion for your data, and serves the winner.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


@app.command()
def fit(
    data: Annotated[str | None, typer.Argument(metavar="DATA", help="A file, a folder, or an s3:// URI.")] = None,
    target: Annotated[str | None, typer.Option(help="The column to predict.")] = None,
    out: Annotated[
        str | None, typer.Option(help="The run folder, or an s3:// URI; by default one under runs/.")
    ] = None,
    test: Annotated[str | None, typer.Option(help="Rows with the target, to score the result on.")] = None,
    budget: Annotated[str | None, typer.Option(help="Time for the whole command, such as 90s, 10m or 1h30m.")] = None,
    metric: Annotated[
        str | None, typer.Option(help="What to optimise, by name or file.py:function; chosen unless given.")
    ] = None,
    space: Annotated[str, typer.Option(help="A search space by name, or a TOML file.")] = "default",
    ignore: Annotated[str, typer.Option(help="Columns to leave out, separated by commas.")] = "",
    folds: Annotated[int | None, typer.Option(help="Folds; fitted to rows and budget unless given.")] = None,
    group: Annotated[str | None, typer.Option(help="Rows with the same value stay on one side of a split.")] = None,
    time_column: Annotated[str | None, typer.Option("--time", help="Later rows are predicted from earlier.")] = None,
    schema: Annotated[Path | None, typer.Option(help="A TOML file that overrides inferred kinds.")] = None,
    task: Annotated[str | None, typer.Option(help="binary, multiclass or regression; found unless given.")] = None,
    seed: Annotated[int, typer.Option(help="Same data, space and seed: same candidates and scores.")] = 0,
    max_rows: Annotated[
        int | None,
        typer.Option(
            help="Use a random sample of so many rows; what memory holds unless given, and for nets shards of the others."
        ),
    ] = None,
    max_trials: Annotated[int | None, typer.Option(help="Stop after so many candidates.")] = None,
    preset: Annotated[
        str | None, typer.Option(help="best-quality (an ensemble) or fast-inference (one model).")
    ] = None,
    max_latency_ms: Annotated[float | None, typer.Option(help="The longest a row alone may take to predict.")] = None,
    max_size_mb: Annotated[float | None, typer.Option(help="The largest the artifact may be.")] = None,
    engine: Annotated[str, typer.Option(help="inline (this machine) or ray.")] = "inline",
    address: Annotated[str | None, typer.Option(help="A Ray cluster, auto or HOST:PORT; implies ray.")] = None,
    max_concurrent: Annotated[
        int | None, typer.Option(help="Trials at once on Ray; where the cluster grows, as many CPUs as it may have.")
    ] = None,
    workers_per_trial: Annotated[
        int | None, typer.Option(help="Processes on Ray that train a net together; fitted to the cluster unless given.")
    ] = None,
    resume: Annotated[bool, typer.Option(help="Go on with the run in --out.")] = False,
    json_output: Json = False,
) -> None:
    """Search for the best fusion and leave its artifact.

    Example: fusion-automl fit train.parquet --target price --test test.parquet --budget 5m --out runs/houses
    """
    from fusion_automl.cli.progress import Progress
    from fusion_automl.errors import UserError
    from fusion_automl.fitting import fit as run_fit
    from fusion_automl.store.mirror import place

    if resume and out is None:
        raise UserError("--resume: needs --out with the folder of the run to go on with.")
    out = out or f"runs/{Path(data or 'run').stem}-{datetime.now():%Y%m%d-%H%M%S}"
    with Progress(place(out)[0], budget=budget, started=STARTED) as progress:
        result = run_fit(
            data,
            target=target,
            out=out,
            test=test,
            budget=budget,
            metric=metric,
            space=space,
            ignore=_names(ignore),
            folds=folds,
            group=group,
            time=time_column,
            schema=schema,
            task=task,
            seed=seed,
            max_rows=max_rows,
            max_trials=max_trials,
            preset=preset,  # type: ignore[arg-type]  # checked by fit, with a sentence
            max_latency_ms=max_latency_ms,
            max_size_mb=max_size_mb,
            engine="ray" if address else engine,  # type: ignore[arg-type]  # checked by fit, with a sentence
            address=address,
            max_concurrent=max_concurrent,
            workers_per_trial=workers_per_trial,
            resume=resume,
            listener=progress,
            started=STARTED,
        )
    show.summary(result.summary)
    show.json_line(result.summary, json_output)


app.command("submit")(submit_like(fit))
app.add_typer(jobs, name="jobs")


@app.command()
def leaderboard(
    run: Run,
    top: Annotated[int, typer.Option(help="How many lines.")] = 20,
    pareto: Annotated[
        bool, typer.Option("--pareto", help="Only those that no other beats in score, latency and size at once.")
    ] = False,
    json_output: Json = False,
) -> None:
    """Show every candidate that was tried, best first.

    Example: fusion-automl leaderboard runs/houses --top 10
    """
    from fusion_automl.leaderboard import at_hand
    from fusion_automl.leaderboard import leaderboard as rows_of
    from fusion_automl.search.problem import read_settings

    folder = at_hand(run)
    settings = read_settings(folder)
    rows = [row for row in rows_of(folder) if row["pareto"] or not pareto]
    show.leaderboard(rows[:top], scale=show.Scale.of(settings), total=len(rows))
    show.json_line({"run": run, "metric": settings["metric"], "trials": rows}, json_output)


@app.command()
def predict(
    run: Run,
    data: Data,
    out: Annotated[str, typer.Option(help="A .parquet, .csv or .jsonl file; with --address a folder or s3:// URI.")],
    address: Annotated[
        str | None, typer.Option(help="A Ray cluster, auto, HOST:PORT or local: score DATA file by file.")
    ] = None,
    keep: Annotated[str, typer.Option(help="With --address: columns of DATA to carry over, such as an id.")] = "",
) -> None:
    """Predict every row of DATA with the ensemble: without Ray, or with --address at any size, file by file.

    Example: fusion-automl predict runs/houses new.parquet --out predictions.parquet

    Example: fusion-automl predict runs/houses s3://bucket/rows --out s3://bucket/scores --address auto --keep id
    """
    from fusion_automl.cli.predict import predict_file, predict_shards
    from fusion_automl.errors import UserError

    if address is not None:
        predict_shards(run, data, out=out, address=address, keep=_names(keep))
    elif keep:
        raise UserError("--keep: goes with --address, which writes one output file for each file of DATA.")
    else:
        predict_file(run, data, out=Path(out))


@app.command()
def evaluate(
    run: Run,
    data: Data,
    metric: Annotated[
        str | None, typer.Option(help="A metric of yours to add, package.module:function or file.py:function.")
    ] = None,
    json_output: Json = False,
) -> None:
    """Score the ensemble on rows that carry the target.

    Example: fusion-automl evaluate runs/houses test.parquet
    """
    from fusion_automl.artifact import load

    scores = load(run).evaluate(data, metric=metric)
    show.scores(scores)
    show.json_line({"run": run, "scores": scores}, json_output)


@app.command()
def schema(
    data: Data,
    target: Annotated[str | None, typer.Option(help="The column to predict.")] = None,
    toml: Annotated[bool, typer.Option(help="Print TOML, to edit and give to fit --schema.")] = False,
    json_output: Json = False,
) -> None:
    """Show what each column is taken for.

    Example: fusion-automl schema train.csv --target price --toml > schema.toml
    """
    from fusion_automl.data.infer import describe, infer_schema
    from fusion_automl.data.override import to_toml
    from fusion_automl.data.read import read_table

    found = infer_schema(read_table(data), exclude={target} if target else ())
    typer.echo(to_toml(found) if toml else describe(found), err=json_output)
    show.json_line({"columns": found.to_json()}, json_output)


@app.command()
def serve(
    runs: Annotated[
        list[str], typer.Argument(metavar="RUN...", help="Runs, artifacts or s3:// URIs; NAME=RUN gives one a name.")
    ],
    port: Annotated[int, typer.Option(help="The port on the host.")] = 8000,
    host: Annotated[str, typer.Option(help="Loopback unless you say otherwise.")] = "127.0.0.1",
    tokens: Annotated[
        Path | None,
        typer.Option(help="A file of several clients' tokens, made by `token`; read again when it changes."),
    ] = None,
    allow_images: Annotated[
        list[str] | None,
        typer.Option(
            help="Where images may lie that rows name by address: https://HOST/FOLDER/ or s3://BUCKET/FOLDER/."
        ),
    ] = None,
    grpc_port: Annotated[
        int | None, typer.Option(help="A port for gRPC, too; it needs --host 0.0.0.0, since all addresses reach it.")
    ] = None,
    tls_cert: Annotated[
        Path | None, typer.Option(help="A certificate with its chain, in PEM; then it is HTTPS.")
    ] = None,
    tls_key: Annotated[Path | None, typer.Option(help="The key of the certificate, in PEM.")] = None,
) -> None:
    """Serve the ensemble over HTTP on Ray Serve until Ctrl-C, or several: /v1/models/NAME/predict asks the one of that name.

    Example: FUSION_AUTOML_TOKEN=secret fusion-automl serve runs/houses --port 8000

    Example: fusion-automl serve runs/houses prices=runs/prices-2
    """
    import os

    from fusion_automl.serve import run as run_service

    token = os.environ.get("FUSION_AUTOML_TOKEN")
    run_service(
        *runs,
        host=host,
        port=port,
        token=token,
        tokens=tokens,
        images=allow_images or (),
        grpc_port=grpc_port,
        tls_cert=tls_cert,
        tls_key=tls_key,
        block=True,
        on_ready=show.line,
    )


app.command()(rollout)


@app.command()
def token(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="The file for `serve --tokens`; made if it is not there.")
    ],
    name: Annotated[str, typer.Argument(metavar="NAME", help="Whose token it is.")],
) -> None:
    """Make a token for a client of the service; the file keeps its SHA-256 alone. To revoke it, delete its line.

    Example: fusion-automl token tokens.txt alice
    """
    from fusion_automl.serve.auth import add_token

    typer.echo(add_token(file, name))


spaces = typer.Typer(help="List, show and check search spaces.", no_args_is_help=True)
app.add_typer(spaces, name="spaces")
Name = Annotated[str, typer.Argument(metavar="NAME", help="A space by name, or a TOML file.")]


@spaces.command("list")
def spaces_list() -> None:
    """List the spaces that come with the package.

    Example: fusion-automl spaces list
    """
    from fusion_automl.search.read import read_space, space_names

    for name in space_names():
        typer.echo(f"{name:12} {read_space(name).description}")


@spaces.command("show")
def spaces_show(name: Name) -> None:
    """Show what a space searches and what it tries first.

    Example: fusion-automl spaces show default
    """
    from fusion_automl.search.describe import describe_space
    from fusion_automl.search.read import read_space

    typer.echo(describe_space(read_space(name)))


@spaces.command("check")
def spaces_check(name: Name) -> None:
    """Check a space: every name, every range, every portfolio entry, and a sample of candidates.

    Example: fusion-automl spaces check my_space.toml
    """
    from fusion_automl.errors import SpaceError
    from fusion_automl.search.describe import check_space, size_of
    from fusion_automl.search.read import read_space

    space = read_space(name)
    problems = check_space(space)
    if problems:
        raise SpaceError("\n".join(problems))
    typer.echo(f"{space.name} is sound: {size_of(space)}")
