"""The joint search against its own restrictions, in the same time on the same rows, and the test that fits.

Joint is the space `default`; the restrictions are spaces of their own: nets alone (`deep`), classical models alone
(`classical`), and one fixed fusion (`fixed_fusion`: embeddings of trained nets beside the raw features).

    python benchmarks/restrictions.py run --out FILE.jsonl [--budget 150] [--datasets ...] [--systems ...] [--seeds 0,1,2]
    python benchmarks/restrictions.py table FILE.jsonl

A run that was cut is taken up by the same command. docs/benchmarks.md says what is measured and how.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from goals import summarize
from jobs import read_lines
from ranks import SIGNIFICANT, compare, friedman, loss_table, mean_ranks
from systems import System
from versus import add_run_options, figure, print_failures, run_jobs

JOINT = "joint"
SPACES = tuple(
    System(name, "fusion.py", takes_images=True, space=space, preset="best-quality")
    for name, space in (
        (JOINT, "default"),
        ("deep", "deep"),
        ("classical", "classical"),
        ("fixed_fusion", "fixed_fusion"),
    )
)


def print_tables(lines: Sequence[dict[str, Any]]) -> None:
    """For each budget: test scores by dataset and space, mean ranks, and the tests over datasets."""
    for budget, group in groupby(sorted(lines, key=lambda line: line["budget"]), key=lambda line: line["budget"]):
        of_budget = list(group)
        print(f"\nBudget {budget:g} s, {of_budget[0]['machine']}: test score, ± spread between seeds\n")
        print_scores(of_budget)
        print_failures(of_budget)
        print_tests(of_budget)


def print_scores(lines: Sequence[dict[str, Any]]) -> None:
    table = summarize(lines)
    systems = list(dict.fromkeys(line["system"] for line in lines))
    print(f"{'case':20}{'metric':10}" + "".join(f"{name:>22}" for name in systems))
    for case, rows in table.groupby(level="case", sort=False):
        of_system = rows.droplevel("case")
        cells = (
            f"{figure(of_system.score[name])} ± {figure(of_system.spread[name])}" if name in of_system.index else "-"
            for name in systems
        )
        print(f"{case:20}{rows.metric.iloc[0]:10}" + "".join(f"{cell:>22}" for cell in cells))
    print()


def print_tests(lines: Sequence[dict[str, Any]]) -> None:
    table = loss_table(lines)
    if JOINT not in table.columns or len(table.columns) < 2:
        return
    ranks = ", ".join(f"{name} {rank:.2f}" for name, rank in mean_ranks(table).items())
    print(f"Mean rank over the {len(table)} cases that all spaces ran: {ranks}")
    alike = friedman(table)
    if alike is not None:
        differ = "some space differs" if alike < SIGNIFICANT else "no difference between the spaces beyond chance"
        print(f"Friedman's test: p = {alike:.3g}: {differ}")
    for comparison in compare(table, JOINT):
        print(comparison)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    add_run_options(commands.add_parser("run", help="run the jobs that FILE does not have"))
    commands.add_parser("table", help="show what was measured").add_argument("file", type=Path)
    options = parser.parse_args()
    if options.command == "run":
        run_jobs(options, SPACES)
    print_tables(read_lines(options.out if options.command == "run" else options.file))


if __name__ == "__main__":
    main()
