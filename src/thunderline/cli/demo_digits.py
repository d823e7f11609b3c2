"""The demo's real input: handwritten digits, split unevenly over clients."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from safetensors.numpy import save_file

from thunderline.federation.network import init_network

SIZES = (64, 32, 10)
Pixels = npt.NDArray[np.float32]
Labels = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Digits:
    """Images of 8x8 pixels in [0, 1], shape (n, 64), and the digit that each shows, shape (n,)."""

    pixels: Pixels
    labels: Labels

    def take(self, rows: npt.NDArray[np.int64]) -> "Digits":
        """Return some of the images."""
        return Digits(np.ascontiguousarray(self.pixels[rows]), np.ascontiguousarray(self.labels[rows]))

    def save(self, path: Path) -> Path:
        """Write a shard that clients read: tensors ``x`` and ``y`` in safetensors."""
        save_file({"x": self.pixels, "y": self.labels}, path)
        return path


def load_digits() -> Digits:
    """Read the 1,797 digits that ship inside scikit-learn."""
    from sklearn.datasets import load_digits as read

    found = read()
    return Digits(np.asarray(found.data, np.float32) / np.float32(16), np.asarray(found.target, np.int64))


def split(digits: Digits, *, clients: int, concentration: float, seed: int) -> tuple[list[Digits], Digits]:
    """Hold a fifth out for evaluation and deal the rest to clients, each with its own mix of digits.

    Args:
        digits: all of them.
        clients: how many; each gets at least ten images.
        concentration: of the Dirichlet distribution over digits; 0.3 is strongly uneven.
        seed: same seed, same split.

    Returns:
        The clients' shares and the held-out part.

    Source:
        arXiv:1909.06335, section 3 (Dirichlet label skew).
    """
    random = np.random.default_rng(seed)
    order = random.permutation(len(digits.labels))
    held_out, rest = order[: len(order) // 5], order[len(order) // 5 :]
    while True:
        shares: list[list[int]] = [[] for _ in range(clients)]
        for digit in range(10):
            rows = rest[digits.labels[rest] == digit]
            cuts = (np.cumsum(random.dirichlet([concentration] * clients)) * len(rows)).astype(int)[:-1]
            for share, part in zip(shares, np.split(rows, cuts), strict=True):
                share.extend(int(one) for one in part)
        if min(map(len, shares)) >= 10:  # noqa: PLR2004 -- a client without images could not train
            break
    return [digits.take(np.array(sorted(share), np.int64)) for share in shares], digits.take(held_out)


def save_base(path: Path, *, seed: int) -> Path:
    """Write an untrained 64-32-10 network, the model that every client starts from."""
    save_file(dict(init_network(SIZES, seed=seed)), path)
    return path
