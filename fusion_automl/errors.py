"""What can go wrong, sorted by whose fault it is: everything under `UserError` ends a command with exit code 2."""


class FusionError(Exception):
    """Root of every error this package raises on purpose."""


class UserError(FusionError):
    """The input is wrong; the message says where, what was found, what was expected and what to do."""


class DataError(UserError):
    """A dataset cannot be read or does not fit its schema."""


class SpaceError(UserError):
    """A search space or one of its names is wrong."""


class RunError(UserError):
    """A run folder is missing, in use, or in a state that does not allow the command."""


class BucketError(RunError):
    """The bucket in which a run lies cannot be read or written."""


class DiskFullError(RunError):
    """No room is left for a run."""


class ArtifactError(UserError):
    """An artifact is missing, damaged, or of an unknown format."""


class MissingLibraryError(UserError):
    """An optional library is needed and not installed."""


class FitError(FusionError):
    """A candidate cannot be fitted (divergence, non-finite predictions, a matrix too big to densify); recorded, never fatal."""


class OutOfTime(FusionError):
    """The deadline passed before a result existed."""
