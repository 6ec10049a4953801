"""Training by several processes, over gloo and without Ray: it is the training of one process up to rounding."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

Found = dict[str, Any]


def start(out: Path, *, rank: int, size: int) -> subprocess.Popen[bytes]:
    arguments = [str(rank), str(size), str(out.parent / "meeting"), str(out)]
    return subprocess.Popen([sys.executable, "-m", "tests.backbones.ranks", *arguments])


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> tuple[Found, Found, Found]:
    """What one process alone finds, and each of two that train together."""
    folder = tmp_path_factory.mktemp("ranks")
    outs = [folder / name for name in ("alone", "rank 0", "rank 1")]
    processes = [start(outs[0], rank=0, size=1), start(outs[1], rank=0, size=2), start(outs[2], rank=1, size=2)]
    assert [process.wait() for process in processes] == [0, 0, 0]
    alone, first, second = (json.loads(out.read_text()) for out in outs)
    return alone, first, second


@pytest.mark.parametrize("how", ["plain", "in pieces", "parts", "parts, in pieces"])
def test_two_processes_train_as_one_does(found: tuple[Found, Found, Found], how: str) -> None:
    alone, together, _ = found
    assert len(alone["plain"]["losses"]) == 4
    assert alone["plain"]["losses"][0] > alone["plain"]["losses"][-1] + 0.2
    for values in ("losses", "holdout"):
        np.testing.assert_allclose(together[how][values], alone["plain"][values], rtol=2e-2)
    assert together[how]["weights"].keys() == alone["plain"]["weights"].keys()
    for name, weights in alone["plain"]["weights"].items():
        np.testing.assert_allclose(together[how]["weights"][name], weights, atol=2e-2, err_msg=name)


@pytest.mark.parametrize("how", ["fed", "fed, in parts"])
def test_two_processes_learn_from_fresh_rows_as_one_does(found: tuple[Found, Found, Found], how: str) -> None:
    alone, together, _ = found
    assert alone["fed"]["losses"][0] == alone["plain"]["losses"][0]
    assert not np.allclose(alone["fed"]["losses"][1:], alone["plain"]["losses"][1:], rtol=1e-3)
    for values in ("losses", "holdout"):
        np.testing.assert_allclose(together[how][values], alone["fed"][values], rtol=2e-2)


def test_both_processes_find_the_same(found: tuple[Found, Found, Found]) -> None:
    _, first, second = found
    assert first == second


def test_each_process_drops_other_units(found: tuple[Found, Found, Found]) -> None:
    alone, together, _ = found
    assert not np.allclose(together["noisy"]["losses"], alone["noisy"]["losses"], rtol=1e-3)


@pytest.mark.parametrize("how", ["", "parts, ", "fed, "])
@pytest.mark.parametrize("who", [0, 1])
def test_what_was_cut_off_goes_on_as_if_it_had_not_been(found: tuple[Found, Found, Found], who: int, how: str) -> None:
    assert found[who][f"{how}cut off"] == found[who][f"{how}noisy"]


def test_the_clock_of_the_first_process_is_everybodys(found: tuple[Found, Found, Found]) -> None:
    for one in found:
        assert one["late"] == {"error": "OutOfTime: the deadline passed in the first epoch, after 0 of 11 steps"}


def test_all_give_up_on_training_that_diverges(found: tuple[Found, Found, Found]) -> None:
    for one in found:
        assert one["diverging"]["error"].startswith("FitError: training diverged in epoch 1: loss")
