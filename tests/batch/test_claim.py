"""A folder of predictions belongs to one artifact, one dataset and one choice of columns."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from fusion_automl.batch.claim import CLAIM
from fusion_automl.batch.run import score
from fusion_automl.errors import DataError, UserError
from tests.batch.conftest import make_run, table


@pytest.fixture
def place(run: Path, tmp_path: Path) -> Path:
    """A folder with a run, data in two files, and what a finished command would have left in `out`."""
    shutil.copytree(run / "artifact", tmp_path / "run" / "artifact")
    (tmp_path / "data" / "june").mkdir(parents=True)
    table(5).to_parquet(tmp_path / "data" / "june" / "a.parquet")
    table(5).to_csv(tmp_path / "data" / "b.csv", index=False)
    for name in ("_SUCCESS", "notes.txt", ".hidden.csv", "_tmp.parquet"):
        (tmp_path / "data" / name).write_text("")
    for name in ("june/a.parquet", "b.csv.parquet"):
        (tmp_path / "out" / name).parent.mkdir(parents=True, exist_ok=True)
        table(1).to_parquet(tmp_path / "out" / name)
    done = tmp_path / "done"
    (tmp_path / "out").rename(done)
    with pytest.raises(UserError, match="no Ray cluster"):  # it claims the folder before it looks for the cluster
        _score(tmp_path)
    shutil.copytree(done, tmp_path / "out", dirs_exist_ok=True)
    return tmp_path


def _score(place: Path, *, data: str = "data", out: str = "out", keep: tuple[str, ...] = ("id",)) -> str:
    where = str(place / data), str(place / out)
    return str(score(place / "run", where[0], out=where[1], address="127.0.0.1:1", keep=keep))


def test_what_is_done_is_left_alone_and_needs_no_cluster(place: Path) -> None:
    before = (place / "out" / "b.csv.parquet").stat().st_mtime_ns
    assert _score(place) == "2 shards: 0 scored (0 rows), 2 were done before, 0 failed."
    assert (place / "out" / "b.csv.parquet").stat().st_mtime_ns == before


def test_another_artifact_is_refused(place: Path) -> None:
    shutil.rmtree(place / "run")
    make_run(place / "run", seed=1)
    with pytest.raises(
        DataError, match=r"out holds predictions of another artifact \(SHA-256 .{12}, this one has .{12}\)"
    ):
        _score(place)


def test_other_data_are_refused(place: Path) -> None:
    os.utime(place / "data" / "b.csv", (1, 1))
    with pytest.raises(DataError, match=r"for other data: b\.csv was changed \(1 such files\)"):
        _score(place)
    table(5).to_parquet(place / "data" / "c.parquet")
    shutil.rmtree(place / "data" / "june")
    with pytest.raises(DataError, match=r"for other data: b\.csv was changed \(3 such files\)"):
        _score(place)


def test_other_columns_are_refused(place: Path) -> None:
    with pytest.raises(DataError, match="holds predictions with --keep id, not nothing"):
        _score(place, keep=())
    with pytest.raises(DataError, match="--keep: 'prediction' is the name of a column of predictions"):
        _score(place, keep=("prediction",))


def test_folders_that_hold_something_else_are_refused(place: Path) -> None:
    with pytest.raises(DataError, match=r"done holds files that this command has not written, such as b\.csv\.parquet"):
        _score(place, out="done")
    with pytest.raises(DataError, match=r"lies in .*data, so predictions would be taken for data"):
        _score(place, out="data/out")
    (place / "out" / CLAIM).write_text("{}")
    with pytest.raises(DataError, match=r"\.predictions\.json: not readable"):
        _score(place)


def test_data_that_are_not_there_or_no_tables_are_told(place: Path) -> None:
    with pytest.raises(DataError, match=r"nowhere: no such file or folder"):
        _score(place, data="nowhere")
    with pytest.raises(DataError, match=r"run/artifact: found no table \(files: manifest\.json"):
        _score(place, data="run/artifact")
    shutil.copy(place / "data" / "b.csv", place / "data" / "b.csv.parquet")
    with pytest.raises(DataError, match=r"would both be written to b\.csv\.parquet"):
        _score(place, out="new")
