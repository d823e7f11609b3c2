"""Which clients take part in a round; pure."""

from collections.abc import Sequence

from thunderline.canonical import sha256_hex
from thunderline.errors import InvalidInput


def round_seed(round_num: int, seed: int) -> int:
    """Return the seed of a round: another for each round, the same whenever the same spec is run.

    Args:
        round_num: absolute, from 1; so a resumed run draws what an uninterrupted one would have.
        seed: of the spec.
    """
    return int(sha256_hex(f"{round_num}\0{seed}".encode())[:16], 16)


def select(clients: Sequence[int], *, fraction: float, min_available: int, seed: int) -> list[int]:
    """Draw a round's clients.

    Args:
        clients: those available, in any order.
        fraction: share asked, in (0, 1]; at least one client, and at least ``min_available``, is asked.
        min_available: how many must be there.
        seed: of the round.

    Returns:
        The drawn ones, in ascending order.

    Raises:
        InvalidInput: fewer than ``min_available`` are there.

    >>> select([3, 1, 2], fraction=1.0, min_available=1, seed=0)
    [1, 2, 3]
    """
    if len(clients) < min_available or not clients:
        raise InvalidInput("clients", f"{len(clients)} available, the spec asks for at least {min_available}")
    size = min(len(clients), max(1, min_available, int(len(clients) * fraction)))
    ranked = sorted(clients, key=lambda one: sha256_hex(f"{seed}\0{one}".encode()))
    return sorted(ranked[:size])
