"""AutoGluon behind FastAPI, as its users write it: `python autogluon_app.py TRAIN TARGET METRIC BUDGET FOLDER PORT`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any


def main() -> None:
    import pandas as pd
    import uvicorn
    from autogluon.tabular import TabularPredictor
    from fastapi import FastAPI

    train, target, metric, budget, folder, port = sys.argv[1:]
    if not Path(folder).exists():
        TabularPredictor(label=target, eval_metric=metric, path=folder).fit(
            pd.read_parquet(train), presets="best_quality", time_limit=float(budget)
        )
    predictor = TabularPredictor.load(folder)
    predictor.persist(max_memory=None)
    app = FastAPI()

    @app.post("/v1/predict")
    def predict(body: dict[str, Any]) -> dict[str, Any]:
        proba = predictor.predict_proba(pd.DataFrame(body["rows"]))
        return {"predictions": proba.to_dict("records")}

    uvicorn.run(app, host="127.0.0.1", port=int(port), log_level="warning")


if __name__ == "__main__":
    main()
