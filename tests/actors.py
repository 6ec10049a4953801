"""Actors of a test's own Ray cluster, found by a text that the test has put into their environment."""

from __future__ import annotations

from pathlib import Path

TRAIN = (
    "TrainController",
    "PlacementGroupCleaner",
    "SynchronizationActor",
    "PreemptionWatcher",
    "DatasetManager",
    "RayTrainWorker",
)
"""The actors of a run of Ray Train."""


def actors_of(mark: str, names: tuple[str, ...]) -> dict[int, str]:
    """What they do, by the number of their process."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            name = (folder / "cmdline").read_bytes().decode().strip("\0 ")
            if name.startswith(tuple(f"ray::{each}" for each in names)):
                if mark.encode() in (folder / "environ").read_bytes():
                    found[int(folder.name)] = name
        except OSError:  # it ended meanwhile
            continue
    return found
