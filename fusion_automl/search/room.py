"""What a full disk looks like, from whichever library it comes."""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator
from contextlib import contextmanager

from fusion_automl.errors import DiskFullError

FULL = re.compile(r"No space left on device|os error (28|122)\b|Disk quota exceeded|\d+ requested and \d+ written")
"""Libraries in Rust and C++ have only the text; the last one is NumPy's, which has lost the reason."""


def is_full(error: BaseException | None) -> bool:
    """Whether an error, or one that it came from, says that a disk or a quota is used up."""
    while error is not None:
        if (isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)) or FULL.search(str(error)):
            return True
        error = error.__cause__ or error.__context__
    return False


@contextmanager
def full_disk_told(where: str) -> Iterator[None]:
    """Raises DiskFullError for whatever inside fails for want of room; what was recorded before stays as it is."""
    try:
        yield
    except Exception as error:
        if isinstance(error, DiskFullError) or not is_full(error):
            raise
        raise DiskFullError(
            f"{where}: a disk is full ({error}). Finished trials are safe: make room, or copy the run folder to a larger "
            "disk, and go on with --resume."
        ) from error
