"""Weighted candidates chosen on out-of-fold predictions, and the honest score of that choice."""
