"""In which state a federation may be, and what may be done to it then; pure."""

from dataclasses import dataclass

from thunderline.errors import Conflict, InvalidInput

ACTIONS = ("start", "pause", "resume", "stop")
_GOES_TO = {"start": "running", "pause": "paused", "resume": "running", "stop": "failed"}
# From which states an action leads to its own; any other is refused.
_MAY_COME_FROM = {
    "start": ("created",),
    "pause": ("running",),
    "resume": ("paused", "failed"),
    "stop": ("created", "running", "paused"),
}


@dataclass(frozen=True, slots=True)
class Move:
    """What an action comes to."""

    status: str
    is_noop: bool  # the federation is already there: nothing changes, no event is written


def decide_move(name: str, status: str, action: str) -> Move:
    """Say where an action leads.

    Args:
        name: of the federation, for the refusal.
        status: created, running, paused, completed or failed.
        action: one of ``ACTIONS``; resuming a failed federation goes on after its last completed round.

    Raises:
        InvalidInput: no such action.
        Conflict: the state does not allow it; the sentence says what it allows.

    >>> decide_move("coop", "created", "start")
    Move(status='running', is_noop=False)
    """
    if action not in ACTIONS:
        raise InvalidInput("action", f"{action!r} is unknown; known are {', '.join(ACTIONS)}")
    target = _GOES_TO[action]
    if status in _MAY_COME_FROM[action]:
        return Move(target, is_noop=False)
    if status == target:
        return Move(target, is_noop=True)
    allowed = [one for one in ACTIONS if status in _MAY_COME_FROM[one]]
    raise Conflict(
        f"federation {name} is {status}, so it cannot {action}; "
        + (f"possible now: {', '.join(allowed)}" if allowed else "it is over: create another one")
    )
