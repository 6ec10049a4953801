"""The README's promises: its Python runs, its commands exist, its links lead somewhere."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "README.md").read_text()


def test_the_python_runs_as_it_stands(tmp_path: Path) -> None:
    (block,) = re.findall(r"```python\n(.*?)```", TEXT, flags=re.DOTALL)
    (tmp_path / "readme.py").write_text(block)
    done = subprocess.run([sys.executable, "readme.py"], cwd=tmp_path, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) >= 4 and (tmp_path / "runs" / "sold" / "artifact" / "manifest.json").exists()


@pytest.mark.parametrize("command", sorted(set(re.findall(r"fusion-automl ([a-z]+)", TEXT))))
def test_every_command_has_help_with_an_example(command: str) -> None:
    words = [sys.executable, "-m", "fusion_automl.cli", command, "--help"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0
    assert "Example:" in done.stdout or command == "spaces"


@pytest.mark.parametrize("link", re.findall(r"\]\(([^)#]+)\)", TEXT))
def test_every_link_leads_to_a_file(link: str) -> None:
    assert (ROOT / link).exists()
