"""Work for a pool, in a module that its processes can import."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fusion_automl.search.tune_pool import Files, Work, write_files


def start(files: Files, *, folder: str, factor: int) -> Work:
    """Multiplies what its file says; ends its own process at 3, fails at 4, and takes long at 9."""
    if not files:
        raise ValueError("there is nothing to begin with")
    write_files(files, Path(folder) / str(os.getpid()))
    (Path(folder) / f"{os.getpid()}.started").touch()

    def work(piece: Mapping[str, Any]) -> dict[str, Any]:
        number = int((Path(folder) / str(os.getpid()) / "in" / piece["name"]).read_text())
        if number == 3:
            os.kill(os.getpid(), signal.SIGKILL)
        if number == 4:
            raise ValueError("four")
        if number == 9:
            time.sleep(100)
        return {"name": piece["name"], "result": number * factor}

    return work
