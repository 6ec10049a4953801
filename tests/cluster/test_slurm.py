"""The Slurm script: it parses, keeps a job alive that loses machines, and tells nobody the token."""

from __future__ import annotations

import re
import subprocess

from tests.cluster.conftest import CLUSTER

SCRIPT = CLUSTER / "slurm" / "fusion.sbatch"
TEXT = SCRIPT.read_text()
DIRECTIVES = "\n".join(re.findall(r"^#SBATCH (.*)$", TEXT, flags=re.MULTILINE)).split("\nhetjob\n")
CODE = "\n".join(line for line in TEXT.splitlines() if not line.startswith("#")).replace("\\\n", " ")


def number(text: str, name: str) -> int:
    (found,) = re.findall(rf"--{name}=(\d+)", text)
    return int(found)


def test_bash_reads_the_script() -> None:
    done = subprocess.run(["bash", "-n", str(SCRIPT)], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")


def test_what_is_missing_is_told_before_anything_starts() -> None:
    done = subprocess.run(
        ["bash", str(SCRIPT)], capture_output=True, text=True, timeout=60, env={"PATH": "/usr/bin:/bin"}
    )
    assert done.returncode != 0 and "DATA: expected the data" in done.stderr
    given = {"DATA": "d.parquet", "TARGET": "y", "OUT": "runs/a", "PATH": "/usr/bin:/bin"}
    done = subprocess.run(["bash", str(SCRIPT)], capture_output=True, text=True, timeout=60, env=given)
    assert done.returncode == 2 and "expected ray 2.60.0 on the PATH" in done.stderr


def test_a_component_of_cpus_and_one_of_gpus_outlive_a_machine() -> None:
    cpus, gpus = DIRECTIVES
    assert "--gres=gpu:1" in gpus and "--gres" not in cpus
    # Slurm ends or requeues what has a single machine, --no-kill or not; the first component's other one is the head.
    assert number(cpus, "nodes") >= 3 and number(gpus, "nodes") >= 2
    assert all("--no-kill" in component for component in DIRECTIVES)
    assert "--requeue" in cpus and re.search(r"--signal=B:TERM@\d+", cpus)


def test_head_is_on_loopback_without_trials_and_asks_for_the_token() -> None:
    (head,) = re.findall(r"start 0 .* --head (.*)", CODE)
    assert {"--num-cpus=0", "--num-gpus=0"} <= set(head.split()) and "--dashboard-host=127.0.0.1" in head
    assert "0.0.0.0" not in CODE
    assert "export RAY_AUTH_MODE=token" in CODE and "export RAY_AUTH_TOKEN\n" in CODE
    uses = [line for line in CODE.splitlines() if "RAY_AUTH_TOKEN" in line]
    assert len(uses) == 2 and uses[0].startswith("RAY_AUTH_TOKEN=") and uses[1] == "export RAY_AUTH_TOKEN"


def test_the_token_is_long_and_each_job_has_its_own() -> None:
    (making,) = re.findall(r'^RAY_AUTH_TOKEN="\$\{RAY_AUTH_TOKEN:-\$\((.*)\)\}"$', TEXT, flags=re.MULTILINE)
    made = {
        subprocess.run(["bash", "-c", making], capture_output=True, text=True, check=True, timeout=60).stdout
        for _ in "ab"
    }
    assert len(made) == 2 and all(re.fullmatch("[0-9a-f]{64}", token) for token in made)
