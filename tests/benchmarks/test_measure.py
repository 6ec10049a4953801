import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from measure import measure, own_bytes, tree

pytestmark = pytest.mark.skipif(not Path("/proc/self/smaps_rollup").exists(), reason="reads Linux's /proc")

HOLD = "block = bytearray(b'x') * {megabytes}_000_000; import time; time.sleep({seconds})"


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def test_memory_of_children_is_counted(tmp_path: Path) -> None:
    child = HOLD.format(megabytes=80, seconds=1.5)
    code = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])"
    run = measure(python(code), log=tmp_path / "log", limit_seconds=60)
    assert run.code == 0 and not run.timed_out
    assert 80e6 < run.peak_bytes < 200e6
    assert 1.5 < run.seconds < 30


def test_what_is_printed_is_in_the_log_and_the_code_is_told(tmp_path: Path) -> None:
    run = measure(
        python("import sys; print('out'); print('err', file=sys.stderr); sys.exit(3)"),
        log=tmp_path / "log",
        limit_seconds=60,
    )
    assert run.code == 3
    assert sorted((tmp_path / "log").read_text().split()) == ["err", "out"]


def test_the_whole_tree_is_ended_at_the_limit(tmp_path: Path) -> None:
    sleeper = "import os, time; open('pid', 'w').write(str(os.getpid())); time.sleep(60)"
    code = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {sleeper!r}])"
    run = measure(python(code), log=tmp_path / "log", limit_seconds=2.0, cwd=tmp_path)
    assert run.timed_out and run.code != 0 and run.seconds < 20
    pid = int((tmp_path / "pid").read_text())
    until = time.monotonic() + 5
    while (state := _state(pid)) not in ("", "Z") and time.monotonic() < until:
        time.sleep(0.05)
    assert state in ("", "Z")


def test_a_tree_is_a_process_and_its_descendants() -> None:
    child = subprocess.Popen(["sleep", "30"])
    try:
        assert tree(child.pid) == {child.pid}
        assert {os.getpid(), child.pid} <= tree(os.getpid())
        assert os.getppid() not in tree(os.getpid())
    finally:
        child.kill()
        child.wait()
    assert own_bytes(child.pid) == 0


def _state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return ""
