"""The main way of a user, in real processes: fit, leaderboard, predict, evaluate, interrupt, resume, and what goes wrong."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tests.tables import SPACE, table

COMMAND = [sys.executable, "-m", "fusion_automl.cli"]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cli")
    table(160).to_csv(folder / "train.csv", index=False)
    table(80, seed=1).to_parquet(folder / "test.parquet")
    (folder / "tiny.toml").write_text(SPACE)
    return folder


def _run(*words: object, check: bool = True) -> "subprocess.CompletedProcess[str]":
    done = subprocess.run([*COMMAND, *map(str, words)], capture_output=True, text=True, timeout=240)
    if check:
        assert done.returncode == 0, done.stderr
    return done


def _fit_words(place: Path, out: Path, *more: object) -> list[object]:
    return ["fit", place / "train.csv", "--target", "bought", "--space", place / "tiny.toml", "--out", out, *more]


@pytest.fixture(scope="module")
def summary(place: Path) -> dict[str, Any]:
    """A finished run in `place / "run"` and the JSON that its fit printed."""
    done = _run(
        *_fit_words(place, place / "run", "--budget", "60s", "--max-trials", 6, "--test", place / "test.parquet"),
        "--json",
    )
    lines = done.stdout.strip().split("\n")
    assert len(lines) == 1, "only the JSON object may stand on standard output"
    parsed: dict[str, Any] = json.loads(lines[0])
    return parsed


def test_the_json_of_fit_keeps_its_contract(summary: dict[str, Any], place: Path) -> None:
    assert summary["run"] == str(place / "run")
    assert (summary["task"], summary["metric"]) == ("binary", "roc_auc")
    assert summary["score"] > 0.7 and summary["test"]["roc_auc"] > 0.7
    assert {"accuracy", "log_loss", "f1_macro", "balanced_accuracy"} <= set(summary["test"])
    assert summary["num_trials"] == 6 and summary["num_failed"] == 0
    assert summary["budget_seconds"] == 60 and 0 < summary["seconds"] < 63
    assert "baseline" not in {member["fusion"] for member in summary["members"]}
    assert 0 <= summary["overhead_fraction"] <= 1
    assert summary["store"]["misses"] > 0 and summary["store"]["hits"] > 0
    assert summary["preset"] == "best-quality" and summary["latency_ms"] > 0
    size = sum(path.stat().st_size for path in (place / "run" / "artifact").rglob("*") if path.is_file())
    assert summary["size_mb"] == pytest.approx(size / 1e6)
    assert {"key", "family", "score"} <= set(summary["best_single"]) and summary["best_deep"] is None
    assert {"value", "ci95", "p_value", "test"} == set(summary["ensemble_gain"])
    assert sum(member["weight"] for member in summary["members"]) == pytest.approx(1)
    for member in summary["members"]:
        assert {"key", "weight", "score", "level", "fusion", "backbones", "classical"} <= set(member)


def test_the_run_folder_holds_what_the_design_says(summary: dict[str, Any], place: Path) -> None:
    run = place / "run"
    for name in (
        "run.json",
        "split.parquet",
        "events.jsonl",
        "ensemble.json",
        "evidence.json",
        "artifact/manifest.json",
    ):
        assert (run / name).exists(), name
    for trial in (run / "trials").iterdir():
        assert {"candidate.json", "report.json", "DONE", "fitted"} <= {path.name for path in trial.iterdir()}
    assert "shared" not in (run / "run.json").read_text()


def test_leaderboard_lists_every_trial_best_first(summary: dict[str, Any], place: Path) -> None:
    done = _run("leaderboard", place / "run", "--json")
    trials = json.loads(done.stdout)["trials"]
    assert len(trials) == 7  # six and the baseline
    scores = [trial["score"] for trial in trials if trial["status"] == "done"]
    assert scores == sorted(scores, reverse=True)
    assert "by roc_auc (higher is better)" in done.stderr and "logistic" in done.stderr


def test_the_pareto_front_leaves_out_what_is_worse_slower_and_larger(summary: dict[str, Any], place: Path) -> None:
    everything = json.loads(_run("leaderboard", place / "run", "--json").stdout)["trials"]
    front = json.loads(_run("leaderboard", place / "run", "--pareto", "--json").stdout)["trials"]
    assert [row["key"] for row in front] == [row["key"] for row in everything if row["pareto"]]
    assert everything[0]["pareto"] and 0 < len(front) <= 7
    best = everything[0]
    for row in everything[1:]:
        beaten = best["score"] > row["score"] and best["latency_ms"] < row["latency_ms"]
        assert not (row["pareto"] and beaten and best["size_mb"] <= row["size_mb"])


def test_one_model_on_all_rows_then_limits_that_nothing_keeps(place: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    words = ("--preset", "fast-inference", "--budget", "60s", "--max-trials", 3, "--test", place / "test.parquet")
    done = _run(*_fit_words(place, run, *words, "--max-rows", 150), "--json")
    summary = json.loads(done.stdout)
    assert "A random sample of 150 of the 160 rows is used, as --max-rows asks" in done.stderr
    assert json.loads((run / "run.json").read_text())["max_rows"] == 150
    assert (summary["preset"], len(summary["members"])) == ("fast-inference", 1)
    assert summary["test"]["roc_auc"] > 0.7 and summary["ensemble_gain"] is None
    assert "fitted again on all 150 rows" in done.stderr
    manifest = json.loads((run / "artifact" / "manifest.json").read_text())
    assert [len(member["outputs"]) for member in manifest["members"]] == [1] and len(manifest["nodes"]) <= 5
    again = _run("fit", "--resume", "--out", run, "--preset", "best-quality", "--max-latency-ms", 0.001, "--json")
    summary = json.loads(again.stdout)
    assert len(summary["members"]) == 1 and summary["latency_ms"] > 0.001
    assert "No candidate keeps --max-latency-ms 0.001" in again.stderr


@pytest.mark.parametrize("ending", ["parquet", "csv", "jsonl"])
def test_predict_writes_a_line_a_row(summary: dict[str, Any], place: Path, tmp_path: Path, ending: str) -> None:
    out = tmp_path / f"predictions.{ending}"
    _run("predict", place / "run", place / "test.parquet", "--out", out)
    read = {"parquet": pd.read_parquet, "csv": pd.read_csv, "jsonl": lambda path: pd.read_json(path, lines=True)}
    table = read[ending](out)
    assert list(table.columns) == ["prediction", "probability_no", "probability_yes"] and len(table) == 80
    picked = np.where(table["probability_yes"] > table["probability_no"], "yes", "no")
    assert (picked == table["prediction"]).all()


def test_evaluate_gives_the_scores_that_fit_gave(summary: dict[str, Any], place: Path) -> None:
    scores = json.loads(_run("evaluate", place / "run", place / "test.parquet", "--json").stdout)["scores"]
    assert scores == pytest.approx(summary["test"])


def test_the_same_seed_gives_the_same_candidates_and_scores(
    summary: dict[str, Any], place: Path, tmp_path: Path
) -> None:
    _run(*_fit_words(place, tmp_path / "again", "--budget", "60s", "--max-trials", 6))

    def scores(run: Path) -> dict[str, Any]:
        trials = json.loads(_run("leaderboard", run, "--json").stdout)["trials"]
        return {trial["key"]: trial["score"] for trial in trials}

    assert scores(tmp_path / "again") == scores(place / "run")


def _start(place: Path, out: Path) -> "subprocess.Popen[str]":
    words = _fit_words(place, out, "--budget", "120s", "--max-trials", 400)
    return subprocess.Popen(
        [sys.executable, "-X", "faulthandler", *COMMAND[1:], *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def _output(process: "subprocess.Popen[str]", *, within: float) -> str:
    """What a process printed until it ended; one that does not end fails the test with where its threads are."""
    try:
        return process.communicate(timeout=within)[0]
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGABRT)
        pytest.fail(f"not over after {within:.0f} s:\n{process.communicate()[0]}")


def _wait_for_trials(run: Path, number: int, process: "subprocess.Popen[str]") -> None:
    deadline = time.monotonic() + 100
    while len(list(run.glob("trials/*/DONE"))) < number:
        assert process.poll() is None, process.stdout.read() if process.stdout else ""
        assert time.monotonic() < deadline, "no trials after 100 s"
        time.sleep(0.05)


def test_ctrl_c_keeps_what_was_found_and_resume_goes_on(place: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    process = _start(place, run)
    _wait_for_trials(run, 4, process)
    process.send_signal(signal.SIGINT)
    output = _output(process, within=60)
    assert process.returncode == 0, output
    assert "The search was interrupted" in output
    before = {path.parent.name for path in run.glob("trials/*/DONE")}
    assert (run / "artifact" / "manifest.json").exists()
    done = _run("fit", "--resume", "--out", run, "--max-trials", len(before) + 1, "--json")
    after = {path.parent.name for path in run.glob("trials/*/DONE")}
    assert before < after and json.loads(done.stdout)["interrupted"] is False


def test_kill_9_loses_only_the_trial_in_flight(place: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    process = _start(place, run)
    _wait_for_trials(run, 4, process)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate(timeout=30)
    before = {path.parent.name: (path.parent / "report.json").read_text() for path in run.glob("trials/*/DONE")}
    assert not (run / "artifact").exists()
    _run("fit", "--resume", "--out", run, "--max-trials", len(before))
    after = {path.parent.name: (path.parent / "report.json").read_text() for path in run.glob("trials/*/DONE")}
    assert before.items() <= after.items()
    assert (run / "artifact" / "manifest.json").exists()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["{train}", "--target", "bougt"], "unknown target column 'bougt'. Did you mean 'bought'?"),
        (
            ["{train}", "--target", "bought", "--ignore", "colour"],
            "--ignore: unknown column 'colour'. Did you mean 'color'",
        ),
        (["nowhere.csv", "--target", "bought"], "nowhere.csv"),
        (["{train}", "--target", "bought", "--budget", "soon"], "--budget: got 'soon', expected a time such as"),
        (
            ["{train}", "--target", "bought", "--metric", "rmse"],
            "target 'bought': expected a finite number, found 'yes'",
        ),
        (["{train}", "--target", "bought", "--space", "defualt"], "Did you mean 'default'"),
        (["{train}", "--target", "bought", "--folds", "0"], "--folds: got 0"),
        (["{train}", "--target", "bought", "--max-rows", "0"], "--max-rows: got 0, expected 1 or more"),
        (["{train}", "--target", "bought", "--engine", "sparks"], "--engine: unknown engine 'sparks'"),
        (
            ["{train}", "--target", "bought", "--preset", "fast"],
            "--preset: unknown preset 'fast'. Known: best-quality",
        ),
        (["{train}", "--target", "bought", "--max-size-mb", "0"], "--max-size-mb: got 0, expected megabytes"),
        (["{train}"], "needs DATA and --target"),
        (["--resume"], "--resume: needs --out"),
    ],
)
def test_a_users_mistake_is_one_sentence_and_exit_code_2(
    words: list[str], sentence: str, place: Path, tmp_path: Path
) -> None:
    filled = [word.format(train=place / "train.csv") for word in words]
    out = [] if "--resume" in words else ["--out", tmp_path / "run"]
    done = _run("fit", *filled, *out, check=False)
    assert done.returncode == 2
    assert sentence in done.stderr and "Traceback" not in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_folder_that_holds_a_run_is_not_overwritten(summary: dict[str, Any], place: Path) -> None:
    done = _run(*_fit_words(place, place / "run"), check=False)
    assert done.returncode == 2 and "holds a run already. Go on with it by --resume" in done.stderr


def test_a_test_file_without_the_target_is_told_before_the_search(place: Path, tmp_path: Path) -> None:
    table(10).drop(columns="bought").to_csv(tmp_path / "bare.csv", index=False)
    done = _run(*_fit_words(place, tmp_path / "run", "--test", tmp_path / "bare.csv"), check=False)
    assert done.returncode == 2 and "it has no column 'bought'" in done.stderr


def test_a_budget_too_small_for_anything_still_leaves_an_artifact(place: Path, tmp_path: Path) -> None:
    _run(*_fit_words(place, tmp_path / "run", "--budget", "1s"))
    scores = json.loads(_run("evaluate", tmp_path / "run", place / "test.parquet", "--json").stdout)["scores"]
    assert scores["roc_auc"] >= 0.5
