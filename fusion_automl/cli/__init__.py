"""The command line. Exit codes: 0 done, 1 a fault of ours, 2 the user's input is wrong."""

from __future__ import annotations

import sys


def main() -> None:
    """Runs `fusion-automl`; a user's mistake is one sentence on standard error."""
    from fusion_automl.cli.app import app
    from fusion_automl.errors import FusionError, UserError

    try:
        app(standalone_mode=False)
    except UserError as error:
        sys.exit(_say(str(error), 2))
    except FusionError as error:
        sys.exit(_say(str(error), 1))
    except KeyboardInterrupt:
        sys.exit(_say("interrupted", 130))
    except Exception as error:
        code = getattr(error, "exit_code", None)  # click's own errors carry the code and the sentence
        if code is None:
            raise
        message = error.format_message() if hasattr(error, "format_message") else str(error)
        sys.exit(_say(message, int(code)) if message else int(code))


def _say(message: str, code: int) -> int:
    print(f"fusion-automl: {message}", file=sys.stderr)
    return code
