"""Reading over HTTP from an S3 server, and each way in which that fails."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from fusion_automl.data.images import decode_images
from fusion_automl.data.read import read_table
from fusion_automl.data.storage import files_under, read_bytes, replacing, stamp
from fusion_automl.errors import DataError


def png(colour: tuple[int, int, int]) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (6, 4), colour).save(buffer, "PNG")
    return buffer.getvalue()


def test_a_table_is_read_from_s3(s3: Any) -> None:
    uri = s3.put("tables/a.csv", b"a,b\n1,x\n2,y\n")
    assert read_table(uri).to_dict("list") == {"a": [1, 2], "b": ["x", "y"]}


def test_parquet_parts_in_a_folder_on_s3_are_one_table(s3: Any) -> None:
    for number in range(2):
        s3.put(f"parts/part-{number}.parquet", pd.DataFrame({"a": [number]}).to_parquet())
    assert read_table(f"s3://{s3.bucket}/parts")["a"].tolist() == [0, 1]


def test_a_folder_of_images_on_s3_gives_uris_that_decode(s3: Any) -> None:
    s3.put("images/red/1.png", png((255, 0, 0)))
    s3.put("images/blue/1.png", png((0, 0, 255)))
    frame = read_table(f"s3://{s3.bucket}/images")
    assert frame["label"].tolist() == ["blue", "red"]
    pixels = decode_images(frame["image"].tolist(), size=2, channels=3)
    assert pixels[:, 0, 0].tolist() == [[0, 0, 255], [255, 0, 0]]


def test_paths_in_a_table_on_s3_resolve_against_its_folder(s3: Any) -> None:
    s3.put("named/pics/a.png", png((0, 255, 0)))
    uri = s3.put("named/train.csv", b"picture,y\npics/a.png,1\n")
    frame = read_table(uri)
    assert frame["picture"].tolist() == [f"s3://{s3.bucket}/named/pics/a.png"]
    assert np.array_equal(decode_images(frame["picture"].tolist(), size=1, channels=3)[0, 0, 0], [0, 255, 0])


def test_a_missing_object_is_named(s3: Any) -> None:
    with pytest.raises(DataError, match=r"^s3://fusion/nothing\.csv: no such file or folder"):
        read_table(f"s3://{s3.bucket}/nothing.csv")


@pytest.mark.parametrize("name", ["a.csv", "folder"])
def test_a_missing_bucket_is_named(s3: Any, name: str) -> None:
    with pytest.raises(DataError, match=rf"^s3://no-such-bucket/{name}: there is no bucket"):
        read_table(f"s3://no-such-bucket/{name}")


@pytest.mark.parametrize("name", ["secret.csv", "folder"])
def test_wrong_credentials_are_told(s3: Any, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    s3.put("secret.csv", b"a\n1\n")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAWRONG")
    with pytest.raises(DataError, match=r"access was denied.*AWS_ACCESS_KEY_ID"):
        read_table(f"s3://{s3.bucket}/{name}")


def test_an_unreachable_endpoint_is_told(s3: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(DataError, match=r"S3 cannot be reached.*AWS_ENDPOINT_URL"):
        read_table(f"s3://{s3.bucket}/a.csv")


def test_a_file_is_replaced_whole_or_not_at_all(s3: Any) -> None:
    uri = s3.put("results/a.txt", b"old")
    old = stamp(uri)
    with pytest.raises(ZeroDivisionError), replacing(uri) as file:
        file.write_bytes(b"half")
        1 / 0  # noqa: B018  # whatever ends the block
    assert (read_bytes(uri), stamp(uri), files_under(f"s3://{s3.bucket}/results")) == (b"old", old, ["a.txt"])
    with replacing(uri) as file:
        file.write_bytes(b"new")
    assert read_bytes(uri) == b"new" and stamp(uri).num_bytes == 3 and stamp(uri).mark != old.mark
    assert not file.exists()
    with pytest.raises(DataError, match=r"^s3://no-such-bucket/a\.txt: there is no bucket"):
        with replacing("s3://no-such-bucket/a.txt") as file:
            file.write_bytes(b"new")
