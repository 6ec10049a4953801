"""Files on this machine and in object stores, and one clear sentence for each way in which reading them fails."""

from __future__ import annotations

import os
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, Any, NamedTuple

from fusion_automl.errors import DataError

# Botocore waits 60 s for each of 5 attempts; a wrong endpoint should be told before a user gives up.
S3_OPTIONS = {"config_kwargs": {"connect_timeout": 10, "read_timeout": 30, "retries": {"max_attempts": 1}}}


def is_remote(path: str) -> bool:
    return "://" in path


def _file_system(path: str) -> tuple[Any, str]:
    """The file system that `path` lies on, and the path as that system knows it."""
    import fsspec

    if path.startswith("s3:") and not path.removeprefix("s3://").partition("/")[0]:
        raise DataError(f"{path}: names no bucket. Expected s3://bucket/file.parquet.")
    try:
        found: tuple[Any, str] = fsspec.core.url_to_fs(path, **(S3_OPTIONS if path.startswith("s3://") else {}))
    except ValueError as error:
        raise DataError(f"{path}: {error}. Expected a local path or a URI such as s3://bucket/file.parquet.") from error
    return found


@contextmanager
def opened(path: str) -> Iterator[IO[bytes]]:
    """A file opened for reading. Raises DataError for what a user can mend, while opening and while reading."""
    with explained(path):
        system, inside = _file_system(path)
        with system.open(inside, "rb") as file:
            yield file


def read_bytes(path: str) -> bytes:
    """The content of a file. Raises DataError."""
    if is_remote(path):
        with opened(path) as file:
            return file.read()
    with explained(path), open(path, "rb") as file:  # fsspec costs 0.1 ms a file, folders of images have thousands
        return file.read()


def is_folder(path: str) -> bool:
    """Whether `path` is a folder; for s3://, whether anything lies under it. Raises DataError for no access."""
    with explained(path):
        system, inside = _file_system(path)
        return bool(system.isdir(inside))


def exists(path: str) -> bool:
    with explained(path):
        system, inside = _file_system(path)
        return bool(system.exists(inside))


class Stamp(NamedTuple):
    """What tells a file from a later one in its place: its size, and the store's mark of its content or else its age."""

    num_bytes: int
    mark: str


def stamp(path: str) -> Stamp:
    """The stamp of a file. Raises DataError."""
    with explained(path):
        system, inside = _file_system(path)
        return _stamp(system.info(inside))


def stamps_under(folder: str) -> dict[str, Stamp]:
    """All files in `folder` and below by their paths relative to it, sorted; hidden ones are left out."""
    with explained(folder):
        system, inside = _file_system(folder)
        root = inside.rstrip("/") + "/"
        found = {path.removeprefix(root): _stamp(info) for path, info in system.find(inside, detail=True).items()}
    return {path: found[path] for path in sorted(found) if not any(part.startswith(".") for part in path.split("/"))}


def files_under(folder: str) -> list[str]:
    """Paths of all files in `folder` and below, relative to it, sorted; hidden ones are left out."""
    return list(stamps_under(folder))


def _stamp(info: dict[str, Any]) -> Stamp:
    return Stamp(int(info["size"]), str(info.get("ETag") or info.get("mtime")))


@contextmanager
def replacing(path: str) -> Iterator[Path]:
    """A file on this machine to write; what is in it becomes `path` whole when the block ends well, else it vanishes.

    Raises DataError where `path` cannot be written.
    """
    with explained(path, doing="written"):
        system, inside = _file_system(path)
        name = f".{PurePosixPath(path).name}.{uuid.uuid4().hex[:8]}.partial"
        folder = Path(tempfile.gettempdir()) if is_remote(path) else Path(path).parent
        folder.mkdir(parents=True, exist_ok=True)
        partial = folder / name
        try:
            yield partial
            if is_remote(path):
                system.put_file(str(partial), inside)  # one request, or several parts that only count together
            else:
                os.replace(partial, path)
        finally:
            partial.unlink(missing_ok=True)


def join(folder: str, name: str) -> str:
    return f"{folder.rstrip('/')}/{name}"


def not_found(path: str) -> DataError:
    """The sentence for a path at which nothing is; a missing bucket is told from a missing object."""
    if path.startswith("s3://"):
        bucket = path.removeprefix("s3://").partition("/")[0]
        if not exists(f"s3://{bucket}"):
            return DataError(f"{path}: there is no bucket '{bucket}'. Check its name and AWS_ENDPOINT_URL.")
    return DataError(f"{path}: no such file or folder. Check the path and its spelling.")


@contextmanager
def explained(path: str, *, doing: str = "read") -> Iterator[None]:
    """Turns the errors of file systems and of S3 into DataErrors that say what to do."""
    from botocore.exceptions import BotoCoreError, ClientError  # type: ignore[import-untyped]  # no stubs exist

    try:
        yield
    except FileNotFoundError as error:
        raise not_found(path) from error
    except PermissionError as error:
        hint = (
            "Check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and the bucket's policy."
            if is_remote(path)
            else "Check the permissions of the file."
        )
        raise DataError(f"{path}: access was denied ({error}). {hint}") from error
    except ImportError as error:
        raise DataError(f"{path}: to be {doing} it needs a library that is not installed: {error}.") from error
    except (BotoCoreError, ClientError) as error:
        raise DataError(
            f"{path}: S3 cannot be reached or refused the request: {error}. Check AWS_ACCESS_KEY_ID, "
            f"AWS_SECRET_ACCESS_KEY, AWS_ENDPOINT_URL and the network."
        ) from error
    except OSError as error:
        raise DataError(f"{path}: cannot be {doing}: {error}.") from error
