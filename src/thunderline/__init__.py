"""Thunderline: the control plane that takes machine-learned models from training to production."""
