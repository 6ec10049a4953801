"""Predictions for more rows than one process can hold, file by file over the machines of a Ray cluster."""
