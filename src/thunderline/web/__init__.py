"""The face: HTTP routes over the same acts, and the first page."""
