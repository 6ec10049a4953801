"""A Ray Serve deployment that answers without doing anything: `python noop_app.py PORT`. What it takes, Ray takes."""

from __future__ import annotations

import os
import sys
import threading

import ray
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from ray import serve

app = FastAPI()


@app.post("/v1/predict")
async def predict(request: Request) -> JSONResponse:
    await request.body()
    return JSONResponse({"predictions": [{"prediction": 0}]})


@serve.deployment(max_ongoing_requests=128)
@serve.ingress(app)
class Nothing: ...


if __name__ == "__main__":
    os.environ.setdefault("RAY_AUTH_MODE", "disabled")  # else Ray leaves a token in the user's home
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    serve.start(http_options={"host": "127.0.0.1", "port": int(sys.argv[1])})
    serve.run(Nothing.bind())
    threading.Event().wait()
