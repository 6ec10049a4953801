"""FLAML: a cheap-first search over boosting, forests and linear models.

It has no way with texts: text columns are left to it as they are. It takes what repeats as categories and drops a column
in which no two rows agree.
"""

from __future__ import annotations

import pickle

from peer import Job, Loaded, run


class Flaml:
    def fit(self, job: Job) -> None:
        from flaml import AutoML

        rows = job.train_rows()
        if all(rows[name].dtype.kind not in "biuf" and rows[name].is_unique for name in rows.columns.drop(job.target)):
            raise SystemExit("FLAML drops columns in which no two rows agree: nothing is left to learn from")
        automl = AutoML()
        automl.fit(
            rows.drop(columns=job.target),
            rows[job.target],
            task="regression" if job.task == "regression" else "classification",
            metric="roc_auc_ovr" if (job.task, job.metric) == ("multiclass", "roc_auc") else job.metric,
            time_budget=job.budget,
            seed=job.seed,
        )
        job.model.mkdir()
        (job.model / "automl.pickle").write_bytes(pickle.dumps(automl))

    def load(self, job: Job) -> Loaded:
        automl = pickle.loads((job.model / "automl.pickle").read_bytes())
        if not job.is_classification:
            return Loaded(lambda rows: automl.predict(rows)[:, None], (), job.model)
        return Loaded(automl.predict_proba, automl.classes_, job.model)


if __name__ == "__main__":
    run(Flaml())
