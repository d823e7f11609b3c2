"""Which custom strategies are installed, by name; asked without loading any of them."""

from importlib.metadata import entry_points

GROUP = "thunderline.strategies"


def installed() -> list[str]:
    """Return the names that ``custom`` may use: entry points of the group ``thunderline.strategies``."""
    return sorted(one.name for one in entry_points(group=GROUP))
