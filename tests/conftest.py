"""What several tests need: the public datasets, an S3 server that speaks over HTTP, and small tables."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.head import head

__all__ = ["head"]  # a fixture
BUCKET = "fusion"


def pytest_configure() -> None:
    # A shell starts what it puts in the background deaf to Ctrl-C, its children too, and some tests press it.
    signal.signal(signal.SIGINT, signal.default_int_handler)


def find_shared_data() -> Path | None:
    """The folder of public datasets: `$FUSION_DATA`, else `../shared/data` beside the repository."""
    named = os.environ.get("FUSION_DATA")
    folder = Path(named) if named else Path(__file__).parents[2] / "shared" / "data"
    return folder if (folder / "INDEX.json").is_file() else None


@pytest.fixture(scope="session")
def shared_data() -> Path:
    folder = find_shared_data()
    if folder is None:
        pytest.skip("the public datasets are not here; set FUSION_DATA to their folder")
    return folder


@pytest.fixture(scope="session")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Folders of tiny pretrained nets, as `text_embedding` and its like take them for `checkpoint`."""
    from tests.contracts.checkpoints import write_checkpoints

    return write_checkpoints(tmp_path_factory.mktemp("checkpoints"))


@dataclass(frozen=True, slots=True)
class S3:
    """An S3 endpoint with the bucket `bucket`, and a boto3 client to it with the right credentials."""

    endpoint: str
    bucket: str
    client: Any
    key_id: str
    secret: str

    def put(self, name: str, content: bytes) -> str:
        """Stores an object and returns its URI."""
        self.client.put_object(Bucket=self.bucket, Key=name, Body=content)
        return f"s3://{self.bucket}/{name}"


@pytest.fixture(scope="session")
def s3_server() -> Iterator[S3]:
    """A real HTTP server that refuses credentials it has not given out.

    It is a process of its own: moto keeps users and keys in globals, which tests of a simulated AWS begin anew.
    """
    import boto3
    import httpx

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    endpoint = f"http://127.0.0.1:{port}"
    server = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "--host", "127.0.0.1", "--port", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    httpx.Client(transport=httpx.HTTPTransport(retries=8)).get(f"{endpoint}/moto-api/").raise_for_status()
    where = {"endpoint_url": endpoint, "region_name": "us-east-1"}
    anyone = {"aws_access_key_id": "setup", "aws_secret_access_key": "setup"}
    iam = boto3.client("iam", **where, **anyone)
    iam.create_user(UserName="tester")
    policy = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}
    iam.put_user_policy(UserName="tester", PolicyName="all", PolicyDocument=json.dumps(policy))
    made = iam.create_access_key(UserName="tester")["AccessKey"]
    key_id, secret = made["AccessKeyId"], made["SecretAccessKey"]
    client = boto3.client("s3", **where, aws_access_key_id=key_id, aws_secret_access_key=secret)
    client.create_bucket(Bucket=BUCKET)
    httpx.post(f"{endpoint}/moto-api/reset-auth", content=b"0").raise_for_status()  # from here on keys are checked
    yield S3(endpoint, BUCKET, client, key_id, secret)
    server.kill()
    server.wait()


@pytest.fixture
def s3(s3_server: S3, monkeypatch: pytest.MonkeyPatch) -> Iterator[S3]:
    """The server with the environment of a user who is allowed in."""
    import s3fs

    s3fs.S3FileSystem.clear_instance_cache()  # cached clients keep the credentials of an earlier test
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3_server.endpoint)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", s3_server.key_id)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", s3_server.secret)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    yield s3_server
    s3fs.S3FileSystem.clear_instance_cache()
