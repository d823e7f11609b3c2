"""Where things come from: edges, and the tree they make."""

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Edge:
    """A child came from a parent. Kinds: artifact, round, federation, file, model, code."""

    child_kind: str
    child_id: str
    relation: str  # such as ``produced_by``, ``trained_on``, ``started_from``
    parent_kind: str
    parent_id: str


@dataclass(frozen=True, slots=True)
class Ancestor:
    """One step of a lineage: how far from the start, how it is related, what it is."""

    depth: int
    relation: str
    kind: str
    id: str


def ancestors(edges: Iterable[Edge], kind: str, identity: str) -> list[Ancestor]:
    """Walk from a thing to all it came from, nearest first; each thing once, circles survived.

    Args:
        edges: all edges that may matter.
        kind: kind of the start.
        identity: id of the start.

    >>> made = Edge("artifact", "a", "produced_by", "round", "r")
    >>> part = Edge("round", "r", "part_of", "federation", "f")
    >>> [step.id for step in ancestors([made, part], "artifact", "a")]
    ['r', 'f']
    """
    by_child: dict[tuple[str, str], list[Edge]] = {}
    for edge in edges:
        by_child.setdefault((edge.child_kind, edge.child_id), []).append(edge)
    found: list[Ancestor] = []
    seen = {(kind, identity)}
    front = [(kind, identity)]
    depth = 0
    while front:
        depth += 1
        following: list[tuple[str, str]] = []
        for node in front:
            for edge in sorted(
                by_child.get(node, []), key=lambda one: (one.parent_kind, one.relation, one.parent_id)
            ):
                parent = (edge.parent_kind, edge.parent_id)
                if parent not in seen:
                    seen.add(parent)
                    following.append(parent)
                    found.append(Ancestor(depth, edge.relation, edge.parent_kind, edge.parent_id))
        front = following
    return found
