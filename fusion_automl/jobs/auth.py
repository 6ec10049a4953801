"""The cluster's token, from where Ray itself looks for it; it travels in the header of a request and nowhere else."""

from __future__ import annotations

import os
from pathlib import Path

from fusion_automl.errors import UserError

DEFAULT_FILE = Path(".ray") / "auth_token"


def auth_headers() -> dict[str, str]:
    """The header with the token of `RAY_AUTH_TOKEN`, else of the file `RAY_AUTH_TOKEN_PATH`; none where neither is set.

    The file that Ray keeps in the home folder belongs to whatever cluster this machine had last, so it is sent to a
    cluster only where `RAY_AUTH_MODE=token` asks for it. Raises UserError for a token that is announced and not there.
    """
    mode = os.environ.get("RAY_AUTH_MODE", "").lower()
    if mode == "disabled":
        return {}
    token = os.environ.get("RAY_AUTH_TOKEN", "").strip()
    named = os.environ.get("RAY_AUTH_TOKEN_PATH", "")
    file = Path(named) if named else Path.home() / DEFAULT_FILE
    if not token and (named or mode == "token"):
        try:
            token = file.read_text().strip()
        except (OSError, UnicodeDecodeError) as error:
            what = type(error).__name__ if not isinstance(error, OSError) else error.strerror
            raise UserError(
                f"{'RAY_AUTH_TOKEN_PATH' if named else 'RAY_AUTH_MODE=token'}: no token can be read from {file} ({what}). "
                "Set RAY_AUTH_TOKEN to the cluster's token, or RAY_AUTH_TOKEN_PATH to a file that holds it."
            ) from None
    if not token.isascii() or not token.isprintable() or " " in token:
        raise UserError("RAY_AUTH_TOKEN: holds blanks or signs that no token has. Expected what the head's file holds.")
    return {"Authorization": f"Bearer {token}"} if token else {}
