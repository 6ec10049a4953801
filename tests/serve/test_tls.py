"""Certificates that will not do are told of before anything starts."""

from __future__ import annotations

from pathlib import Path

import pytest
import trustme
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from fusion_automl.errors import UserError
from fusion_automl.serve.plan import Setup
from fusion_automl.serve.run import Service, _greeting
from fusion_automl.serve.tls import is_loopback, read_tls
from tests.serve.command import write_certificate


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    write_certificate(trustme.CA(), tmp_path)
    return tmp_path / "cert.pem", tmp_path / "key.pem"


def test_a_pair_is_taken_and_nothing_is_no_tls(files: tuple[Path, Path]) -> None:
    found = read_tls(*files)
    assert found is not None and (found.certificate, found.key) == files
    assert read_tls(None, None) is None


def test_what_will_not_do_is_told(files: tuple[Path, Path], tmp_path: Path) -> None:
    cert, key = files
    other = tmp_path / "other"
    other.mkdir()
    write_certificate(trustme.CA(), other)
    secret = load_pem_private_key(key.read_bytes(), None)
    locked = tmp_path / "locked.pem"
    locked.write_bytes(secret.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"sesame")))
    (tmp_path / "text.pem").write_text("no certificate")
    for given, message in [
        ((cert, None), "--tls-cert and --tls-key: one was given without the other"),
        ((None, key), "--tls-cert and --tls-key: one was given without the other"),
        ((tmp_path / "none.pem", key), r"--tls-cert: .*none\.pem cannot be read \(No such file or directory\)"),
        ((cert, tmp_path), r"--tls-key: .* cannot be read \(Is a directory\)"),
        ((cert, other / "key.pem"), r"--tls-key: .*key\.pem is not the key of the certificate .*cert\.pem"),
        (
            (tmp_path / "text.pem", key),
            "are no certificate and its key .*Expected PEM files, the key without a password",
        ),
        ((cert, locked), "are no certificate and its key .*Expected PEM files, the key without a password"),
    ]:
        with pytest.raises(UserError, match=message):
            read_tls(*given)


def test_the_greeting_says_what_travels_in_the_clear_and_whose_token_to_send() -> None:
    assert [is_loopback(host) for host in ("127.0.0.1", "127.1.2.3", "::1", "localhost")] == [True] * 4
    assert not any(is_loopback(host) for host in ("0.0.0.0", "::", "10.0.0.1", "example.com"))
    setup = Setup.of_runs(["runs/a"])
    service = Service("http://0.0.0.0:8000", "")
    told = _greeting(service, setup, made=False, in_clear=True)
    assert "Tokens travel in the clear: give --tls-cert and --tls-key" in told and "Bearer TOKEN" in told
    told = _greeting(Service("https://0.0.0.0:8000", "sesame"), setup, made=False, in_clear=False)
    assert "clear" not in told and "Bearer $FUSION_AUTOML_TOKEN" in told and "sesame" not in told
