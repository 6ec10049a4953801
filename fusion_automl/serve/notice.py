"""The line by which a replica's log says that it has taken a `user_config`, and the reading of it: Serve has no other place for
what a replica makes of its configuration, but to end the replica."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

MIDDLE = " is taken; not served: "


def notice(user_config: Any, faults: Mapping[str, str]) -> str:
    """`faults` has why a version is not served, by its model."""
    return f"user_config {_key(user_config)}{MIDDLE}{json.dumps(dict(faults))}"


def read_notice(line: str, user_config: Any) -> dict[str, str] | None:
    """The faults that a line of a log, in words or as JSON, tells of this configuration; None where it tells nothing of it."""
    try:
        value = json.loads(line)
        message = str(value.get("message", "")) if isinstance(value, dict) else ""
    except ValueError:
        message = line
    _, found, rest = message.partition(f"user_config {_key(user_config)}{MIDDLE}")
    faults: dict[str, str] | None = json.loads(rest) if found else None
    return faults


def _key(user_config: Any) -> str:
    return hashlib.sha256(json.dumps(user_config, sort_keys=True).encode()).hexdigest()[:12]
