"""One round's updates: which are taken, and their weighted mean; pure."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from thunderline.errors import InvalidInput
from thunderline.federation.network import Arrays, Floats


@dataclass(frozen=True, slots=True)
class Update:
    """What one client sends back."""

    arrays: Arrays
    examples: float  # how many produced it: its weight


def problem_of(update: Update, expected: Arrays, *, most_examples: float) -> str | None:
    """Say why an update must not enter the mean, None when it may.

    Args:
        update: as received.
        expected: the global model that was sent: names, shapes and types must be the same.
        most_examples: the size of the client's data; a larger weight is a lie.

    Source:
        notes on broken replies: one of them must neither end the run nor enter the model.
    """
    if set(update.arrays) != set(expected):
        return f"arrays {sorted(update.arrays)} instead of {sorted(expected)}"
    for name, array in update.arrays.items():
        wanted = expected[name]
        if array.shape != wanted.shape or array.dtype != wanted.dtype:
            return f"array {name} is {array.dtype}{array.shape} instead of {wanted.dtype}{wanted.shape}"
        if not np.isfinite(array).all():
            return f"array {name} holds NaN or infinity"
    if not 0 < update.examples <= most_examples:  # NaN fails both comparisons
        return f"weight {update.examples} is not in (0, {most_examples:g}]"
    return None


def weighted_mean(updates: Iterable[Update]) -> dict[str, Floats]:
    """Average the models, each weighted by its number of examples.

    Computes sum(n_k * w_k) / sum(n_k) in float64, one update at a time.

    Args:
        updates: at least one; all checked by ``problem_of``.

    Returns:
        The mean, float32.

    Raises:
        InvalidInput: no update.

    Source:
        arXiv:1602.05629, Algorithm 1.
    """
    total = 0.0
    sums: dict[str, npt.NDArray[np.float64]] = {}
    for update in updates:
        for name, array in update.arrays.items():
            if name not in sums:
                sums[name] = np.zeros(array.shape, np.float64)
            sums[name] += array.astype(np.float64) * update.examples
        total += update.examples
    if total <= 0:
        raise InvalidInput("updates", "no client trained on any example")
    return {name: (one / total).astype(np.float32) for name, one in sums.items()}
