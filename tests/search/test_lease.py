"""Who drives a run in a bucket: one at a time, told apart without clocks."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from fusion_automl.errors import BucketError, RunError
from fusion_automl.search import lease
from fusion_automl.search.lease import DRIVER, Lease
from fusion_automl.search.ledger import EVENTS, Ledger
from fusion_automl.search.problem import SETTINGS
from fusion_automl.store.mirror import Mirror, place

URI = "s3://fusion/lease"


@pytest.fixture(autouse=True)
def quick(s3: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "BEAT_SECONDS", 0.3)
    monkeypatch.setattr(lease, "GONE_AFTER_SECONDS", 2.0)


def _machine(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, uri: str = URI) -> Mirror:
    monkeypatch.setenv("FUSION_AUTOML_CACHE", str(tmp_path / name))
    mirror = place(uri)[1]
    assert mirror is not None
    return mirror


def test_a_second_machine_is_kept_out_until_the_first_is_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = _machine("a", tmp_path, monkeypatch), _machine("b", tmp_path, monkeypatch)
    with Lease(first):
        with pytest.raises(RunError, match=r"another fit is at work there, on .*\. Wait for it"), Lease(second):
            pass
    started = time.monotonic()
    with Lease(second):
        assert time.monotonic() - started < 2.0
    assert second.bucket.read(DRIVER) is None


def test_a_dead_driver_is_waited_for_on_another_machine_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = _machine("a", tmp_path, monkeypatch), _machine("b", tmp_path, monkeypatch)
    alive = Lease(first)
    first.bucket.write(DRIVER, json.dumps({**alive._me, "beat": 7}).encode())  # as kill -9 leaves it
    started = time.monotonic()
    with Lease(first):
        assert time.monotonic() - started < 2.0
    first.bucket.write(DRIVER, json.dumps({**alive._me, "beat": 7}).encode())
    started = time.monotonic()
    with Lease(second):
        assert time.monotonic() - started >= 2.0


def test_events_can_be_read_from_the_bucket_while_the_driver_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mirror = _machine("a", tmp_path, monkeypatch, f"{URI}/events")
    with Lease(mirror):
        Ledger(mirror.folder, mirror).event("session")
        until = time.monotonic() + 20.0
        while (text := mirror.bucket.read(EVENTS)) is None and time.monotonic() < until:
            time.sleep(0.1)
    assert text is not None and json.loads(text)["event"] == "session"


def test_what_another_run_left_in_the_working_copy_is_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mirror = _machine("a", tmp_path, monkeypatch, f"{URI}/old")
    (mirror.folder / "trials" / "abc").mkdir(parents=True)
    (mirror.folder / SETTINGS).write_text('{"id": "old"}')
    mirror.bucket.write(SETTINGS, b'{"id": "new"}')
    with Lease(mirror):
        assert (mirror.folder / SETTINGS).read_bytes() == b'{"id": "new"}'
        assert not (mirror.folder / "trials").exists()


def test_without_write_access_nothing_begins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mirror = _machine("a", tmp_path, monkeypatch, "s3://no-such-bucket/run")
    with pytest.raises(BucketError, match="there is no bucket 'no-such-bucket'"), Lease(mirror):
        pass
