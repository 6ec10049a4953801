"""A certificate and its key, checked before anything starts with them."""

from __future__ import annotations

import ipaddress
import ssl
from dataclasses import dataclass
from pathlib import Path

from fusion_automl.errors import UserError


@dataclass(frozen=True, slots=True)
class TLS:
    """Two PEM files: a certificate with those that lead to its root, and its key."""

    certificate: Path
    key: Path


def read_tls(certificate: Path | None, key: Path | None) -> TLS | None:
    """Both files, or neither. Raises UserError where a server could not start with them."""
    if certificate is None and key is None:
        return None
    if certificate is None or key is None:
        raise UserError("--tls-cert and --tls-key: one was given without the other. Give the certificate and its key.")
    for option, path in (("--tls-cert", certificate), ("--tls-key", key)):
        try:
            path.open("rb").close()
        except OSError as error:
            raise UserError(f"{option}: {path} cannot be read ({error.strerror}).") from None
    try:
        # Without a password, OpenSSL would ask for that of an encrypted key where nobody sees it.
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key, password="")
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise UserError(f"--tls-key: {key} is not the key of the certificate {certificate}.") from None
        raise UserError(
            f"--tls-cert, --tls-key: {certificate} and {key} are no certificate and its key "
            f"({error.reason or 'not PEM'}). Expected PEM files, the key without a password."
        ) from None
    return TLS(certificate.resolve(), key.resolve())


def is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
