"""Rounds through Flower's own apps and strategies, in one process: the numbers, and what survives."""

import io
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Event

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, Context, Message, MetricRecord
from flwr.clientapp import ClientApp

from tests.federations import Told, base_model, clients, digest_of, examples, plan
from thunderline.errors import InvalidInput, RoundFailed
from thunderline.federation.aggregate import Update, weighted_mean
from thunderline.federation.checkpoint import Examples
from thunderline.federation.flower.client_app import make_client_app
from thunderline.federation.flower.in_process import InProcessGrid, run_in_process
from thunderline.federation.flower.server_app import run_rounds
from thunderline.federation.network import Training, train
from thunderline.federation.round import RunPlan
from thunderline.federation.selection import round_seed


def by_hand(data: dict[int, Examples], rounds: int, *, seed: int = 5, mu: float = 0.0) -> dict[str, object]:
    """The same federation as a bare numpy loop."""
    arrays = base_model()
    for number in range(1, rounds + 1):
        drawn = round_seed(number, seed) % 2**62
        updates = []
        for client, own in data.items():
            trained, _ = train(arrays, own.x, own.y, Training(2, 8, 0.1, mu), seed=(drawn + client) % 2**63)
            updates.append(Update(trained, len(own.y)))
        arrays = weighted_mean(updates)
    return dict(arrays)


def run(given: RunPlan, data: dict[int, Examples], told: Told | None = None) -> Told:
    remembered = told or Told()
    run_in_process(given, remembered, data)
    return remembered


def test_the_aggregate_is_the_weighted_mean_computed_by_hand() -> None:
    data = clients()
    told = run(plan(data, rounds=3), data)
    expected = by_hand(data, 3)
    for name, array in told.results[-1].arrays.items():
        assert np.abs(array - expected[name]).max() < 1e-6


def test_the_figures_of_a_round_are_those_of_its_clients() -> None:
    data = clients()
    told = run(plan(data, rounds=1), data, Told(held_out=examples(90, seed=99)))
    figures = told.results[0].metrics
    assert (figures["examples"], figures["clients"], figures["asked"]) == (140, 4, 4)
    assert figures["coverage"] == 1.0
    assert 0 <= figures["accuracy"] <= 1
    assert told.started == [(1, 4)]


def test_it_learns() -> None:
    data = clients()
    told = run(plan(data, rounds=10), data, Told(held_out=examples(200, seed=99)))
    accuracies = [one.metrics["accuracy"] for one in told.results]
    assert accuracies[-1] > 0.9
    assert accuracies[-1] > accuracies[0]


def test_the_same_seed_gives_the_same_weights_and_another_seed_others() -> None:
    data = clients()
    digests = [digest_of(run(plan(data, seed=one), data).results[-1].arrays) for one in (3, 3, 4)]
    assert digests[0] == digests[1]
    assert digests[0] != digests[2]


def test_fedprox_without_pull_is_fedavg_and_with_it_is_not() -> None:
    data = clients()
    plain = run(plan(data), data).results[-1].arrays
    without = run(plan(data, name="fedprox", prox_mu=0.0), data).results[-1].arrays
    pulled = run(plan(data, name="fedprox", prox_mu=0.5), data).results[-1].arrays
    assert digest_of(plain) == digest_of(without)
    assert digest_of(plain) != digest_of(pulled)
    expected = by_hand(data, 3, mu=0.5)
    assert all(np.abs(array - expected[name]).max() < 1e-6 for name, array in pulled.items())


def test_a_resumed_run_ends_where_an_uninterrupted_one_does() -> None:
    data = clients(6)
    whole = run(plan(data, rounds=6, client_fraction=0.5), data)
    half = run(plan(data, rounds=6, client_fraction=0.5), data, Told(stop_after=3))
    assert len(half.results) == 3
    rest = run(plan(data, rounds=6, first=4, client_fraction=0.5, arrays=dict(half.results[-1].arrays)), data)
    assert [one.round_num for one in rest.results] == [4, 5, 6]
    assert digest_of(rest.results[-1].arrays) == digest_of(whole.results[-1].arrays)


def test_a_fraction_of_the_clients_is_asked_and_changes_from_round_to_round() -> None:
    data = clients(10)
    told = run(plan(data, rounds=4, client_fraction=0.3), data)
    assert [asked for _, asked in told.started] == [3, 3, 3, 3]
    assert len({digest_of(one.arrays) for one in told.results}) == 4


@pytest.mark.parametrize("factory", ["fedmedian", "fedtrimmedavg"])
def test_a_custom_strategy_is_flowers_own(factory: str) -> None:
    data = clients(5)
    custom = run(plan(data, name="custom", factory=factory, rounds=2), data).results[-1].arrays
    plain = run(plan(data, rounds=2), data).results[-1].arrays
    assert digest_of(custom) != digest_of(plain)


def test_the_median_is_the_median() -> None:
    data = clients(3)
    told = run(plan(data, name="custom", factory="fedmedian", rounds=1), data)
    seed = round_seed(1, 5) % 2**62
    trained = [
        train(base_model(), own.x, own.y, Training(2, 8, 0.1, 0.0), seed=(seed + number) % 2**63)[0]
        for number, own in data.items()
    ]
    for name, array in told.results[0].arrays.items():
        expected = np.median(np.stack([one[name] for one in trained]), axis=0)
        assert np.abs(array - expected).max() < 1e-6


def test_a_strategy_that_is_not_installed_is_refused_with_those_that_are() -> None:
    data = clients()
    with pytest.raises(InvalidInput, match="installed are fedmedian, fedtrimmedavg"):
        run(plan(data, name="custom", factory="fedmagic"), data)


def test_too_few_clients_are_refused() -> None:
    data = clients(2)
    with pytest.raises(InvalidInput, match="2 available, the spec asks for at least 5"):
        run(plan(data, min_available=5), data)


def spoiled(
    app: ClientApp, spoil: Callable[[Message], Message | None], *, client: int
) -> Callable[[Message, Context], Message]:
    """A client app that answers well, but whose one client spoils its answer."""

    def answer(message: Message, context: Context) -> Message:
        reply = app(message, context)
        if int(str(context.node_config["partition-id"])) == client:
            return spoil(reply) or reply
        return reply

    return answer


def replaced(reply: Message, name: str, array: Array) -> Message:
    record = reply.content.array_records["arrays"]
    reply.content["arrays"] = ArrayRecord({**dict(record.items()), name: array})
    return reply


def with_metric(reply: Message, **changed: float) -> Message:
    metrics = {str(key): value for key, value in reply.content.metric_records["metrics"].items()}
    renamed = {key.replace("_", "-"): value for key, value in changed.items()}
    reply.content["metrics"] = MetricRecord({**metrics, **renamed})
    return reply


def npy(header: dict[str, object], body: bytes) -> bytes:
    out = io.BytesIO()
    np.lib.format.write_array_header_1_0(out, header)
    return out.getvalue() + body


def claims_much(reply: Message) -> Message:
    payload = npy({"descr": "<f4", "fortran_order": False, "shape": (10_000_000_000,)}, bytes(32))
    return replaced(reply, "b0", Array("float32", (8,), "numpy.ndarray", payload))


def pickled(reply: Message) -> Message:
    out = io.BytesIO()
    np.save(out, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    return replaced(reply, "b0", Array("object", (1,), "numpy.ndarray", out.getvalue()))


def raising(reply: Message) -> Message:
    raise RuntimeError(f"out of memory while answering {reply.metadata.message_type}")


def without_arrays(reply: Message) -> Message:
    del reply.content["arrays"]
    return reply


def with_another_record(reply: Message) -> Message:
    reply.content["more"] = MetricRecord({"a": 1.0})
    return reply


SPOILS: dict[str, tuple[Callable[[Message], Message], str]] = {
    "an exception": (raising, "out of memory"),
    "no arrays": (without_arrays, "records"),
    "another record": (with_another_record, "records"),
    "an extra array": (lambda one: replaced(one, "w9", Array(np.zeros(3, np.float32))), "instead of"),
    "another shape": (lambda one: replaced(one, "b0", Array(np.zeros(9, np.float32))), "array b0"),
    "another type": (lambda one: replaced(one, "b0", Array(np.zeros(8, np.float64))), "float64"),
    "a corrupt payload": (
        lambda one: replaced(one, "b0", Array("float32", (8,), "numpy.ndarray", b"\x93NUMPY garbage")),
        "",
    ),
    "a header that claims 40 GB": (claims_much, "bytes for shape"),
    "pickled objects": (pickled, ""),
    "NaN": (lambda one: replaced(one, "b0", Array(np.full(8, np.nan, np.float32))), "NaN"),
    "infinity": (lambda one: replaced(one, "b0", Array(np.full(8, np.inf, np.float32))), "infinity"),
    "an extra metric": (lambda one: with_metric(one, extra=1.0), "metrics"),
    "a negative weight": (lambda one: with_metric(one, num_examples=-30), "weight"),
    "a huge weight": (lambda one: with_metric(one, num_examples=1e12), "weight"),
    "a weight that is NaN": (lambda one: with_metric(one, num_examples=float("nan")), "weight"),
    "a loss that is NaN": (lambda one: with_metric(one, train_loss=float("nan")), "finite"),
}


@pytest.mark.parametrize("name", SPOILS)
def test_one_broken_reply_is_dropped_and_the_mean_is_that_of_the_others(name: str) -> None:
    spoil, told = SPOILS[name]
    data = clients()
    grid = InProcessGrid(make_client_app(data.__getitem__), data)
    grid._app = spoiled(make_client_app(data.__getitem__), spoil, client=2)  # type: ignore[assignment]
    remembered = Told()
    run_rounds(grid, plan(data, rounds=2), remembered)
    grid.close()
    assert [(one.client, told in one.reason) for one in remembered.results[-1].drops] == [(2, True)]
    assert remembered.results[0].metrics["coverage"] == 0.75
    expected = by_hand({number: one for number, one in data.items() if number != 2}, 2)
    for key, array in remembered.results[-1].arrays.items():
        assert np.abs(array - expected[key]).max() < 1e-6


def test_a_lost_client_does_not_stall_a_round_past_its_deadline() -> None:
    data = clients()
    over = Event()

    def sleeps(reply: Message) -> Message:
        assert over.wait(60)
        return reply

    app = spoiled(make_client_app(data.__getitem__), sleeps, client=1)
    grid = InProcessGrid(app, data, workers=4)  # type: ignore[arg-type]
    remembered = Told()
    run_rounds(grid, plan(data, rounds=1, timeout_s=1.0), remembered)
    assert not over.is_set()  # the round ended while its client still hung
    over.set()
    grid.close()
    assert [(one.client, one.reason) for one in remembered.results[0].drops] == [(1, "no reply in time")]


def test_work_that_a_late_round_never_began_does_not_delay_the_next() -> None:
    data = clients()
    over = Event()
    trained: Counter[str] = Counter()
    inner = make_client_app(data.__getitem__)

    def app(message: Message, context: Context) -> Message:
        trained[str(context.node_id)] += 1
        assert over.wait(60)
        return inner(message, context)

    grid = InProcessGrid(app, data, workers=1)  # type: ignore[arg-type]
    with pytest.raises(RoundFailed, match="no reply in time"):
        run_rounds(grid, plan(data, rounds=1, timeout_s=0.2), Told())
    over.set()
    remembered = Told()
    run_rounds(grid, plan(data, rounds=1), remembered)
    grid.close()
    assert not remembered.results[0].drops
    assert sorted(trained.values()) == [1, 1, 1, 2]  # only the one that had begun trained twice


def test_a_message_that_never_arrives_is_a_drop() -> None:
    data = clients()
    app = make_client_app(data.__getitem__)
    grid = InProcessGrid(app, data, is_lost=lambda one: one.metadata.dst_node_id == 4)
    remembered = Told()
    run_rounds(grid, plan(data, rounds=1), remembered)
    grid.close()
    assert [one.client for one in remembered.results[0].drops] == [3]


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_a_figure_that_is_no_number_fails_the_round_and_says_which() -> None:
    data, far_off = clients(), examples(20, seed=1)
    told = Told(Examples(np.full_like(far_off.x, 3e38), far_off.y))
    with pytest.raises(RoundFailed, match=r"round \d: loss is nan; is the learning rate too high\?"):
        run(plan(data), data, told)


def test_below_the_minimum_the_round_fails_and_says_why() -> None:
    data = clients()
    grid = InProcessGrid(make_client_app(data.__getitem__), data, is_lost=lambda _: True)
    with pytest.raises(RoundFailed, match=r"round 1: 0 usable replies, 3 needed .*no reply in time"):
        run_rounds(grid, plan(data, min_available=3), Told())
    grid.close()


def test_two_runs_at_once_in_one_process_do_not_disturb_each_other() -> None:
    data, other = clients(4), clients(5)
    with ThreadPoolExecutor(2) as pool:
        both = [pool.submit(run, plan(one, rounds=4), one) for one in (data, other)]
        first, second = (one.result() for one in both)
    assert digest_of(first.results[-1].arrays) == digest_of(
        run(plan(data, rounds=4), data).results[-1].arrays
    )
    assert digest_of(second.results[-1].arrays) == digest_of(
        run(plan(other, rounds=4), other).results[-1].arrays
    )
