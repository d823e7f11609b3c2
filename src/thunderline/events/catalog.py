"""Every event, frozen, with its wire name."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import ClassVar, Protocol

from typing_extensions import override

from thunderline.canonical import Json


class Event(Protocol):
    """Something that happened to one aggregate."""

    type: ClassVar[str]

    def subject(self) -> str:
        """Return the aggregate; events of one subject are delivered in order."""

    def data(self) -> Mapping[str, Json]:
        """Return the payload as it goes over the wire."""


@dataclass(frozen=True, slots=True)
class _FederationEvent:
    federation_id: str

    def subject(self) -> str:
        """Return the federation, as ``federation/<id>``."""
        return f"federation/{self.federation_id}"

    def data(self) -> Mapping[str, Json]:
        """Return every field by its name."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class FederationCreated(_FederationEvent):
    """A spec was accepted and stored."""

    type: ClassVar[str] = "fl.federation.created"
    name: str
    model: str
    created_by: str


@dataclass(frozen=True, slots=True)
class FederationStarted(_FederationEvent):
    """Somebody started a federation, or resumed a paused one."""

    type: ClassVar[str] = "fl.federation.started"
    actor: str


@dataclass(frozen=True, slots=True)
class FederationPaused(_FederationEvent):
    """A federation stops after the round in progress, until resumed."""

    type: ClassVar[str] = "fl.federation.paused"
    actor: str


@dataclass(frozen=True, slots=True)
class FederationCompleted(_FederationEvent):
    """All rounds are done."""

    type: ClassVar[str] = "fl.federation.completed"
    rounds: int
    artifact_uri: str
    sha256: str


@dataclass(frozen=True, slots=True)
class FederationFailed(_FederationEvent):
    """A federation ended before its last round: stopped, or unable to go on."""

    type: ClassVar[str] = "fl.federation.failed"
    reason: str


@dataclass(frozen=True, slots=True)
class ClientLeaseIssued(_FederationEvent):
    """A client may work for a federation, until the lease ends."""

    type: ClassVar[str] = "fl.client.lease_issued"
    client_id: str
    lease_id: str
    expires_at: str


@dataclass(frozen=True, slots=True)
class ClientJoined(_FederationEvent):
    """A client's data was checked and it takes part."""

    type: ClassVar[str] = "fl.client.joined"
    client_id: str


@dataclass(frozen=True, slots=True)
class ClientDropped(_FederationEvent):
    """A client's contribution to a round is missing or was refused."""

    type: ClassVar[str] = "fl.client.dropped"
    client_id: str
    round_num: int
    reason: str


@dataclass(frozen=True, slots=True)
class RoundStarted(_FederationEvent):
    """A round asks its clients to train."""

    type: ClassVar[str] = "fl.round.started"
    round_num: int
    clients: int


@dataclass(frozen=True, slots=True)
class AggregateCompleted(_FederationEvent):
    """A round's updates became one global model; the bytes are stored."""

    type: ClassVar[str] = "fl.aggregate.completed"
    round_num: int
    artifact_uri: str  # the readable key if the round publishes one, else the blob's
    sha256: str


@dataclass(frozen=True, slots=True)
class RoundCompleted(_FederationEvent):
    """A round is over and evaluated."""

    type: ClassVar[str] = "fl.round.completed"
    round_num: int
    metrics: Mapping[str, float]

    @override
    def data(self) -> Mapping[str, Json]:
        return {
            "federation_id": self.federation_id,
            "round_num": self.round_num,
            "metrics": dict(self.metrics),
        }


@dataclass(frozen=True, slots=True)
class ArtifactPromoted:
    """A reference holds other bytes than before; a rollback says the same with the older bytes."""

    type: ClassVar[str] = "fl.artifact.promoted"
    federation_id: str | None
    artifact_uri: str
    target_ref: str
    sha256: str
    model: str
    label: str
    stage: str | None
    seq: int
    version: int
    previous_sha256: str | None
    kind: str
    actor: str
    reason: str
    promotion_id: str

    def subject(self) -> str:
        """Return the model, as ``model/<name>``."""
        return f"model/{self.model}"

    def data(self) -> Mapping[str, Json]:
        """Return every field by its name."""
        return asdict(self)


CATALOG: Mapping[str, type[Event]] = {
    one.type: one
    for one in (
        FederationCreated,
        FederationStarted,
        FederationPaused,
        FederationCompleted,
        FederationFailed,
        ClientLeaseIssued,
        ClientJoined,
        ClientDropped,
        RoundStarted,
        AggregateCompleted,
        RoundCompleted,
        ArtifactPromoted,
    )
}
