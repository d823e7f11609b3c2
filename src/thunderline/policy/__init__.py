"""May it: evidence, gates, verdicts. Unknown is no."""
