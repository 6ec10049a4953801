"""The tokens at the door: made, kept as digests, checked, and compared in a time that tells nothing about them."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import secrets
import threading
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from fusion_automl.errors import UserError

TOKEN_VARIABLE = "FUSION_AUTOML_TOKEN"
FILE_VARIABLE = "FUSION_AUTOML_TOKENS"
"""Names a file of tokens' digests, which each replica reads as it is now."""
OPEN_PATHS = ("/healthz", "/readyz")
"""What a load balancer may ask without a token."""
PAGES = ("/docs", "/docs/static", "/openapi.json")
"""What a browser opens, with all below it. It cannot send a bearer token, but asks for a name and a password."""
BROWSER_CHALLENGE = 'Basic realm="any name, and as the password a token", charset="UTF-8"'
REFUSAL = "Send the header 'Authorization: Bearer TOKEN' with a token that the service knows."
NAME = re.compile(r"[\w.-]{1,64}")


def make_token() -> str:
    return secrets.token_urlsafe(32)


def check_token(token: str) -> None:
    """Raises UserError for a token that cannot travel in a header."""
    if not token or not token.isascii() or not token.isprintable() or " " in token:
        raise UserError(
            "FUSION_AUTOML_TOKEN: expected letters, digits and signs of ASCII without blanks. "
            "Leave it unset to have a token made and shown once."
        )


def digest(token: str) -> bytes:
    """SHA-256 of a token. The service keeps only this, so the token is in none of Ray's records."""
    return hashlib.sha256(token.encode()).digest()


def add_token(file: Path, name: str) -> str:
    """Makes a token and writes its digest into a file of tokens, in place of the one which that name had. Raises UserError."""
    if not NAME.fullmatch(name):
        raise UserError(f"NAME: got '{name}', expected letters, digits, '.', '_' and '-', at most 64.")
    known = read_digests(file) if file.exists() else {}
    token = make_token()
    known[name] = digest(token)
    partial = file.with_name(f".{file.name}.partial")
    partial.touch(mode=0o600)
    partial.write_text("".join(f"{name} {value.hex()}\n" for name, value in known.items()))
    partial.rename(file)
    return token


def read_digests(file: Path) -> dict[str, bytes]:
    """Digests by name from lines such as `alice 9f86d0...`; `#` begins a remark. Raises UserError."""
    found = {}
    try:
        lines = file.read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"--tokens: {file} cannot be read: {error}.") from None
    for number, line in enumerate(lines, start=1):
        words = line.partition("#")[0].split()
        if not words:
            continue
        if len(words) != 2 or not NAME.fullmatch(words[0]) or not re.fullmatch("[0-9a-fA-F]{64}", words[1]):
            raise UserError(
                f"--tokens: {file}, line {number}: expected NAME and the SHA-256 of its token in 64 hex digits. "
                f"`fusion-automl token {file} NAME` writes such a line."
            )
        found[words[0]] = bytes.fromhex(words[1])
    return found


class Tokens:
    """Whose requests are answered: those with a token of `digests`, or of `file` as it is now. A line that is taken out of the
    file is out at once; a file that cannot be read any more lets nobody in."""

    def __init__(self, digests: Iterable[bytes] = (), file: Path | None = None) -> None:
        self._fixed = tuple(digests)
        self._file = file
        self._stamp: Any = None
        self._listed: tuple[bytes, ...] = ()
        self._lock = threading.Lock()

    def __reduce__(self) -> tuple[Any, ...]:  # replicas get it, and each looks at the file by itself
        return Tokens, (self._fixed, self._file)

    def allow(self, authorization: str | None) -> bool:
        """Whether an `Authorization` header carries a token of these; equally fast for every wrong one."""
        scheme, _, token = (authorization or "").partition(" ")
        shown = digest(token)
        known = [hmac.compare_digest(shown, expected) for expected in (*self._fixed, *self._from_file())]
        return any(known) and scheme.lower() == "bearer"

    def _from_file(self) -> tuple[bytes, ...]:
        if self._file is None:
            return ()
        with self._lock:
            try:
                status = self._file.stat()
                stamp = (status.st_mtime_ns, status.st_size, status.st_ino)
                if stamp != self._stamp:
                    self._listed, self._stamp = tuple(read_digests(self._file).values()), stamp
            except (OSError, UserError):
                self._listed, self._stamp = (), None
            return self._listed


def tokens_from(environment: Mapping[str, str]) -> Tokens:
    """Those that the environment names. Raises UserError where it names none, or not as it should."""
    token, file = environment.get(TOKEN_VARIABLE), environment.get(FILE_VARIABLE)
    if not token and not file:
        raise UserError(
            f"{TOKEN_VARIABLE}: not set, and no {FILE_VARIABLE} either. Set one to the token that clients will send, "
            "or to a file of tokens' digests."
        )
    if token:
        check_token(token)
    if file:
        read_digests(Path(file))
    return Tokens([digest(token)] if token else [], Path(file) if file else None)


class TokenDoor:
    """ASGI middleware that lets a request without a token go no further than `OPEN_PATHS`; its body is never read.

    `PAGES` take a token as the password of any name as well. Nothing else does: what a browser sends by itself, pages of
    others could have it send.
    """

    def __init__(self, app: ASGIApp, tokens: Tokens) -> None:
        self.app = app
        self.tokens = tokens

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        path = scope["path"].removeprefix(scope.get("root_path", ""))
        authorization = Headers(scope=scope).get("authorization")
        is_page = scope.get("method") == "GET" and (path in PAGES or path.startswith(f"{PAGES[1]}/"))
        if path in OPEN_PATHS or self.tokens.allow(_as_bearer(authorization) if is_page else authorization):
            await self.app(scope, receive, send)
        else:
            challenge = BROWSER_CHALLENGE if is_page else "Bearer"
            refusal = JSONResponse({"detail": REFUSAL}, status_code=401, headers={"WWW-Authenticate": challenge})
            await refusal(scope, receive, send)


def _as_bearer(authorization: str | None) -> str | None:
    """The header with the password of a browser's user in place of his name and it."""
    scheme, _, value = (authorization or "").partition(" ")
    if scheme.lower() != "basic":
        return authorization
    try:
        return f"Bearer {base64.b64decode(value).decode().partition(':')[2]}"
    except ValueError:
        return None
