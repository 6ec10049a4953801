"""A `fit` as a job on a Ray cluster: sent there, followed, stopped; its progress is read from its run folder."""
