"""This project, called as a user calls it: the command line for the fit, the artifact folder for predictions."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from peer import Job, Loaded, run


class Fusion:
    def fit(self, job: Job) -> None:
        command = [
            *(str(Path(sys.executable).parent / "fusion-automl"), "fit", job.train, "--test", job.test, "--json"),
            *("--target", job.target, "--task", job.task, "--metric", job.metric, "--ignore", ",".join(job.ignore)),
            *("--budget", f"{job.budget:g}s", "--seed", str(job.seed), "--space", job.space),
            *("--preset", job.preset, "--out", str(job.folder / "run")),
        ]
        os.execv(command[0], command)  # this process becomes the command: nothing of ours is counted with it

    def load(self, job: Job) -> Loaded:
        from fusion_automl import load

        artifact = load(job.folder / "run")
        return Loaded(artifact.probabilities, artifact.manifest.task.classes, job.folder / "run" / "artifact")


if __name__ == "__main__":
    run(Fusion())
