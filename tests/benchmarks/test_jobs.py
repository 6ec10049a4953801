import io
import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from cases import CASES, Case, chosen
from jobs import Job, flatten, in_order, plan, read_lines, rows_for, run_all
from PIL import Image
from systems import SYSTEMS, System

from fusion_automl.task import Task

MEAN = System("mean", str(Path(__file__).with_name("mean_peer.py")))
COIN = Case("coin", "coin", "side", "binary", "accuracy", ignore=("noise",))


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data" / "coin"
    folder.mkdir(parents=True)
    # "tails" comes first and is the commoner one; the task's own order is that of the words.
    train = pd.DataFrame({"x": range(10), "noise": 0.0, "side": ["tails"] * 7 + ["heads"] * 3})
    train.to_parquet(folder / "train.parquet")
    train.iloc[4:].to_parquet(folder / "test.parquet")
    return tmp_path / "data"


def test_a_job_ends_in_one_line_with_scores_and_costs(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    out = Path("lines.jsonl")
    (line,) = run_all([Job(MEAN, COIN, 0, 60.0)], out, data=data.relative_to(tmp_path), venvs=tmp_path)
    assert read_lines(out) == [line]
    assert line["scores"]["accuracy"] == 0.5  # 3 of the 6 test rows are tails
    assert line["scores"]["roc_auc"] == 0.5
    size = len(json.dumps({"tails": 0.7, "heads": 0.3}))
    assert (line["system"], line["case"], line["seed"], line["budget"]) == ("mean", "coin", 0, 60.0)
    assert line["artifact_bytes"] == size
    assert 0 < line["call_seconds"] < line["seconds"] < 60
    assert line["peak_bytes"] > 10_000_000
    assert line["rows_per_second"] > 0


def test_a_failed_fit_is_a_line_with_its_last_words(data: Path, tmp_path: Path) -> None:
    (line,) = run_all([Job(MEAN, COIN, 13, 60.0)], tmp_path / "lines.jsonl", data=data, venvs=tmp_path)
    assert line["scores"] is None
    assert line["reason"] == "ValueError: thirteen is no seed"


def test_jobs_that_the_file_has_are_not_run_again(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "lines.jsonl"
    had = {"system": "mean", "case": "coin", "seed": 0, "budget": 60.0}
    out.write_text(json.dumps(had) + '\n{"system": "mean", "ca')  # the second line was cut by a kill
    jobs = [Job(MEAN, COIN, seed, 60.0) for seed in (0, 13)]
    (line,) = run_all(jobs, out, data=data, venvs=tmp_path)
    assert line["seed"] == 13
    assert read_lines(out) == [had, line]


def test_probabilities_are_put_in_the_order_of_the_task() -> None:
    task = Task("multiclass", "y", (1, 2, 10))
    given = np.array([[0.1, 0.2, 0.7]])
    assert in_order(task, given, ["10", "1", "2"]).tolist() == [[0.2, 0.7, 0.1]]
    values = np.array([[3.0]])
    assert in_order(Task("regression", "y"), values, []) is values


def test_only_small_cases_take_every_seed() -> None:
    small, large = (next(case for case in CASES if case.name == name) for name in ("german_credit", "adult"))
    jobs = plan(SYSTEMS[::2][:2], [small, large], [0, 1], [150.0])
    assert [(job.case.name, job.seed, job.system.name) for job in jobs] == [
        ("german_credit", 0, "fusion"),
        ("german_credit", 0, "autogluon_tabular"),
        ("german_credit", 1, "fusion"),
        ("german_credit", 1, "autogluon_tabular"),
        ("adult", 0, "fusion"),
        ("adult", 0, "autogluon_tabular"),
    ]
    assert len(plan(SYSTEMS[:1], [large], [0, 1, 2], [150.0, 600.0], all_seeds=True)) == 6


def test_a_dataset_stands_for_all_its_targets_and_unknown_names_are_told() -> None:
    assert [case.name for case in chosen(["womens_clothing"])] == ["womens_rating", "womens_recommended"]
    assert chosen([]) == list(CASES)
    with pytest.raises(SystemExit, match=r"unknown iris\. Known: german_credit"):
        chosen(["iris"])


def test_images_become_grey_columns_where_a_system_takes_none(tmp_path: Path) -> None:
    folder = tmp_path / "data" / "dots"
    folder.mkdir(parents=True)
    for part in ("train", "test"):
        pd.DataFrame({"dot": [_png(0), None, _png(255)], "y": [1.0, 2.0, 3.0]}).to_parquet(folder / f"{part}.parquet")
    case = Case("dots", "dots", "y", "regression", "mae", images=("dot",), image_size=2)
    train, _ = rows_for(Job(MEAN, case, 0, 1.0), tmp_path / "data", tmp_path)
    flat = pd.read_parquet(train)
    assert list(flat.columns) == ["y", "dot_0", "dot_1", "dot_2", "dot_3"]
    assert flat["dot_3"].tolist() == [0, 0, 255]
    taking = System("eyes", "eyes.py", takes_images=True)
    assert rows_for(Job(taking, case, 0, 1.0), tmp_path / "data", tmp_path)[0] == folder / "train.parquet"


def test_flattened_images_keep_the_other_columns_and_the_rows() -> None:
    frame = pd.DataFrame({"a": [5], "left": [_png(9)], "right": [_png(7)]}, index=[42])
    flat = flatten(frame, ["left", "right"], 1)
    assert flat.to_dict("index") == {42: {"a": 5, "left_0": 9, "right_0": 7}}


def test_a_system_without_installs_runs_here_and_others_are_ready_only_as_the_table_says(tmp_path: Path) -> None:
    assert MEAN.python(tmp_path) == Path(sys.executable)
    assert MEAN.is_ready(tmp_path)
    peer = System("peer", "peer.py", (("nothing==1.0",),))
    assert not peer.is_ready(tmp_path)
    (tmp_path / "peer").mkdir()
    (tmp_path / "peer" / "READY").write_text(repr((("nothing==0.9",),)))
    assert not peer.is_ready(tmp_path)
    (tmp_path / "peer" / "READY").write_text(repr(peer.installs))
    assert peer.is_ready(tmp_path)


def _png(grey: int) -> bytes:
    stream = io.BytesIO()
    Image.new("L", (4, 4), grey).save(stream, "PNG")
    return stream.getvalue()
