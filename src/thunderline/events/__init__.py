"""News: what happened, numbered without gaps, delivered at least once and in order."""
