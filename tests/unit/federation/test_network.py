"""The small network: its gradient is right, its training repeats itself, its proximal term pulls."""

import numpy as np
import pytest

from tests.federations import SIZES, base_model, examples
from thunderline.errors import InvalidInput
from thunderline.federation.network import Floats, Training, depth_of, evaluate, forward, init_network, train

DATA = examples(60, seed=3)


def how(**changed: float) -> Training:
    given = {"epochs": 5, "batch_size": 10, "learning_rate": 0.1, "prox_mu": 0.0, **changed}
    return Training(int(given["epochs"]), int(given["batch_size"]), given["learning_rate"], given["prox_mu"])


def far(one: dict[str, Floats], other: dict[str, Floats]) -> float:
    return float(sum(np.square(one[name] - other[name]).sum() for name in one) ** 0.5)


def test_one_step_goes_down_the_numerical_gradient() -> None:
    start = base_model()
    moved, _ = train(start, DATA.x, DATA.y, how(epochs=1, batch_size=60, learning_rate=1.0), seed=0)
    for name in ("w0", "b0", "w1", "b1"):
        step = (start[name] - moved[name]).reshape(-1)
        for place in (0, len(step) // 2, len(step) - 1):
            losses = []
            for shift in (-1e-2, 1e-2):
                shifted = {key: array.copy() for key, array in start.items()}
                shifted[name].reshape(-1)[place] += np.float32(shift)
                losses.append(evaluate(shifted, DATA.x, DATA.y).loss)
            assert step[place] == pytest.approx((losses[1] - losses[0]) / 2e-2, abs=2e-3)


def test_training_learns_and_leaves_its_start_alone() -> None:
    start = base_model()
    before = {name: array.copy() for name, array in start.items()}
    trained, loss = train(start, DATA.x, DATA.y, how(epochs=30), seed=0)
    assert evaluate(trained, DATA.x, DATA.y).accuracy > 0.9
    assert loss < evaluate(start, DATA.x, DATA.y).loss
    assert far(start, before) == 0


def test_the_same_seed_gives_the_same_arrays_and_another_seed_others() -> None:
    first, second, third = (train(base_model(), DATA.x, DATA.y, how(), seed=one)[0] for one in (1, 1, 2))
    assert far(first, second) == 0
    assert far(first, third) > 0


def test_a_stronger_pull_stays_nearer_to_the_global_model() -> None:
    start = base_model()
    moved = [
        far(train(start, DATA.x, DATA.y, how(epochs=10, prox_mu=mu), seed=1)[0], start)
        for mu in (0.0, 0.1, 1.0, 5.0)
    ]
    assert moved == sorted(moved, reverse=True)
    assert moved[-1] < moved[0] / 2


def test_untrained_layers_have_the_sizes_asked_for_and_stay_in_bounds() -> None:
    arrays = init_network(SIZES, seed=1)
    assert {name: one.shape for name, one in arrays.items()} == {
        "w0": (6, 8), "b0": (8,), "w1": (8, 3), "b1": (3,),
    }  # fmt: skip
    assert np.abs(arrays["w0"]).max() <= (6 / 14) ** 0.5
    assert forward(arrays, DATA.x).shape == (60, 3)
    assert depth_of(arrays) == 2


@pytest.mark.parametrize(
    "broken",
    [
        {},
        {"weights": np.zeros((2, 2), np.float32)},
        {"w0": np.zeros((2, 3), np.float32), "b0": np.zeros(2, np.float32)},
        {"w0": np.zeros(3, np.float32), "b0": np.zeros(3, np.float32)},
        {
            "w0": np.zeros((2, 3), np.float32), "b0": np.zeros(3, np.float32),
            "w1": np.zeros((4, 2), np.float32), "b1": np.zeros(2, np.float32),
        },
    ],
)  # fmt: skip
def test_arrays_that_are_no_network_are_refused(broken: dict[str, Floats]) -> None:
    with pytest.raises(InvalidInput):
        depth_of(broken)
