"""A proxy before a real S3 server: it writes down what passes, and can be made slow, or to answer nothing but errors."""

from __future__ import annotations

import http.client
import math
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

ERROR = b"<?xml version='1.0'?><Error><Code>InternalError</Code><Message>We encountered an internal error.</Message></Error>"


@dataclass
class Proxy:
    """`passed` are the requests, such as "PUT /bucket/name". Those whose path contains one of the texts in `failing` are
    answered with 500, the first `num_failures` of them; `seconds` delays all."""

    endpoint: str = ""
    passed: list[str] = field(default_factory=list)
    failing: tuple[str, ...] = ()
    num_failures: float = math.inf
    seconds: float = 0.0

    def paths(self, method: str) -> list[str]:
        return [line.partition(" ")[2] for line in self.passed if line.startswith(method)]


@contextmanager
def proxy_to(endpoint: str) -> Iterator[Proxy]:
    """Listens on a port of its own as long as the context lasts."""
    proxy, target = Proxy(), urlsplit(endpoint).netloc

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            time.sleep(proxy.seconds)
            proxy.passed.append(f"{self.command} {self.path}")
            if proxy.num_failures > 0 and any(text in self.path for text in proxy.failing):
                proxy.num_failures -= 1
                self._send(500, {"Content-Type": "application/xml"}, ERROR)
                return
            onward = http.client.HTTPConnection(target)
            onward.request(self.command, self.path, body, dict(self.headers.items()))
            with onward.getresponse() as response:
                headers = {name: value for name, value in response.getheaders() if name.lower() not in HOP}
                self._send(response.status, headers, response.read())
            onward.close()

        def _send(self, status: int, headers: dict[str, str], body: bytes) -> None:
            self.send_response(status)
            length = headers.pop("Content-Length", None)
            for name, value in headers.items():
                self.send_header(name, value)
            # What is asked for by HEAD has a length, but no body.
            self.send_header("Content-Length", length if self.command == "HEAD" and length else str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = answer

        def log_message(self, *args: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    proxy.endpoint = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield proxy
    finally:
        server.shutdown()
        server.server_close()


HOP = {"connection", "transfer-encoding", "server", "date"}
