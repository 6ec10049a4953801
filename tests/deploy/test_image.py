"""The image: small, pinned, without rights and secrets, with what the clusters need. Read, since nothing builds it here."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable
from importlib.metadata import requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.cluster.conftest import CLUSTER, ROOT
from tests.cluster.test_cluster_files import IMAGE, SECRETS
from tests.deploy.conftest import DEPLOY

DOCKERFILE = (DEPLOY / "Dockerfile").read_text()
LOCK = ROOT / "requirements.lock"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def stages() -> list[list[tuple[str, str]]]:
    """The instructions of each stage with their words, lines joined; a stage begins with FROM."""
    text = re.sub(r"^#.*\n", "", DOCKERFILE, flags=re.MULTILINE).replace("\\\n", " ")
    found: list[list[tuple[str, str]]] = []
    for line in filter(None, map(str.strip, text.splitlines())):
        name, _, words = line.partition(" ")
        if name == "FROM":
            found.append([])
        if found:
            found[-1].append((name, words))
    return found


def instructions(*names: str) -> list[str]:
    return [words for stage in stages() for name, words in stage if name in names]


def locked_names(*locks: Path) -> set[str]:
    lines = [line for lock in locks for line in lock.read_text().split()]
    assert all(re.fullmatch(r"[\w.-]+==[\w.]+", line) for line in lines)
    return {canonicalize_name(line.partition("==")[0]) for line in lines}


def needed(lines: Iterable[str]) -> set[tuple[str, str]]:
    """Packages, each with what needs it: all that these requirements bring along, as the packages installed here say."""
    here = locked_names(LOCK)
    found: set[tuple[str, str]] = set()
    seen: set[tuple[str, str]] = set()
    todo = [(Requirement(line), "the image", "") for line in lines]
    while todo:
        requirement, by, extra = todo.pop()
        name = canonicalize_name(requirement.name)
        if requirement.marker and not requirement.marker.evaluate({"extra": extra}):
            continue
        if name == canonicalize_name(PROJECT["name"]):
            extras = [line for wanted in requirement.extras for line in PROJECT["optional-dependencies"][wanted]]
            todo += [(Requirement(line), name, "") for line in extras]
            continue
        found.add((name, by))
        for wanted in {"", *requirement.extras}:
            if (name, wanted) not in seen and name in here:
                seen.add((name, wanted))
                todo += [(Requirement(line), name, wanted) for line in requires(name) or []]
    return found


def test_base_is_one_release_of_the_python_that_the_lock_was_made_for() -> None:
    names = {words.partition(" AS ")[2] for words in instructions("FROM")}
    (base,) = {words.split()[0] for words in instructions("FROM")} - names - {"torch-${VARIANT}"}
    assert re.fullmatch(r"python:3\.11\.\d+-slim-[a-z]+", base)
    assert {"torch-cpu", "torch-cuda"} <= names
    assert "latest" not in DOCKERFILE


def test_the_last_stage_ends_as_nobody_s_root() -> None:
    last = stages()[-1]
    names = [name for name, _ in last]
    assert names[names.index("USER") :] == ["USER", "WORKDIR", "CMD"]
    assert dict(last)["USER"] == "1000:1000"
    assert "--uid 1000" in dict(last)["RUN"]
    assert "pip" not in dict(last)["RUN"]


def test_only_what_is_needed_is_sent_and_copied() -> None:
    allowed = [line[1:] for line in (DEPLOY / "Dockerfile.dockerignore").read_text().split() if line.startswith("!")]
    copied = {word for words in instructions("COPY") if not words.startswith("--from") for word in words.split()[:-1]}
    assert copied == set(allowed)
    assert not [name for name in copied if not (ROOT / name).exists()]
    assert instructions("ADD") == []
    assert [words for words in instructions("COPY") if words.startswith("--from")] == [
        "--from=build /opt/fusion /opt/fusion"
    ]


def test_all_that_is_installed_is_locked_and_nothing_of_it_is_kept_twice() -> None:
    installs = re.findall(r"pip --python \S+ install ([^&]*)", " && ".join(instructions("RUN")))
    assert len(installs) == 3
    constraints = "--constraint requirements.lock --constraint image.lock"
    assert [line for line in installs if "--no-deps" not in line and constraints not in line] == []
    (lines,) = [line.split() for line in installs if constraints in line]
    wanted = [word.strip('"').replace(".[", f"{PROJECT['name']}[") for word in lines if not word.startswith("--")]
    wanted = [word for word in wanted if not word.endswith(".lock")]
    found = needed([*wanted, *PROJECT["dependencies"]])
    assert len(found) > 200
    locked = locked_names(LOCK, DEPLOY / "image.lock")
    assert {(name, by) for name, by in found if name not in locked} == set()
    assert "PIP_NO_CACHE_DIR=1" in " ".join(instructions("ENV"))
    assert "rm -rf /var/lib/apt/lists/*" in dict(stages()[-1])["RUN"]


def test_ray_up_finds_what_it_needs() -> None:
    run, env = dict(stages()[-1])["RUN"], dict(stages()[-1])["ENV"]
    assert {"openssh-client", "rsync", "wget"} <= set(run.split())
    assert "PATH=/opt/fusion/bin:$PATH" in env
    assert "echo 'export PATH=/opt/fusion/bin:$PATH' > /etc/profile.d/fusion.sh" in run
    assert {"boto3", "google-api-python-client"} <= set(" ".join(instructions("RUN")).split())


def test_its_tags_are_those_that_the_clusters_ask_for() -> None:
    files = [*CLUSTER.rglob("*.yaml"), *DEPLOY.rglob("*.yaml")]
    asked = {f"fusion-automl:{tag}-{flavour}" for path in files for _, tag, flavour in IMAGE.findall(path.read_text())}
    assert asked == set(re.findall(r"-t (fusion-automl:\S+)", DOCKERFILE))
    assert {tag.partition(":")[2] for tag in asked} == {f"{PROJECT['version']}-cpu", f"{PROJECT['version']}-cuda"}


@pytest.mark.parametrize("kind", SECRETS)
def test_no_file_holds_a_secret(kind: str) -> None:
    files = [path for path in DEPLOY.rglob("*") if path.is_file()]
    assert len(files) >= 13
    assert [path.name for path in files if SECRETS[kind].search(path.read_text())] == []
