"""The fitted ensemble as a folder that can be loaded anywhere without running code from it."""

from fusion_automl.artifact.artifact import Artifact
from fusion_automl.artifact.load import load
from fusion_automl.artifact.save import save

__all__ = ["Artifact", "load", "save"]
