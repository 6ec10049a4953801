"""What a run proves: paired comparisons with their uncertainty."""
