"""Fitted parts by content key: nothing is trained twice in a run, and an artifact is a copy of the parts it needs."""
