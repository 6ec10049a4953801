"""A folder in a bucket: requests that are tried again as long as there is hope, and one sentence when there is none."""

from __future__ import annotations

import errno
import logging
import random
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from fusion_automl.data.storage import S3_OPTIONS, explained
from fusion_automl.errors import BucketError, DataError

logger = logging.getLogger(__name__)
T = TypeVar("T")

PATIENCE_SECONDS = 10.0
"""For how long a request is tried again, where no budget says otherwise."""
FIRST_PAUSE, LONGEST_PAUSE = 0.25, 8.0
"""Seconds between two tries; doubled each time, and cut at random so that many machines do not come back at once."""
PERMANENT = {errno.EINVAL, errno.ENOSPC, errno.ENOSYS, errno.EPERM}
"""What S3's 400 and its like become, and a full disk here: trying again does not help."""


def patience_for(budget: float) -> float:
    """Seconds of a run for which the bucket may fail: a twentieth of the budget, so that the run ends in time all the same."""
    return min(max(budget / 20, 2.0), 60.0)


class Bucket:
    """The files below `uri`, by their names relative to it; for use by several threads.

    A request that may yet succeed is repeated for `patience` seconds, others fail at once. After a failure that is final
    `lost` says why, and for as long again nothing is tried, so that who has much to move ends soon. Credentials are those of
    the environment, as every library of AWS finds them. Methods raise BucketError.
    """

    def __init__(self, uri: str, *, patience: float) -> None:
        self.uri = uri.rstrip("/")
        self.patience = patience
        self.lost: BucketError | None = None
        self._closed_until = 0.0
        name = self.uri.partition("://")[2].partition("/")[0]
        if not name or "@" in name:  # keys in a URI would be written into logs, so this message leaves them out, too
            raise BucketError(
                f"{uri.rpartition('@')[2]}: names no bucket or comes with keys, expected s3://bucket/folder. Keys belong "
                "into the environment, as AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY."
            )

    @cached_property
    def _system(self) -> tuple[Any, str]:
        """The file system, and this folder as it knows it."""
        import fsspec

        options: dict[str, Any] = S3_OPTIONS if self.uri.startswith("s3://") else {}
        with explained(self.uri):
            system, root = fsspec.core.url_to_fs(self.uri, use_listings_cache=False, **options)
        if hasattr(system, "retries"):
            system.retries = 1  # s3fs would try five times more below `_insist`, which knows when to end
        return system, root

    def _inside(self, name: str) -> str:
        return f"{self._system[1]}/{name}"

    def files(self, folder: str, *, patient: bool = True) -> list[str]:
        """Names of all files in a folder and below, relative to it."""
        root = f"{self._inside(folder)}/"
        found = self._insist(lambda: self._system[0].find(root), patient=patient)
        return [path.removeprefix(root) for path in found]

    def read(self, name: str, *, patient: bool = True) -> bytes | None:
        """A small file, None where it is not there; tried once only unless `patient`."""

        def attempt() -> bytes | None:
            with suppress(FileNotFoundError):
                return bytes(self._system[0].cat_file(self._inside(name), max_concurrency=1))
            return None

        return self._insist(attempt, patient=patient)

    def write(self, name: str, content: bytes) -> None:
        self._insist(lambda: self._system[0].pipe_file(self._inside(name), content))

    def upload(self, names: Sequence[str], folder: Path) -> None:
        """Brings files below `folder` here, all at once."""
        places = [str(folder / name) for name in names], [self._inside(name) for name in names]
        if names:
            self._insist(lambda: self._system[0].put(*places))

    def download(self, names: Sequence[str], folder: Path, *, patient: bool = True) -> bool:
        """Brings files from here to below `folder`, all at once; False where one of them is not there."""
        places = [self._inside(name) for name in names], [str(folder / name) for name in names]

        def attempt() -> bool:
            with suppress(FileNotFoundError):
                self._system[0].get(*places)
                return True
            return False

        return self._insist(attempt, patient=patient)

    def remove(self, names: Sequence[str]) -> None:
        """Removes files all at once, whether they are there or not."""
        if names:
            self._insist(lambda: self._system[0].rm([self._inside(name) for name in names]))

    def _insist(self, act: Callable[[], T], *, patient: bool = True) -> T:
        if self.lost is not None and time.monotonic() < self._closed_until:
            raise self.lost
        began, pause = time.monotonic(), FIRST_PAUSE
        while True:
            try:
                result = act()
            except Exception as error:
                hope = may_pass(error)
                if hope and not patient:
                    raise BucketError(f"{self.uri}: {error}") from error
                if not hope or time.monotonic() - began + pause > self.patience:
                    self.lost = self._told(error, after=self.patience if hope else 0.0)
                    self._closed_until = time.monotonic() + self.patience
                    raise self.lost from error
                logger.info("%s: tried again after %s", self.uri, error)
                time.sleep(pause * random.uniform(0.5, 1.0))
                pause = min(2 * pause, LONGEST_PAUSE)
            else:
                self.lost = None
                return result

    def _told(self, error: Exception, *, after: float) -> BucketError:
        if after:
            return BucketError(
                f"{self.uri}: the bucket gave nothing but errors for {after:.0f} s, the last one: {error}. "
                "Check AWS_ENDPOINT_URL, the network and the storage service."
            )
        try:
            with explained(self.uri):
                raise error
        except DataError as told:
            return BucketError(str(told))


def may_pass(error: Exception) -> bool:
    """Whether a request that failed so may succeed in a while."""
    from aiohttp import ClientError
    from botocore.exceptions import ConnectionError as NoConnection  # type: ignore[import-untyped]  # no stubs exist
    from botocore.exceptions import HTTPClientError
    from botocore.parsers import ResponseParserError  # type: ignore[import-untyped]  # no stubs exist

    if isinstance(error, PermissionError | FileNotFoundError | FileExistsError):
        return False
    if isinstance(error, OSError):
        return error.errno not in PERMANENT
    return isinstance(error, ClientError | NoConnection | HTTPClientError | ResponseParserError)
