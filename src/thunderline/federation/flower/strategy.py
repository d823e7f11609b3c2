"""Flower's strategies by the names that a spec may use."""

from importlib.metadata import entry_points

from flwr.serverapp.strategy import FedAvg, FedMedian, FedProx, FedTrimmedAvg

from thunderline.errors import InvalidInput
from thunderline.federation.spec import Strategy
from thunderline.federation.strategies import GROUP, installed


def make_strategy(spec: Strategy) -> FedAvg:
    """Return the Flower strategy that a spec names; it asks every node that the round's grid shows.

    Raises:
        InvalidInput: a custom strategy that is not installed; the error lists those that are.
    """
    if spec.name == "fedavg":
        return FedAvg(fraction_train=1.0, min_train_nodes=1, min_available_nodes=1)
    if spec.name == "fedprox":
        return FedProx(fraction_train=1.0, min_train_nodes=1, min_available_nodes=1, proximal_mu=spec.prox_mu)
    for entry in entry_points(group=GROUP):
        if entry.name == spec.factory:
            made: object = entry.load()()
            if isinstance(made, FedAvg):
                return made
            raise InvalidInput("spec.strategy.params.factory", f"{entry.value} made no Flower strategy")
    raise InvalidInput(
        "spec.strategy.params.factory",
        f"{spec.factory!r} is not installed; installed are {', '.join(installed()) or 'none'}",
    )


def fedmedian() -> FedMedian:
    """Return the coordinate-wise median of the clients' models (arXiv:1803.01498)."""
    return FedMedian(fraction_train=1.0, min_train_nodes=1, min_available_nodes=1)


def fedtrimmedavg() -> FedTrimmedAvg:
    """Return the mean without the largest and smallest fifth of each coordinate (arXiv:1803.01498)."""
    return FedTrimmedAvg(fraction_train=1.0, min_train_nodes=1, min_available_nodes=1)
