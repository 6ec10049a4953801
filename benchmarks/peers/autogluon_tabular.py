"""AutoGluon Tabular, preset `best_quality`: stacked and bagged models of a table; it makes n-grams of texts by itself.

The artifact is what its `clone_for_deployment` leaves, and its models are held in memory when it predicts.
"""

from __future__ import annotations

from peer import Job, Loaded, run

METRICS = {"rmse": "root_mean_squared_error", "mae": "mean_absolute_error"}


class AutoGluonTabular:
    def fit(self, job: Job) -> None:
        from autogluon.tabular import TabularPredictor

        TabularPredictor(
            label=job.target,
            problem_type=job.task,
            eval_metric=METRICS.get(job.metric, job.metric),
            path=str(job.folder / "run"),
            learner_kwargs={"random_state": job.seed},
        ).fit(job.train_rows(), presets="best_quality", time_limit=job.budget)

    def load(self, job: Job) -> Loaded:
        from autogluon.tabular import TabularPredictor

        TabularPredictor.load(str(job.folder / "run")).clone_for_deployment(str(job.model))
        predictor = TabularPredictor.load(str(job.model))
        predictor.persist(max_memory=None)
        if not job.is_classification:
            return Loaded(lambda rows: predictor.predict(rows).to_numpy()[:, None], (), job.model)
        return Loaded(lambda rows: predictor.predict_proba(rows).to_numpy(), predictor.class_labels, job.model)


if __name__ == "__main__":
    run(AutoGluonTabular())
