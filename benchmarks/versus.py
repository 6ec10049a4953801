"""This project and its peers side by side: same rows, same budget, same metric, each system in an environment of its own.

    python benchmarks/versus.py setup [--systems autogluon_tabular,automm,flaml]
    python benchmarks/versus.py run --out FILE.jsonl [--budget 150,600] [--datasets ...] [--systems ...] [--seeds 0,1,2]
    python benchmarks/versus.py table FILE.jsonl

`run` makes missing environments, appends a line to FILE as each job ends, and skips the jobs that FILE has: a run that was
cut is taken up by the same command. docs/benchmarks.md says what is measured and how.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import cases
import systems
from cases import DATA
from goals import judge, ranked, summarize
from jobs import plan, read_lines, run_all
from ranks import loss_table, mean_ranks, record
from systems import VENVS

EXTRA_SECONDS = 45.0
"""What a job takes beyond its budget, on the average of the systems: overrun, loading, prediction."""


def names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def numbers(text: str) -> list[float]:
    return [float(name) for name in names(text)]


def add_run_options(parser: argparse.ArgumentParser) -> None:
    """The options of every script that runs jobs."""
    parser.add_argument("--out", type=Path, required=True, help="where a line is appended as each job ends")
    parser.add_argument("--budget", type=numbers, default=[150.0], help="seconds; several with commas")
    parser.add_argument("--datasets", type=names, default=[], help="all unless given")
    parser.add_argument("--systems", type=names, default=[], help="all unless given")
    parser.add_argument("--seeds", type=numbers, default=[0, 1, 2], help="for small data sets; others take the first")
    parser.add_argument("--all-seeds", action="store_true", help="every seed for large data sets, too")
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--venvs", type=Path, default=VENVS, help="where the peers' environments lie")


def run_jobs(options: argparse.Namespace, known: Sequence[systems.System]) -> None:
    """Runs what the options ask for, with a line for people as each job ends."""
    chosen = systems.chosen(options.systems, known)
    for system in chosen:
        system.set_up(options.venvs)
    seeds = [int(seed) for seed in options.seeds]
    jobs = plan(chosen, cases.chosen(options.datasets), seeds, options.budget, all_seeds=options.all_seeds)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    hours = sum(job.budget + EXTRA_SECONDS for job in jobs) / 3600
    print(f"{len(jobs)} jobs, about {hours:.1f} h less those that {options.out} has", flush=True)
    for line in run_all(jobs, options.out, data=options.data, venvs=options.venvs):
        name = f"{line['case']:20}{line['system']:19}seed {line['seed']}  {line['budget']:g} s"
        told = f"{line['scores'][line['metric']]:.4f} {line['metric']}" if line["scores"] else line["reason"]
        print(f"{name}  took {line['seconds']:.0f} s: {told}", flush=True)


def print_tables(lines: Sequence[dict[str, Any]]) -> None:
    """For each budget: all figures, mean ranks, wins and losses, goals."""
    for budget, group in groupby(sorted(lines, key=lambda line: line["budget"]), key=lambda line: line["budget"]):
        of_budget = list(group)
        print(f"\nBudget {budget:g} s, {of_budget[0]['machine']}\n")
        print_figures(of_budget)
        print_ranks(ranked(of_budget))
        print_failures(of_budget)
        for verdict in judge(of_budget):
            print(verdict)


def print_figures(lines: Sequence[dict[str, Any]]) -> None:
    print(
        f"{'case':20}{'metric':10}{'system':19}{'score':>11} {'± seeds':>10}{'time/budget':>13}{'rows/s':>9}"
        f"{'size MB':>9}{'peak MB':>9}"
    )
    for (case, system), row in summarize(lines).iterrows():
        failed = f"  {row.failed} of {row.seeds} seeds left no model" if row.failed else ""
        print(
            f"{case:20}{row.metric:10}{system:19}{figure(row.score):>11} {figure(row.spread):>10}{row.overrun:13.1%}"
            f"{figure(row.rows_per_second):>9}{figure(row.artifact_bytes / 1e6):>9}{figure(row.peak_bytes / 1e6):>9}{failed}"
        )
    for line in lines:
        if line["case"] == "rotten_tomatoes" and line["scores"]:
            print(f"rotten_tomatoes, {line['system']}: accuracy {line['scores']['accuracy']:.4f}")


def print_ranks(lines: Sequence[dict[str, Any]]) -> None:
    table = loss_table(lines)
    ranks = mean_ranks(table)
    if len(ranks) < 2:
        return
    print(f"\nMean rank over the {len(table)} cases that all systems ran (1 is best; no model is last):")
    for system, rank in ranks.items():
        against = (f"{other} {'-'.join(map(str, record(table, system, other)))}" for other in ranks.index.drop(system))
        print(f"{rank:6.2f}  {system:19}won-drawn-lost against {', '.join(against)}")
    print()


def print_failures(lines: Sequence[dict[str, Any]]) -> None:
    for line in lines:
        if not line["scores"]:
            print(f"{line['case']}, {line['system']}, seed {line['seed']}: no model. {line['reason']}")


def figure(value: float) -> str:
    """Four digits behind the point for scores, none for large numbers."""
    if math.isnan(value):
        return "-"
    return f"{value:,.4f}" if abs(value) < 10 else f"{value:,.1f}" if abs(value) < 1000 else f"{value:,.0f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    setup = commands.add_parser("setup", help="make the peers' environments")
    setup.add_argument("--systems", type=names, default=[], help="all unless given")
    setup.add_argument("--venvs", type=Path, default=VENVS)
    add_run_options(commands.add_parser("run", help="run the jobs that FILE does not have"))
    commands.add_parser("table", help="show what was measured").add_argument("file", type=Path)
    options = parser.parse_args()
    if options.command == "setup":
        for system in systems.chosen(options.systems):
            system.set_up(options.venvs)
    elif options.command == "run":
        run_jobs(options, systems.SYSTEMS)
        print_tables(read_lines(options.out))
    else:
        print_tables(read_lines(options.file))


if __name__ == "__main__":
    main()
