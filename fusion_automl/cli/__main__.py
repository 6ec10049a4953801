"""`python -m fusion_automl.cli` is `fusion-automl`."""

from fusion_automl.cli import main

main()
