"""The README of the service: its files and commands exist, and it names what the manifests name."""

from __future__ import annotations

import re
import shlex
from typing import Any

import pytest
import typer
import yaml

from tests.cluster.conftest import ROOT
from tests.deploy.conftest import DEPLOY, documents, service

TEXT = (DEPLOY / "README.md").read_text()
BLOCKS = "\n".join(line[4:] for line in TEXT.splitlines() if line.startswith("    "))


@pytest.mark.parametrize("path", sorted(set(re.findall(r"\b(?:deploy|cluster)/[\w./-]+\w", TEXT))))
def test_files_that_are_named_are_there(path: str) -> None:
    assert (ROOT / path).exists()


def test_every_file_is_told_of() -> None:
    files = [path.name for path in DEPLOY.rglob("*") if path.is_file()]
    assert len(files) >= 13
    assert [name for name in files if name not in TEXT and name != "README.md"] == []


@pytest.mark.parametrize(
    "line", sorted(set(re.findall(r"\bfusion-automl ((?:serve|token|rollout) [^\")\n]*)", BLOCKS)))
)
def test_the_command_takes_these_words(line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from fusion_automl.cli.app import app

    monkeypatch.setenv("RAY_API_SERVER_ADDRESS", "http://127.0.0.1:8265")
    name, *words = shlex.split(line, comments=True)
    command: Any = typer.main.get_command(app)
    assert not command.commands[name].make_context(name, words).args


def test_the_entries_shown_are_taken() -> None:
    from fusion_automl.serve.plan import Plan

    entries = [Plan.of(yaml.safe_load(line)[0]) for line in re.findall(r"- \{name: .*\}", BLOCKS)]
    assert [(bool(plan.tried), plan.share, bool(plan.before)) for plan in entries] == [
        (True, 0.1, False),
        (True, 0.0, False),
        (False, 0.0, True),
    ]


def test_secrets_and_places_are_those_of_the_manifests() -> None:
    manifests = "\n".join(path.read_text() for path in (DEPLOY / "kuberay").glob("*.yaml"))
    made = set(re.findall(r"create secret (?:generic|tls) (\S+)", BLOCKS))
    assert made == set(re.findall(r"\bfusion-automl-(?:tokens|prometheus|tls|state|s3)\b", manifests))
    (namespace,) = set(re.findall(r"kubectl -n (\S+)", BLOCKS))
    assert namespace == documents("namespace")[0]["metadata"]["name"]
    (app,) = service()["applications"]
    (model,) = app["deployments"][0]["user_config"]["models"]
    assert f"s#{model['path']}#" in BLOCKS
