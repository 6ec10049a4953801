"""The demo: scanned digits as image, ink profile and shape statistics, from data to a prediction over HTTP.

The 1,797 digits come with scikit-learn (Alpaydin and Kaynak 1998, UCI Optical Recognition of Handwritten Digits).
"""

from __future__ import annotations

import base64
import io
import json
import os
import secrets
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

COMMAND = [sys.executable, "-m", "fusion_automl.cli"]
BUDGET = "75s"
PORT = 8123


def digits() -> pd.DataFrame:
    """1,797 rows: `image` (PNG bytes), `ink_by_row` and `ink_by_column` (series of 8), shape numbers, and `digit`."""
    from PIL import Image
    from sklearn.datasets import load_digits

    data = load_digits()
    images = data.images  # (rows, 8, 8), ink from 0 to 16
    total = images.sum(axis=(1, 2))
    ys, xs = np.mgrid[0:8, 0:8]
    center_y, center_x = (images * ys).sum(axis=(1, 2)) / total, (images * xs).sum(axis=(1, 2)) / total
    across = ((xs - center_x[:, None, None]) ** 2 * images).sum(axis=(1, 2)) / total
    down = ((ys - center_y[:, None, None]) ** 2 * images).sum(axis=(1, 2)) / total

    def png(image: Any) -> bytes:
        buffer = io.BytesIO()
        Image.fromarray((image * 255 / 16).round().astype(np.uint8)).save(buffer, "PNG")
        return buffer.getvalue()

    return pd.DataFrame(
        {
            "image": [png(image) for image in images],
            "ink_by_row": list(images.sum(axis=2).astype(np.float32)),
            "ink_by_column": list(images.sum(axis=1).astype(np.float32)),
            "ink": total,
            "center_x": center_x,
            "center_y": center_y,
            "spread_across": across,
            "spread_down": down,
            "symmetry": -np.abs(images - images[:, :, ::-1]).mean(axis=(1, 2)),
            "digit": data.target,
        }
    )


def write_digits(folder: Path) -> tuple[Path, Path]:
    """Writes train.parquet (1,438 rows) and test.parquet (359), drawn at random with a fixed seed."""
    folder.mkdir(parents=True, exist_ok=True)
    table = digits()
    order = np.random.default_rng(0).permutation(len(table))
    num_test = len(table) // 5
    paths = folder / "train.parquet", folder / "test.parquet"
    for path, rows in zip(paths, (order[num_test:], order[:num_test]), strict=True):
        table.iloc[np.sort(rows)].to_parquet(path, index=False)
    return paths


def main() -> None:
    """Runs the commands that a user would type, and shows each."""
    root = Path("runs") / f"demo-{time.strftime('%Y%m%d-%H%M%S')}"
    train, test = write_digits(root / "data")
    run = root / "run"
    _command("fit", train, "--target", "digit", "--test", test, "--budget", BUDGET, "--out", run)
    _command("leaderboard", run, "--top", "12")
    token = secrets.token_urlsafe(16)
    serving = ["serve", str(run), "--port", str(PORT)]
    print(f"\n$ fusion-automl {' '.join(serving)} &", flush=True)
    with subprocess.Popen([*COMMAND, *serving], env={**os.environ, "FUSION_AUTOML_TOKEN": token}) as server:
        try:
            _ask(test, token, server)
        finally:
            server.terminate()


def _command(*words: object) -> None:
    text = [str(word) for word in words]
    print(f"\n$ fusion-automl {' '.join(text)}", flush=True)
    subprocess.run([*COMMAND, *text], check=True)


def _ask(test: Path, token: str, server: subprocess.Popen[bytes]) -> None:
    """Waits for the service, sends one digit, and shows question and answer."""
    row = pd.read_parquet(test).iloc[0]
    plain = {name: value.tolist() if hasattr(value, "tolist") else value for name, value in row.drop("digit").items()}
    plain["image"] = base64.b64encode(row["image"]).decode()
    _wait(f"http://127.0.0.1:{PORT}/healthz", server)
    request = urllib.request.Request(
        f"http://127.0.0.1:{PORT}/v1/predict",
        data=json.dumps({"rows": [plain]}).encode(),
        headers={"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
    )
    print(
        f"\n$ curl -H 'Authorization: Bearer ...' http://127.0.0.1:{PORT}/v1/predict -d '{{\"rows\": [<one digit>]}}'"
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        print(json.dumps(json.load(answer), indent=1))
    print(f"\nThe digit was a {row['digit']}.", flush=True)


def _wait(url: str, server: subprocess.Popen[bytes], *, seconds: float = 90.0) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and server.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except OSError:
            time.sleep(0.3)
    raise SystemExit("the service did not become healthy; its output is above")


if __name__ == "__main__":
    main()
