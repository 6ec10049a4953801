"""The README of the clusters: its commands exist, its files too."""

from __future__ import annotations

import re
import shlex
from typing import Any

import pytest
import typer

from tests.cluster.conftest import CLUSTER, ROOT

TEXT = (CLUSTER / "README.md").read_text()
BLOCKS = "\n".join(line[4:] for line in TEXT.splitlines() if line.startswith("    ")).replace("\\\n", " ")
COMMANDS = sorted(set(re.findall(r"\bfusion-automl ((?:submit|jobs|predict|fit) [^\"\n]*)", BLOCKS)))


@pytest.mark.parametrize("line", COMMANDS)
def test_the_command_takes_these_words(line: str) -> None:
    from fusion_automl.cli.app import app

    command: Any = typer.main.get_command(app)
    words = shlex.split(line)
    while hasattr(command, "commands"):
        command = command.commands[words.pop(0)]
    context = command.make_context(command.name, words)
    assert not context.args


def test_each_way_ends_in_a_fit() -> None:
    parts = {part.partition("\n")[0]: part for part in re.split(r"^## ", TEXT, flags=re.MULTILINE)}
    for name in ("AWS", "Google Cloud", "Machines of your own", "Kubernetes", "Slurm"):
        assert re.search(r"fusion-automl submit|sbatch cluster/", parts[name]), name


@pytest.mark.parametrize("path", sorted(set(re.findall(r"\bcluster/[\w./-]+\.(?:yaml|sbatch)", TEXT))))
def test_files_that_are_named_are_there(path: str) -> None:
    assert (ROOT / path).is_file()


def test_every_file_is_told_of() -> None:
    files = [path.name for path in CLUSTER.rglob("*") if path.suffix in (".yaml", ".sbatch")]
    assert len(files) >= 8
    assert [name for name in files if name not in TEXT] == []
