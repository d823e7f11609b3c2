"""federation: what do Flower's apps add to a round that a bare numpy loop does not need?"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from benchmarks.answer import Figure, Peer, Target
from thunderline.cli.demo_digits import SIZES, load_digits, split
from thunderline.federation.aggregate import Update, weighted_mean
from thunderline.federation.checkpoint import Examples
from thunderline.federation.flower.in_process import run_in_process
from thunderline.federation.network import Arrays, Training, init_network, train
from thunderline.federation.round import RoundResult, RunPlan
from thunderline.federation.selection import round_seed
from thunderline.federation.spec import Strategy

ASKS = (
    "What does a round through Flower's apps in one process (64-32-10 network, handwritten digits, 10"
    " clients) cost beside a bare loop of `train` and `weighted_mean`, and do both give the same model?"
)
_CLIENTS = 10
_SEED = 7


@dataclass(frozen=True, slots=True)
class _Run:
    """One whole federation."""

    wall_ms: float  # per round
    cpu_ms: float
    arrays: Arrays


class _Last:
    """Takes note of the newest model only."""

    def __init__(self) -> None:
        self.arrays: Arrays = {}

    def may_go_on(self) -> bool:
        """Never stop early."""
        return True

    def round_started(self, round_num: int, clients: int) -> None:
        """Nothing to note."""

    def evaluate(self, arrays: Arrays) -> Mapping[str, float]:
        """Measure nothing: the loop beside does not either."""
        del arrays
        return {}

    def round_completed(self, result: RoundResult) -> None:
        """Keep the model."""
        self.arrays = result.arrays


def measure(*, quick: bool) -> list[Figure]:
    """Run the same federation both ways, in turn."""
    rounds, repeats = (3, 2) if quick else (30, 5)
    clients, _ = split(load_digits(), clients=_CLIENTS, concentration=0.5, seed=_SEED)
    data = {number: Examples(one.pixels, one.labels) for number, one in enumerate(clients)}
    plan = _plan(data, rounds)
    _flower(_plan(data, 1), data)  # imports, threads
    pairs = [(_flower(plan, data), _bare(plan, data)) for _ in range(repeats)]
    apart = tuple(_difference(ours.arrays, bare.arrays) for ours, bare in pairs)
    return [
        Figure(
            "round, wall time", "ms", tuple(one.wall_ms for one, _ in pairs),
            Peer("bare numpy loop", tuple(bare.wall_ms for _, bare in pairs)),
        ),
        Figure(
            "round, CPU", "ms", tuple(one.cpu_ms for one, _ in pairs),
            Peer("bare numpy loop", tuple(bare.cpu_ms for _, bare in pairs)),
        ),
        Figure("largest difference between the two models", "difference", apart, None, Target(1e-5)),
    ]  # fmt: skip


def _plan(data: Mapping[int, Examples], rounds: int) -> RunPlan:
    strategy = Strategy(
        name="fedavg",
        client_fraction=1.0,
        min_available=_CLIENTS,
        local_epochs=2,
        local_batch_size=16,
        learning_rate=0.1,
        prox_mu=0.0,
        seed=_SEED,
        factory=None,
    )
    return RunPlan(
        strategy=strategy,
        first_round=1,
        last_round=rounds,
        timeout_s=60.0,
        arrays=init_network(SIZES, seed=_SEED),
        examples={number: len(one.y) for number, one in data.items()},
    )


def _timed(plan: RunPlan, act: Callable[[], Arrays]) -> _Run:
    cpu, wall = time.process_time(), time.perf_counter()
    arrays = act()
    cpu_ms, wall_ms = ((time.process_time() - cpu) * 1000, (time.perf_counter() - wall) * 1000)
    return _Run(wall_ms / plan.last_round, cpu_ms / plan.last_round, arrays)


def _flower(plan: RunPlan, data: Mapping[int, Examples]) -> _Run:
    last = _Last()

    def act() -> Arrays:
        run_in_process(plan, last, data)
        return last.arrays

    return _timed(plan, act)


def _bare(plan: RunPlan, data: Mapping[int, Examples]) -> _Run:
    given = plan.strategy
    how = Training(given.local_epochs, given.local_batch_size, given.learning_rate, given.prox_mu)

    def act() -> Arrays:
        arrays = plan.arrays
        for round_num in range(1, plan.last_round + 1):
            seed = round_seed(round_num, given.seed) % 2**62  # as the server app hands it to its clients
            arrays = weighted_mean(
                Update(train(arrays, one.x, one.y, how, seed=seed + number)[0], len(one.y))
                for number, one in data.items()
            )
        return arrays

    return _timed(plan, act)


def _difference(one: Arrays, other: Arrays) -> float:
    return max(float(np.abs(one[name] - other[name]).max()) for name in one)
