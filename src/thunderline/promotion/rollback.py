"""Which version a rollback returns to."""

from collections.abc import Iterable
from dataclasses import dataclass

from thunderline.promotion.history import HistoryRow


@dataclass(frozen=True, slots=True)
class Choice:
    """What a rollback of a reference may return to."""

    targets: tuple[HistoryRow, ...]  # the rows whose versions served before, nearest first
    head_is_rollback: bool  # the reference was rolled back last: once more needs to be said


def choose(rows: Iterable[HistoryRow]) -> Choice:
    """Find what a reference held before, as if each rollback had undone a promotion.

    Promoting A, B, C and rolling back gives B; doing so again goes on to A, never forward to C.

    Args:
        rows: the reference's history, oldest first.
    """
    stack: list[HistoryRow] = []
    last: HistoryRow | None = None
    for row in rows:
        last = row
        if row.kind == "rollback":
            while stack and stack[-1].sha256 != row.sha256:
                stack.pop()
        if not stack or stack[-1].sha256 != row.sha256:
            stack.append(row)
    if last is None:
        return Choice((), head_is_rollback=False)
    seen = {last.sha256}
    targets: list[HistoryRow] = []
    for row in reversed(stack[:-1]):
        if row.sha256 not in seen:
            seen.add(row.sha256)
            targets.append(row)
    return Choice(tuple(targets), last.kind == "rollback")
