"""A fit as a job on a real cluster, from submitting it to what is left when the cluster has forgotten it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import S3
from tests.head import Head, credentials
from tests.tables import SPACE, table

SECONDS = 280.0
"""For what takes 20 s on an idle machine."""


@dataclass(frozen=True, slots=True)
class Shell:
    """Runs commands as a user does whose environment holds the cluster's token."""

    head: Head
    s3: S3
    folder: Path

    def __call__(self, *words: object, token: str | None = None, code: int = 0) -> subprocess.CompletedProcess[str]:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
        environment |= {
            **credentials(self.s3),
            "RAY_AUTH_TOKEN": self.head.token if token is None else token,
            "RAY_API_SERVER_ADDRESS": self.head.address,
            "RAY_ADDRESS": "http://127.0.0.1:9",  # where Ray's own client would go, whatever it is told
        }
        done = subprocess.run(
            [sys.executable, "-m", "fusion_automl.cli", *map(str, words)],
            cwd=self.folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=SECONDS,
        )
        assert done.returncode == code, done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        return done

    def submit(self, data: str, *words: object) -> dict[str, Any]:
        fixed = ("--target", "bought", "--space", "tiny.toml", "--folds", 2, "--json")
        return last_line(self("submit", data, *fixed, *words))


def last_line(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def wait_for(fact: Callable[[], bool]) -> None:
    ends = time.monotonic() + SECONDS
    while not fact():
        assert time.monotonic() < ends
        time.sleep(0.2)


@pytest.fixture(scope="session")
def shell(head: Head, s3_server: S3, tmp_path_factory: pytest.TempPathFactory) -> Shell:
    folder = tmp_path_factory.mktemp("shared disk")
    table(160).to_csv(folder / "train data.csv", index=False)
    (folder / "tiny.toml").write_text(SPACE)
    return Shell(head, s3_server, folder)


@pytest.fixture(scope="session")
def finished(shell: Shell) -> dict[str, Any]:
    """What `submit --wait --json` printed of a job over data in a bucket, with two trials."""
    uri = shell.s3.put("data/train data.csv", (shell.folder / "train data.csv").read_bytes())
    return shell.submit(uri, "--max-trials", 2, "--budget", "5m", "--wait")


def test_submit_waits_and_ends_with_the_summary_of_the_fit(finished: dict[str, Any], shell: Shell) -> None:
    assert finished["run"] == f"s3://{shell.s3.bucket}/fusion-automl-runs/{finished['id']}"
    assert finished["id"].startswith("train-data-bought-")
    assert finished["result"] == json.loads(_object(shell.s3, f"{finished['run']}/summary.json"))
    assert finished["result"]["num_trials"] == 2 and finished["result"]["score"] > 0.7
    assert json.loads(_object(shell.s3, f"{finished['run']}/artifact/manifest.json"))["members"]


def _object(s3: S3, uri: str) -> bytes:
    found: bytes = s3.client.get_object(Bucket=s3.bucket, Key=_key(s3, uri))["Body"].read()
    return found


def _key(s3: S3, uri: str) -> str:
    return uri.removeprefix(f"s3://{s3.bucket}/")


def test_the_list_and_the_status_read_the_run_folder(finished: dict[str, Any], shell: Shell) -> None:
    done = shell("jobs", "list", "--json")
    (job,) = [job for job in last_line(done)["jobs"] if job["id"] == finished["id"]]
    assert (job["status"], job["target"], job["budget"], job["exit_code"]) == ("SUCCEEDED", "bought", "5m", 0)
    assert job["progress"]["trials"] == {"done": 2} and job["progress"]["finished"]
    assert job["progress"]["score"] == finished["result"]["score"]
    assert finished["id"] in done.stderr and "2 done, roc_auc 0." in done.stderr
    by_id = shell("jobs", "status", finished["id"])
    by_folder = shell("jobs", "status", finished["run"])
    assert "trials of 2: 2 done" in by_folder.stderr and "s of 300 s, finished" in by_folder.stderr
    assert by_id.stderr.splitlines()[1:] == by_folder.stderr.splitlines()


def test_the_log_is_that_of_the_fit(finished: dict[str, Any], shell: Shell) -> None:
    followed = shell("jobs", "logs", finished["id"], "--follow").stdout
    assert followed == shell("jobs", "logs", finished["id"]).stdout
    assert "concat(onehot -> logistic)" in followed
    assert json.loads(followed.splitlines()[-1]) == finished["result"]


def test_a_stopped_job_leaves_an_artifact_and_goes_on_when_it_is_resumed(shell: Shell, head: Head) -> None:
    sent = shell.submit("train data.csv", "--budget", "1h", "--out", "stopped")
    run = Path(sent["run"])
    assert run == shell.folder / "stopped"
    wait_for(lambda: len(list(run.glob("trials/*/DONE"))) > 1)
    running = last_line(shell("jobs", "status", sent["id"], "--json"))
    assert running["status"] == "RUNNING" and not running["progress"]["finished"]
    assert running["progress"]["best"] > 0.7 and 0 < running["progress"]["seconds"] < SECONDS
    stopped = last_line(shell("jobs", "stop", sent["id"], "--wait", "--json"))
    assert (stopped["stopped"], stopped["status"]) == (True, "STOPPED")
    assert json.loads((run / "summary.json").read_text())["interrupted"] is True
    assert (run / "artifact" / "manifest.json").exists()
    # Ray's own limit of 3 s between SIGTERM and SIGKILL was raised by the job's environment.
    (supervisor,) = head.folder.glob(f"session_2*/logs/jobs/supervisor-{sent['id']}.log")
    assert "terminated gracefully with SIGTERM" in supervisor.read_text()

    again = shell("jobs", "stop", sent["id"])
    assert "had ended already (STOPPED)" in again.stderr

    trials = len(list(run.glob("trials/*/DONE"))) - 1  # without the baseline
    resumed = last_line(shell("submit", "--resume", "--out", "stopped", "--max-trials", trials, "--wait", "--json"))
    assert resumed["result"]["num_trials"] >= trials and not resumed["result"]["interrupted"]


def test_a_copy_of_a_run_in_a_bucket_goes_on(finished: dict[str, Any], shell: Shell) -> None:
    client, bucket, copy = shell.s3.client, shell.s3.bucket, f"s3://{shell.s3.bucket}/copies/run"
    for page in client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=_key(shell.s3, finished["run"])):
        for entry in page["Contents"]:
            name = entry["Key"].replace(_key(shell.s3, finished["run"]), _key(shell.s3, copy))
            client.copy_object(Bucket=bucket, Key=name, CopySource={"Bucket": bucket, "Key": entry["Key"]})
    resumed = last_line(shell("submit", "--resume", "--out", copy, "--max-trials", 3, "--wait", "--json"))
    assert (resumed["result"]["num_trials"], resumed["result"]["run"]) == (3, copy)


def test_what_the_user_did_wrong_is_told_by_the_fit_itself(finished: dict[str, Any], shell: Shell) -> None:
    done = shell("submit", "train data.csv", "--target", "no such", "--budget", "1m", "--wait", code=2)
    assert "unknown target column 'no such'. Known: bought, color, x, z." in done.stderr.splitlines()[-1]
    again = shell("submit", "train data.csv", "--target", "bought", "--out", finished["run"], code=2)  # nothing is sent
    assert "holds a run already" in again.stderr


@pytest.mark.parametrize("words", [("status",), ("logs",), ("logs", "--follow"), ("stop",)], ids=" ".join)
def test_an_unknown_job_is_one_sentence(shell: Shell, words: tuple[str, ...]) -> None:
    done = shell("jobs", words[0], "nobodys-job", *words[1:], code=2)
    assert len(done.stderr.splitlines()) == 1 and "nobodys-job: the cluster at" in done.stderr


@pytest.mark.parametrize(
    ("token", "sentence"), [("wrong", "the cluster refuses this token"), ("", "the cluster asks for a token")]
)
def test_a_wrong_or_missing_token_is_one_sentence(shell: Shell, token: str, sentence: str) -> None:
    done = shell("jobs", "list", token=token, code=2)
    assert len(done.stderr.splitlines()) == 1 and sentence in done.stderr


def test_the_token_stands_nowhere(finished: dict[str, Any], shell: Shell, head: Head) -> None:
    token = head.token.encode()
    logs = [path for path in head.folder.glob("session_2*/logs/**/*") if path.is_file()]
    left = [path for path in shell.folder.rglob("*") if path.is_file()]
    assert any(path.name.startswith("job-driver-") for path in logs)
    assert not [path for path in logs + left if token in path.read_bytes()]
    assert token not in _object(shell.s3, f"{finished['run']}/run.json") + json.dumps(finished).encode()
    listed = shell("jobs", "list", "--json")
    assert head.token not in listed.stdout + listed.stderr
