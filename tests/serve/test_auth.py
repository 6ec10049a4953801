"""Several tokens: made, kept as digests, and taken back while the service runs."""

from __future__ import annotations

import os
import pickle
import re
from pathlib import Path

import pytest

from fusion_automl.errors import UserError
from fusion_automl.serve.auth import Tokens, add_token, digest, read_digests, tokens_from


def test_each_has_one_of_its_own_that_can_be_taken_back(tmp_path: Path) -> None:
    file = tmp_path / "tokens.txt"
    alice, bob = add_token(file, "alice"), add_token(file, "bob")
    tokens = pickle.loads(pickle.dumps(Tokens([digest("first")], file)))  # as Ray hands it to replicas
    assert [tokens.allow(f"Bearer {one}") for one in ("first", alice, bob, "other", "")] == [
        True,
        True,
        True,
        False,
        False,
    ]
    assert not tokens.allow(f"Basic {alice}") and not tokens.allow(None)
    left = [line for line in file.read_text().splitlines() if not line.startswith("bob")]
    file.write_text("\n".join(["# bob has left", *left]))
    assert tokens.allow(f"Bearer {alice}") and not tokens.allow(f"Bearer {bob}")
    again = add_token(file, "alice")
    assert tokens.allow(f"Bearer {again}") and not tokens.allow(f"Bearer {alice}")
    file.unlink()
    assert not tokens.allow(f"Bearer {again}") and tokens.allow("Bearer first")


def test_the_file_holds_no_token_and_is_its_owner_s_alone(tmp_path: Path) -> None:
    file = tmp_path / "tokens.txt"
    token = add_token(file, "alice")
    assert token not in file.read_text() and read_digests(file) == {"alice": digest(token)}
    assert file.stat().st_mode & 0o777 == 0o600


def test_a_digest_is_no_token(tmp_path: Path) -> None:
    file = tmp_path / "tokens.txt"
    add_token(file, "alice")
    assert not Tokens(file=file).allow(f"Bearer {file.read_text().split()[1]}")


@pytest.mark.parametrize("line", ["alice", "alice secret", "a b c", "al/ice " + 64 * "0"])
def test_a_line_that_is_none_is_told_and_lets_nobody_in(line: str, tmp_path: Path) -> None:
    file = tmp_path / "tokens.txt"
    token = add_token(file, "bob")
    tokens = Tokens(file=file)
    assert tokens.allow(f"Bearer {token}")
    with file.open("a") as lines:
        lines.write(f"\n{line}\n")
    with pytest.raises(UserError, match=re.escape(f"{file}, line 3: expected NAME and the SHA-256")):
        read_digests(file)
    assert not tokens.allow(f"Bearer {token}")
    with pytest.raises(UserError, match="NAME"):
        add_token(tmp_path / "others.txt", "a b")
    assert os.listdir(tmp_path) == ["tokens.txt"]


def test_the_environment_names_one_or_a_file_or_nothing_starts(tmp_path: Path) -> None:
    file = tmp_path / "tokens.txt"
    token = add_token(file, "alice")
    assert tokens_from({"FUSION_AUTOML_TOKENS": str(file)}).allow(f"Bearer {token}")
    both = tokens_from({"FUSION_AUTOML_TOKENS": str(file), "FUSION_AUTOML_TOKEN": "sesame"})
    assert both.allow(f"Bearer {token}") and both.allow("Bearer sesame")
    with pytest.raises(UserError, match="FUSION_AUTOML_TOKEN: not set"):
        tokens_from({})
    with pytest.raises(UserError, match="cannot be read"):
        tokens_from({"FUSION_AUTOML_TOKENS": str(tmp_path / "none.txt")})
