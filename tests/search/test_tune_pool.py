"""A pool of Ray's processes: a piece that kills its process does not stop the others; one that cannot start says why."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fusion_automl.search.tune import quiet_ray


def test_pieces_are_answered_whatever_becomes_of_others(tmp_path: Path) -> None:
    (tmp_path / "files" / "in").mkdir(parents=True)
    names = [f"{number}.txt" for number in (*range(8), 9)]
    for name in names:
        (tmp_path / "files" / "in" / name).write_text(Path(name).stem)
    with quiet_ray():
        from fusion_automl.search.tune_cluster import Slots, joined
        from fusion_automl.search.tune_pool import PoolError, each, read_files
        from tests.search.pool_work import start

        with joined("local", threads=2):
            *pieces, long = [{"name": name} for name in names]
            options: dict[str, Any] = {"slots": Slots(2, 1), "folder": str(tmp_path), "factor": 10}
            answers = list(each(pieces, start, files=read_files(tmp_path / "files"), **options))
            assert sorted(answer["result"] for answer in answers) == [0, 10, 20, 50, 60, 70]
            assert {answer["name"] for answer in answers} == {names[number] for number in (0, 1, 2, 5, 6, 7)}
            # Two processes a round, and one more for each of the three deaths; in the second round nothing is answered.
            assert 5 < len(list(tmp_path.glob("*.started"))) <= 2 * (2 + 3)
            with pytest.raises(PoolError, match="there is nothing to begin with"):
                list(each(pieces, start, files={}, **options))
            with pytest.raises(PoolError, match="gave no answer for 3 s"):
                list(each([long], start, files=read_files(tmp_path / "files"), patience=3, **options))
            assert list(each([], start, files={}, **options)) == []
