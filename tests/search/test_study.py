"""The study in the run folder, as Optuna's own tools see it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from fusion_automl.search.ledger import Report
from tests.search.loop import done, failed, local, proposer, pruned, run_loop
from tests.search.test_propose import WIDE

READ = """
import json, sys, optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
study = optuna.load_study(study_name=None, storage=JournalStorage(JournalFileBackend(sys.argv[1])))
print(json.dumps([
    [t.state.name, t.value if t.state.name == "COMPLETE" else None, t.params, t.user_attrs, t.intermediate_values,
     t.duration.total_seconds()] for t in study.trials
]))
"""


def read(run: Path) -> list[list[object]]:
    """The trials of RUN/study.log, as a process sees them that knows Optuna alone."""
    answer = subprocess.run([sys.executable, "-c", READ, str(run / "study.log")], capture_output=True, text=True)
    found: list[list[object]] = json.loads(answer.stdout)
    return found


def test_another_process_reads_every_trial_from_the_run_folder(tmp_path: Path) -> None:
    answers = iter([done, lambda candidate: done(candidate, 0.8), lambda candidate: pruned(candidate, 0.3), failed])

    def answer(candidate: object) -> Report:
        return next(answers)(candidate)  # type: ignore[arg-type]

    space = local(WIDE, tmp_path)
    asked = run_loop(proposer(space, tmp_path), answer, trials=4)
    found = read(tmp_path)
    assert [state for state, *_ in found] == ["COMPLETE", "COMPLETE", "PRUNED", "FAIL"]
    assert [value for _, value, *_ in found] == [0.5, 0.8, None, None]
    assert found[0][2] == {} and found[1][2] == {
        "level": "data",
        "fusions/data": "concat",
        "classical_model": "ridge",
        "classical/ridge/alpha": 1.0,
        "encoders_required/dense/tabular": "onehot",
        "encoder/dense/onehot/scale": "quantile",
    }
    assert [attributes["key"] for *_, attributes, _, _ in found] == [candidate.key for candidate in asked]  # type: ignore[index]
    assert found[3][3] == {
        "key": asked[3].key,
        "candidate": asked[3].describe(),
        "level": "data",
        "status": "failed",
        "seconds": 1.0,
        "reason": "it broke",
    }
    assert found[2][4] == {"33": 0.3}  # per cent of the work
    assert abs(float(found[1][5]) - 1.0) < 1e-3  # type: ignore[arg-type]

    proposer(space, tmp_path)  # a resume writes it anew, from the ledger
    assert read(tmp_path) == found
