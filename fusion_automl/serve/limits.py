"""What the service takes on at once, and for how long."""

from __future__ import annotations

import asyncio
import math

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fusion_automl.data.cells import short
from fusion_automl.serve.auth import OPEN_PATHS
from fusion_automl.serve.rows import MAX_BODY_BYTES, Refused

MAX_REQUESTS = 128
"""At once in a replica, which joins those that wait into its next batch. At the 100 requests a second that two cores answer, as
many more in the proxy's queue wait for two seconds; 512 waited for ten and more, which is no answer to most clients."""
MAX_BYTES = 8 * MAX_BODY_BYTES
"""Of bodies at once in a replica."""
MAX_SECONDS = 60.0
RETRY_SECONDS = 1
BUSY = "The service has as much to do as it can hold. Try again in a moment."
HEADER = "X-Request-Timeout"


class Limits:
    """ASGI middleware: answers 503 to what there is no room for, and 504 to what takes too long, whose work is cancelled.

    Room is counted in requests and in bytes of their bodies. A request has `max_seconds`, or fewer where its header
    `X-Request-Timeout` says so. `OPEN_PATHS` are answered whatever there is to do.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        max_requests: int = MAX_REQUESTS,
        max_bytes: int = MAX_BYTES,
        max_seconds: float = MAX_SECONDS,
    ) -> None:
        self.app = app
        self.max_requests, self.max_bytes, self.max_seconds = max_requests, max_bytes, max_seconds
        self._num_requests = 0
        self._num_bytes = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"].removeprefix(scope.get("root_path", "")) in OPEN_PATHS:
            await self.app(scope, receive, send)
            return
        num_bytes, started = 0, False

        async def counted() -> Message:
            nonlocal num_bytes
            message = await receive()
            size = len(message.get("body", b""))
            num_bytes += size
            self._num_bytes += size
            if self._num_bytes > self.max_bytes:
                raise Refused(503, BUSY)
            return message

        async def answer(message: Message) -> None:
            nonlocal started
            started = True
            if message["type"] == "http.response.start" and message["status"] == 503:
                MutableHeaders(scope=message)["Retry-After"] = str(RETRY_SECONDS)
            await send(message)

        self._num_requests += 1
        try:
            seconds = self._seconds(Headers(scope=scope).get(HEADER))
            if self._num_requests > self.max_requests:
                raise Refused(503, BUSY)
            async with asyncio.timeout(seconds) as time:
                await self.app(scope, counted, answer)
        except Refused as refused:
            await JSONResponse({"detail": refused.detail}, status_code=refused.status)(scope, receive, answer)
        except TimeoutError:
            if not time.expired() or started:
                raise
            detail = f"There was no answer within {seconds:g} s, so the request was given up. At most {HEADER}: "
            detail += f"{self.max_seconds:g} is given; send fewer rows, or try again when there is less to do."
            await JSONResponse({"detail": detail}, status_code=504)(scope, receive, answer)
        finally:
            self._num_requests -= 1
            self._num_bytes -= num_bytes

    def _seconds(self, asked: str | None) -> float:
        """Raises Refused."""
        if asked is None:
            return self.max_seconds
        try:
            seconds = float(asked)
        except ValueError:
            seconds = math.nan
        if not 0 < seconds < math.inf:
            raise Refused(400, f"{HEADER}: found {short(asked)}, expected a number of seconds above 0, such as 2.5.")
        return min(seconds, self.max_seconds)
