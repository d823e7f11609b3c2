"""The server: our round loop over Flower's grid, messages and strategies."""

import math
from collections.abc import Iterable

import numpy as np
from flwr.app import ArrayRecord, ConfigRecord, Context, Message, RecordDict
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg
from flwr.supercore.run import Run
from typing_extensions import override

from thunderline.errors import RoundFailed
from thunderline.federation.aggregate import problem_of
from thunderline.federation.flower.messages import to_record, train_loss_of, update_of
from thunderline.federation.flower.strategy import make_strategy
from thunderline.federation.network import Arrays
from thunderline.federation.round import Drop, Progress, RoundResult, RunPlan, rollup
from thunderline.federation.selection import round_seed, select


class _Selected(Grid):
    """A grid that shows the nodes of one round only, so that Flower's strategy asks exactly these."""

    def __init__(self, grid: Grid, nodes: list[int]) -> None:
        self._grid, self._nodes = grid, nodes

    @override
    def set_run(self, run: Run) -> None:
        self._grid.set_run(run)

    @property
    @override
    def run(self) -> Run:
        return self._grid.run

    @override
    def create_message(
        self,
        content: RecordDict,
        message_type: str,
        dst_node_id: int,
        group_id: str,
        ttl: float | None = None,
    ) -> Message:
        return self._grid.create_message(content, message_type, dst_node_id, group_id, ttl)

    @override
    def get_node_ids(self) -> Iterable[int]:
        return self._nodes

    @override
    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        return self._grid.push_messages(messages)

    @override
    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        return self._grid.pull_messages(message_ids)

    @override
    def send_and_receive(
        self, messages: Iterable[Message], *, timeout: float | None = None
    ) -> Iterable[Message]:
        return self._grid.send_and_receive(messages, timeout=timeout)


def make_server_app(plan: RunPlan, progress: Progress) -> ServerApp:
    """Make the app that runs a federation's rounds.

    Args:
        plan: which rounds, from which arrays, how.
        progress: told of every step; decides whether the next round begins.
    """
    app = ServerApp()

    @app.main()
    def main(grid: Grid, context: Context) -> None:
        del context
        run_rounds(grid, plan, progress)

    return app


def run_rounds(grid: Grid, plan: RunPlan, progress: Progress) -> None:
    """Run the rounds that are left; round numbers, seeds and the order of clients are absolute.

    A resumed run so continues exactly as an uninterrupted one would have.

    Raises:
        InvalidInput: too few clients are there.
        RoundFailed: too few usable replies came, or the strategy gave no model.
    """
    strategy, arrays = make_strategy(plan.strategy), plan.arrays
    for round_num in range(plan.first_round, plan.last_round + 1):
        if not progress.may_go_on():
            return
        result = _round(grid, plan, progress, (strategy, arrays), round_num)
        arrays = result.arrays
        progress.round_completed(result)


def _round(
    grid: Grid, plan: RunPlan, progress: Progress, state: tuple[FedAvg, Arrays], round_num: int
) -> RoundResult:
    strategy, arrays = state
    seed = round_seed(round_num, plan.strategy.seed)
    nodes = select(
        list(grid.get_node_ids()),
        fraction=plan.strategy.client_fraction,
        min_available=plan.strategy.min_available,
        seed=seed,
    )
    progress.round_started(round_num, len(nodes))
    asked = strategy.configure_train(
        round_num, to_record(arrays), _config(plan, seed), _Selected(grid, nodes)
    )
    ordered = sorted(asked, key=lambda one: one.metadata.dst_node_id)
    replies = grid.send_and_receive(ordered, timeout=plan.timeout_s)
    taken, drops = _checked(plan, arrays, nodes, replies)
    least = min(plan.strategy.min_available, len(nodes))
    if len(taken) < max(1, least):
        told = "; ".join(f"client {one.client}: {one.reason}" for one in drops[:5])
        raise RoundFailed(f"round {round_num}: {len(taken)} usable replies, {least} needed ({told})")
    merged, _ = strategy.aggregate_train(round_num, taken)
    found = _global(merged, round_num)
    weights = [update_of(one).examples for one in taken]
    loss = float(np.average([train_loss_of(one) for one in taken], weights=weights))
    metrics = {**rollup(loss, sum(weights), len(taken), len(nodes)), **progress.evaluate(found)}
    for name, value in metrics.items():
        if not math.isfinite(value):
            raise RoundFailed(f"round {round_num}: {name} is {value}; is the learning rate too high?")
    return RoundResult(round_num, found, metrics, tuple(drops))


def _config(plan: RunPlan, seed: int) -> ConfigRecord:
    return ConfigRecord(
        {
            "local-epochs": plan.strategy.local_epochs,
            "batch-size": plan.strategy.local_batch_size,
            "learning-rate": plan.strategy.learning_rate,
            "seed": seed % 2**62,
        }
    )


def _checked(
    plan: RunPlan, arrays: Arrays, nodes: list[int], replies: Iterable[Message]
) -> tuple[list[Message], list[Drop]]:
    """Take the replies that may enter the mean, in the order of their nodes; say why the others may not."""
    by_node = {reply.metadata.src_node_id: reply for reply in replies}
    taken: list[Message] = []
    drops: list[Drop] = []
    for node in nodes:
        reply = by_node.get(node)
        reason = "no reply in time" if reply is None else _problem(plan, arrays, node, reply)
        if reply is not None and reason is None:
            taken.append(reply)
        else:
            drops.append(Drop(node - 1, reason or ""))
    return taken, drops


def _problem(plan: RunPlan, arrays: Arrays, node: int, reply: Message) -> str | None:
    try:
        update = update_of(reply)
    except (ValueError, TypeError, EOFError, OSError) as error:
        return str(error)
    return problem_of(update, arrays, most_examples=plan.examples[node - 1])


def _global(merged: ArrayRecord | None, round_num: int) -> Arrays:
    if merged is None:
        raise RoundFailed(f"round {round_num}: the strategy gave no model")
    found = {name: np.asarray(one.numpy(), np.float32) for name, one in merged.items()}
    if not all(np.isfinite(one).all() for one in found.values()):
        raise RoundFailed(f"round {round_num}: the strategy gave NaN or infinity")
    return found
