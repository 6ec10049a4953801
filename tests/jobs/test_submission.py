"""What is sent to a cluster, and what is found wrong before anything is."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from fusion_automl.errors import DataError, RunError, UserError
from fusion_automl.jobs.auth import auth_headers
from fusion_automl.jobs.cluster import connect
from fusion_automl.jobs.submission import prepare
from tests.conftest import S3


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "my houses.csv").write_text("size,price\n1,2\n")
    (tmp_path / "mine.toml").touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_shell_of_another_machine_reads_the_words_as_they_were_meant(place: Path) -> None:
    options = {"--metric": "mine.py:profit; rm -rf /", "--space": "mine.toml", "--ignore": "a b,$HOME", "--flag": None}
    sent = prepare("my houses.csv", target="the 'price'", budget="1h", out="run", options=options)
    assert shlex.split(sent.entrypoint) == [
        *(
            "fusion-automl",
            "fit",
            f"{place}/my houses.csv",
            "--target=the 'price'",
            f"--out={place}/run",
            "--budget=1h",
        ),
        *(f"--metric={place}/mine.py:profit; rm -rf /", f"--space={place}/mine.toml", "--ignore=a b,$HOME"),
        "--flag",
        *("--address=auto", "--json"),
    ]
    assert shlex.quote(sent.id) == sent.id and sent.id.startswith("my-houses-the-price-")
    assert any(f"{place}/my houses.csv" in note for note in sent.notes)
    # 8 % of an hour for ensemble and artifact, 12 % to fit on all rows, and a minute to let go of the cluster.
    assert sent.stop_seconds == 288 + 432 + 60


def test_runs_lie_beside_the_data_or_in_its_bucket(place: Path, s3: S3) -> None:
    local = prepare("my houses.csv", target="price")
    assert local.run == f"{place}/fusion-automl-runs/{local.id}"
    uri = s3.put("deep/houses.csv", b"size,price\n1,2\n")
    remote = prepare(uri, target="price")
    assert remote.run == f"s3://{s3.bucket}/fusion-automl-runs/{remote.id}"
    assert remote.words[2] == uri and remote.notes == ()


def test_what_is_not_there_is_told_before_anything_is_sent(place: Path, s3: S3) -> None:
    with pytest.raises(
        DataError, match=r"DATA: .*nope\.csv: there is no such file or folder on this machine\. The machi"
    ):
        prepare("nope.csv", target="price")
    with pytest.raises(DataError, match=r"--test: .*nope\.csv: there is no such file"):
        prepare("my houses.csv", target="price", options={"--test": "nope.csv"})
    with pytest.raises(DataError, match=rf"s3://{s3.bucket}/nope\.csv: no such file or folder"):
        prepare(f"s3://{s3.bucket}/nope.csv", target="price")
    with pytest.raises(UserError, match="--budget: got 'soon'"):
        prepare("my houses.csv", target="price", budget="soon")
    with pytest.raises(UserError, match="submit: needs DATA and --target"):
        prepare("my houses.csv")
    with pytest.raises(RunError, match=r"nowhere: not a run folder"):
        prepare(None, out="nowhere", resume=True)


def test_data_that_only_the_cluster_may_read_is_sent_with_a_note(s3: S3, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    sent = prepare(f"s3://{s3.bucket}/houses.csv", target="price")
    assert sent.words[2] == f"s3://{s3.bucket}/houses.csv"
    assert any("could not be looked at from here" in note for note in sent.notes)


@pytest.mark.parametrize("address", ["10.0.0.1:6379", "auto", "ray://10.0.0.1:10001", "http://"])
def test_an_address_of_another_kind_is_told_from_a_dashboard(address: str) -> None:
    with pytest.raises(UserError, match="expected the dashboard of a cluster's head: http://HOST:8265"):
        connect(address)


def test_an_address_where_nothing_or_something_else_answers(s3: S3) -> None:
    with pytest.raises(UserError, match=r"no cluster answers at http://127\.0\.0\.1:9 \(Connection refused\)"):
        connect("http://127.0.0.1:9")
    with pytest.raises(UserError, match="is not the dashboard of a Ray cluster"):
        connect(s3.endpoint)


def test_the_token_is_looked_for_where_ray_does(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH", "RAY_AUTH_MODE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(place))
    (place / ".ray").mkdir()
    (place / ".ray" / "auth_token").write_text("of the home folder\n".replace(" ", "-"))
    (place / "file").write_text("of-the-file\n")
    assert auth_headers() == {}  # another cluster's, as long as nobody says otherwise
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    assert auth_headers() == {"Authorization": "Bearer of-the-home-folder"}
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", "file")
    assert auth_headers() == {"Authorization": "Bearer of-the-file"}
    monkeypatch.setenv("RAY_AUTH_TOKEN", "given")
    assert auth_headers() == {"Authorization": "Bearer given"}
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    assert auth_headers() == {}
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    monkeypatch.setenv("RAY_AUTH_TOKEN", "")
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", "nowhere")
    with pytest.raises(UserError, match="RAY_AUTH_TOKEN_PATH: no token can be read from nowhere"):
        auth_headers()
