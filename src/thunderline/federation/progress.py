"""What a run reports, made durable: each round's arrays, rows, artifact and events in one transaction."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass

from thunderline.artifacts.artifact import Artifact, extension_of
from thunderline.artifacts.records import lock_digest, record_artifact, record_file
from thunderline.artifacts.store import Store
from thunderline.canonical import Json, sha256_hex
from thunderline.clock import Clock
from thunderline.db.pool import Connected, Database
from thunderline.errors import Superseded
from thunderline.events.catalog import (
    AggregateCompleted,
    ClientDropped,
    Event,
    FederationCompleted,
    RoundCompleted,
    RoundStarted,
)
from thunderline.events.outbox import append
from thunderline.federation.checkpoint import Examples, write_arrays
from thunderline.federation.lease import expiry
from thunderline.federation.network import Arrays, evaluate
from thunderline.federation.records import (
    Attempt,
    Federation,
    add_rollup,
    begin_round,
    complete_round,
    end_leases,
    hold,
    renew_leases,
    set_status,
    status_of,
)
from thunderline.federation.round import RoundResult
from thunderline.federation.spec import FederationSpec
from thunderline.registry.lineage import Edge
from thunderline.registry.records import add_edges, register_version
from thunderline.telemetry import EventLog

_LOG = EventLog("federation.progress")
ACTOR = "driver"


@dataclass(frozen=True, slots=True)
class Places:
    """Where a run keeps what it makes."""

    database: Database
    store: Store
    clock: Clock


class RecordedProgress:
    """``round.Progress`` on Postgres and the store; an attempt that counts no more writes nothing."""

    def __init__(
        self,
        places: Places,
        attempt: Attempt,
        federation: Federation,
        spec: FederationSpec,
        *,
        held_out: Examples | None,
        evaluated_on: str | None,
        is_told_to_end: Callable[[], bool],
    ) -> None:
        """Prepare.

        Args:
            places: where to keep things.
            attempt: who writes.
            federation: as kept.
            spec: its spec, parsed.
            held_out: evaluated on after each round; None when there is none.
            evaluated_on: its digest: figures measured on other data are no match for these.
            is_told_to_end: asked before each round; the process may be stopping.
        """
        self._places, self._attempt = places, attempt
        self._federation, self._spec, self._held_out = federation, spec, held_out
        self._evaluated_on, self._is_told_to_end = evaluated_on, is_told_to_end
        self._round_began = places.clock.now()

    def may_go_on(self) -> bool:
        """Tell whether the next round should begin: not when paused, stopped or told to end."""
        if self._is_told_to_end():
            return False
        with self._places.database.transaction(self._attempt.tenant) as connection:
            return status_of(connection, self._attempt) == "running"

    def round_started(self, round_num: int, clients: int) -> None:
        """Note a round in progress; its event is written once, however often it is begun again."""
        now = self._round_began = self._places.clock.now()
        with self._places.database.transaction(self._attempt.tenant) as connection:
            self._hold(connection)
            renew_leases(connection, self._federation.id, expiry(self._spec, now))
            if begin_round(connection, self._federation.id, round_num, at=now):
                append(connection, RoundStarted(self._federation.id, round_num, clients), at=now)
        _LOG.info("round_started", federation_id=self._federation.id, round_num=round_num, clients=clients)

    def evaluate(self, arrays: Arrays) -> Mapping[str, float]:
        """Measure a global model on the held-out data."""
        if self._held_out is None:
            return {}
        return asdict(evaluate(arrays, self._held_out.x, self._held_out.y))

    def round_completed(self, result: RoundResult) -> None:
        """Keep a round: bytes first, then its rows and events, or nothing at all.

        Raises:
            Superseded: another attempt has taken over, or the federation was stopped.
            Conflict: the readable key already holds other bytes.
            Unavailable: the store or Postgres is away.
        """
        content = write_arrays(result.arrays, self._spec.format)
        digest, now = sha256_hex(content), self._places.clock.now()
        metrics = {**result.metrics, "duration_s": (now - self._round_began).total_seconds()}
        identity, round_num = self._federation.id, result.round_num
        with self._places.database.transaction(self._attempt.tenant) as connection:
            self._hold(connection)
            self._keep(connection, content, digest)
            round_id = complete_round(connection, identity, round_num, metrics=metrics, sha256=digest, at=now)
            uri = f"sha256:{digest}"
            if self._spec.cadence.publishes(round_num, self._spec.rounds):
                uri = self._publish(
                    connection, round_id, round_num, digest=digest, size_bytes=len(content), metrics=metrics
                ).uri
            told: dict[str, Json] = {
                "round_num": round_num,
                "metrics": metrics,
                "artifact_uri": uri,
                "sha256": digest,
            }
            add_rollup(connection, identity, round_id, told, at=now)
            for event in self._events(result, metrics, uri, digest):
                append(connection, event, at=now)
            if round_num == self._spec.rounds:
                end_leases(connection, identity, "completed")
                set_status(connection, identity, "completed", message="", at=now)
                append(connection, FederationCompleted(identity, round_num, uri, digest), at=now)
        _LOG.info("round_completed", federation_id=identity, round_num=round_num, sha256=digest, **metrics)

    def _hold(self, connection: Connected) -> None:
        if hold(connection, self._attempt) not in ("running", "paused"):
            raise Superseded(
                f"federation {self._federation.name} was stopped; the round in progress counts no more"
            )

    def _keep(self, connection: Connected, content: bytes, digest: str) -> None:
        """Store the bytes while nobody may delete the same ones, and let the tenant have them."""
        lock_digest(connection, digest, is_exclusive=False)
        stored = self._places.store.put(content)
        record_file(
            connection,
            stored=stored,
            content_type=f"application/x-{self._spec.format}",
            actor=ACTOR,
            at=self._places.clock.now(),
        )

    def _publish(
        self,
        connection: Connected,
        round_id: str,
        round_num: int,
        *,
        digest: str,
        size_bytes: int,
        metrics: Mapping[str, float],
    ) -> Artifact:
        """Record the artifact and its version, then let the readable key hold the bytes.

        The row comes first: a key that an earlier attempt wrote before it died has no row, so it may be
        replaced; one that has a row with other bytes is refused before it is touched.
        """
        tenant, store, spec = self._attempt.tenant, self._places.store, self._spec
        key = f"{spec.prefix}/checkpoints/global-ROUND-{round_num}.{extension_of(spec.format)}"
        now = self._places.clock.now()
        artifact = record_artifact(
            connection,
            kind="checkpoint",
            uri=store.uri(tenant, key),
            sha256=digest,
            size_bytes=size_bytes,
            format=spec.format,
            metrics=metrics,
            metadata={
                "federation": spec.name,
                "round_num": round_num,
                "rounds": spec.rounds,
                "evaluated_on": self._evaluated_on,
            },
            actor=ACTOR,
            at=now,
            federation_id=self._federation.id,
            round_id=round_id,
        )
        edges = [
            Edge("artifact", artifact.id, "produced_by", "round", round_id),
            Edge("round", round_id, "part_of", "federation", self._federation.id),
        ]
        add_edges(connection, edges, at=now)
        register_version(connection, model=self._federation.model, artifact=artifact, actor=ACTOR, at=now)
        store.replace(tenant, digest, key)
        return artifact

    def _events(
        self, result: RoundResult, metrics: Mapping[str, float], uri: str, digest: str
    ) -> list[Event]:
        identity, round_num = self._federation.id, result.round_num
        dropped: list[Event] = [
            ClientDropped(identity, client_id(one.client), round_num, one.reason) for one in result.drops
        ]
        return [
            *dropped,
            AggregateCompleted(identity, round_num, uri, digest),
            RoundCompleted(identity, round_num, metrics),
        ]


def client_id(number: int) -> str:
    """Return how events name an in-process client: by the shard that it trains on.

    >>> client_id(3)
    'shard-3'
    """
    return f"shard-{number}"
