"""CloudEvents 1.0: one envelope for every event."""

import json

from cloudevents.core.v1.event import CloudEvent

from thunderline.clock import to_wire
from thunderline.events.outbox import Recorded


def to_cloudevent(recorded: Recorded) -> bytes:
    """Write an event in CloudEvents' JSON format (format.md, section 7).

    Args:
        recorded: numbered by the relay.

    Source:
        CloudEvents 1.0, JSON event format; X-06.
    """
    attributes: dict[str, object] = {
        "specversion": "1.0",
        "id": recorded.id,
        "source": f"/thunderline/{recorded.tenant}",
        "type": recorded.type,
        "subject": recorded.subject,
        "time": recorded.at,
        "datacontenttype": "application/json",
        "sequence": str(recorded.position),
        "subjectversion": str(recorded.subject_version),
    }
    data = dict(recorded.data)
    CloudEvent(attributes, data)  # refuses what is no CloudEvent; its own writer drops zero microseconds
    told = {**attributes, "time": to_wire(recorded.at), "data": data}
    return json.dumps(told, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
