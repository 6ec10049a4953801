"""A run in a bucket and its working copy on this machine.

Everything works on a folder. Where the place of a run is a URI, each machine has a copy of what it needs below
`$FUSION_AUTOML_CACHE` (else `~/.cache/fusion_automl`), and a `Mirror` moves finished folders between the two. Their `DONE` goes
up last, and a folder without one is not there, so that a machine may die anywhere. The bucket knows no locks: two machines
that make the same thing at once make it alike.
"""

from __future__ import annotations

import logging
import os
import shutil
import threading
import time
import uuid
from collections import defaultdict
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from fusion_automl.candidate import digest
from fusion_automl.data.storage import is_remote
from fusion_automl.errors import BucketError
from fusion_automl.store.bucket import PATIENCE_SECONDS, Bucket

logger = logging.getLogger(__name__)

DONE = "DONE"
MOVED = "MOVED"
"""In a finished folder of the working copy: the bucket has it too."""
AT_ONCE = 16
"""Folders that are brought here at the same time; the files of each are, too."""
LISTING_SHARE = 0.05
"""The most of the time that goes into listing trials for news; S3 takes some 0.1 s for each 200 of them."""


def cache_folder() -> Path:
    """Where working copies, and artifacts out of buckets, lie on this machine."""
    named = os.environ.get("FUSION_AUTOML_CACHE")
    return Path(named) if named else Path.home() / ".cache" / "fusion_automl"


def place(run: str | Path, *, patience: float = PATIENCE_SECONDS) -> tuple[Path, Mirror | None]:
    """The folder in which to work on a run, and its mirror where `run` is a URI. Raises BucketError for a malformed one."""
    text = str(run)
    if not is_remote(text):
        if text.startswith("s3:"):
            raise BucketError(f"{text}: expected s3://bucket/folder. Give it as text: a Path makes one slash of two.")
        return Path(run), None
    mirror = Mirror(text, patience=patience)
    mirror.folder.mkdir(parents=True, exist_ok=True)
    return mirror.folder, mirror


class Mirror:
    """Moves folders between the working copy `folder` and the same names in `bucket`; for use by several threads.

    Methods raise BucketError.
    """

    def __init__(self, uri: str, *, patience: float = PATIENCE_SECONDS) -> None:
        self.bucket = Bucket(uri, patience=patience)
        self.uri = self.bucket.uri
        self.folder = cache_folder() / "runs" / digest(self.uri, length=16)
        self._pushing: dict[str, threading.Lock] = defaultdict(threading.Lock)
        self._background = ThreadPoolExecutor(max_workers=4, thread_name_prefix="mirror")

    def push(self, name: str, *, without: Collection[str] = ()) -> None:
        """Brings a finished folder to the bucket unless it is there, `DONE` last; files `without` stay here."""
        with self._pushing[name]:
            if not (self.folder / name / MOVED).exists():
                self.push_folder(name, without=without)
                (self.folder / name / MOVED).touch()

    def push_folder(self, name: str, *, last: str = DONE, without: Collection[str] = ()) -> None:
        """Brings a folder as it is now to the bucket, the file `last` after all others."""
        folder = self.folder / name
        found = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
        files = found - {MOVED, *without}
        self.push_files(*(f"{name}/{file}" for file in files - {last}))
        self.push_files(*(f"{name}/{file}" for file in files & {last}))

    def push_files(self, *names: str) -> None:
        """Brings files as they are now to the bucket."""
        self.bucket.upload(names, self.folder)

    def later(self, push: Callable[[], None]) -> None:
        """Has something pushed while this process goes on. Nobody waits for it; who needs it there pushes it again."""

        def attempt() -> None:
            try:
                push()
            except BucketError as error:
                logger.warning("%s", error)

        self._background.submit(attempt)

    def close(self) -> None:
        """Drops what was to be pushed later and is not begun."""
        self._background.shutdown(wait=False, cancel_futures=True)

    def remove(self, name: str, *, first: str = DONE) -> None:
        """Removes a folder from the bucket, the file `first` before all others."""
        files = self.bucket.files(name)
        self.bucket.remove([f"{name}/{file}" for file in files if file == first])
        self.bucket.remove([f"{name}/{file}" for file in files if file != first])

    def pull(self, name: str, *, patient: bool = True) -> bool:
        """Brings a finished folder here unless it is; False where the bucket does not have it."""
        if (self.folder / name / DONE).exists():
            return True
        if self.bucket.read(f"{name}/{DONE}", patient=patient) is None:
            return False
        return self.pull_folder(name, patient=patient)

    def pull_folder(self, name: str, *, only: Collection[str] = (), patient: bool = True) -> bool:
        """Brings a folder here, or `only` those files and folders in it; False where there are none."""
        files = self.bucket.files(name, patient=patient)
        wanted = [file for file in files if not only or file.partition("/")[0] in only]
        return bool(wanted) and self._fetch(name, wanted, patient=patient)

    def pull_file(self, name: str) -> bool:
        """Brings a file here, in place of an older one; False where the bucket does not have it."""
        content = self.bucket.read(name)
        if content is not None:
            partial = self.folder / f"{name}.{uuid.uuid4().hex[:8]}"
            partial.write_bytes(content)
            partial.replace(self.folder / name)
        return content is not None

    def pull_all(self, name: str, *, patient: bool = True) -> None:
        """Brings every finished folder below `name` here that is not."""
        folders: dict[str, list[str]] = {}
        for file in self.bucket.files(name, patient=patient):
            folder, _, inside = file.partition("/")
            folders.setdefault(f"{name}/{folder}", []).append(inside)
        new = [folder for folder in folders if DONE in folders[folder] and not (self.folder / folder / DONE).exists()]
        self.for_all(new, lambda folder: self._fetch(folder, folders[folder], patient=patient))

    def pull_news(self, name: str) -> None:
        """`pull_all`, once a second at the most and by one process of this machine; without patience and without errors."""
        from filelock import FileLock, Timeout

        stamp = self.folder / f".{name}.listed"
        try:
            with FileLock(f"{stamp}.lock", timeout=0):
                if stamp.exists() and time.time() < stamp.stat().st_mtime + float(stamp.read_text()):
                    return
                began = time.monotonic()
                self.pull_all(name, patient=False)
                stamp.write_text(str(max(1.0, (time.monotonic() - began) / LISTING_SHARE)))
        except Timeout:
            pass
        except BucketError as error:
            logger.warning("%s", error)

    def for_all(self, names: Collection[str], act: Callable[[str], Any]) -> None:
        """Does the same for many names at once. Raises the first error."""
        if names:
            with ThreadPoolExecutor(max_workers=min(AT_ONCE, len(names))) as pool:
                list(pool.map(act, names))

    def _fetch(self, name: str, files: list[str], *, patient: bool) -> bool:
        """Downloads beside the folder, then moves file by file, `DONE` last: others may be reading in it."""
        folder = self.folder / name
        partial = folder.with_name(f".{folder.name}.{uuid.uuid4().hex[:8]}")
        try:
            if not self.bucket.download([f"{name}/{file}" for file in files], partial, patient=patient):
                return False
            folder.mkdir(parents=True, exist_ok=True)
            if DONE in files:
                (folder / MOVED).touch()
            for file in sorted(files, key=lambda file: file == DONE):
                (folder / file).parent.mkdir(parents=True, exist_ok=True)
                os.replace(partial / name / file, folder / file)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
        return True
