"""Named questions about speed and memory, each answered against a peer measured in the same run."""
