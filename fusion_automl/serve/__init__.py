"""The winner over HTTP: one Ray Serve deployment that loads the artifact and answers in JSON."""

from fusion_automl.serve.run import Service, run

__all__ = ["Service", "run"]
