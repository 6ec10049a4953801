"""The token at the door: made, checked, and compared in a time that tells nothing about it."""

from __future__ import annotations

import hashlib
import hmac
import secrets

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from fusion_automl.errors import UserError

OPEN_PATHS = frozenset({"/healthz"})
"""What a load balancer may ask without a token."""
REFUSAL = "Send the header 'Authorization: Bearer TOKEN' with the token that the service was started with."


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


def is_allowed(authorization: str | None, expected: bytes) -> bool:
    """Whether an `Authorization` header carries the token with this digest; equally fast for every wrong token."""
    scheme, _, token = (authorization or "").partition(" ")
    return hmac.compare_digest(digest(token), expected) and scheme.lower() == "bearer"


class TokenDoor:
    """ASGI middleware that lets a request without the token go no further than `OPEN_PATHS`; its body is never read."""

    def __init__(self, app: ASGIApp, expected: bytes) -> None:
        self.app = app
        self.expected = expected

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan" or self._is_open(scope):
            await self.app(scope, receive, send)
        elif is_allowed(Headers(scope=scope).get("authorization"), self.expected):
            await self.app(scope, receive, send)
        else:
            refusal = JSONResponse({"detail": REFUSAL}, status_code=401, headers={"WWW-Authenticate": "Bearer"})
            await refusal(scope, receive, send)

    def _is_open(self, scope: Scope) -> bool:
        return scope["path"].removeprefix(scope.get("root_path", "")) in OPEN_PATHS
