"""One round, as it is told: who took part, what came out; and what a run needs to be told; pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from thunderline.federation.network import Arrays
from thunderline.federation.spec import Strategy


@dataclass(frozen=True, slots=True)
class Drop:
    """A client whose contribution is missing from a round, and why."""

    client: int
    reason: str


@dataclass(frozen=True, slots=True)
class RoundResult:
    """What a round came to."""

    round_num: int  # absolute, from 1
    arrays: Arrays
    metrics: Mapping[str, float]
    drops: tuple[Drop, ...]


@dataclass(frozen=True, slots=True)
class RunPlan:
    """What a server app needs to run the rounds that are left."""

    strategy: Strategy
    first_round: int  # absolute: 1, or the one after the last completed
    last_round: int
    timeout_s: float  # of one round, training and reply together
    arrays: Arrays  # where the first round starts
    examples: Mapping[int, int]  # of each client: no reply may weigh more


class Progress(Protocol):
    """Whoever is told how rounds go; kept apart so that Flower never meets the database."""

    def may_go_on(self) -> bool:
        """Tell whether the next round should begin."""

    def round_started(self, round_num: int, clients: int) -> None:
        """Take note that a round asks its clients to train."""

    def evaluate(self, arrays: Arrays) -> Mapping[str, float]:
        """Measure a global model on held-out data; empty when there is none."""

    def round_completed(self, result: RoundResult) -> None:
        """Take note of a round's outcome, durably."""


def rollup(train_loss: float, examples: float, clients: int, asked: int) -> dict[str, float]:
    """Return the figures that every round has.

    Args:
        train_loss: mean over the clients, weighted by examples.
        examples: trained on, over all clients.
        clients: whose updates entered the mean.
        asked: how many were asked.
    """
    return {
        "train_loss": train_loss,
        "examples": examples,
        "clients": float(clients),
        "asked": float(asked),
        "coverage": clients / asked if asked else 0.0,
    }
