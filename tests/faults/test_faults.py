"""Processes, machines, drivers, disks and buckets fail in the midst of a search; it comes to what it would have come to."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.actors import actors_of
from tests.conftest import S3
from tests.faults.conftest import Machines, Outcome, Search, finished, kill, when
from tests.head import credentials
from tests.proxy import proxy_to

ACTORS = ("TrialActor",)


def test_a_killed_process_and_a_lost_machine(
    search: Search, undisturbed: Outcome, machines: Machines, tmp_path: Path
) -> None:
    machines.add()
    other = machines.add()
    run = tmp_path / "run"
    process = search.start(run, "--engine", "ray", "--address", machines.address)
    when(lambda: len(actors_of(str(tmp_path), ACTORS)) == 2 and len(finished(run)) >= 2, process)
    killed = next(iter(actors_of(str(tmp_path), ACTORS)))
    kill(killed)
    when(lambda: len(set(actors_of(str(tmp_path), ACTORS)) - {killed}) == 2 and len(finished(run)) >= 3, process)
    machines.lose(other)
    search.outcome(process, run).must_be(undisturbed)


def test_a_killed_driver_goes_on_elsewhere_from_its_folder_alone(
    search: Search, undisturbed: Outcome, machines: Machines, tmp_path: Path
) -> None:
    machines.add()
    run = tmp_path / "run"
    process = search.start(run, "--engine", "ray", "--address", machines.address)
    when(lambda: len(finished(run)) >= 3, process)
    process.kill()
    process.communicate()
    before = finished(run)
    elsewhere = tmp_path / "elsewhere"
    shutil.copytree(run, elsewhere)
    shutil.rmtree(run)
    search.outcome(search.start(elsewhere, "--resume"), elsewhere).must_be(undisturbed)
    assert {key: at for key, at in finished(elsewhere).items() if key in before} == before  # none was done again


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=300m", "none", disk], capture_output=True)
    if mounted.returncode != 0:
        pytest.skip("a small disk cannot be mounted here")
    yield disk
    subprocess.run(["umount", "--lazy", disk], check=True)


@pytest.mark.parametrize("engine", ["inline", pytest.param("ray", marks=pytest.mark.slow)])
def test_a_full_disk_is_told_and_room_is_all_it_needs(
    engine: str, search: Search, undisturbed: Outcome, small_disk: Path
) -> None:
    run = small_disk / "run"
    process = search.start(run, "--engine", engine)
    when(lambda: len(finished(run)) >= 2, process)
    with (small_disk / "others").open("wb", buffering=0) as others, suppress(OSError):
        while True:  # the search writes, too, so nobody knows how much it takes
            others.write(bytes(1 << 20))
    process.communicate(timeout=120)
    before = finished(run)
    assert process.returncode == 2
    assert f"{run}: a disk is full" in search.said(run) and "Traceback" not in search.said(run)
    (small_disk / "others").unlink()
    search.outcome(search.start(run, "--resume", "--engine", engine), run).must_be(undisturbed)
    assert {key: at for key, at in finished(run).items() if key in before} == before


def test_a_bucket_that_is_slow_and_fails_now_and_then(
    search: Search, undisturbed: Outcome, s3: S3, tmp_path: Path
) -> None:
    with proxy_to(s3.endpoint) as proxy:
        proxy.seconds, proxy.failing, proxy.num_failures = 0.02, ("/trials/", "/store/"), 5
        environment = {
            **credentials(s3),
            "AWS_ENDPOINT_URL": proxy.endpoint,
            "FUSION_AUTOML_CACHE": str(tmp_path / "cache"),
        }
        searching = Search(search.folder, environment)
        out = "s3://fusion/runs/faults"
        found = searching.outcome(searching.start(out), out)
    assert proxy.num_failures == 0
    found.must_be(undisturbed)
    kept = [path.read_bytes() for path in (tmp_path / "cache").rglob("*") if path.is_file()]
    kept += [s3.client.get_object(Bucket=s3.bucket, Key=name)["Body"].read() for name in objects(s3, "runs/faults/")]
    assert len(kept) > 100
    assert not any(s3.secret.encode() in content for content in [*kept, searching.said(out).encode()])


def objects(s3: S3, prefix: str) -> list[str]:
    pages = s3.client.get_paginator("list_objects_v2").paginate(Bucket=s3.bucket, Prefix=prefix)
    return [entry["Key"] for page in pages for entry in page.get("Contents", [])]
