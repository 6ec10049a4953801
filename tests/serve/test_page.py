"""The page of documentation: opened with a token as a browser's password, and with nothing from elsewhere."""

from __future__ import annotations

import base64
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from starlette.types import Receive, Scope, Send

from fusion_automl.serve.app import make_app
from fusion_automl.serve.auth import Tokens, digest
from fusion_automl.serve.model import Model
from tests.serve.conftest import serving
from tests.serve.listening import listening

TOKEN = "sesame"
BROWSER = shutil.which("chromium") or shutil.which("google-chrome")


@pytest.fixture(scope="module")
def app(model: Model) -> FastAPI:
    return make_app(serving(shirts=model), Tokens([digest(TOKEN)]))


def test_a_browser_is_asked_for_the_token_and_gets_all_of_the_page(app: FastAPI) -> None:
    client = TestClient(app)
    for asked in (client.get("/docs"), client.get("/docs", auth=("me", "other"))):
        assert asked.status_code == 401 and asked.headers["WWW-Authenticate"].startswith("Basic ")
    page = client.get("/docs", auth=("me", TOKEN))
    assert page.status_code == 200
    parts = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert len(parts) == 3 and all(part.startswith("/docs/static/") for part in parts)
    for part in (*parts, "/openapi.json"):
        assert client.get(part).status_code == 401
        assert client.get(part, auth=("me", TOKEN)).status_code == 200


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/schema"),
        ("POST", "/v1/predict"),
        ("POST", "/docs"),
        ("GET", "/docs/oauth2-redirect"),
        ("GET", "/metrics"),
    ],
)
def test_what_a_browser_sends_by_itself_opens_nothing_else(app: FastAPI, method: str, path: str) -> None:
    """Another site's page could have it sent."""
    answer = TestClient(app).request(method, path, auth=("me", TOKEN))
    assert (answer.status_code, answer.headers["WWW-Authenticate"]) == (401, "Bearer")


@pytest.mark.parametrize(
    "value", ["Basic", "Basic !", "Basic /w==", "Basic c2VzYW1l", "Basic OnNlc2FtZQ", "Digest sesame"]
)
def test_a_header_that_carries_no_password_is_refused(app: FastAPI, value: str) -> None:
    assert TestClient(app).get("/docs", headers={"Authorization": value}).status_code == 401


@pytest.mark.skipif(BROWSER is None, reason="needs Chromium")
def test_a_real_browser_shows_the_model(app: FastAPI, tmp_path: Path) -> None:
    assert BROWSER is not None

    async def logged_in(scope: Scope, receive: Receive, send: Send) -> None:
        """As if the user had been asked: headless, nobody is, and a page whose address has a password may fetch nothing."""
        basic = b"Basic " + base64.b64encode(f"me:{TOKEN}".encode())
        scope["headers"] = [*scope["headers"], (b"authorization", basic)]
        await app(scope, receive, send)

    quiet = ["--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"]
    with listening(logged_in) as port:
        words = [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", *quiet, f"--user-data-dir={tmp_path}"]
        words += ["--virtual-time-budget=20000", "--dump-dom", f"http://127.0.0.1:{port}/docs"]
        shown = subprocess.run(words, capture_output=True, text=True, timeout=120, check=True).stdout
    assert "Predict rows with shirts" in shown and "What each column added to predictions of shirts" in shown
