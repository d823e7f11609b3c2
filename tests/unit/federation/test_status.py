"""What may be done to a federation in which state."""

import pytest

from thunderline.errors import Conflict, InvalidInput
from thunderline.federation.status import ACTIONS, decide_move

STATES = ("created", "running", "paused", "completed", "failed")
GOES = {
    ("created", "start"): "running",
    ("created", "stop"): "failed",
    ("running", "pause"): "paused",
    ("running", "stop"): "failed",
    ("paused", "resume"): "running",
    ("paused", "stop"): "failed",
    ("failed", "resume"): "running",
}
STANDS = {
    ("running", "start"),
    ("running", "resume"),
    ("paused", "pause"),
    ("failed", "stop"),
}


@pytest.mark.parametrize("status", STATES)
@pytest.mark.parametrize("action", ACTIONS)
def test_every_state_answers_every_action(status: str, action: str) -> None:
    if (status, action) in GOES:
        move = decide_move("coop", status, action)
        assert (move.status, move.is_noop) == (GOES[status, action], False)
    elif (status, action) in STANDS:
        assert decide_move("coop", status, action).is_noop
    else:
        with pytest.raises(Conflict, match=f"coop is {status}"):
            decide_move("coop", status, action)


def test_a_refusal_says_what_is_possible() -> None:
    with pytest.raises(Conflict, match="possible now: resume, stop"):
        decide_move("coop", "paused", "start")
    with pytest.raises(Conflict, match="it is over: create another one"):
        decide_move("coop", "completed", "resume")


def test_an_unknown_action_is_refused() -> None:
    with pytest.raises(InvalidInput, match="known are start, pause, resume, stop"):
        decide_move("coop", "created", "delete")
