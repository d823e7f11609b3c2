"""A small ReLU network in numpy: its layers are the arrays ``w0, b0, w1, b1, ...``; pure."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from thunderline.errors import InvalidInput

Floats = npt.NDArray[np.float32]
Labels = npt.NDArray[np.int64]
Arrays = Mapping[str, Floats]


@dataclass(frozen=True, slots=True)
class Training:
    """How a client trains."""

    epochs: int
    batch_size: int
    learning_rate: float
    prox_mu: float  # weight of the pull towards the global model; 0 is plain FedAvg


@dataclass(frozen=True, slots=True)
class Figures:
    """What an evaluation measured."""

    loss: float  # mean cross entropy, nats
    accuracy: float  # share in [0, 1]


def init_network(sizes: Sequence[int], *, seed: int) -> dict[str, Floats]:
    """Make untrained layers, Glorot uniform, zero biases.

    Args:
        sizes: widths from input to output, at least two.
        seed: same seed, same arrays.

    Source:
        Glorot and Bengio 2010, equation 16.
    """
    random = np.random.default_rng(seed)
    arrays: dict[str, Floats] = {}
    for number, (inputs, outputs) in enumerate(itertools.pairwise(sizes)):
        bound = (6 / (inputs + outputs)) ** 0.5
        arrays[f"w{number}"] = random.uniform(-bound, bound, (inputs, outputs)).astype(np.float32)
        arrays[f"b{number}"] = np.zeros(outputs, np.float32)
    return arrays


def depth_of(arrays: Arrays) -> int:
    """Return the number of layers.

    Raises:
        InvalidInput: names or shapes are not those of a network.
    """
    depth = len(arrays) // 2
    if depth == 0 or set(arrays) != {f"{kind}{number}" for kind in "wb" for number in range(depth)}:
        raise InvalidInput("arrays", f"expected w0, b0, w1, b1, ..., got {str(sorted(arrays))[:200]}")
    for number in range(depth):
        weights, bias = arrays[f"w{number}"], arrays[f"b{number}"]
        if weights.ndim != 2 or bias.shape != (weights.shape[1],):  # noqa: PLR2004 -- a matrix
            raise InvalidInput("arrays", f"layer {number} has shapes {weights.shape} and {bias.shape}")
        if number and arrays[f"w{number - 1}"].shape[1] != weights.shape[0]:
            raise InvalidInput("arrays", f"layer {number} does not fit the layer before it")
    return depth


def forward(arrays: Arrays, x: Floats) -> Floats:
    """Return the scores of each class.

    Args:
        arrays: the layers.
        x: inputs, shape (n, inputs).

    Returns:
        Scores before softmax, shape (n, classes).
    """
    depth = len(arrays) // 2
    for number in range(depth):
        x = x @ arrays[f"w{number}"] + arrays[f"b{number}"]
        if number < depth - 1:
            x = np.maximum(x, np.float32(0))
    return x


def evaluate(arrays: Arrays, x: Floats, y: Labels) -> Figures:
    """Measure loss and accuracy.

    Args:
        arrays: the layers.
        x: inputs, shape (n, inputs), n at least 1.
        y: classes, shape (n,).
    """
    scores = forward(arrays, x).astype(np.float64)
    scores -= scores.max(axis=1, keepdims=True)
    log_share = scores - np.log(np.exp(scores).sum(axis=1, keepdims=True))
    loss = -float(log_share[np.arange(len(y)), y].mean())
    return Figures(loss, float((scores.argmax(axis=1) == y).mean()))


def train(
    arrays: Arrays, x: Floats, y: Labels, how: Training, *, seed: int
) -> tuple[dict[str, Floats], float]:
    """Train on one client's data by minibatch SGD.

    Minimises cross entropy + (mu / 2) * ||w - w_global||^2.

    Args:
        arrays: the global model; not changed.
        x: inputs, shape (n, inputs).
        y: classes, shape (n,).
        how: epochs, batch size, learning rate, mu.
        seed: of the order of examples; same seed, same result.

    Returns:
        The trained arrays, and the mean loss over the last epoch.

    Source:
        arXiv:1812.06127, equation 2 (the proximal term).
    """
    random = np.random.default_rng(seed)
    current = {name: np.array(array, np.float32) for name, array in arrays.items()}
    rate, pull = np.float32(how.learning_rate), np.float32(how.prox_mu)
    losses: list[float] = []
    for _ in range(how.epochs):
        losses = []
        order = random.permutation(len(y))
        for start in range(0, len(y), how.batch_size):
            rows = order[start : start + how.batch_size]
            loss, gradients = _gradients(current, x[rows], y[rows])
            losses.append(loss * len(rows))
            for name, gradient in gradients.items():
                step = gradient + pull * (current[name] - arrays[name]) if how.prox_mu else gradient
                current[name] -= rate * step
    return current, sum(losses) / len(y)


def _gradients(arrays: Arrays, x: Floats, y: Labels) -> tuple[float, dict[str, Floats]]:
    depth = len(arrays) // 2
    inputs = [x]
    for number in range(depth - 1):
        inputs.append(np.maximum(inputs[-1] @ arrays[f"w{number}"] + arrays[f"b{number}"], np.float32(0)))
    scores = inputs[-1] @ arrays[f"w{depth - 1}"] + arrays[f"b{depth - 1}"]
    scores -= scores.max(axis=1, keepdims=True)
    share = np.exp(scores)
    share /= share.sum(axis=1, keepdims=True)
    rows = np.arange(len(y))
    loss = -float(np.log(np.maximum(share[rows, y], np.float32(1e-12))).mean())
    share[rows, y] -= np.float32(1)
    back = share / np.float32(len(y))
    found: dict[str, Floats] = {}
    for number in reversed(range(depth)):
        found[f"w{number}"], found[f"b{number}"] = inputs[number].T @ back, back.sum(axis=0)
        if number:
            back = (back @ arrays[f"w{number}"].T) * (inputs[number] > 0)
    return loss, found
