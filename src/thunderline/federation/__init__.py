"""The federated wing: specs, rounds, checkpoints; Flower underneath."""
