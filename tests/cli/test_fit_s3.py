"""A run whose only place is a bucket, in real processes against a real S3 server: each machine has a cache of its own."""

from __future__ import annotations

import json
import os
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from fusion_automl.artifact import load
from fusion_automl.errors import ArtifactError, BucketError
from fusion_automl.fitting import fit
from fusion_automl.serve.model import open_model
from tests.cli.test_fit import COMMAND
from tests.proxy import Proxy, proxy_to
from tests.tables import SPACE, table

RUN = "s3://fusion/runs/bought"
Words = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cli_s3")
    table(120).to_csv(folder / "train.csv", index=False)
    table(60, seed=1).to_parquet(folder / "test.parquet")
    (folder / "tiny.toml").write_text(SPACE)
    return folder


@pytest.fixture(scope="module")
def proxy(s3_server: Any) -> Iterator[Proxy]:
    with proxy_to(s3_server.endpoint) as found:
        yield found


@pytest.fixture(scope="module")
def run(s3_server: Any, proxy: Proxy, place: Path) -> Words:
    """Runs a command on the machine of a name."""

    def command(machine: str, *words: object, **environment: str) -> subprocess.CompletedProcess[str]:
        own = {
            "AWS_ENDPOINT_URL": proxy.endpoint,
            "AWS_ACCESS_KEY_ID": s3_server.key_id,
            "AWS_SECRET_ACCESS_KEY": s3_server.secret,
            "AWS_DEFAULT_REGION": "us-east-1",
            "FUSION_AUTOML_CACHE": str(place / machine),
        }
        return subprocess.run(
            [*COMMAND, *map(str, words)],
            capture_output=True,
            text=True,
            timeout=280,
            env={**os.environ, **own, **environment},
        )

    return command


def _fit(place: Path, out: str, *more: object) -> list[object]:
    data, space = place / "train.csv", place / "tiny.toml"
    return ["fit", data, "--target", "bought", "--space", space, "--folds", 2, "--out", out, *more]


@pytest.fixture(scope="module")
def summary(run: Words, place: Path) -> dict[str, Any]:
    done = run("a", *_fit(place, RUN, "--budget", "60s", "--max-trials", 3, "--json"))
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_the_bucket_has_the_run_and_no_secret(summary: dict[str, Any], s3_server: Any, place: Path) -> None:
    assert summary["run"] == RUN and summary["num_trials"] == 3
    listed = s3_server.client.list_objects_v2(Bucket="fusion", Prefix="runs/bought/")["Contents"]
    names = {item["Key"].removeprefix("runs/bought/") for item in listed}
    whole = {"run.json", "split.parquet", "events.jsonl", "ensemble.json", "evidence.json", "summary.json", "study.log"}
    assert whole <= names and "artifact/manifest.json" in names and "driver.json" not in names
    assert sum(name.startswith("trials/") and name.endswith("/DONE") for name in names) == 4  # and the baseline
    written = [path.read_bytes() for path in (place / "a").rglob("*") if path.is_file()]
    written += [s3_server.client.get_object(Bucket="fusion", Key=item["Key"])["Body"].read() for item in listed]
    assert not any(s3_server.secret.encode() in content for content in written)
    assert not any(s3_server.key_id.encode() in content for content in written)


def test_a_machine_that_has_nothing_shows_predicts_and_goes_on(
    summary: dict[str, Any], run: Words, place: Path, proxy: Proxy
) -> None:
    board = run("b", "leaderboard", RUN, "--json")
    assert board.returncode == 0, board.stderr
    trials = {trial["key"]: trial for trial in json.loads(board.stdout)["trials"]}
    assert len(trials) == 4 and summary["members"][0]["key"] in trials
    assert all(trial["latency_ms"] > 0 for trial in trials.values())

    out = place / "predictions.parquet"
    done = run("c", "predict", RUN, place / "test.parquet", "--out", out)
    assert done.returncode == 0, done.stderr
    answers = pd.read_parquet(out)["prediction"]
    assert (answers == pd.read_parquet(place / "test.parquet")["bought"]).mean() > 0.7
    proxy.passed.clear()
    assert run("c", "evaluate", f"{RUN}/artifact", place / "test.parquet").returncode == 0
    assert [path for path in proxy.passed if "/nodes/" in path] == [], "the artifact was downloaded before"

    resumed = run("d", "fit", "--resume", "--out", RUN, "--max-trials", 4, "--json")
    assert resumed.returncode == 0, resumed.stderr
    later = json.loads(resumed.stdout)
    assert later["num_trials"] == 4 and later["run"] == RUN
    first = {trial["key"]: trial["score"] for trial in trials.values()}
    again = json.loads(run("b", "leaderboard", RUN, "--json").stdout)["trials"]
    assert len(again) == 5 and first.items() <= {trial["key"]: trial["score"] for trial in again}.items()
    events = [json.loads(line) for line in next((place / "d").glob("runs/*/events.jsonl")).read_text().splitlines()]
    assert [event["event"] for event in events] == [
        "session",
        *["trial"] * 4,
        "finished",
        "session",
        "trial",
        "finished",
    ]

    begun = run("e", *_fit(place, RUN))
    assert begun.returncode == 2 and f"{RUN}: holds a run already" in begun.stderr


@pytest.mark.parametrize(
    ("out", "environment", "message"),
    [
        ("s3://fusion/runs/denied", {"AWS_ACCESS_KEY_ID": "AKIAWRONG"}, "access was denied"),
        ("s3://no-such-bucket/run", {}, "there is no bucket 'no-such-bucket'"),
        ("s3:///run", {}, "expected s3://bucket/folder"),
    ],
)
def test_a_bucket_that_cannot_be_used_is_told_before_anything_is_done(
    run: Words, place: Path, out: str, environment: dict[str, str], message: str
) -> None:
    done = run("f", *_fit(place, out), **environment)
    assert done.returncode == 2 and message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr


def test_a_path_that_was_a_uri_is_told() -> None:
    with pytest.raises(BucketError, match=r"^s3:/bucket/run: expected s3://bucket/folder\. Give it as text"):
        fit(out=Path("s3://bucket/run"))


def test_a_place_without_a_run_is_told(run: Words, place: Path) -> None:
    for words in (("leaderboard", f"{RUN}x"), ("evaluate", f"{RUN}x", place / "test.parquet")):
        done = run("b", *words)
        assert done.returncode == 2 and f"{RUN}x" in done.stderr and "Traceback" not in done.stderr


def test_a_slow_bucket_that_fails_now_and_then_changes_nothing(
    run: Words, place: Path, proxy: Proxy, summary: dict[str, Any]
) -> None:
    proxy.seconds = 0.1
    over = threading.Event()

    def disturb() -> None:
        while not over.wait(2.0):
            proxy.failing = ("/",)
            over.wait(0.6)
            proxy.failing = ()

    disturber = threading.Thread(target=disturb)
    disturber.start()
    try:
        done = run("g", *_fit(place, "s3://fusion/runs/shaky", "--budget", "100s", "--max-trials", 3, "--json"))
    finally:
        over.set()
        disturber.join()
        proxy.failing, proxy.seconds = (), 0.0
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["best_single"] == summary["best_single"] and found["num_failed"] == 0


def test_a_bucket_lost_for_ever_ends_the_search_and_leaves_what_was_found(
    run: Words, place: Path, proxy: Proxy
) -> None:
    # Begun and one trial there, the bucket answers nothing that has to do with this run any more.
    out = "s3://fusion/runs/lost"
    losing = threading.Event()

    def lose() -> None:
        while not losing.wait(0.05):
            if any("/runs/lost/trials/" in path and path.endswith("DONE") for path in proxy.paths("PUT")):
                proxy.failing = ("/runs/lost", "prefix=runs/lost")
                return

    watcher = threading.Thread(target=lose)
    watcher.start()
    try:
        done = run("h", *_fit(place, out, "--budget", "40s"))
    finally:
        losing.set()
        watcher.join()
        proxy.failing = ()
    assert done.returncode == 2, done.stderr
    assert "the bucket gave nothing but errors for 2 s" in done.stderr and "Traceback" not in done.stderr
    (folder,) = (place / "h").glob("runs/*")
    assert str(folder) in done.stderr and (folder / "summary.json").exists()
    assert set(load(folder).predict(table(5).drop(columns="bought"))) <= {"yes", "no"}
    assert json.loads((folder / "summary.json").read_text())["seconds"] < 42

    resumed = run("h", "fit", "--resume", "--out", out, "--budget", "80s", "--max-trials", 3, "--json")
    assert resumed.returncode == 0, resumed.stderr
    board = run("i", "leaderboard", out, "--json")
    assert len(json.loads(board.stdout)["trials"]) >= 2


def test_an_artifact_in_a_bucket_is_checked(
    s3: Any, summary: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FUSION_AUTOML_CACHE", str(tmp_path))
    key = next(
        item["Key"]
        for item in s3.client.list_objects_v2(Bucket="fusion", Prefix="runs/bought/artifact/nodes/")["Contents"]
        if item["Key"].endswith("stats.json")
    )
    content = s3.client.get_object(Bucket="fusion", Key=key)["Body"].read()
    s3.put(key, content + b" ")
    with pytest.raises(ArtifactError, match=r"stats\.json was changed after it was saved"):
        load(RUN)
    s3.put(key, content)
    assert load(RUN).manifest.task.target == "bought"
    assert open_model(RUN).name == open_model(f"{RUN}/artifact").name == "bought", "a service is called by its run"
