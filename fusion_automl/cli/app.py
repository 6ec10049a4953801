"""The commands, each a thin layer over a function of the package."""

from __future__ import annotations

import time
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from fusion_automl.cli import show

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

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object as the last line of standard output.")]
Run = Annotated[Path, typer.Argument(metavar="RUN", help="A run folder or an artifact folder.")]
Data = Annotated[str, typer.Argument(metavar="DATA", help="A file, a folder, or an s3:// URI.")]


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


@app.command()
def fit(
    data: Annotated[str | None, typer.Argument(metavar="DATA", help="A file, a folder, or an s3:// URI.")] = None,
    target: Annotated[str | None, typer.Option(help="The column to predict.")] = None,
    out: Annotated[Path | None, typer.Option(help="The run folder; by default one under runs/.")] = None,
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
    max_trials: Annotated[int | None, typer.Option(help="Stop after so many candidates.")] = None,
    preset: Annotated[
        str | None, typer.Option(help="best-quality (an ensemble) or fast-inference (one model).")
    ] = None,
    max_latency_ms: Annotated[float | None, typer.Option(help="The longest a row alone may take to predict.")] = None,
    max_size_mb: Annotated[float | None, typer.Option(help="The largest the artifact may be.")] = None,
    engine: Annotated[str, typer.Option(help="inline (this machine) or ray.")] = "inline",
    address: Annotated[str | None, typer.Option(help="A Ray cluster, auto or HOST:PORT; implies ray.")] = None,
    resume: Annotated[bool, typer.Option(help="Go on with the run in --out.")] = False,
    json_output: Json = False,
) -> None:
    """Search for the best fusion and leave its artifact.

    Example: fusion-automl fit train.parquet --target price --test test.parquet --budget 5m --out runs/houses
    """
    from fusion_automl.cli.progress import Progress
    from fusion_automl.errors import UserError
    from fusion_automl.fitting import fit as run_fit

    if resume and out is None:
        raise UserError("--resume: needs --out with the folder of the run to go on with.")
    out = out or Path("runs") / f"{Path(data or 'run').stem}-{datetime.now():%Y%m%d-%H%M%S}"
    with Progress(out, budget=budget, started=STARTED) as progress:
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
            max_trials=max_trials,
            preset=preset,  # type: ignore[arg-type]  # checked by fit, with a sentence
            max_latency_ms=max_latency_ms,
            max_size_mb=max_size_mb,
            engine="ray" if address else engine,  # type: ignore[arg-type]  # checked by fit, with a sentence
            address=address,
            resume=resume,
            listener=progress,
            started=STARTED,
        )
    show.summary(result.summary)
    show.json_line(result.summary, json_output)


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
    from fusion_automl.leaderboard import leaderboard as rows_of
    from fusion_automl.search.problem import read_settings

    settings = read_settings(run)
    rows = [row for row in rows_of(run) if row["pareto"] or not pareto]
    show.leaderboard(rows[:top], scale=show.Scale.of(settings), total=len(rows))
    show.json_line({"run": str(run), "metric": settings["metric"], "trials": rows}, json_output)


@app.command()
def predict(run: Run, data: Data, out: Annotated[Path, typer.Option(help="A .parquet, .csv or .jsonl file.")]) -> None:
    """Predict every row of DATA with the ensemble, without Ray.

    Example: fusion-automl predict runs/houses new.parquet --out predictions.parquet
    """
    from fusion_automl.artifact import load
    from fusion_automl.cli.tables import write_table

    table = load(run).predict_table(data)
    write_table(table, out)
    show.line(f"{len(table)} predictions in {out}")


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
    show.json_line({"run": str(run), "scores": scores}, json_output)


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
    run: Run,
    port: Annotated[int, typer.Option(help="The port on the host.")] = 8000,
    host: Annotated[str, typer.Option(help="Loopback unless you say otherwise.")] = "127.0.0.1",
) -> None:
    """Serve the ensemble over HTTP on Ray Serve until Ctrl-C.

    Example: FUSION_AUTOML_TOKEN=secret fusion-automl serve runs/houses --port 8000
    """
    import os

    from fusion_automl.serve import run as run_service

    run_service(run, host=host, port=port, token=os.environ.get("FUSION_AUTOML_TOKEN"), block=True, on_ready=show.line)


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
