"""Arguments and options that several commands share."""

from __future__ import annotations

from typing import Annotated

import typer

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object as the last line of standard output.")]
Run = Annotated[str, typer.Argument(metavar="RUN", help="A run folder, an artifact folder, or the s3:// URI of one.")]
Data = Annotated[str, typer.Argument(metavar="DATA", help="A file, a folder, or an s3:// URI.")]
